//! Working off one lane.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ruma::{OwnedEventId, RoomId};

use super::{
    backoff,
    lanes::{Item, LaneKey, Lanes},
    ticket::Closing,
};
use crate::{
    bot,
    event::{Event, Membership},
    homeserver::Class,
    portal::PortalError,
    relay::{Relay, gaps},
    store::{Batch, Direction, Link, PortalId},
};

/// Events handled between two commits of one lane.
const BATCH: usize = 100;

/// After so many failures in a row the user is told that a message waits.
const SLOW: u32 = 4;

/// What a batch came to, until it is committed.
#[derive(Default)]
struct Outcome {
    links: Vec<(PortalId, Link)>,
    closing: Closing,
    count: usize,
}

/// Works off a portal's lane until it is empty or the process stops.
pub(super) async fn portal(lanes: &Arc<Lanes>, id: PortalId) {
    let key = LaneKey::Portal(id);
    let mut relay = lanes.relay(id);
    // Outbound events that reached the room and whose receipt is still to come: their transactions stay stored until
    // then, so that a crash does not leave a message without its fate.
    let mut unreceipted = Closing::default();
    let mut outcome = Outcome::default();
    'lane: while !lanes.stop.is_cancelled() {
        fill(lanes, id, &mut relay, &mut outcome).await;
        let Some(items) = lanes.take(&key, BATCH, true) else {
            if relay.owes_receipt() {
                let wait = relay.receipt_due_in(lanes.deps.clock.now());
                lanes.wait_for_item(&key, Duration::from_millis(wait)).await;
                if relay.receipt_due_in(lanes.deps.clock.now()) == 0 {
                    receipt(lanes, &mut relay, &mut unreceipted, &mut outcome).await;
                    commit(lanes, &mut outcome).await;
                }
                continue;
            }
            // Between the two looks an event may have come; then the lane goes on.
            match lanes.end(&key, id, relay) {
                Some(back) => relay = back,
                None => return,
            }
            continue;
        };
        if items.iter().any(needs_portal) {
            wait_for_join(lanes, id, &mut relay, &mut outcome).await;
        }
        let handled = handled(lanes, id, &items).await;
        for item in items {
            let owed = relay.owes_receipt();
            if handled.contains(&item.event.event_id) {
                again(lanes, &mut relay, item.direction, &item.event).await;
            } else if let Some(link) = step(
                lanes,
                id,
                &mut relay,
                item.direction,
                &item.event,
                item.received,
            )
            .await
            {
                outcome.links.push((id, link));
            } else if lanes.stop.is_cancelled() {
                break 'lane;
            }
            outcome.count += 1;
            if relay.owes_receipt() && (!owed || item.direction == Direction::Outbound) {
                unreceipted.add(item.transaction);
            } else {
                outcome.closing.add(item.transaction);
            }
        }
        if relay.owes_receipt() && relay.receipt_due_in(lanes.deps.clock.now()) == 0 {
            receipt(lanes, &mut relay, &mut unreceipted, &mut outcome).await;
        }
        commit(lanes, &mut outcome).await;
    }
    commit(lanes, &mut outcome).await;
}

/// Whether an event can only be shown in a portal that is there.
fn needs_portal(item: &Item) -> bool {
    item.direction == Direction::Inbound && item.event.state_key.is_none()
}

/// Waits until a join is over, so that what was missed is handled before what came later.
async fn wait_for_join(lanes: &Arc<Lanes>, id: PortalId, relay: &mut Relay, outcome: &mut Outcome) {
    while lanes.fill_gaps && !relay.filled && !lanes.stop.is_cancelled() {
        if pause(lanes, 0, &PortalError::NotReady, Some(id))
            .await
            .is_some()
        {
            fill(lanes, id, relay, outcome).await;
        }
    }
}

/// Handles what was missed while nobody listened, once for each portal; not before it is joined.
async fn fill(lanes: &Arc<Lanes>, id: PortalId, relay: &mut Relay, outcome: &mut Outcome) {
    if relay.filled || !lanes.fill_gaps {
        return;
    }
    let missed = match persist(lanes, None, || gaps::missed(&lanes.deps, id)).await {
        Some(Some(missed)) => missed,
        Some(None) => return,
        None => {
            relay.filled = !lanes.stop.is_cancelled();
            return;
        }
    };
    if let Some(event) = &missed.newest {
        again(lanes, relay, Direction::Outbound, event).await;
    }
    let missed = missed.events;
    if !missed.is_empty() {
        tracing::info!(portal = %id, events = missed.len(), "fetched missed events");
        metrics::counter!("vizard_events_total", "outcome" => "fetched")
            .increment(missed.len() as u64);
    }
    for chunk in missed.chunks(BATCH) {
        for (direction, event) in chunk {
            match step(lanes, id, relay, *direction, event, event.origin_server_ts).await {
                Some(link) => outcome.links.push((id, link)),
                None if lanes.stop.is_cancelled() => return commit(lanes, outcome).await,
                None => {}
            }
        }
        commit(lanes, outcome).await;
    }
    relay.filled = true;
}

