//! Looking for what was missed, and handling it before what came later.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ruma::OwnedEventId;

use super::{
    attempt::{Case, pause, persist},
    fetched::{self, received},
    handle::handle,
    lane::again,
    lanes::{Item, LaneKey, Lanes},
    outcome::Outcome,
};
use crate::{
    event::Event,
    portal::PortalError,
    relay::{Postponed, Relay, UNWRITTEN, gaps},
    store::{Direction, Link, PortalId, PortalState, Source},
};

/// How often missed events are looked for again while there are more each time.
const SETTLING_LOOKS: usize = 10;

/// How long a transaction may be on its way, in milliseconds: the homeserver made it before something in it was redacted.
const ON_ITS_WAY: u64 = 120_000;

/// Whether what was missed is to be looked for before these events are handled. Only events of other servers can follow a hole.
pub(super) fn looks_again(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    items: &[Item],
) -> bool {
    let deps = &lanes.deps;
    let (now, wary_until) = (deps.clock.now(), lanes.wary_until());
    if !lanes.fill_gaps {
        return false;
    }
    let due = items
        .iter()
        .filter(|item| {
            item.direction == Direction::Inbound
                && item.event.sender.server_name() != deps.namespace.server()
        })
        .find(|item| {
            relay
                .watch
                .is_due(now, item.event.origin_server_ts, item.received, wary_until)
        });
    let Some(first) = due else { return false };
    // What waits in the inbox alone would look as if it were missing, and be too much to fetch.
    if lanes.is_behind(id) {
        relay.watch.put_off(first.received);
        return false;
    }
    true
}

/// Waits until a join is over, so that what was missed is handled before what came later.
pub(super) async fn wait_for_join(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    outcome: &mut Outcome,
) {
    if lanes.fill_gaps && !relay.filled {
        Box::pin(wait_for_join_now(lanes, id, relay, outcome)).await;
    }
}

async fn wait_for_join_now(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    outcome: &mut Outcome,
) {
    while !relay.filled && !lanes.stop.is_cancelled() {
        let portal = persist(lanes, None, || lanes.deps.portals.get(id)).await;
        let comes = portal.is_some_and(|portal| match portal.state {
            PortalState::Joining => true,
            PortalState::Joined => portal.portal_room.is_none(),
            _ => false,
        });
        if !comes {
            // Between the last look and this the join may have ended.
            fill(lanes, id, relay, outcome).await;
            return;
        }
        if pause(lanes, 0, &PortalError::NotReady, Some(id))
            .await
            .is_some()
        {
            fill(lanes, id, relay, outcome).await;
        }
    }
}

/// Handles what was missed while nobody listened, once for each portal; not before it is joined.
pub(super) async fn fill(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    outcome: &mut Outcome,
) {
    if !relay.filled && lanes.fill_gaps && !waits_for_backlog(lanes, id, relay) {
        // Boxed: it is large, and seldom.
        Box::pin(fill_now(lanes, id, relay, outcome)).await;
    }
}

/// For an empty lane: whether it looks for what was missed once the inbox is handled. Then waits a while for that.
pub(super) async fn backlog(lanes: &Arc<Lanes>, id: PortalId, relay: &mut Relay) -> bool {
    let owed = relay.backlog.is_some();
    if waits_for_backlog(lanes, id, relay) {
        // The dispatcher is not there yet.
        let longest = Duration::from_secs(1);
        lanes.wait_for_item(&LaneKey::Portal(id), longest).await;
    }
    owed
}

/// Whether what the inbox holds for this lane is to be handled before anything is looked for.
fn waits_for_backlog(lanes: &Lanes, id: PortalId, relay: &mut Relay) -> bool {
    relay.backlog = relay
        .backlog
        .filter(|position| !lanes.has_handled(id, *position));
    relay.backlog.is_some()
}

