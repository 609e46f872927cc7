//! Working off one lane.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ruma::{OwnedEventId, RoomId};
use tokio::task::JoinHandle;

use super::{
    backoff,
    lanes::{Item, LaneKey, Lanes},
    ticket::{Closing, Recent, Transaction},
};
use crate::{
    bot,
    event::{Event, Membership},
    homeserver::Class,
    portal::PortalError,
    relay::{Relay, gaps},
    store::{Batch, Direction, Link, PortalId, PortalState, Source},
};

/// Events handled between two commits of one lane. A crash repeats what was not committed, so that little is worth repeating.
const BATCH: usize = 100;
/// How often missed events are looked for again while there are more each time.
const SETTLING_LOOKS: usize = 10;

/// After so many failures in a row the user is told that a message waits.
const SLOW: u32 = 4;

/// What a batch came to, until it is committed.
#[derive(Default)]
struct Outcome {
    links: Vec<(PortalId, Link)>,
    closing: Closing,
    count: usize,
}

/// What a portal's lane has in its hands.
#[derive(Default)]
struct Hands {
    outcome: Outcome,
    recent: Recent,
    /// The commit under way: at most one.
    writing: Option<JoinHandle<()>>,
}

impl Hands {
    /// Notes that an event was handled.
    fn note(&mut self, id: PortalId, source: Source, link: Link) {
        self.outcome.links.push((id, link));
        self.recent.note(source);
    }

    /// Begins to write what was done, when what was done before is written. The lane goes on meanwhile.
    async fn write(&mut self, lanes: &Arc<Lanes>, relay: &mut Relay) {
        self.written().await;
        let mut outcome = std::mem::take(&mut self.outcome);
        relay.forget_all_but(outcome.links.len());
        if outcome.count == 0 && outcome.links.is_empty() && outcome.closing.is_empty() {
            return;
        }
        let theirs = lanes.clone();
        self.writing = Some(lanes.beside(async move { commit(&theirs, &mut outcome).await }));
    }

    /// Waits for the commit under way.
    async fn written(&mut self) {
        if let Some(writing) = self.writing.take() {
            // It ends when it is written, or when the process stops.
            let _ = writing.await;
        }
    }
}

/// Works off a portal's lane until it is empty or the process stops.
pub(super) async fn portal(lanes: &Arc<Lanes>, id: PortalId) {
    let key = LaneKey::Portal(id);
    let mut relay = lanes.relay(id);
    // Outbound events that reached the room and whose receipt is still to come: their transactions stay stored until
    // then, so that a crash does not leave a message without its fate.
    let mut unreceipted = Closing::default();
    let mut hands = Hands::default();
    'lane: while !lanes.stop.is_cancelled() {
        fill(lanes, id, &mut relay, &mut hands).await;
        if lanes.stop.is_cancelled() {
            break; // perhaps in the middle of what was missed: nothing newer may come before the rest
        }
        let Some((items, all)) = lanes.take(&key, BATCH, true) else {
            if relay.owes_receipt() {
                let wait = relay.receipt_due_in(lanes.deps.clock.now());
                lanes.wait_for_item(&key, Duration::from_millis(wait)).await;
                if relay.receipt_due_in(lanes.deps.clock.now()) == 0 {
                    receipt(lanes, &mut relay, &mut unreceipted, &mut hands.outcome).await;
                    hands.write(lanes, &mut relay).await;
                }
                continue;
            }
            hands.written().await;
            // Between the two looks an event may have come; then the lane goes on.
            match lanes.end(&key, id, relay) {
                Some(back) => relay = back,
                None => return,
            }
            continue;
        };
        if all {
            hands.recent.took_all();
        }
        if items.iter().any(|item| needs_portal(lanes, item)) {
            wait_for_join(lanes, id, &mut relay, &mut hands).await;
            if lanes.stop.is_cancelled() {
                break;
            }
        }
        if looks_again(lanes, &mut relay, &items) {
            relay.filled = false;
            fill(lanes, id, &mut relay, &mut hands).await;
            if lanes.stop.is_cancelled() {
                break;
            }
        }
        for item in items {
            let source = lanes.deps.store.source(id, &item.event.event_id);
            let handled = hands.recent.contains(&source)
                || handled(lanes, id, &item.transaction, &source).await;
            let owed = relay.owes_receipt();
            if lanes.stop.is_cancelled() {
                break 'lane;
            }
            if may_change_portal(lanes, item.direction, &item.event) {
                // What was sent until now must be known when this is done: after a crash in between it would be handled again,
                // as if it had not been sent, and the portal would be another.
                hands.write(lanes, &mut relay).await;
                hands.written().await;
            }
            if handled {
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
                // A refusal is told; the next life must not think better of it.
                let refused = link.target.is_none() && item.direction == Direction::Outbound;
                hands.note(id, source, link);
                if refused {
                    hands.outcome.count += 1;
                    hands.outcome.closing.add(item.transaction);
                    hands.write(lanes, &mut relay).await;
                    hands.written().await;
                    continue;
                }
            } else if lanes.stop.is_cancelled() {
                break 'lane;
            }
            hands.outcome.count += 1;
            if relay.owes_receipt() && (!owed || item.direction == Direction::Outbound) {
                unreceipted.add(item.transaction);
            } else {
                hands.outcome.closing.add(item.transaction);
            }
        }
        if relay.owes_receipt() && relay.receipt_due_in(lanes.deps.clock.now()) == 0 {
            receipt(lanes, &mut relay, &mut unreceipted, &mut hands.outcome).await;
        }
        hands.write(lanes, &mut relay).await;
        postponed(lanes, id, &mut relay, &mut hands).await;
    }
    hands.write(lanes, &mut relay).await;
    hands.written().await;
}

