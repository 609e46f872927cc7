//! Which events the steps of inbound group sessions encrypted: what tells an event from its ciphertext sent once more.
//!
//! Steps are kept in blocks, each step as a keyed hash of its event, so that a message costs some ten bytes for as long as
//! the device has its keys. A block is written beside the work that waits, before the link of the event that it is about.

use ruma::EventId;

use super::{
    super::{StoreError, seal::Hash},
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

    /// Hands a block over to be written, before the links that are handed over after this returns.
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
