//! What the user took back while nobody listened: it was fetched in an earlier life, stored as it was then, and perhaps sent.

use super::{Relay, inbound::is_redacted, reconcile};
use crate::{
    clock::UnixMillis,
    event::Event,
    portal::{Deps, PortalError},
    store::{Direction, Link},
};

impl Relay {
    /// What became of a stored event of the portal room of which nothing is known, if it is redacted by now. `None`: it is not, or
    /// nobody can say. What was sent is linked, so that its redaction finds it; nothing is sent any more.
    pub async fn taken_back(
        &mut self,
        deps: &Deps,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Option<Link>, PortalError> {
        let portal = deps.portals.get(self.portal).await?;
        let (host, id) = (deps.host(&portal), &event.event_id);
        if event.state_key.is_some()
            || event.sender != portal.user
            || !is_redacted(deps, &host, &event.room_id, id).await?
        {
            return Ok(None);
        }
        let (ghost, former) = (deps.ghost(&portal), portal.ghost.former.as_ref());
        let txn_id = deps.store.txn_id(&ghost.user, id.as_str(), "out", 0);
        let sent = reconcile::find(deps, &ghost, former, &portal.room, &txn_id, received).await?;
        if sent.is_some() {
            self.delivered(event);
        }
        let link = Link::of(event, Direction::Outbound, sent);
        self.remember(&link);
        Ok(Some(link))
    }
}
