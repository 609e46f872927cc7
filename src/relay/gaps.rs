//! Events that never came: what the homeserver owed when it was killed, or what happened while nobody listened.
//!
//! A lane asks after each start, before it handles anything, so that what was missed comes first; and when its watch says so.
//! Much of what it finds is stored, too, and comes again as a duplicate; but what was redacted since is left to that, because
//! only a stored transaction still has its content, and without it nobody would know that it was sent, and redact it there.

use ruma::RoomId;

use crate::{
    clock::UnixMillis,
    event::{Event, Membership},
    homeserver::{Actor, Class},
    portal::{Deps, PortalError},
    store::{Direction, Portal, PortalId, PortalState},
};

/// So many events in a row that were handled prove that nothing is missing before them. One alone does not: holes lie between
/// events that were handed over.
const CERTAIN: usize = 40;

/// How many pages are looked through for an event that seems older than the join.
const LONGEST_LOOK: usize = 10;

/// What was found.
#[derive(Debug, Default)]
pub struct Missed {
    /// The missed events of both sides, oldest first.
    pub events: Vec<(Direction, Event)>,
    /// The newest event of the user that was handled. It may have been sent on a moment before the end, without its receipt.
    pub newest: Option<Event>,
}

/// Looks for missed events. `None`: it is too early, there is no portal room or the join is not finished; what comes until
/// then must wait or be looked for again. Holes are expected after `horizon`; before it, a row of handled events ends the
/// search.
pub async fn missed(
    deps: &Deps,
    id: PortalId,
    horizon: UnixMillis,
) -> Result<Option<Missed>, PortalError> {
    let portal = deps.portals.get(id).await?;
    let joined = portal.state == PortalState::Joined;
    let Some(portal_room) = &portal.portal_room else {
        return Ok(None);
    };
    if portal.state == PortalState::Joining {
        return Ok(None);
    }
    let (outbound, newest) = walk(deps, &portal, &deps.host(&portal), portal_room, horizon).await?;
    let mut inbound = Vec::new();
    if joined {
        (inbound, _) = walk(deps, &portal, &deps.ghost(&portal), &portal.room, horizon).await?;
    }
    Ok(Some(Missed {
        events: in_turn(outbound, inbound),
        newest: newest.filter(|event| event.sender == portal.user),
    }))
}

/// Puts both sides in one order by their times, without changing the order within a side: what one side answers, edits or
/// reacts to on the other has to come before it.
fn in_turn(outbound: Vec<Event>, inbound: Vec<Event>) -> Vec<(Direction, Event)> {
    let mut events = Vec::with_capacity(outbound.len() + inbound.len());
    let (mut outbound, mut inbound) = (
        outbound.into_iter().peekable(),
        inbound.into_iter().peekable(),
    );
    loop {
        let earlier = match (outbound.peek(), inbound.peek()) {
            (Some(out), Some(come)) => out.origin_server_ts < come.origin_server_ts,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return events,
        };
        events.extend(if earlier {
            outbound.next().map(|event| (Direction::Outbound, event))
        } else {
            inbound.next().map(|event| (Direction::Inbound, event))
        });
    }
}

/// Whether an event that seems older than the ghost's join came after it all the same: then it lies between the newest event
/// and the join. What came before the join is not for this portal; it reaches it when another portal leads into the same room,
/// or when the homeserver delivers something old again. Clocks of other servers differ, so time alone does not tell.
pub(super) async fn since_join(
    deps: &Deps,
    portal: &Portal,
    event: &Event,
) -> Result<bool, PortalError> {
    if event.origin_server_ts > portal.joined_at {
        return Ok(true);
    }
    let ghost = deps.ghost(portal);
    let mut from: Option<String> = None;
    for _ in 0..LONGEST_LOOK {
        let page = match deps
            .homeserver
            .messages(&ghost, &portal.room, from.as_deref(), 100)
            .await
        {
            Ok(page) => page,
            Err(error) if error.class() == Class::GiveUp => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        for found in page.chunk.iter().filter_map(|raw| Event::decode(raw)) {
            if found.event_id == event.event_id {
                return Ok(true);
            }
            if is_start(portal, &found) {
                return Ok(false);
            }
        }
        match page.end {
            Some(end) if !page.chunk.is_empty() => from = Some(end),
            _ => return Ok(false),
        }
    }
    // Long after the join, so not about it: a clock that is far behind.
    Ok(true)
}

/// Events older than this were forgotten on purpose.
fn oldest(deps: &Deps) -> UnixMillis {
    match u64::from(deps.config.relay.link_days) {
        0 => 0,
        days => deps.clock.now().saturating_sub(days * 24 * 3_600_000),
    }
}

/// Walks back from the newest event to where nothing is missing any more (or to the ghost's own join), and returns what was not
/// handled, and the newest that was.
async fn walk(
    deps: &Deps,
    portal: &Portal,
    actor: &Actor,
    room: &RoomId,
    horizon: UnixMillis,
) -> Result<(Vec<Event>, Option<Event>), PortalError> {
    let limit = deps.config.relay.gap_limit as usize;
    let mut missed: Vec<Event> = Vec::new();
    let mut known: Option<Event> = None;
    let mut from: Option<String> = None;
    let oldest = oldest(deps);
    let mut in_a_row = 0;
    'pages: while missed.len() < limit {
        let size = if from.is_none() { 50 } else { 100 };
        let page = match deps
            .homeserver
            .messages(actor, room, from.as_deref(), size)
            .await
        {
            Ok(page) => page,
            Err(error) if error.class() == Class::GiveUp => break,
            Err(error) => return Err(error.into()),
        };
        let events: Vec<Event> = page
            .chunk
            .iter()
            .filter_map(|raw| Event::decode(raw))
            .collect();
        let ids: Vec<_> = events.iter().map(|event| &*event.event_id).collect();
        let handled = deps.store.handled(portal.id, &ids).await?;
        for event in events {
            if is_start(portal, &event) {
                break 'pages;
            }
            // A time alone does not end the search: another server may have made it up.
            if event.origin_server_ts < oldest || handled.contains(&event.event_id) {
                in_a_row += 1;
                if in_a_row >= CERTAIN && event.origin_server_ts < horizon {
                    break 'pages;
                }
                known.get_or_insert(event);
                continue;
            }
            if event.unsigned.redacted_because.is_some() {
                continue;
            }
            if deps.namespace.role(&event.sender).is_none()
                || event.sender.server_name() != deps.namespace.server()
            {
                in_a_row = 0;
                missed.push(event);
            } else if event.sender != portal.ghost.id && room == portal.room {
                in_a_row = 0;
                missed.push(event); // another user's ghost is a member like any other
            }
        }
        match page.end {
            Some(end) if !page.chunk.is_empty() => from = Some(end),
            _ => break,
        }
    }
    missed.reverse();
    Ok((missed, known))
}

/// The event before which nothing concerns the portal: the ghost's join, or the creation of the portal room.
fn is_start(portal: &Portal, event: &Event) -> bool {
    let ghost = event.state_key.as_deref() == Some(portal.ghost.id.as_str());
    let joined = event.membership() == Some(Membership::Join)
        && event.previous_membership() != Membership::Join;
    (ghost && joined) || event.kind == "m.room.create"
}
