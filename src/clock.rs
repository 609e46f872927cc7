//! Wall-clock time, owned by the caller.
//!
//! Everything that asks for the time or waits takes a [`Clock`], so that tests own both. Nothing else
//! in the crate calls `SystemTime::now` (clippy forbids it).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Milliseconds since the Unix epoch, as Matrix counts time (`origin_server_ts`).
pub type UnixMillis = u64;

/// A source of time and of waiting. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    /// The machine's.
    #[default]
    System,
    /// Stands still unless it is moved.
    Mock(Arc<AtomicU64>),
    /// Runs so many times as fast as the machine's, from a start.
    Fast(Arc<Fast>),
}

#[derive(Debug)]
struct Fast {
    start: AtomicU64,
    since: std::time::Instant,
    factor: u32,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock for tests of single parts: it stands at `start` and only moves when somebody waits (a wait ends at once
    /// and moves the clock by its length) or when [`Clock::advance`] is called. Whoever waits in a loop for something
    /// else to happen never rests with it: a whole Vizard wants [`Clock::fast`].
    #[must_use]
    pub fn mock(start: UnixMillis) -> Self {
        Self(Source::Mock(Arc::new(AtomicU64::new(start))))
    }

    /// A clock for tests of the whole: it begins at `start` and runs `factor` times as fast as the machine's; waits are so
    /// much shorter.
    #[must_use]
    pub fn fast(start: UnixMillis, factor: u32) -> Self {
        Self(Source::Fast(Arc::new(Fast {
            start: AtomicU64::new(start),
            since: std::time::Instant::now(),
            factor: factor.max(1),
        })))
    }

    /// Now, in milliseconds since the Unix epoch.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    pub fn now(&self) -> UnixMillis {
        match &self.0 {
            Source::Mock(mock) => mock.load(Ordering::SeqCst),
            Source::Fast(fast) => {
                fast.start.load(Ordering::SeqCst)
                    + millis(fast.since.elapsed().saturating_mul(fast.factor))
            }
            Source::System => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, millis),
        }
    }

    /// Waits for `duration`. A mock clock jumps instead.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Source::Mock(_) => {
                self.advance(duration);
                tokio::task::yield_now().await;
            }
            Source::Fast(fast) => tokio::time::sleep(duration / fast.factor).await,
            Source::System => tokio::time::sleep(duration).await,
        }
    }

    /// Moves a clock for tests forward; does nothing to the machine's. Who waits does not notice.
    pub fn advance(&self, duration: Duration) {
        let now = match &self.0 {
            Source::Mock(mock) => mock,
            Source::Fast(fast) => &fast.start,
            Source::System => return,
        };
        now.fetch_add(millis(duration), Ordering::SeqCst);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A day as people write it, in UTC: `21 Nov 2026`.
#[must_use]
pub fn day(time: UnixMillis) -> String {
    http_date(time).get(5..16).unwrap_or_default().to_owned()
}

/// A day and a time of it: `21 Nov 2026 11:41 UTC`.
#[must_use]
pub fn minute(time: UnixMillis) -> String {
    format!("{} UTC", http_date(time).get(5..22).unwrap_or_default())
}

fn http_date(time: UnixMillis) -> String {
    // The latest that can be written is the year 9999.
    let since = Duration::from_millis(time.min(253_402_300_799_000));
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written() {
        assert_eq!(day(1_700_000_000_000), "14 Nov 2023");
        assert_eq!(minute(1_700_000_000_000), "14 Nov 2023 22:13 UTC");
        assert_eq!(day(0), "01 Jan 1970");
        assert_eq!(day(u64::MAX), "31 Dec 9999");
    }
}
