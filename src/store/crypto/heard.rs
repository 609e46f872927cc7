//! Which events the steps of inbound group sessions encrypted: what tells an event from its ciphertext sent once more.
//!
//! Steps are kept in blocks, each step as a keyed hash of its event, so that a message costs some ten bytes for as long as
//! the device has its keys. A block is written in the same commit as the link of the event that it is about, or before it.

use ruma::EventId;

use super::{
    super::{StoreError, group::Work, seal::Hash},
    CryptoStore, Kind, State,
    rows::PLAIN,
};

/// How many steps one block holds.
pub const BLOCK: usize = 32;

/// The hashes of the events of a block's steps; 0 stands for none.
pub type Block = [u64; BLOCK];

/// Blocks that are looked for when a device inherits: a session that goes on for longer is unheard of.
const MOST_BLOCKS: u32 = 4096;

impl CryptoStore {
    /// What an event is called in a [`Block`], the same for all devices of a user; never 0.
    #[must_use]
    pub fn heard_as(&self, event: &EventId) -> u64 {
        self.0.heard_of(self.0.user_hash, event)
    }

    /// What it was called in the blocks of earlier versions.
    #[must_use]
    pub fn was_heard_as(&self, event: &EventId) -> u64 {
        self.0.heard_of(self.0.machine, event)
    }

    /// Takes over what another device of the same user knows of the events of these sessions.
    pub async fn inherit_heard(&self, from: &Self, sessions: &[String]) -> Result<(), StoreError> {
        // What waits for others is written first.
        self.0.store.0.writer.submit(Work::default()).await?.await?;
        let mut rows = Vec::new();
        for session in sessions {
            let session = session.as_bytes();
            let mut blocks = from.0.rows(Kind::Heard, Some(session)).await?;
            // A row does not say which block it is.
            for block in (0..MOST_BLOCKS).map(u32::to_be_bytes) {
                if blocks.is_empty() {
                    break;
                }
                let name = (session, &block[..]);
                let key = from.0.key(Kind::Heard, name);
                if let Some(at) = blocks.iter().position(|(known, _)| known[..] == key) {
                    let (key, sealed) = blocks.swap_remove(at);
                    let steps = from.0.open_plain(Kind::Heard, &key, &sealed, PLAIN)?;
                    rows.push(self.0.put_bytes(Kind::Heard, name, &steps));
                }
            }
        }
        self.0.save(rows).await
    }

    /// What the steps of a block encrypted.
    pub async fn heard(&self, session: &str, block: u32) -> Result<Block, StoreError> {
        let mut steps = [0; BLOCK];
        let name = (session.as_bytes(), &block.to_be_bytes()[..]);
        if let Some(bytes) = self.0.get_bytes(Kind::Heard, name).await? {
            for (step, hash) in steps.iter_mut().zip(bytes.chunks_exact(8)) {
                *step = hash.try_into().map_or(0, u64::from_be_bytes);
            }
        }
        Ok(steps)
    }

    /// Hands a block over to be written, with or before the links that are handed over after this returns.
    pub async fn set_heard(
        &self,
        session: &str,
        block: u32,
        steps: &Block,
    ) -> Result<(), StoreError> {
        // Most blocks are short: sessions end, and what is behind the last step is not there.
        let used = steps.iter().rposition(|step| *step != 0);
        let used = used.map_or(0, |last| last + 1);
        let bytes: Vec<u8> = steps[..used]
            .iter()
            .flat_map(|step| step.to_be_bytes())
            .collect();
        let name = (session.as_bytes(), &block.to_be_bytes()[..]);
        let _saving = self.0.saving.lock().await;
        let row = self.0.put_bytes(Kind::Heard, name, &bytes);
        self.0.hand_over(vec![row]).await
    }
}

impl State {
    fn heard_of(&self, owner: Hash, event: &EventId) -> u64 {
        let parts = [&owner[..], &[Kind::Heard as u8], event.as_bytes(), b""];
        let hash = self.store.0.vault.hash("crypto heard", &parts);
        let mut half = [0; 8];
        half.copy_from_slice(&hash[..8]);
        u64::from_be_bytes(half).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        crypto::MasterKey,
        rng::Rng,
        store::{Batch, Direction, Link, PortalId, Store},
    };

    fn batch(event: &str) -> Batch {
        let link = Link {
            source: event.try_into().unwrap(),
            target: None,
            direction: Direction::Inbound,
            sender: "@a:b.example".try_into().unwrap(),
        };
        Batch {
            links: vec![(PortalId([1; 16]), link)],
            done: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_block_is_in_the_commit_of_the_next_link() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("db").display());
        let rng = Rng::seeded(7);
        let master = MasterKey::generate(&rng);
        let open = || Store::open(&url, &master, Clock::mock(0), Rng::seeded(8));
        let store = open().await.unwrap();
        let user = <&ruma::UserId>::try_from("@_vizard_g_a:x").unwrap();
        let keys = store.crypto(user, "D".into());
        // The first row of a device is written at once, with the device's own.
        keys.set_heard("first", 0, &[1; BLOCK]).await.unwrap();
        assert_eq!(keys.heard("first", 0).await.unwrap(), [1; BLOCK]);

        keys.set_heard("s", 0, &[2; BLOCK]).await.unwrap();
        store.merge_links().await.unwrap();
        assert_eq!(keys.heard("s", 0).await.unwrap(), [0; BLOCK]);
        // A commit that fails leaves it to the next.
        let fail = sqlx::query("PRAGMA query_only = ON");
        fail.execute(&store.0.database.writer).await.unwrap();
        assert!(store.commit(&batch("$one")).await.is_err());
        assert_eq!(keys.heard("s", 0).await.unwrap(), [0; BLOCK]);
        store.commit(&batch("$one")).await.unwrap();
        assert_eq!(keys.heard("s", 0).await.unwrap(), [2; BLOCK]);

        // Many do not wait, and those that wait are written at the end.
        for block in 0..64 {
            keys.set_heard("t", block, &[3; BLOCK]).await.unwrap();
        }
        let written = async {
            while keys.heard("t", 63).await.unwrap() != [3; BLOCK] {
                tokio::task::yield_now().await;
            }
        };
        let long = std::time::Duration::from_secs(30);
        tokio::time::timeout(long, written).await.unwrap();
        keys.set_heard("t", 64, &[4; BLOCK]).await.unwrap();
        store.close().await;
        let store = open().await.unwrap();
        let keys = store.crypto(user, "D".into());
        assert_eq!(keys.heard("t", 64).await.unwrap(), [4; BLOCK]);
        store.close().await;
    }
}
