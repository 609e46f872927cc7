//! An invite has come for a ghost that was offered.

use crate::{
    event::Event,
    portal::{Deps, PortalError},
};

/// Somebody invited a ghost of ours to a room.
pub async fn arrived(deps: &Deps, event: &Event) -> Result<(), PortalError> {
    let _ = (deps, event);
    Ok(())
}
