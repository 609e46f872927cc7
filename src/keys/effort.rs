//! How much is spent on looking for keys of others, and for whom: what strangers give cause to takes nothing from what people here
//! wait for, and names of which nobody ever heard take nothing from servers that are known.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ruma::{OwnedServerName, ServerName};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Unknown;
use crate::clock::UnixMillis;

const MINUTE: UnixMillis = 60 * 1000;
const HOUR: UnixMillis = 60 * MINUTE;
const DAY: UnixMillis = 24 * HOUR;
/// Fetches at once.
const AT_ONCE: usize = 4;
/// The same, of servers of which nothing is known.
const UNHEARD_OF: usize = 2;
/// How long somebody here waits for a place.
const WAIT: Duration = Duration::from_secs(5);
/// Failures that are remembered at most.
const MOST: usize = 1_000;
/// Servers of which nothing was known and that are tried in an hour, whatever comes of it.
const TRIED_AN_HOUR: u32 = 120;
/// The same, that are pinned in a day.
const NEW_A_DAY: u32 = 200;

/// Who gives cause to a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Somebody here.
    Us,
    /// That server, of which something is pinned.
    Stranger,
    /// That server, of which nothing is.
    UnheardOf,
}

/// What is under way, and what was done lately.
#[derive(Debug)]
pub(super) struct Effort {
    ours: Semaphore,
    strangers: Semaphore,
    unheard_of: Semaphore,
    /// How many servers of which nothing was known were tried in which hour.
    tried: Mutex<(UnixMillis, u32)>,
    /// How many of them were pinned on which day.
    new: Mutex<(UnixMillis, u32)>,
    failed: Mutex<HashMap<OwnedServerName, (UnixMillis, Unknown)>>,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            ours: Semaphore::new(AT_ONCE),
            strangers: Semaphore::new(AT_ONCE),
            unheard_of: Semaphore::new(UNHEARD_OF),
            tried: Mutex::default(),
            new: Mutex::default(),
            failed: Mutex::default(),
        }
    }
}

/// Counts `more` in the present period, of this length; how many there are then.
fn count(
    counter: &Mutex<(UnixMillis, u32)>,
    length: UnixMillis,
    now: UnixMillis,
    more: u32,
) -> u32 {
    let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
    if counter.0 != now / length {
        *counter = (now / length, 0);
    }
    counter.1 = counter.1.saturating_add(more);
    counter.1
}

impl Effort {
    /// A place for a fetch, which is counted. Only for people here is one waited for.
    pub(super) async fn slot(&self, who: Who, now: UnixMillis) -> Option<SemaphorePermit<'_>> {
        match who {
            Who::Us => {
                let slot = tokio::time::timeout(WAIT, self.ours.acquire()).await;
                slot.ok().and_then(Result::ok)
            }
            Who::Stranger => self.strangers.try_acquire().ok(),
            Who::UnheardOf => {
                let slot = self.unheard_of.try_acquire().ok()?;
                let may = count(&self.new, DAY, now, 0) < NEW_A_DAY
                    && count(&self.tried, HOUR, now, 1) <= TRIED_AN_HOUR;
                may.then_some(slot)
            }
        }
    }

    /// A server of which nothing was known is pinned.
    pub(super) fn pinned_one(&self, now: UnixMillis) {
        count(&self.new, DAY, now, 1);
    }

    /// A fetch failed.
    pub(super) fn failed(&self, server: &ServerName, error: &Unknown, now: UnixMillis) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= MOST {
            failed.clear();
        }
        failed.insert(server.to_owned(), (now, error.clone()));
    }

    /// Why the last fetch failed, if that was so lately that it is not tried again.
    pub(super) fn failure(
        &self,
        server: &ServerName,
        who: Who,
        now: UnixMillis,
    ) -> Option<Unknown> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, error) = failed.get(server)?;
        let for_so_long = match who {
            Who::Us | Who::Stranger => MINUTE,
            Who::UnheardOf => 10 * MINUTE,
        };
        (now.saturating_sub(*at) < for_so_long).then(|| error.clone())
    }

    /// A failure does not count any more.
    pub(super) fn forget(&self, server: &ServerName) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.remove(server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_that_nobody_knows_are_tried_so_often() {
        let effort = Effort::default();
        let mut tried = 0;
        for _ in 0..1000 {
            tried += u32::from(effort.slot(Who::UnheardOf, HOUR).await.is_some());
        }
        assert_eq!(tried, TRIED_AN_HOUR);
        assert!(effort.slot(Who::UnheardOf, 2 * HOUR).await.is_some());
        for _ in 0..NEW_A_DAY {
            effort.pinned_one(2 * HOUR);
        }
        assert!(effort.slot(Who::UnheardOf, 3 * HOUR).await.is_none());
        assert!(effort.slot(Who::UnheardOf, DAY).await.is_some());
        // Those that are known find theirs, however many of the others are asked.
        let taken = [
            effort.slot(Who::UnheardOf, DAY).await,
            effort.slot(Who::UnheardOf, DAY).await,
        ];
        assert!(taken.iter().all(Option::is_some));
        assert!(effort.slot(Who::UnheardOf, DAY).await.is_none());
        assert!(effort.slot(Who::Stranger, DAY).await.is_some());
        assert!(effort.slot(Who::Us, DAY).await.is_some());
    }

    #[test]
    fn failures_are_remembered_and_bounded() {
        let effort = Effort::default();
        let name = |number| OwnedServerName::try_from(format!("s{number}.example")).unwrap();
        for number in 0..3 * MOST {
            effort.failed(&name(number), &Unknown::Busy, 0);
        }
        assert!(effort.failed.lock().unwrap().len() <= MOST);
        let last = name(3 * MOST - 1);
        let is_known = |who, now| effort.failure(&last, who, now).is_some();
        assert!(is_known(Who::Us, MINUTE - 1) && !is_known(Who::Us, MINUTE));
        assert!(is_known(Who::UnheardOf, 10 * MINUTE - 1));
        assert!(!is_known(Who::UnheardOf, 10 * MINUTE));
        effort.forget(&last);
        assert!(!is_known(Who::Us, 1));
    }
}
