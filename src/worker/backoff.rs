//! How long to wait before trying again.

use std::time::Duration;

use crate::{portal::PortalError, rng::Rng};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

/// The wait after `attempts` failures: doubling from a quarter of a second to half a minute, with jitter, and at least what
/// the homeserver asked for.
pub(super) fn wait(attempts: u32, error: &PortalError, rng: &Rng) -> Duration {
    if matches!(error, PortalError::NotReady) {
        return FIRST;
    }
    if let PortalError::NotYet(wait) | PortalError::Limited(wait) = error {
        return *wait;
    }
    let doubled = FIRST.saturating_mul(1 << attempts.min(10)).min(LONGEST);
    let jitter =
        Duration::from_millis(rng.below(u64::try_from(doubled.as_millis()).unwrap_or(0) / 4 + 1));
    let asked = error
        .retry_after()
        .unwrap_or_default()
        .min(Duration::from_mins(5));
    (doubled + jitter).max(asked)
}
