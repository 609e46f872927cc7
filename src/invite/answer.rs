//! Answering an invite request.

use crate::{
    e2ee::Mail,
    portal::{Deps, PortalError},
};

/// Answers a request that reached the bot.
pub async fn request(deps: &Deps, mail: &Mail) -> Result<(), PortalError> {
    let _ = (deps, mail);
    Ok(())
}
