//! A room made behind a fresh pseudonym: a job.

use super::{Deps, Outcome, PortalError};
use crate::store::CreateTask;

/// Carries the making of a room as far as it goes.
pub async fn run(
    deps: &Deps,
    task: &mut CreateTask,
    attempts: u32,
) -> Result<Outcome, PortalError> {
    let _ = (deps, task, attempts);
    Ok(Outcome::Done)
}
