//! One event of a portal, delivered or fetched: what has to be durable before it is handled. What has to be after, [`Outcome`] says.

use std::sync::Arc;

use super::{
    attempt::{Case, opened, step},
    lanes::Lanes,
    outcome::Outcome,
};
use crate::{
    event::Event,
    relay::{ENCRYPTED, Relay},
    store::{Direction, PortalId},
};

/// Handles an event that was not handled before, and notes its link. `false`: it was not handled, because the process stops.
pub(super) async fn handle(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    outcome: &mut Outcome,
    case: Case<'_>,
) -> bool {
    // What cannot be opened now may be a command as well.
    let opened = opened(&lanes.deps, relay, case.direction, case.event).await;
    let event = opened.as_deref().unwrap_or(case.event);
    if may_change_portal(lanes, case.direction, event) {
        // What was sent until now must be known when this is done: after a crash in between it would be handled again, as if it
        // had not been sent, and the portal would be another.
        outcome.commit().await;
    }
    let Some(link) = step(lanes, id, relay, Case { event, ..case }).await else {
        return false;
    };
    let source = lanes.deps.store.source(id, &event.event_id);
    outcome.note(id, source, link);
    true
}

/// Whether handling an event may change what later ones meet: state, or a command.
pub(super) fn may_change_portal(lanes: &Lanes, direction: Direction, event: &Event) -> bool {
    let prefix = &lanes.deps.config.portal.command_prefix;
    event.state_key.is_some()
        || direction == Direction::Outbound
            && (event.kind == ENCRYPTED || event.content.get().contains(prefix))
}
