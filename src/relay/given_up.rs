//! Holes in a room's history that are larger than `relay.gap_limit`: what of them is not fetched is told in the portal, once.
//!
//! Before the rest is handled, the newest event that is given up becomes the side's [`Floor`] in the portal's record: no later
//! look goes beyond it. The words stand there too until they are said, so a crash in between neither loses nor doubles them.

use std::time::{Duration, UNIX_EPOCH};

use ruma::OwnedEventId;

use super::Relay;
use crate::{
    clock::UnixMillis,
    event::Event,
    portal::{Deps, PortalError},
    store::{Direction, Floor},
};

/// The end of the year 9999, in milliseconds: later times cannot be written.
const LATEST: UnixMillis = 253_402_300_799_000;

/// Missed events that are not fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    side: Direction,
    /// The newest.
    event: OwnedEventId,
    count: u64,
    more: bool,
    from: UnixMillis,
    to: UnixMillis,
}

impl GivenUp {
    /// The first, which is the newest.
    pub(super) fn new(side: Direction, event: &Event) -> Self {
        Self {
            side,
            event: event.event_id.clone(),
            count: 1,
            more: false,
            from: event.origin_server_ts,
            to: event.origin_server_ts,
        }
    }

    /// One more.
    pub(super) fn add(&mut self, event: &Event) {
        self.count += 1;
        self.from = self.from.min(event.origin_server_ts);
        self.to = self.to.max(event.origin_server_ts);
    }

    /// There are others, which were not counted.
    pub(super) fn and_more(&mut self) {
        self.more = true;
    }

    /// What the portal says of it.
    fn words(&self, limit: u32) -> String {
        let count = match (self.more, self.count) {
            (true, count) => format!("More than {count} older events"),
            (false, 1) => "One older event".to_owned(),
            (false, count) => format!("{count} older events"),
        };
        let (from, to) = (time(self.from), time(self.to));
        let when = if from == to {
            format!("of {from}")
        } else {
            format!("from {from} to {to}")
        };
        let what = match self.side {
            Direction::Inbound => {
                "of this room did not reach Vizard in time and are not shown here; the room itself has them"
            }
            Direction::Outbound => {
                "in this portal did not reach Vizard in time and did not go to the room: write again what still matters"
            }
        };
        format!(
            "⚠ {count} ({when}) {what}. At most {limit} missed events are fetched for a room; the administrator can raise that (`relay.gap_limit`)."
        )
    }
}

/// A time, as people read it: RFC 9110's form without the seconds.
fn time(millis: UnixMillis) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(millis.min(LATEST));
    let text = httpdate::fmt_http_date(time);
    match text.rsplit_once(':') {
        Some((minute, _)) => format!("{minute} UTC"),
        None => text,
    }
}

impl Relay {
    /// Gives up what is beyond the limit: notes where, then tells it. To be called before what is not given up is handled; with
    /// nothing to give up it tells what an earlier life could not tell any more.
    pub async fn give_up(&self, deps: &Deps, given_up: &[GivenUp]) -> Result<(), PortalError> {
        let limit = deps.config.relay.gap_limit;
        let portal = deps
            .portals
            .update(self.portal, |portal| {
                for one in given_up {
                    portal.floors.retain(|floor| floor.side != one.side);
                    portal.floors.push(Floor {
                        event: one.event.clone(),
                        side: one.side,
                        untold: Some(one.words(limit)),
                    });
                }
            })
            .await?;
        for floor in &portal.floors {
            if let Some(text) = &floor.untold {
                self.tell(deps, &portal, &floor.event, "gap", text).await?;
            }
        }
        deps.portals
            .update(self.portal, |portal| {
                for floor in &mut portal.floors {
                    floor.untold = None;
                }
            })
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, at: UnixMillis) -> Event {
        let json = format!(
            r#"{{"event_id":"{id}","room_id":"!r:x","sender":"@u:x","type":"m.x","content":{{}},"origin_server_ts":{at}}}"#
        );
        let raw = serde_json::value::RawValue::from_string(json).expect("JSON");
        Event::decode(&raw).expect("an event")
    }

    #[test]
    fn it_says_how_many_and_when_and_what_to_do() {
        let mut hole = GivenUp::new(Direction::Inbound, &event("$b", 1_700_003_600_000));
        let words = hole.words(1000);
        let one = "One older event (of Tue, 14 Nov 2023 23:13 UTC)";
        assert!(words.contains(one), "{words}");
        hole.add(&event("$a", 1_700_000_000_000));
        let words = hole.words(1000);
        for part in [
            "2 older events (from Tue, 14 Nov 2023 22:13 UTC to Tue, 14 Nov 2023 23:13 UTC) of this room",
            "At most 1000",
            "`relay.gap_limit`",
        ] {
            assert!(words.contains(part), "{part} in {words}");
        }
        hole.and_more();
        assert!(hole.words(1).contains("More than 2 older events"));
        hole.side = Direction::Outbound;
        assert!(hole.words(1).contains("did not go to the room"));
        // A server may claim any time.
        hole.add(&event("$z", u64::MAX));
        assert!(hole.words(1).contains("9999"));
    }
}