async fn fill_now(lanes: &Arc<Lanes>, id: PortalId, relay: &mut Relay, outcome: &mut Outcome) {
    // What was handled is told by its link.
    outcome.commit().await;
    // Before the look: what comes while it is under way is newer than any hole.
    let position = lanes.deps.store.inbox_position().await;
    let horizon = relay.watch.horizon(lanes.deps.clock.now());
    let look = || gaps::missed(&lanes.deps, id, horizon);
    let mut missed = match persist(lanes, Some(id), look).await {
        Some(Some(missed)) => missed,
        Some(None) => return,
        None => {
            relay.filled = !lanes.stop.is_cancelled();
            relay.waited = false;
            return;
        }
    };
    let postponed: HashSet<OwnedEventId> = relay
        .postponed
        .iter()
        .map(|late| late.event.event_id.clone())
        .collect();
    let new = |(_, event): &(Direction, Event)| !postponed.contains(&event.event_id);
    missed.events.retain(new);
    // Reading makes the homeserver fetch what it lacks, which takes it a moment: look until there is no more.
    for _ in 0..SETTLING_LOOKS {
        if missed.events.is_empty()
            || pause(lanes, 0, &PortalError::NotReady, None)
                .await
                .is_none()
        {
            break;
        }
        let Some(Some(mut again)) = persist(lanes, Some(id), look).await else {
            break;
        };
        again.events.retain(new);
        let grown = again.events.len() > missed.events.len();
        missed.events = again.events;
        missed.given_up = again.given_up;
        if !grown {
            break;
        }
    }
    if !missed.given_up.is_empty() && may_wait_its_turn(lanes, id, relay, position) {
        // Too much to fetch, but it may be stored, and only wait its turn: nothing is given up before that was handled.
        relay.backlog = Some(position);
        relay.waited = true;
        return;
    }
    if let Some(event) = &missed.newest {
        again(lanes, relay, Direction::Outbound, event).await;
    }
    // Also what an earlier life gave up and could not tell any more.
    let told = persist(lanes, Some(id), || {
        relay.give_up(&lanes.deps, &missed.given_up)
    })
    .await;
    if told.is_none() && lanes.stop.is_cancelled() {
        return;
    }
    let missed = missed.events;
    relay
        .watch
        .looked(lanes.deps.clock.now(), !missed.is_empty());
    if !missed.is_empty() {
        tracing::info!(portal = %id, events = missed.len(), "fetched missed events");
        metrics::counter!("vizard_events_total", "outcome" => "fetched")
            .increment(missed.len() as u64);
    }
    if !store(lanes, id, &missed).await {
        return;
    }
    for (direction, event) in missed {
        if event.kind == "m.room.redaction" && !known(lanes, relay, &event).await {
            let (found, position) = (
                lanes.deps.clock.now(),
                lanes.deps.store.inbox_position().await,
            );
            relay.postponed.push(Postponed {
                direction,
                event,
                found,
                position,
            });
            continue;
        }
        if !fetched(lanes, id, relay, outcome, direction, &event).await {
            return;
        }
    }
    // What the lane has in its hand fills the relay's memory of new links by itself.
    outcome.commit().await;
    relay.filled = true;
    relay.waited = false;
}

/// Whether what a look would give up may be stored and only wait its turn. In a room in which something is always under way that
/// would be so for ever; so the second time it is only if more may wait than is fetched: what came after the first look is the newest
/// that there is, and no more than that is among what is given up.
fn may_wait_its_turn(lanes: &Lanes, id: PortalId, relay: &Relay, position: i64) -> bool {
    if relay.waited {
        let fetched = lanes.deps.config.relay.gap_limit as usize;
        lanes.may_have_more_than(id, position, fetched)
    } else {
        !lanes.has_handled(id, position)
    }
}

