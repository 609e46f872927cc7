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

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> OwnedUserId {
        OwnedUserId::try_from(format!("@_vizard_{number}:x")).unwrap()
    }

    impl Slots {
        pub(in crate::e2ee) fn len(&self) -> usize {
            self.slots.lock().unwrap().len()
        }

        fn has(&self, number: usize) -> bool {
            self.slots.lock().unwrap().contains(&user(number))
        }
    }

    #[test]
    fn a_slot_that_is_held_stays_however_many_come() {
        let slots = Slots::new(2);
        let held = slots.of(&user(0));
        for number in 1..50 {
            drop(slots.of(&user(number)));
            assert!(slots.has(0), "gone after {number}");
        }
        assert!(Arc::ptr_eq(&held, &slots.of(&user(0))));
    }

    #[test]
    fn all_may_be_held_and_none_goes() {
        let slots = Slots::new(1);
        let held: Vec<_> = (0..10).map(|number| slots.of(&user(number))).collect();
        for (number, slot) in held.iter().enumerate() {
            assert!(Arc::ptr_eq(slot, &slots.of(&user(number))));
        }
    }

    #[test]
    fn what_nobody_holds_goes_the_longest_unused_first() {
        let slots = Slots::new(2);
        for number in [0, 1, 0, 2] {
            drop(slots.of(&user(number)));
        }
        assert!(slots.has(0) && !slots.has(1) && slots.has(2));
        // What was held too long is made up for.
        let held: Vec<_> = (3..8).map(|number| slots.of(&user(number))).collect();
        drop(held);
        drop(slots.of(&user(9)));
        assert!(slots.len() <= 2);
    }
}