/// One event, tried until it is over. `None`: the process stops, or the portal is gone.
async fn step(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    direction: Direction,
    event: &Event,
    received: u64,
) -> Option<Link> {
    let deps = &lanes.deps;
    let mut attempts = 0;
    loop {
        let permit = lanes.slots.acquire().await.ok()?;
        let started = deps.clock.now();
        let result = match command(lanes, id, direction, event).await {
            Ok(Some(invocation)) => bot::handle(deps, &invocation).await.map(|()| Link {
                source: event.event_id.clone(),
                target: None,
                direction,
                sender: event.sender.clone(),
            }),
            Ok(None) => relay.step(deps, direction, event, received).await,
            Err(error) => Err(error),
        };
        drop(permit);
        match result {
            Ok(link) => {
                #[expect(clippy::cast_precision_loss, reason = "a histogram")]
                metrics::histogram!("vizard_relay_seconds", "direction" => label(direction))
                    .record(deps.clock.now().saturating_sub(started) as f64 / 1000.0);
                return Some(link);
            }
            Err(error) if error.class() == Class::GiveUp => {
                metrics::counter!("vizard_failures_total", "class" => "give_up").increment(1);
                if !matches!(error, PortalError::Gone) {
                    tracing::warn!(portal = %id, direction = label(direction), "an event could not be handled");
                }
                return Some(Link {
                    source: event.event_id.clone(),
                    target: None,
                    direction,
                    sender: event.sender.clone(),
                });
            }
            Err(error) => {
                if attempts == SLOW && direction == Direction::Outbound && event.state_key.is_none()
                {
                    let _ = relay.delayed(deps, event).await;
                }
                pause(lanes, attempts, &error, Some(id)).await?;
                attempts += 1;
            }
        }
    }
}

/// The command in an outbound event, if it is one.
async fn command(
    lanes: &Arc<Lanes>,
    id: PortalId,
    direction: Direction,
    event: &Event,
) -> Result<Option<bot::Invocation>, PortalError> {
    let prefix = &lanes.deps.config.portal.command_prefix;
    if direction != Direction::Outbound || !event.content.get().contains(prefix.as_str()) {
        return Ok(None);
    }
    let Some(text) = bot::text_of(event).and_then(|text| bot::strip_prefix(&text, prefix)) else {
        return Ok(None);
    };
    let portal = lanes.deps.portals.get(id).await?;
    if event.sender != portal.user {
        return Ok(None);
    }
    Ok(Some(bot::Invocation {
        room: event.room_id.clone(),
        event: event.event_id.clone(),
        sender: event.sender.clone(),
        text,
        portal: Some(id),
    }))
}

/// An event that was handled before: its receipt may not have been sent.
async fn again(lanes: &Arc<Lanes>, relay: &mut Relay, direction: Direction, event: &Event) {
    metrics::counter!("vizard_events_total", "outcome" => "duplicate").increment(1);
    if direction != Direction::Outbound {
        return;
    }
    let mut attempts = 0;
    while let Err(error) = relay.handled_before(&lanes.deps, event).await {
        if error.class() == Class::GiveUp || pause(lanes, attempts, &error, None).await.is_none() {
            return;
        }
        attempts += 1;
    }
}

async fn receipt(
    lanes: &Arc<Lanes>,
    relay: &mut Relay,
    unreceipted: &mut Closing,
    outcome: &mut Outcome,
) {
    match relay.send_receipt(&lanes.deps).await {
        Ok(()) => {}
        // What it covers stays stored until it is sent; meanwhile the lane goes on.
        Err(error) if error.class() == Class::Retry => {
            relay.postpone_receipt(lanes.deps.clock.now());
            return;
        }
        Err(_) => relay.drop_receipt(),
    }
    outcome.closing.append(std::mem::take(unreceipted));
}

