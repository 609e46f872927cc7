//! A ghost that is in its room no more, and nobody said so.
//!
//! When servers settle a quarrel about a room's state, somebody may be outside afterwards without any event of it (a state reset).
//! So now and then the homeserver is asked which rooms a ghost is in.

use super::{Deps, PortalError};
use crate::{
    homeserver::Class,
    rewrite::Scrubbed,
    store::{PortalId, PortalState},
};

/// So long after a join nothing is concluded, in milliseconds: a part of the homeserver may not have heard of it.
const SETTLED: u64 = 300_000;

impl Deps {
    /// Compares a portal with the rooms that its ghost is in. Whether the ghost is outside without having left: then the portal
    /// says so, and is as after a removal.
    pub async fn notice_removal(&self, id: PortalId) -> Result<bool, PortalError> {
        // A join or a leave that is under way changes both.
        let _alone = self.portals.alone(id).await;
        let portal = self.portals.get(id).await?;
        let since = self.clock.now().saturating_sub(portal.joined_at);
        if portal.state != PortalState::Joined || since < SETTLED {
            return Ok(false);
        }
        let rooms = self.homeserver.joined_rooms(&self.ghost(&portal)).await?;
        if rooms.contains(&portal.room) {
            return Ok(false);
        }
        // An event of it may have been handled meanwhile.
        let portal = self.portals.get(id).await?;
        if portal.state != PortalState::Joined {
            return Ok(false);
        }
        tracing::info!(portal = %id, "a ghost is in its room no more");
        // First the words: after a crash in between they are the same event.
        if let Some(room) = &portal.portal_room {
            let text = format!(
                "{} is not in this room any more: your homeserver lost its membership, as happens when servers disagree about a room. `{} rejoin` tries to return.",
                portal.ghost.nick, self.config.portal.command_prefix
            );
            let source = format!("outside {}", portal.joined_at);
            let notice = Scrubbed::notice(&text);
            let host = self.host(&portal);
            match self.say(&host, room, &notice, &source, "outside", 0).await {
                Err(error) if error.class() == Class::Retry => return Err(error),
                _ => {}
            }
        }
        self.portals
            .update(id, |portal| {
                if portal.state == PortalState::Joined {
                    portal.state = PortalState::Left;
                }
            })
            .await?;
        Ok(true)
    }
}
