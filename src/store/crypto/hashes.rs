//! Hashes of received Olm messages, by which a message that comes twice is known again: the newest are kept.
//!
//! A homeserver repeats what came with the last `/sync` at most, a hundred messages, and what comes again after that opens
//! no session that is still there. So they need not be kept for ever, and nobody can fill a disk by sending messages.

use std::sync::atomic::Ordering;

use super::{
    super::{StoreError, group::CryptoRow, seal::Hash},
    Kind, State,
    rows::PLAIN,
};

/// So many are kept.
const KEPT: usize = 512;
/// So many more may be there before some are deleted, and so many may come between two looks.
pub(super) const SPARE: usize = 256;

impl State {
    /// What a new hash's row holds: when it came.
    pub(super) fn now(&self) -> [u8; 8] {
        self.store.0.clock.now().to_be_bytes()
    }

    /// The rows of old hashes that are to go before `new` ones come. Looked for now and then.
    pub(super) async fn old_hashes(&self, new: usize) -> Result<Vec<CryptoRow>, StoreError> {
        if new == 0 || self.hashes.fetch_add(new, Ordering::SeqCst) < SPARE {
            return Ok(Vec::new());
        }
        self.hashes.store(0, Ordering::SeqCst);
        let rows = self.rows(Kind::MessageHash, None).await?;
        if rows.len() <= KEPT + SPARE {
            return Ok(Vec::new());
        }
        let mut aged = Vec::with_capacity(rows.len());
        for (key, sealed) in &rows {
            let came = self.open_plain(Kind::MessageHash, key, sealed, PLAIN)?;
            // Those of an earlier version hold nothing.
            let came = came.as_slice().try_into().map_or(0, u64::from_be_bytes);
            if let Ok(key) = Hash::try_from(key.as_slice()) {
                aged.push((came, key));
            }
        }
        aged.sort_unstable();
        aged.truncate(aged.len().saturating_sub(KEPT));
        let gone = aged.into_iter();
        Ok(gone
            .map(|(_, key)| self.delete_key(Kind::MessageHash, key))
            .collect())
    }
}
