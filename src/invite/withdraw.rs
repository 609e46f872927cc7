//! The end of invites that were not accepted: every such ghost leaves at the common expiry, whether it led anywhere or not. It has
//! no profile, no device and no keys; it is registered to leave, and that is all it ever does.

use crate::{
    clock::UnixMillis,
    homeserver::{Actor, Class, Error},
    portal::{Deps, Offered, Outcome, PortalError, invited},
    store::WithdrawTask,
};

/// So much later than it was to be, the end was missed: Vizard was not running.
const MISSED: UnixMillis = 30 * 60 * 1000;
/// What was missed happens within so long, lest all of it happens at the start.
const SPREAD: UnixMillis = 2 * 60 * 60 * 1000;

/// The ghost leaves, unless its invite was accepted.
pub async fn run(deps: &Deps, task: &WithdrawTask, attempts: u32) -> Result<Outcome, PortalError> {
    let now = deps.clock.now();
    let offered = Offered::of(deps, &task.ghost).await?;
    let leave_at = offered.map(|offered| offered.leave_at).or(task.leave_at);
    if attempts == 0
        && let Some(leave_at) = leave_at
        && now > leave_at.saturating_add(MISSED)
    {
        return Ok(Outcome::At(now + deps.rng.below(SPREAD)));
    }
    let expired = invited::expire(deps, &task.ghost).await;
    // Also when something failed at home: others would see that it stays, and a decoy has nothing at home that could fail.
    if !invited::is_accepted(deps, &task.ghost).await? {
        match leave(deps, task).await {
            Err(error) if error.class() == Class::Retry => {
                tracing::debug!(attempts, "an invited ghost could not leave; trying again");
                return Ok(Outcome::Later);
            }
            Err(_) => {
                metrics::counter!("vizard_failures_total", "class" => "withdraw").increment(1);
            }
            Ok(()) => {}
        }
    }
    expired?;
    Offered::forget(deps, &task.ghost).await?;
    deps.beyond.forget(&task.ghost);
    Ok(Outcome::Done)
}

async fn leave(deps: &Deps, task: &WithdrawTask) -> Result<(), Error> {
    deps.homeserver.register(&task.ghost).await?;
    let ghost = Actor {
        user: task.ghost.clone(),
        device: None,
    };
    deps.homeserver.leave(&ghost, &task.room).await
}
