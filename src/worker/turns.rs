//! Whose job is under way: each user has a few turns at once, so that the slow jobs of one hold up nobody else's.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma::OwnedUserId;

/// Jobs under way at once.
pub(super) const ALL: usize = 32;
/// Jobs of one user under way at once.
pub(super) const EACH: usize = 4;

/// Who has how many turns. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    jobs: HashSet<[u8; 16]>,
    users: HashMap<OwnedUserId, usize>,
}

/// A job's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    job: [u8; 16],
    user: OwnedUserId,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is none left for anybody.
    pub(super) fn are_out(&self) -> bool {
        self.lock().jobs.len() >= ALL
    }

    /// Whether a job has its turn.
    pub(super) fn has(&self, job: [u8; 16]) -> bool {
        self.lock().jobs.contains(&job)
    }

    /// A turn for a job of this user, unless it has one, or its user has as many as one may have, or there is none left.
    pub(super) fn take(&self, job: [u8; 16], user: OwnedUserId) -> Option<Turn> {
        let mut taken = self.lock();
        let of_user = taken.users.get(&user).copied().unwrap_or(0);
        if of_user >= EACH || taken.jobs.len() >= ALL || !taken.jobs.insert(job) {
            return None;
        }
        taken.users.insert(user.clone(), of_user + 1);
        drop(taken);
        Some(Turn {
            turns: self.clone(),
            job,
            user,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.turns.lock();
        taken.jobs.remove(&self.job);
        if let Some(count) = taken.users.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                taken.users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::owned_user_id;

    use super::*;

    #[test]
    fn one_user_cannot_take_all() {
        let turns = Turns::default();
        let (greedy, other) = (owned_user_id!("@g:x"), owned_user_id!("@o:x"));
        let mut taken: Vec<_> = (0..20)
            .filter_map(|job| turns.take([job; 16], greedy.clone()))
            .collect();
        assert_eq!(taken.len(), EACH);
        let others = turns.take([99; 16], other.clone());
        assert!(others.is_some() && turns.has([99; 16]));
        assert!(turns.take([99; 16], other).is_none(), "it has one");
        assert!(turns.take([50; 16], greedy.clone()).is_none());
        taken.pop();
        assert!(turns.take([50; 16], greedy).is_some());
        drop((taken, others));
        assert!(turns.lock().jobs.is_empty() && turns.lock().users.is_empty());
    }

    #[test]
    fn all_together_have_so_many() {
        let turns = Turns::default();
        let taken: Vec<_> = (0..60)
            .filter_map(|job| {
                let user = OwnedUserId::try_from(format!("@u{}:x", job % 30)).unwrap();
                turns.take([job; 16], user)
            })
            .collect();
        assert_eq!(taken.len(), ALL);
        assert!(turns.are_out());
    }
}
