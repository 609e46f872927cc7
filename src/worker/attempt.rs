//! One event, or one write, tried until it is over: what passes is waited for, what will not pass is noted.

use std::{borrow::Cow, sync::Arc};

use super::{backoff, lanes::Lanes};
use crate::{
    bot,
    clock::UnixMillis,
    event::Event,
    homeserver::Class,
    portal::{Deps, PortalError},
    relay::{ENCRYPTED, Relay},
    store::{Direction, Link, PortalId},
};

/// After so many failures in a row the user is told that a message waits.
const SLOW: u32 = 4;

/// One event, tried until it is over. `None`: the process stops, or the portal is gone.
pub(super) async fn step(
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
        let permit = lanes.turn(id).await?;
        // Boxed: a lane that waits keeps no room for what a step needs, which is much.
        let result = Box::pin(once(lanes, id, relay, direction, event, received)).await;
        drop(permit);
        match result {
            Ok(link) => {
                tracing::debug!(portal = %id, direction = label(direction), sent = link.target.is_some(), "handled an event");
                return Some(link);
            }
            Err(error) if error.class() == Class::GiveUp => {
                metrics::counter!("vizard_failures_total", "class" => "give_up").increment(1);
                if !matches!(error, PortalError::Gone) {
                    tracing::warn!(portal = %id, direction = label(direction), "an event could not be handled");
                }
                return Some(Link::of(event, direction, None));
            }
            Err(error) => {
                let waits = matches!(error, PortalError::NotYet(_));
                if attempts == SLOW
                    && !waits
                    && direction == Direction::Outbound
                    && event.state_key.is_none()
                {
                    let _ = Box::pin(relay.delayed(deps, event, &error)).await;
                }
                pause(lanes, attempts, &error, Some(id)).await?;
                if error.lost_device().is_some() {
                    relay.forget_mirrors();
                }
                attempts += 1;
            }
        }
    }
}

/// One attempt at an event.
async fn once(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    direction: Direction,
    event: &Event,
    received: u64,
) -> Result<Link, PortalError> {
    let deps = &lanes.deps;
    let event = &*opened(deps, relay, direction, event).await?;
    match command(lanes, id, direction, event).await? {
        Some(invocation) => {
            bot::handle(deps, &invocation).await?;
            Ok(Link::of(event, direction, None))
        }
        None => relay.step(deps, direction, event, received).await,
    }
}

/// Makes a device anew, if that it is lost is what is wrong.
pub(super) async fn mend(lanes: &Lanes, error: &PortalError, id: Option<PortalId>) {
    // Boxed: it is seldom needed, and large.
    let mended = Box::pin(lanes.deps.mend_device(error, id.as_slice())).await;
    if let Err(error) = mended {
        tracing::warn!(%error, "a device that was lost could not be made anew; trying again");
    }
}

/// Records how long an event took, from its receipt on: its waiting in the lane, for keys, limits and better times included.
pub(super) fn record_time(direction: Direction, received: UnixMillis, now: UnixMillis) {
    #[expect(clippy::cast_precision_loss, reason = "a histogram")]
    let seconds = now.saturating_sub(received) as f64 / 1000.0;
    metrics::histogram!("vizard_relay_seconds", "direction" => label(direction)).record(seconds);
}

/// The event as its sender wrote it.
pub(super) async fn opened<'a>(
    deps: &Deps,
    relay: &Relay,
    direction: Direction,
    event: &'a Event,
) -> Result<Cow<'a, Event>, PortalError> {
    if event.kind == ENCRYPTED {
        let opened = Box::pin(relay.open(deps, direction, event)).await;
        opened.map(Cow::Owned)
    } else {
        Ok(Cow::Borrowed(event))
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
    Ok(Some(bot::Invocation::new(event, text, Some(id))))
}

/// Tries something until it works or will not pass. `None`: it will not, or the process stops.
pub(super) async fn persist<T, F: Future<Output = Result<T, PortalError>> + Send>(
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
pub(super) async fn pause(
    lanes: &Arc<Lanes>,
    attempts: u32,
    error: &PortalError,
    id: Option<PortalId>,
) -> Option<()> {
    if !matches!(error, PortalError::NotReady | PortalError::NotYet(_)) {
        metrics::counter!("vizard_failures_total", "class" => "retry").increment(1);
        lanes.be_wary();
        if attempts == SLOW {
            tracing::warn!(portal = id.map(tracing::field::display), %error, "still trying");
        }
    }
    mend(lanes, error, id).await;
    let wait = backoff::wait(attempts, error, &lanes.deps.rng);
    lanes
        .stop
        .run_until_cancelled(lanes.deps.clock.sleep(wait))
        .await
}

pub(super) fn label(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}
