//! Which machines are in memory. A machine that somebody uses is never thrown out: loaded a second time beside itself,
//! it would step its ratchets twice.

use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use ruma::{OwnedUserId, UserId};

use super::machine::Machine;

/// Room for one user's machine.
pub(super) type Slot = tokio::sync::Mutex<Option<Machine>>;

/// The slots, by user.
pub(super) struct Slots {
    most: usize,
    slots: Mutex<LruCache<OwnedUserId, Arc<Slot>>>,
}

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            slots: Mutex::new(LruCache::unbounded()),
        }
    }

    /// The slot of a user; there is one at a time, as long as anybody holds it.
    pub(super) fn of(&self, user: &UserId) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots
            .get_or_insert(user.to_owned(), || Arc::new(Slot::new(None)))
            .clone();
        let mut spare = slots.len().saturating_sub(self.most);
        let mut kept = Vec::new();
        while spare > 0 {
            let Some((user, oldest)) = slots.pop_lru() else {
                break;
            };
            // Whoever holds a slot got it here, under this lock.
            if Arc::strong_count(&oldest) > 1 {
                kept.push((user, oldest));
            }
            spare -= 1;
        }
        for (user, slot) in kept {
            slots.put(user, slot);
        }
        slot
    }
}
