//! One event, or one write, tried until it is over: what passes is waited for, what will not pass is noted.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::{
    backoff,
    lanes::{Item, Lanes},
};
use crate::{
    bot,
    clock::UnixMillis,
    event::{Event, Trust},
    homeserver::Class,
    portal::{Deps, PortalError},
    relay::{ENCRYPTED, Relay},
    store::{Direction, Link, PortalId},
};

/// After so many failures in a row the user is told that a message waits.
const SLOW: u32 = 4;

/// The same after so long at a limit, in milliseconds, what is still to be waited included.
const LONG: u64 = 10_000;

/// An event that is to be handled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    /// From which side.
    pub(super) direction: Direction,
    pub(super) event: &'a Event,
    /// When Vizard first had it.
    pub(super) received: UnixMillis,
    /// Whether it was fetched and stored, and now comes from there.
    pub(super) copy: bool,
}

impl<'a> Case<'a> {
    pub(super) fn of(item: &'a Item) -> Self {
        Self {
            direction: item.direction,
            event: &item.event,
            received: item.received,
            copy: item.copy,
        }
    }
}

/// One event, tried until it is over. `None`: the process stops, or the portal is gone.
pub(super) async fn step(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    case: Case<'_>,
) -> Option<Link> {
    let deps = &lanes.deps;
    let Case {
        direction, event, ..
    } = case;
    let (mut attempts, mut told) = (0, false);
    let began = deps.clock.now();
    loop {
        let permit = lanes.turn(id).await?;
        // Boxed: a lane that waits keeps no room for what a step needs, which is much.
        let result = Box::pin(once(lanes, id, relay, case)).await;
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
                let waited = deps.clock.now().saturating_sub(began);
                if !told
                    && direction == Direction::Outbound
                    && event.state_key.is_none()
                    && is_slow(&error, attempts, waited)
                {
                    // Where nothing goes through, this does not either; then it is said later.
                    told = Box::pin(relay.delayed(deps, event, &error)).await.is_ok();
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

/// Whether it is time to tell the user that a message waits, and why; asked anew after each failure until they are told.
fn is_slow(error: &PortalError, attempts: u32, waited: u64) -> bool {
    let often = attempts >= SLOW && attempts.is_multiple_of(SLOW);
    let until = |wait: Duration| {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        waited.saturating_add(wait) >= LONG
    };
    match error {
        PortalError::NotYet(_) => false,
        PortalError::Limited(wait) => until(*wait),
        error => often || error.retry_after().is_some_and(until),
    }
}

/// One attempt at an event.
async fn once(
    lanes: &Arc<Lanes>,
    id: PortalId,
    relay: &mut Relay,
    case: Case<'_>,
) -> Result<Link, PortalError> {
    let (deps, direction) = (&lanes.deps, case.direction);
    #[cfg(debug_assertions)]
    crate::trap::spring(case.event.content.get());
    // As a copy it is what it was then.
    if case.copy
        && direction == Direction::Outbound
        && let Some(link) = relay.taken_back(deps, case.event, case.received).await?
    {
        return Ok(link);
    }
    let event = &*opened(deps, relay, direction, case.event).await?;
    match command(lanes, id, direction, event).await? {
        Some(invocation) => {
            bot::handle(deps, &invocation).await?;
            Ok(Link::of(event, direction, None))
        }
        None => relay.step(deps, direction, event, case.received).await,
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

/// The event as its sender wrote it. One that cannot be opened for good is as it was: whoever waits for it is told when it is
/// handled.
pub(super) async fn opened<'a>(
    deps: &Deps,
    relay: &Relay,
    direction: Direction,
    event: &'a Event,
) -> Result<Cow<'a, Event>, PortalError> {
    if event.kind != ENCRYPTED {
        return Ok(Cow::Borrowed(event));
    }
    let opened = Box::pin(relay.open(deps, direction, event)).await;
    if_openable(event, opened).map(Cow::Owned)
}

/// The event as it was, [`Trust::Broken`], where opening it failed for good.
pub(super) fn if_openable(
    event: &Event,
    opened: Result<Event, PortalError>,
) -> Result<Event, PortalError> {
    match opened {
        Err(PortalError::Gone) => Err(PortalError::Gone),
        Err(error) if error.class() == Class::GiveUp => {
            let mut unopened = event.clone();
            unopened.trust = Trust::Broken;
            Ok(unopened)
        }
        opened => opened,
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
    if !matches!(
        error,
        PortalError::NotReady | PortalError::NotYet(_) | PortalError::Limited(_)
    ) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::homeserver;

    #[test]
    fn what_cannot_be_opened_for_good_is_handled_as_it_is() {
        let json = r#"{"event_id":"$e","room_id":"!r:x","sender":"@u:x","type":"m.room.encrypted","content":{},"origin_server_ts":1}"#;
        let raw = serde_json::value::RawValue::from_string(json.to_owned()).unwrap();
        let event = Event::decode(&raw).unwrap();
        let refused = PortalError::from(homeserver::Error::Answer("odd"));
        let unopened = if_openable(&event, Err(refused)).unwrap();
        assert_eq!(
            (&*unopened.kind, unopened.trust),
            (ENCRYPTED, Trust::Broken)
        );
        for passes in [PortalError::NotReady, PortalError::Gone] {
            assert!(if_openable(&event, Err(passes)).is_err());
        }
        let opened = if_openable(&event, Ok(event.clone())).unwrap();
        assert_eq!(opened.trust, Trust::Clear);
    }

    #[test]
    fn whoever_waits_long_is_told() {
        let failed = |after: Option<u64>| {
            let after = after.map(Duration::from_secs);
            let reason = String::new();
            PortalError::from(homeserver::Error::Retry { reason, after })
        };
        let seconds = Duration::from_secs;
        for (error, attempts, waited, slow) in [
            (failed(None), 3, 60_000, false),
            (failed(None), 4, 0, true),
            (failed(None), 5, 60_000, false),
            (failed(None), 8, 0, true),
            (failed(Some(1)), 1, 2_000, false),
            (failed(Some(1)), 1, 9_000, true),
            (failed(Some(60)), 0, 0, true),
            (PortalError::Limited(seconds(2)), 0, 0, false),
            (PortalError::Limited(seconds(20)), 0, 0, true),
            (PortalError::NotYet(seconds(60)), 8, 60_000, false),
            (PortalError::NotReady, 4, 1_000, true),
        ] {
            assert_eq!(
                is_slow(&error, attempts, waited),
                slow,
                "{error:?} {attempts} {waited}"
            );
        }
    }
}
