//! What others can make a device keep without end, and what is kept of it: the newest Olm sessions of each other device, some
//! notices that a key is withheld, and of bundles of room keys those that came last.
//!
//! Another device begins as many Olm sessions with one of ours as it likes; a fallback key opens them all. The specification
//! advises to keep the newest, at least four: whoever lost the state of one begins another and uses that. A notice only
//! explains a placeholder, so that one which goes costs a word.

use std::{collections::HashMap, sync::atomic::Ordering};

use serde::Deserialize;

use super::{
    super::{StoreError, group::CryptoRow, seal::Hash},
    Kind, State,
};

/// Olm sessions with one device that are kept.
const SESSIONS: usize = 8;
/// Notices that are kept.
const NOTICES: usize = 512;
/// So many sessions or notices may be written between two looks; at first none.
const BETWEEN: usize = 32;

/// The first half of a row's key: its group.
const GROUP: usize = 8;

/// The parts of a stored Olm session that tell its age, in seconds.
#[derive(Deserialize)]
struct Age {
    creation_time: u64,
    last_use_time: u64,
}

impl State {
    /// The rows of Olm sessions that are to go before `new` are written.
    pub(super) async fn spare_sessions(&self, new: usize) -> Result<Vec<CryptoRow>, StoreError> {
        if new == 0 || !is_due(&self.sessions, new) {
            return Ok(Vec::new());
        }
        let mut groups: HashMap<[u8; GROUP], usize> = HashMap::new();
        for key in self.keys(Kind::Session).await? {
            if let Some(group) = key.first_chunk() {
                *groups.entry(*group).or_default() += 1;
            }
        }
        let mut spare = Vec::new();
        for (group, _) in groups.into_iter().filter(|(_, count)| *count > SESSIONS) {
            let mut aged = Vec::new();
            for (key, sealed) in self.rows_in(Kind::Session, Some(group)).await? {
                let age: Age = self.open(Kind::Session, &key, &sealed)?;
                if let Ok(key) = Hash::try_from(key.as_slice()) {
                    aged.push((age, key));
                }
            }
            // The one that was made last is the one that the crate encrypts with.
            aged.sort_unstable_by_key(|(age, _)| age.creation_time);
            aged.pop();
            aged.sort_by_key(|(age, _)| age.last_use_time);
            aged.truncate((aged.len() + 1).saturating_sub(SESSIONS));
            spare.extend(aged.into_iter().map(|(_, key)| key));
        }
        if !spare.is_empty() {
            self.spared.store(true, Ordering::SeqCst);
        }
        let rows = spare.into_iter();
        Ok(rows
            .map(|key| self.delete_key(Kind::Session, key))
            .collect())
    }

    /// The rows of notices that are to go before `new` are written. They have no age, so any go.
    pub(super) async fn spare_notices(&self, new: usize) -> Result<Vec<CryptoRow>, StoreError> {
        if new == 0 || !is_due(&self.notices, new) {
            return Ok(Vec::new());
        }
        let mut keys = self.keys(Kind::Withheld).await?;
        // Not by their groups: no room's go before another's.
        keys.sort_unstable_by(|one, other| one.get(GROUP..).cmp(&other.get(GROUP..)));
        keys.truncate(keys.len().saturating_sub(NOTICES));
        let keys = keys.iter().filter_map(|key| key.as_slice().try_into().ok());
        Ok(keys
            .map(|key| self.delete_key(Kind::Withheld, key))
            .collect())
    }

    /// The rows of bundles of room keys that are to go before `new` are written: all. Nothing here uses one, and anybody may send
    /// them.
    pub(super) async fn spare_bundles(&self, new: usize) -> Result<Vec<CryptoRow>, StoreError> {
        if new == 0 {
            return Ok(Vec::new());
        }
        let keys = self.keys(Kind::Bundle).await?;
        let keys = keys.iter().filter_map(|key| key.as_slice().try_into().ok());
        Ok(keys.map(|key| self.delete_key(Kind::Bundle, key)).collect())
    }
}

/// Counts, and says whether it is time to look.
fn is_due(written: &std::sync::atomic::AtomicUsize, new: usize) -> bool {
    let due = written.fetch_add(new, Ordering::SeqCst) >= BETWEEN;
    if due {
        written.store(0, Ordering::SeqCst);
    }
    due
}

/// So that the first look is at the first write.
pub(super) const DUE: usize = BETWEEN;
