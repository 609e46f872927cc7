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
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock for tests: it stands at `start` and only moves when somebody waits (a wait ends at once
    /// and moves the clock by its length) or when [`Clock::advance`] is called.
    #[must_use]
    pub fn mock(start: UnixMillis) -> Self {
        Self(Some(Arc::new(AtomicU64::new(start))))
    }

    /// Now, in milliseconds since the Unix epoch.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    pub fn now(&self) -> UnixMillis {
        match &self.0 {
            Some(mock) => mock.load(Ordering::SeqCst),
            None => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| {
                    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
                }),
        }
    }

    /// Waits for `duration`. A mock clock jumps instead.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Some(_) => {
                self.advance(duration);
                tokio::task::yield_now().await;
            }
            None => tokio::time::sleep(duration).await,
        }
    }

    /// Moves a mock clock forward; does nothing to the machine's.
    pub fn advance(&self, duration: Duration) {
        if let Some(mock) = &self.0 {
            mock.fetch_add(
                u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
                Ordering::SeqCst,
            );
        }
    }
}
