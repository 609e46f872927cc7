//! What goes wrong, at random (seeded) or on demand.

use vizard::rng::Rng;

use super::{Fake, Inner, lock};

/// What happens to one request of the application service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429, nothing done, to be tried after so many milliseconds.
    Limited(u64),
    /// 403, nothing done.
    Forbidden,
    /// 200 with what makes no sense, nothing done.
    Nonsense,
    /// 404, nothing done.
    NotFound,
    /// 500, nothing done.
    ErrorBefore,
    /// 502, nothing done: another server does not answer.
    ErrorAway,
    /// 502 although it is done.
    ErrorAfter,
    /// The connection breaks, nothing done.
    DropBefore,
    /// The connection breaks although it is done.
    DropAfter,
    /// It takes so many milliseconds of the configured clock.
    Delay(u64),
}

/// How often (in 1,000) each fault happens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// [`Fault::Limited`].
    pub limited: u64,
    /// The `retry_after_ms` of it.
    pub retry_after_ms: u64,
    /// [`Fault::ErrorBefore`].
    pub error_before: u64,
    /// [`Fault::ErrorAfter`].
    pub error_after: u64,
    /// [`Fault::DropBefore`].
    pub drop_before: u64,
    /// [`Fault::DropAfter`].
    pub drop_after: u64,
    /// [`Fault::Delay`].
    pub delay: u64,
    /// The longest delay, in milliseconds.
    pub delay_ms: u64,
    /// The homeserver does not hear that a transaction was accepted, and pushes it again.
    pub push_lost: u64,
    /// After an accepted transaction an older one is pushed again under its old number.
    pub push_old: u64,
    /// An event that was delivered is delivered again in a new transaction.
    pub push_duplicate: u64,
}

impl Faults {
    /// A bit of everything, for simulations.
    #[must_use]
    pub fn some() -> Self {
        Self {
            limited: 20,
            retry_after_ms: 50,
            error_before: 20,
            error_after: 20,
            drop_before: 20,
            drop_after: 20,
            delay: 20,
            delay_ms: 20,
            push_lost: 50,
            push_old: 50,
            push_duplicate: 50,
        }
    }

    fn draw(&self, rng: &Rng) -> Option<Fault> {
        let mut left = rng.below(1000);
        let kinds = [
            (self.limited, Fault::Limited(self.retry_after_ms)),
            (self.error_before, Fault::ErrorBefore),
            (self.error_after, Fault::ErrorAfter),
            (self.drop_before, Fault::DropBefore),
            (self.drop_after, Fault::DropAfter),
        ];
        for (often, fault) in kinds {
            if left < often {
                return Some(fault);
            }
            left -= often;
        }
        (left < self.delay).then(|| Fault::Delay(rng.below(self.delay_ms + 1)))
    }
}

impl Fake {
    /// The way to the application service leads there from now on, and the homeserver does not know that it changed.
    pub fn lead_to(&self, url: &str) {
        lock(&self.inner.outbox).url = Some(url.to_owned());
    }

    /// Until this is called again, each send into these rooms meets [`Fault::ErrorBefore`].
    pub fn break_rooms(&self, rooms: &[&str]) {
        lock(&self.inner.log).broken = rooms.iter().map(ToString::to_string).collect();
    }

    /// An admin deactivates an account of the application service, which stays in its rooms: nothing can be done as it.
    pub fn deactivate(&self, user: &str) {
        lock(&self.inner.log).deactivated.push(user.to_owned());
    }
}

impl Inner {
    /// Whether an account is deactivated.
    pub(super) fn is_deactivated(&self, user: &str) -> bool {
        lock(&self.log).deactivated.iter().any(|gone| gone == user)
    }

    /// The fault that the next request to `endpoint` meets.
    pub(super) fn fault(&self, endpoint: &'static str, args: &[String]) -> Option<Fault> {
        let mut log = lock(&self.log);
        if endpoint == "send" && args.first().is_some_and(|room| log.broken.contains(room)) {
            return Some(Fault::ErrorBefore);
        }
        if let Some(at) = log.next.iter().position(|(name, _)| *name == endpoint) {
            return Some(log.next.remove(at).1);
        }
        log.faults.draw(&self.rng)
    }
}
