//! Events that never came: what the homeserver owed when it was killed, or what happened while nobody listened.
//!
//! A lane asks after each start, before it handles anything, so that what was missed comes first; and when its watch says so.
//! Much of what it finds is stored, too, and comes again as a duplicate; but what was redacted since is left to that, because
//! only a stored transaction still has its content, and without it nobody would know that it was sent, and redact it there.

use ruma::RoomId;

use super::given_up::GivenUp;
use crate::{
    clock::UnixMillis,
    event::{Event, Membership},
    homeserver::Class,
    portal::{Deps, PortalError},
    store::{Direction, Portal, PortalId, PortalState},
};

/// So many events in a row that were handled prove that nothing is missing before them. One alone does not: holes lie between
/// events that were handed over.
const CERTAIN: usize = 40;

/// How many pages of what is given up are counted.
const COUNTED: usize = 20;

/// What was found.
#[derive(Debug, Default)]
pub struct Missed {
    /// The missed events of both sides, oldest first.
    pub events: Vec<(Direction, Event)>,
    /// The newest event of the user that was handled. It may have been sent on a moment before the end, without its receipt.
    pub newest: Option<Event>,
    /// Holes that are larger than `relay.gap_limit`: what of them is given up.
    pub given_up: Vec<GivenUp>,
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
    let side = Direction::Outbound;
    let outbound = walk(deps, &portal, side, portal_room, horizon).await?;
    let mut inbound = Walk::default();
    if joined {
        inbound = walk(deps, &portal, Direction::Inbound, &portal.room, horizon).await?;
    }
    for (walk, room) in [(&outbound, portal_room), (&inbound, &portal.room)] {
        // What was missed may be that the room is encrypted now, or who is in it; what is given up is handled by nobody.
        if !walk.missed.is_empty() || walk.given_up.is_some() {
            deps.e2ee.forget_room(room);
        }
    }
    let given_up = outbound.given_up.into_iter().chain(inbound.given_up);
    Ok(Some(Missed {
        given_up: given_up.collect(),
        events: in_turn(outbound.missed, inbound.missed),
        newest: outbound.newest.filter(|event| event.sender == portal.user),
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

/// Events older than this were forgotten on purpose.
pub(super) fn oldest(deps: &Deps) -> UnixMillis {
    match u64::from(deps.config.relay.link_days) {
        0 => 0,
        days => deps.clock.now().saturating_sub(days * 24 * 3_600_000),
    }
}

/// What one side's history showed.
#[derive(Default)]
struct Walk {
    missed: Vec<Event>,
    newest: Option<Event>,
    given_up: Option<GivenUp>,
}

/// Walks back from the newest event to where nothing is missing any more (or to the ghost's own join), and finds what was not
/// handled, and the newest that was. What is beyond the limit is counted only, and not even that for ever.
async fn walk(
    deps: &Deps,
    portal: &Portal,
    side: Direction,
    room: &RoomId,
    horizon: UnixMillis,
) -> Result<Walk, PortalError> {
    let actor = match side {
        Direction::Outbound => deps.host(portal),
        Direction::Inbound => deps.ghost(portal),
    };
    let limit = deps.config.relay.gap_limit as usize;
    let floor = portal.floors.iter().find(|floor| floor.side == side);
    let mut found = Walk::default();
    let mut from: Option<String> = None;
    let oldest = oldest(deps);
    let mut in_a_row = 0;
    let mut counted = 0;
    'pages: loop {
        if found.given_up.is_some() {
            counted += 1;
            if counted > COUNTED {
                found.given_up.iter_mut().for_each(GivenUp::and_more);
                break;
            }
        }
        let most = if from.is_none() { 50 } else { 100 };
        let page = match deps
            .homeserver
            .messages(&actor, room, from.as_deref(), most)
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
            if is_start(portal, &event) || floor.is_some_and(|floor| floor.event == event.event_id)
            {
                break 'pages;
            }
            // A time alone does not end the search: another server may have made it up.
            if event.origin_server_ts < oldest || handled.contains(&event.event_id) {
                in_a_row += 1;
                if in_a_row >= CERTAIN && event.origin_server_ts < horizon {
                    break 'pages;
                }
                found.newest.get_or_insert(event);
                continue;
            }
            if event.unsigned.redacted_because.is_some() || !concerns(deps, portal, room, &event) {
                continue;
            }
            in_a_row = 0;
            if found.missed.len() < limit {
                found.missed.push(event);
            } else {
                match &mut found.given_up {
                    Some(given_up) => given_up.add(&event),
                    none => *none = Some(GivenUp::new(side, &event)),
                }
            }
        }
        match page.end {
            Some(end) if !page.chunk.is_empty() => from = Some(end),
            _ => break,
        }
    }
    found.missed.reverse();
    Ok(found)
}

/// Whether an event is for the portal at all: what our own users did is not. Another user's ghost is a member like any other.
fn concerns(deps: &Deps, portal: &Portal, room: &RoomId, event: &Event) -> bool {
    deps.namespace.role(&event.sender).is_none()
        || event.sender.server_name() != deps.namespace.server()
        || event.sender != portal.ghost.id && room == portal.room
}

/// The event before which nothing concerns the portal: the ghost's join, or the creation of the portal room.
pub(super) fn is_start(portal: &Portal, event: &Event) -> bool {
    let ghost = event.state_key.as_deref() == Some(portal.ghost.id.as_str());
    let joined = event.membership() == Some(Membership::Join)
        && event.previous_membership() != Membership::Join;
    (ghost && joined) || event.kind == "m.room.create"
}
