//! How much one user may send: the application service is exempt from the homeserver's limits, so ours must hold.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ruma::{EventId, OwnedEventId, OwnedUserId, UserId};

use crate::clock::UnixMillis;

/// A token bucket per user. Kept in memory: a restart gives everybody a full bucket.
#[derive(Debug)]
pub struct Limits {
    per_minute: u32,
    buckets: Mutex<HashMap<OwnedUserId, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: UnixMillis,
    /// Commands that were counted, newest last.
    counted: VecDeque<OwnedEventId>,
}

/// Users remembered; beyond it full buckets are dropped, which changes nothing.
const REMEMBERED: usize = 4096;
/// Commands of one user remembered. They are handled one after the other in each room, so those that are tried again are few.
const COMMANDS: usize = 16;

impl Limits {
    /// `per_minute` messages per user, in bursts of as many.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            buckets: Mutex::default(),
        }
    }

    /// Takes one message's worth; otherwise says how long to wait before asking again.
    pub fn take(&self, user: &UserId, now: UnixMillis) -> Result<(), Duration> {
        self.with(user, now, Bucket::take)
    }

    /// The same for a command, which may be handled again after it failed halfway: it counts once.
    pub fn take_once(
        &self,
        user: &UserId,
        command: &EventId,
        now: UnixMillis,
    ) -> Result<(), Duration> {
        self.with(user, now, |bucket, per_milli| {
            if bucket.counted.iter().any(|counted| counted == command) {
                return Ok(());
            }
            bucket.take(per_milli)?;
            bucket.counted.push_back(command.to_owned());
            if bucket.counted.len() > COMMANDS {
                bucket.counted.pop_front();
            }
            Ok(())
        })
    }

    /// Does something to the bucket of a user, filled up to now.
    fn with(
        &self,
        user: &UserId,
        now: UnixMillis,
        what: impl FnOnce(&mut Bucket, f64) -> Result<(), Duration>,
    ) -> Result<(), Duration> {
        let full = f64::from(self.per_minute.max(1));
        let per_milli = full / 60_000.0;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(user) {
            if buckets.len() >= REMEMBERED {
                buckets.retain(|_, bucket| now.saturating_sub(bucket.at) < 60_000);
            }
            buckets.insert(
                user.to_owned(),
                Bucket {
                    tokens: full,
                    at: now,
                    counted: VecDeque::new(),
                },
            );
        }
        let Some(bucket) = buckets.get_mut(user) else {
            return Ok(());
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since the last message"
        )]
        let gained = now.saturating_sub(bucket.at) as f64 * per_milli;
        bucket.tokens = (bucket.tokens + gained).min(full);
        bucket.at = now;
        what(bucket, per_milli)
    }
}

impl Bucket {
    fn take(&mut self, per_milli: f64) -> Result<(), Duration> {
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64(
                (1.0 - self.tokens) / per_milli / 1000.0,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_a_flood_to_the_rate() {
        let limits = Limits::new(60);
        let user = ruma::user_id!("@u:a.example");
        assert_eq!(
            (0..100).filter(|_| limits.take(user, 0).is_ok()).count(),
            60
        );
        let wait = limits.take(user, 0).expect_err("empty");
        assert_eq!(wait, Duration::from_secs(1));
        assert!(limits.take(user, 1000).is_ok());
        assert!(limits.take(user, 1000).is_err());
        assert!(limits.take(ruma::user_id!("@v:a.example"), 1000).is_ok());
    }

    #[test]
    fn a_command_that_is_tried_again_counts_once() {
        let limits = Limits::new(2);
        let user = ruma::user_id!("@u:a.example");
        let [first, second, third] =
            ["$1", "$2", "$3"].map(|id| OwnedEventId::try_from(id).unwrap());
        for _ in 0..3 {
            assert!(limits.take_once(user, &first, 0).is_ok());
        }
        assert!(limits.take_once(user, &second, 0).is_ok());
        assert!(limits.take_once(user, &third, 0).is_err());
        assert!(
            limits.take_once(user, &first, 0).is_ok(),
            "still remembered"
        );
        assert!(limits.take_once(user, &third, 30_000).is_ok());
        for number in 0..10 * COMMANDS {
            let id = OwnedEventId::try_from(format!("$n{number}")).unwrap();
            assert!(
                limits
                    .take_once(user, &id, 100_000_000 + 30_000 * number as u64)
                    .is_ok()
            );
        }
        let buckets = limits.buckets.lock().unwrap();
        assert_eq!(buckets[user].counted.len(), COMMANDS);
    }
}