/// Stores what was fetched, before it is handled, unless it is stored already: this may be done again and again, when the lane breaks
/// off or Vizard is killed. The dispatcher gives it to the lane once more, which finds it handled. `false`: the process stops.
async fn store(lanes: &Arc<Lanes>, id: PortalId, missed: &[(Direction, Event)]) -> bool {
    let source = |event: &Event| lanes.deps.store.source(id, &event.event_id);
    let mut lacking: Vec<(Source, &Event)> = missed
        .iter()
        .map(|(_, event)| (source(event), event))
        .collect();
    lanes.unstored(id, &mut lacking);
    for part in lacking.chunks(fetched::MOST) {
        let Some(body) = fetched::encode(id, part.iter().map(|(_, event)| *event)) else {
            continue;
        };
        let push = || async { Ok(lanes.deps.store.push_inbox(body.clone()).await?) };
        if persist(lanes, Some(id), push).await.is_some() {
            let sources: Vec<Source> = part.iter().map(|(source, _)| *source).collect();
            lanes.stored(id, &sources);
        } else if lanes.stop.is_cancelled() {
            return false;
        }
    }
    true
}

/// Handles one event that was fetched, not delivered. `false`: the process stops.
async fn fetched(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    outcome: &mut Outcome,
    direction: Direction,
    event: &Event,
) -> bool {
    let case = Case {
        direction,
        event,
        received: received(event, lanes.deps.clock.now()),
        copy: false,
    };
    let key = LaneKey::Portal(id);
    lanes.begin(&key, direction, event);
    handle(lanes, id, relay, outcome, case).await;
    lanes.noted(&key);
    outcome.flow(UNWRITTEN).await;
    !lanes.stop.is_cancelled()
}

/// Handles the redactions that came before what they redact, as far as that is relayed now.
pub(super) async fn postponed(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    outcome: &mut Outcome,
) {
    if !relay.postponed.is_empty() {
        Box::pin(postponed_now(lanes, id, relay, outcome)).await;
    }
}

async fn postponed_now(lanes: &Arc<Lanes>, id: PortalId, relay: &mut Relay, outcome: &mut Outcome) {
    for late in std::mem::take(&mut relay.postponed) {
        if known(lanes, relay, &late.event).await {
            outcome.commit().await;
            if !handled_now(lanes, id, &late.event).await
                && !fetched(lanes, id, relay, outcome, late.direction, &late.event).await
            {
                return;
            }
        } else if late.direction == Direction::Outbound && is_void(lanes, id, &late) {
            // The user is told.
            if !fetched(lanes, id, relay, outcome, late.direction, &late.event).await {
                return;
            }
        } else if is_void(lanes, id, &late) {
            // Noted, or each look would find it again.
            let source = lanes.deps.store.source(id, &late.event.event_id);
            let link = Link::of(&late.event, late.direction, None);
            outcome.note(id, source, link);
        } else {
            relay.postponed.push(late);
        }
    }
}

/// Whether what a redaction redacts never comes any more: it was in no transaction that was stored when the redaction was found,
/// nor in one that was on its way then.
fn is_void(lanes: &Lanes, id: PortalId, late: &Postponed) -> bool {
    let waited = lanes.deps.clock.now().saturating_sub(late.found);
    waited >= ON_ITS_WAY && !lanes.stop.is_cancelled() && lanes.has_handled(id, late.position)
}

async fn handled_now(lanes: &Arc<Lanes>, id: PortalId, event: &Event) -> bool {
    let done = persist(lanes, Some(id), || async {
        Ok(lanes.deps.store.handled(id, &[&event.event_id]).await?)
    })
    .await;
    done.is_some_and(|done| !done.is_empty())
}

/// Whether what a redaction redacts was relayed. If not, it may still be: its transaction may be stored, and then the redaction
/// is handled after it.
async fn known(lanes: &Arc<Lanes>, relay: &mut Relay, redaction: &Event) -> bool {
    let Some(redacted) = redaction.redacted() else {
        return false;
    };
    let mut attempts = 0;
    loop {
        match relay.knows(&lanes.deps, &redacted).await {
            Ok(known) => return known,
            Err(error) => {
                if pause(lanes, attempts, &error, None).await.is_none() {
                    return false;
                }
                attempts += 1;
            }
        }
    }
}
