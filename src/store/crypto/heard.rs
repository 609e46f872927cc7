//! Which events the steps of inbound group sessions encrypted: what tells an event from its ciphertext sent once more.
//!
//! Steps are kept in blocks, each step as a keyed hash of its event, so that a message costs some ten bytes for as long as
//! the device has its keys. A block is written beside the work that waits, before the link of the event that it is about.

use ruma::EventId;

use super::{super::StoreError, CryptoStore, Kind};

/// How many steps one block holds.
pub const BLOCK: usize = 32;

/// The hashes of the events of a block's steps; 0 stands for none.
pub type Block = [u64; BLOCK];

impl CryptoStore {
    /// What an event is called in a [`Block`]; never 0.
    #[must_use]
    pub fn heard_as(&self, event: &EventId) -> u64 {
        let hash = self
            .0
            .half("crypto heard", Kind::Heard, [event.as_bytes(), b""]);
        u64::from_be_bytes(hash).max(1)
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
