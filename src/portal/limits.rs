//! How much one user may send: the application service is exempt from the homeserver's limits, so ours must hold.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ruma::{OwnedUserId, UserId};

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
}

/// Users remembered; beyond it full buckets are dropped, which changes nothing.
const REMEMBERED: usize = 4096;

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
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64(
                (1.0 - bucket.tokens) / per_milli / 1000.0,
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
}
