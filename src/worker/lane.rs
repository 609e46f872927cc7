//! Working off the lane of one portal.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ruma::{EventId, OwnedEventId};

use super::{
    attempt::{Case, mend, pause, persist, record_time},
    handle::{handle, may_change_portal},
    lanes::{Item, LaneKey, Lanes, Taken},
    missed::{backlog, fill, looks_again, postponed, wait_for_join},
    outcome::Outcome,
    ticket::Closing,
};
use crate::{
    event::Event,
    homeserver::Class,
    relay::{Relay, UNWRITTEN},
    store::{Direction, PortalId},
};

/// Works off a portal's lane until it is empty or the process stops.
pub(super) async fn portal(lanes: &Arc<Lanes>, id: PortalId) {
    let key = LaneKey::Portal(id);
    let mut relay = lanes.relay(id);
    // Outbound events that reached the room and whose receipt is still to come: their transactions stay stored until
    // then, so that a crash does not leave a message without its fate.
    let mut unreceipted = Closing::default();
    let mut outcome = Outcome::new(lanes, relay.durable_at);
    'lane: while !lanes.stop.is_cancelled() {
        fill(lanes, id, &mut relay, &mut outcome).await;
        if lanes.stop.is_cancelled() {
            break; // perhaps in the middle of what was missed: nothing newer may come before the rest
        }
        let Taken::Items(items) = lanes.take(&key, outcome.room(UNWRITTEN), true) else {
            if !outcome.is_durable() {
                outcome.rest(&key).await;
                continue;
            }
            if relay.owes_receipt() {
                relay.settle();
                let wait = relay.receipt_due_in(lanes.deps.clock.now());
                lanes.wait_for_item(&key, Duration::from_millis(wait)).await;
                if relay.receipt_due_in(lanes.deps.clock.now()) == 0 {
                    receipt(lanes, id, &mut relay, &mut unreceipted, &mut outcome).await;
                    outcome.commit().await;
                }
                continue;
            }
            if lanes.catches_up(&key).await || backlog(lanes, id, &mut relay).await {
                continue;
            }
            // Between the two looks an event may have come; then the lane goes on.
            match lanes.end(&key, id, relay) {
                Some(back) => relay = back,
                None => return,
            }
            continue;
        };
        lanes.update(id, &mut relay);
        if items.iter().any(|item| needs_portal(lanes, item)) {
            wait_for_join(lanes, id, &mut relay, &mut outcome).await;
            if lanes.stop.is_cancelled() {
                break;
            }
        }
        if looks_again(lanes, id, &mut relay, &items) {
            relay.filled = false;
            fill(lanes, id, &mut relay, &mut outcome).await;
            if lanes.stop.is_cancelled() {
                break;
            }
        }
        let unknown = items.iter().filter(|item| !outcome.seen.knows(item));
        let asked: Vec<&EventId> = unknown.map(|item| &*item.event.event_id).collect();
        let handled = handled(lanes, id, &asked).await;
        drop(items);
        while let Some(item) = lanes.next(&key) {
            let owed = relay.owes_receipt();
            if lanes.stop.is_cancelled() {
                break 'lane;
            }
            if item.look.found
                || outcome.seen.contains(item.look.source)
                || handled.contains(&item.event.event_id)
            {
                again(lanes, &mut relay, item.direction, &item.event).await;
            } else if handle(lanes, id, &mut relay, &mut outcome, Case::of(&item)).await {
                record_time(item.direction, item.received, lanes.deps.clock.now());
            } else if lanes.stop.is_cancelled() {
                break 'lane;
            }
            outcome.count += 1;
            lanes.noted(&key);
            if outcome.has_refused() {
                outcome.closing.add(item.transaction);
                outcome.commit().await;
                continue;
            }
            if relay.owes_receipt() && (!owed || item.direction == Direction::Outbound) {
                unreceipted.add(item.transaction);
            } else {
                outcome.closing.add(item.transaction);
            }
        }
        if relay.owes_receipt() && relay.receipt_due_in(lanes.deps.clock.now()) == 0 {
            receipt(lanes, id, &mut relay, &mut unreceipted, &mut outcome).await;
        }
        outcome.flow(UNWRITTEN).await;
        postponed(lanes, id, &mut relay, &mut outcome).await;
    }
    outcome.commit().await;
}

/// Whether an event can only be carried by a portal that is there; a command can be handled before.
fn needs_portal(lanes: &Lanes, item: &Item) -> bool {
    !may_change_portal(lanes, item.direction, &item.event)
}

/// An event that was handled before: its receipt may not have been sent.
pub(super) async fn again(
    lanes: &Arc<Lanes>,
    relay: &mut Relay,
    direction: Direction,
    event: &Event,
) {
    metrics::counter!("vizard_events_total", "outcome" => "duplicate").increment(1);
    if direction != Direction::Outbound {
        return;
    }
    let mut attempts = 0;
    while let Err(error) = Box::pin(relay.handled_before(&lanes.deps, event)).await {
        if error.class() == Class::GiveUp || pause(lanes, attempts, &error, None).await.is_none() {
            return;
        }
        attempts += 1;
    }
}

async fn receipt(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    unreceipted: &mut Closing,
    outcome: &mut Outcome,
) {
    // A thousand lanes may come to this at once, and each connection to the homeserver takes memory.
    let Ok(slot) = lanes.slots.acquire().await else {
        return;
    };
    let sent = Box::pin(relay.send_receipt(&lanes.deps)).await;
    drop(slot);
    match sent {
        Ok(()) => {}
        // What it covers stays stored until it is sent; meanwhile the lane goes on.
        Err(error) if error.class() == Class::Retry => {
            mend(lanes, &error, Some(id)).await;
            relay.postpone_receipt(lanes.deps.clock.now());
            return;
        }
        Err(_) => relay.drop_receipt(),
    }
    outcome.closing.append(std::mem::take(unreceipted));
}

/// Which of these events were handled before.
pub(super) async fn handled(
    lanes: &Arc<Lanes>,
    id: PortalId,
    events: &[&EventId],
) -> HashSet<OwnedEventId> {
    if events.is_empty() {
        return HashSet::new();
    }
    // Boxed, like what commits: a lane that waits keeps no room for it.
    let asked = persist(lanes, Some(id), || async {
        Ok(lanes.deps.store.handled(id, events).await?)
    });
    Box::pin(asked).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_: impl FnOnce(&'static Arc<Lanes>, PortalId) -> F) -> usize {
        size_of::<F>()
    }

    /// A thousand portals may wait to send their receipts.
    #[test]
    fn a_waiting_lane_takes_little_memory() {
        let size = size_of_future(portal);
        assert!(size < 2500, "{size} bytes");
    }
}