/// Whether handling an event may change what later ones meet: state, or a command.
fn may_change_portal(lanes: &Lanes, direction: Direction, event: &Event) -> bool {
    let prefix = &lanes.deps.config.portal.command_prefix;
    event.state_key.is_some()
        || direction == Direction::Outbound && event.content.get().contains(prefix)
}

/// Whether what was missed is to be looked for before these events are handled. Only events of other servers can follow a hole.
fn looks_again(lanes: &Arc<Lanes>, relay: &mut Relay, items: &[Item]) -> bool {
    let deps = &lanes.deps;
    let (now, wary_until) = (deps.clock.now(), lanes.wary_until());
    lanes.fill_gaps
        && items
            .iter()
            .filter(|item| {
                item.direction == Direction::Inbound
                    && item.event.sender.server_name() != deps.namespace.server()
            })
            .any(|item| {
                relay
                    .watch
                    .is_due(now, item.event.origin_server_ts, item.received, wary_until)
            })
}

/// Whether an event can only be carried by a portal that is there; a command can be handled before.
fn needs_portal(lanes: &Lanes, item: &Item) -> bool {
    !may_change_portal(lanes, item.direction, &item.event)
}

/// Waits until a join is over, so that what was missed is handled before what came later.
async fn wait_for_join(lanes: &Arc<Lanes>, id: PortalId, relay: &mut Relay, hands: &mut Hands) {
    while lanes.fill_gaps && !relay.filled && !lanes.stop.is_cancelled() {
        let portal = persist(lanes, None, || lanes.deps.portals.get(id)).await;
        let comes = portal.is_some_and(|portal| match portal.state {
            PortalState::Joining => true,
            PortalState::Joined => portal.portal_room.is_none(),
            _ => false,
        });
        if !comes {
            return;
        }
        if pause(lanes, 0, &PortalError::NotReady, Some(id))
            .await
            .is_some()
        {
            fill(lanes, id, relay, hands).await;
        }
    }
}

/// Handles what was missed while nobody listened, once for each portal; not before it is joined.
async fn fill(lanes: &Arc<Lanes>, id: PortalId, relay: &mut Relay, hands: &mut Hands) {
    if relay.filled || !lanes.fill_gaps {
        return;
    }
    hands.written().await;
    let horizon = relay.watch.horizon(lanes.deps.clock.now());
    let look = || gaps::missed(&lanes.deps, id, horizon);
    let mut missed = match persist(lanes, None, look).await {
        Some(Some(missed)) => missed,
        Some(None) => return,
        None => {
            relay.filled = !lanes.stop.is_cancelled();
            return;
        }
    };
    let postponed: HashSet<OwnedEventId> = relay
        .postponed
        .iter()
        .map(|(_, event)| event.event_id.clone())
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
        let Some(Some(mut again)) = persist(lanes, None, look).await else {
            break;
        };
        again.events.retain(new);
        let grown = again.events.len() > missed.events.len();
        missed.events = again.events;
        if !grown {
            break;
        }
    }
    if let Some(event) = &missed.newest {
        again(lanes, relay, Direction::Outbound, event).await;
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
    for (direction, event) in missed {
        if event.kind == "m.room.redaction" && !known(lanes, relay, &event).await {
            relay.postponed.push((direction, event));
            continue;
        }
        if !fetched(lanes, id, relay, hands, direction, &event).await {
            return;
        }
    }
    relay.filled = true;
}

/// Handles one event that was fetched, not delivered. `false`: the process stops.
async fn fetched(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    hands: &mut Hands,
    direction: Direction,
    event: &Event,
) -> bool {
    if let Some(link) = step(lanes, id, relay, direction, event, event.origin_server_ts).await {
        hands.note(id, lanes.deps.store.source(id, &event.event_id), link);
    }
    // One by one: no stored transaction would bring these back as they are now.
    hands.write(lanes, relay).await;
    !lanes.stop.is_cancelled()
}

/// Handles the redactions that came before what they redact, as far as that is relayed now.
async fn postponed(lanes: &Arc<Lanes>, id: PortalId, relay: &mut Relay, hands: &mut Hands) {
    if !relay.postponed.is_empty() {
        hands.written().await;
    }
    for (direction, event) in std::mem::take(&mut relay.postponed) {
        if !known(lanes, relay, &event).await {
            relay.postponed.push((direction, event));
        } else if handled_now(lanes, id, &event).await {
            continue;
        } else if !fetched(lanes, id, relay, hands, direction, &event).await {
            return;
        }
    }
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
                tracing::debug!(portal = %id, direction = label(direction), sent = link.target.is_some(), "handled an event");
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
                    let _ = relay.delayed(deps, event, &error).await;
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

/// Whether an event was handled before its transaction was looked up.
async fn handled(
    lanes: &Arc<Lanes>,
    id: PortalId,
    transaction: &Transaction,
    source: &Source,
) -> bool {
    persist(lanes, Some(id), || async {
        let handled = transaction.handled(&lanes.deps.store).await?;
        Ok(handled.contains(source))
    })
    .await
    .unwrap_or_default()
}

/// The same for the events of a direct chat, of which few come at once.
async fn answered(lanes: &Arc<Lanes>, id: PortalId, items: &[Item]) -> HashSet<OwnedEventId> {
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
        lanes.be_wary();
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
    while let Some((items, _)) = lanes.take(&key, BATCH, false) {
        let handled = answered(lanes, id, &items).await;
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