/// Writes what was done, however often it takes: until then the transactions stay stored.
async fn commit(lanes: &Arc<Lanes>, outcome: &mut Outcome) {
    let Outcome {
        links,
        closing,
        count,
    } = std::mem::take(outcome);
    if !links.is_empty() || !closing.is_empty() {
        let done = closing.complete();
        if write(
            lanes,
            Batch {
                links,
                done: done.clone(),
            },
        )
        .await
        .is_none()
        {
            return;
        }
        let late = closing.close(&done);
        if !late.is_empty() {
            write(
                lanes,
                Batch {
                    links: Vec::new(),
                    done: late,
                },
            )
            .await;
        }
    }
    if count > 0 {
        lanes.finished(count);
    }
}

async fn write(lanes: &Arc<Lanes>, batch: Batch) -> Option<()> {
    persist(lanes, None, || async {
        Ok(lanes.deps.store.commit(batch.clone()).await?)
    })
    .await
}

async fn handled(lanes: &Arc<Lanes>, id: PortalId, items: &[Item]) -> HashSet<OwnedEventId> {
    let ids: Vec<_> = items.iter().map(|item| &*item.event.event_id).collect();
    persist(lanes, Some(id), || async {
        Ok(lanes.deps.store.handled(id, &ids).await?)
    })
    .await
    .unwrap_or_default()
}

/// Tries something until it works or will not pass. `None`: it will not, or the process stops.
async fn persist<T, F: Future<Output = Result<T, PortalError>> + Send>(
    lanes: &Arc<Lanes>,
    id: Option<PortalId>,
    attempt: impl Fn() -> F,
) -> Option<T> {
    let mut attempts = 0;
    loop {
        match attempt().await {
            Ok(value) => return Some(value),
            Err(error) if error.class() == Class::GiveUp => return None,
            Err(error) => {
                pause(lanes, attempts, &error, id).await?;
                attempts += 1;
            }
        }
    }
}

/// Waits before the next attempt. `None`: the process stops.
async fn pause(
    lanes: &Arc<Lanes>,
    attempts: u32,
    error: &PortalError,
    id: Option<PortalId>,
) -> Option<()> {
    if !matches!(error, PortalError::NotReady) {
        metrics::counter!("vizard_failures_total", "class" => "retry").increment(1);
        if attempts == SLOW {
            tracing::warn!(portal = id.map(tracing::field::display), %error, "still trying");
        }
    }
    let wait = backoff::wait(attempts, error, &lanes.deps.rng);
    lanes
        .stop
        .run_until_cancelled(lanes.deps.clock.sleep(wait))
        .await
}

/// Works off the lane of a direct chat.
pub(super) async fn direct(lanes: &Arc<Lanes>, room: &RoomId) {
    let key = LaneKey::Direct(room.to_owned());
    let mut id = [0; 16];
    id.copy_from_slice(&lanes.deps.store.derive("direct", &[room.as_bytes()])[..16]);
    let id = PortalId(id);
    let mut outcome = Outcome::default();
    while let Some(items) = lanes.take(&key, BATCH, false) {
        let handled = handled(lanes, id, &items).await;
        for item in items {
            if !handled.contains(&item.event.event_id) {
                if persist(lanes, None, || answer(lanes, room, &item.event))
                    .await
                    .is_none()
                    && lanes.stop.is_cancelled()
                {
                    return;
                }
                let link = Link {
                    source: item.event.event_id.clone(),
                    target: None,
                    direction: item.direction,
                    sender: item.event.sender.clone(),
                };
                outcome.links.push((id, link));
            }
            outcome.count += 1;
            outcome.closing.add(item.transaction);
        }
        commit(lanes, &mut outcome).await;
        if lanes.stop.is_cancelled() {
            return;
        }
    }
}

async fn answer(lanes: &Arc<Lanes>, room: &RoomId, event: &Event) -> Result<(), PortalError> {
    let deps = &lanes.deps;
    if event.state_key.as_deref() == Some(deps.namespace.bot().as_str())
        && event.membership() == Some(Membership::Invite)
    {
        return bot::invited(deps, room, &event.event_id, &event.sender).await;
    }
    let Some(text) = bot::text_of(event) else {
        return Ok(());
    };
    let text = bot::strip_prefix(&text, &deps.config.portal.command_prefix).unwrap_or(text);
    let invocation = bot::Invocation {
        room: room.to_owned(),
        event: event.event_id.clone(),
        sender: event.sender.clone(),
        text,
        portal: None,
    };
    bot::handle(deps, &invocation).await
}

fn label(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}
