//! The end of invites that were not accepted: every such ghost leaves at the common expiry, whether it led anywhere or not. It has
//! no profile, no device and no keys; it is registered to leave, and that is all it ever does.

use crate::{
    homeserver::{Actor, Class, Error},
    portal::{Deps, Offered, Outcome, PortalError, invited},
    store::WithdrawTask,
};

/// The ghost leaves, unless its invite was accepted.
pub async fn run(deps: &Deps, task: &WithdrawTask, attempts: u32) -> Result<Outcome, PortalError> {
    if invited::expire(deps, &task.ghost).await? {
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
    Offered::forget(deps, &task.ghost).await?;
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
