//! Whether an event that seems older than the ghost's join came after it all the same.
//!
//! What came before the join is not for the portal; it reaches it when another portal leads into the same room, or when the
//! homeserver delivers something old again. Clocks of other servers differ, so time alone does not tell: an event came after the
//! join if it lies between it and the newest event in the room's history. Any server may give its events old times, so what a look
//! showed is remembered: many such events cost few looks.

use std::{collections::HashSet, time::Duration};

use super::{Relay, gaps::is_start};
use crate::{
    clock::UnixMillis,
    event::Event,
    homeserver::Class,
    portal::{Deps, PortalError},
    store::{Portal, Source},
};

/// How many pages are looked through at most.
const LONGEST_LOOK: usize = 10;
/// How long after a look that was in vain there is no other one, in milliseconds. An event can be made to seem so old that it
/// stands before the join in the history, and no look finds it.
const EVERY: u64 = 2_000;
/// What was received so long before the join came before it, whatever the clocks say, in milliseconds.
const CLOCKS: u64 = 600_000;

/// What the last look showed.
#[derive(Debug)]
pub(super) struct Since {
    /// The join that it was about.
    joined_at: UnixMillis,
    /// When it began.
    at: UnixMillis,
    /// What came after the join.
    found: HashSet<Source>,
    reach: Reach,
    /// Whether the event that it was made for was not there.
    in_vain: bool,
}

/// How far a look went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Not to the join.
    Part,
    /// To the join.
    Whole,
    /// Not to the join, which is too long ago. It will not be nearer again.
    Beyond,
}

impl Since {
    /// Whether an event that was received then came after the join, as far as that is known.
    fn tells(&self, event: &Event, source: Source, received: UnixMillis) -> Option<bool> {
        // What was fetched has no time of receipt but its own.
        let was_received = received != event.origin_server_ts;
        let was_there = received <= self.at && was_received;
        match self.reach {
            Reach::Beyond => Some(!was_received || received + CLOCKS > self.joined_at),
            _ if self.found.contains(&source) => Some(true),
            Reach::Whole if was_there => Some(false),
            _ => None,
        }
    }

    /// How long it is until the next look.
    fn rests(&self, now: UnixMillis) -> Option<Duration> {
        let left = (self.at + EVERY).saturating_sub(now);
        (self.in_vain && left > 0).then(|| Duration::from_millis(left.min(EVERY)))
    }
}

impl Relay {
    /// Whether an event that was received then is of the time after the ghost's join.
    pub(super) async fn since_join(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        received: UnixMillis,
    ) -> Result<bool, PortalError> {
        if event.origin_server_ts > portal.joined_at {
            return Ok(true);
        }
        let source = deps.store.source(portal.id, &event.event_id);
        let known = self.since.as_deref();
        if let Some(known) = known.filter(|known| known.joined_at == portal.joined_at)
            && let Some(told) = known.tells(event, source, received)
        {
            return Ok(told);
        }
        if let Some(wait) = known.and_then(|known| known.rests(deps.clock.now())) {
            return Err(PortalError::NotYet(wait));
        }
        let Some(mut since) = look(deps, portal, event).await? else {
            return Ok(false);
        };
        let told = match since.reach {
            Reach::Beyond => since.tells(event, source, received) == Some(true),
            _ => since.found.contains(&source),
        };
        since.in_vain = !told;
        self.since = Some(Box::new(since));
        Ok(told)
    }

    /// Forgets what takes room.
    pub(super) fn forget_since(&mut self) {
        if self
            .since
            .as_ref()
            .is_some_and(|since| since.reach != Reach::Beyond)
        {
            self.since = None;
        }
    }
}

/// Looks through the history, back to the event or to the join. `None`: the homeserver does not show it.
async fn look(deps: &Deps, portal: &Portal, event: &Event) -> Result<Option<Since>, PortalError> {
    let ghost = deps.ghost(portal);
    let mut since = Since {
        joined_at: portal.joined_at,
        at: deps.clock.now(),
        found: HashSet::new(),
        reach: Reach::Part,
        in_vain: false,
    };
    let mut from: Option<String> = None;
    for _ in 0..LONGEST_LOOK {
        let asked = deps
            .homeserver
            .messages(&ghost, &portal.room, from.as_deref(), 100);
        let page = match asked.await {
            Ok(page) => page,
            Err(error) if error.class() == Class::GiveUp => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut here = false;
        for found in page.chunk.iter().filter_map(|raw| Event::decode(raw)) {
            here |= found.event_id == event.event_id;
            since
                .found
                .insert(deps.store.source(portal.id, &found.event_id));
            if is_start(portal, &found) {
                since.reach = Reach::Whole;
                return Ok(Some(since));
            }
        }
        if here {
            return Ok(Some(since));
        }
        match page.end {
            Some(end) if !page.chunk.is_empty() => from = Some(end),
            _ => {
                since.reach = Reach::Whole;
                return Ok(Some(since));
            }
        }
    }
    // Long after the join, so not about it: a clock that is far behind.
    since.found = HashSet::new();
    since.reach = Reach::Beyond;
    Ok(Some(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_tells_of_many() {
        let raw = r#"{"event_id":"$e","room_id":"!r:x","sender":"@u:x","type":"m.x","content":{}}"#;
        let raw = serde_json::value::RawValue::from_string(raw.to_owned()).expect("JSON");
        let event = Event::decode(&raw).expect("an event");
        let (there, not) = (Source::any(1), Source::any(2));
        for (reach, source, received, expected) in [
            (Reach::Part, there, 99, Some(true)),
            (Reach::Part, not, 99, None),
            (Reach::Whole, there, 200, Some(true)),
            (Reach::Whole, not, 99, Some(false)),
            // It may have come after the look.
            (Reach::Whole, not, 200, None),
            // Fetched, not received.
            (Reach::Whole, not, event.origin_server_ts, None),
            (Reach::Beyond, not, 200, Some(true)),
        ] {
            let since = Since {
                joined_at: 50,
                at: 100,
                found: HashSet::from([there]),
                reach,
                in_vain: reach == Reach::Whole,
            };
            assert_eq!(since.tells(&event, source, received), expected, "{reach:?}");
            let rests = (reach == Reach::Whole).then(|| Duration::from_millis(EVERY - 10));
            assert_eq!(since.rests(110), rests, "{reach:?}");
            assert_eq!(since.rests(100 + EVERY), None);
        }
        // Received for another portal, long before this one's join.
        let beyond = Since {
            joined_at: CLOCKS + 200,
            at: CLOCKS + 300,
            found: HashSet::new(),
            reach: Reach::Beyond,
            in_vain: false,
        };
        assert_eq!(beyond.tells(&event, not, 199), Some(false));
        assert_eq!(beyond.tells(&event, not, 201), Some(true));
    }
}
