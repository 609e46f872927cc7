//! When a portal looks for events that its homeserver never handed over.
//!
//! An application service is told nothing of events that its homeserver learns afterwards: after an outage a remote server
//! sends only its newest events, the homeserver fetches the ones before them when somebody reads the room's history, and
//! those it hands to nobody. Nothing in what is handed over shows the hole. So a portal reads the history itself: now
//! and then while something happens in its room, and before each batch while there is reason to expect holes, so that what
//! was missed is shown before what came after it.

use crate::clock::UnixMillis;

/// How often a room in which something happens is looked at, in milliseconds.
const EVERY: u64 = 60_000;
/// The same while there is reason to expect holes.
const EVERY_WARY: u64 = 250;
/// How long one reason lasts.
const WARY: u64 = 120_000;
/// So many looks that find nothing are made as often; then each waits twice as long as the one before it.
const PATIENT: u32 = 20;
/// An event that is this much older than its arrival is a reason.
const LATE: u64 = 5_000;

/// How far before a reason holes may lie. Also how far the first look after a start goes back at least.
const BEFORE: u64 = 600_000;

/// The memory of one portal's looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    looked: UnixMillis,
    wary_since: UnixMillis,
    wary_until: UnixMillis,
    /// How many looks in a row found nothing, since there is reason to expect holes.
    fruitless: u32,
    /// When the oldest event was received before which a look was due and could not be made.
    owed: Option<UnixMillis>,
}

impl Watch {
    /// Whether to look before handling an event that was sent at `sent` and arrived at `received`. `also_wary_until`: a
    /// reason that concerns all portals.
    pub fn is_due(
        &mut self,
        now: UnixMillis,
        sent: UnixMillis,
        received: UnixMillis,
        also_wary_until: UnixMillis,
    ) -> bool {
        if received.saturating_sub(sent) > LATE {
            self.be_wary(now, received);
        }
        let every = if now < also_wary_until {
            EVERY_WARY
        } else if now < self.wary_until {
            // Any server may make its events late, for as long as it likes.
            let doublings = self.fruitless.saturating_sub(PATIENT);
            EVERY_WARY.saturating_mul(1 << doublings.min(16)).min(EVERY)
        } else {
            EVERY
        };
        now.saturating_sub(self.looked) >= every
    }

    /// Notes a look, and whether it found anything.
    pub fn looked(&mut self, now: UnixMillis, found: bool) {
        self.looked = now;
        self.fruitless = self.fruitless.saturating_add(1);
        if found {
            self.fruitless = 0;
            self.be_wary(now, now);
        }
        self.owed = None;
    }

    /// A look is due and cannot be made now, before an event that was received then: whenever the next one is made, it goes back
    /// as far.
    pub fn put_off(&mut self, received: UnixMillis) {
        self.owed.get_or_insert(received);
    }

    /// How far back a look goes at least: before this no holes are expected.
    #[must_use]
    pub fn horizon(&self, now: UnixMillis) -> UnixMillis {
        let since = if now < self.wary_until {
            self.wary_since
        } else {
            self.looked.max(now.saturating_sub(EVERY))
        };
        let since = if self.looked == 0 { now } else { since };
        let since = self.owed.map_or(since, |owed| owed.min(since));
        since.saturating_sub(BEFORE)
    }

    /// There is reason to expect holes: an event that was received at `since`, perhaps long ago.
    fn be_wary(&mut self, now: UnixMillis, since: UnixMillis) {
        if now >= self.wary_until {
            self.wary_since = since.min(now);
            self.fruitless = 0;
        }
        self.wary_until = now + WARY;
    }

    /// Until when a reason that is given now lasts.
    #[must_use]
    pub fn wary_from(now: UnixMillis) -> UnixMillis {
        now + WARY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_rarely_unless_there_is_reason() {
        let mut watch = Watch::default();
        let now = 1_000_000;
        watch.looked(now, false);
        assert!(!watch.is_due(now + 1000, now + 900, now + 1000, 0));
        assert!(watch.is_due(now + EVERY, now + EVERY, now + EVERY, 0));
        assert!(
            watch.is_due(now + 1000, now - LATE, now + 1000, 0),
            "a late event"
        );
        watch.looked(now + 1000, false);
        assert!(!watch.is_due(now + 1100, now + 1100, now + 1100, 0));
        assert!(
            watch.is_due(now + 1300, now + 1300, now + 1300, 0),
            "still wary"
        );
        watch.looked(now + 1500 + WARY, false);
        assert!(
            !watch.is_due(now + 2000 + WARY, now + WARY, now + WARY, 0),
            "wary no more"
        );
        assert!(
            watch.is_due(now + 2000 + WARY, now + WARY, now + WARY, now + 3000 + WARY),
            "all are"
        );
    }

    #[test]
    fn what_could_not_be_looked_for_is_looked_for_later() {
        let (mut watch, start, hour) = (Watch::default(), 1_000_000_000, 3_600_000);
        watch.looked(start, false);
        // The lane works off what came an hour ago.
        let late = start + 10_000;
        assert!(watch.is_due(late + hour, late - LATE - 1, late, 0));
        assert_eq!(watch.horizon(late + hour), late - BEFORE, "what came late");
        watch.put_off(late);
        watch.put_off(late + 5_000);
        let now = late + 2 * hour;
        assert!(watch.is_due(now, now, now, 0));
        assert_eq!(watch.horizon(now), late - BEFORE);
        watch.looked(now, false);
        assert_eq!(watch.horizon(now + EVERY), now - BEFORE);
    }

    #[test]
    fn a_flood_of_late_events_costs_few_looks() {
        let mut watch = Watch::default();
        let start = 1_000_000_000;
        watch.looked(start, false);
        let looks = |watch: &mut Watch, from: UnixMillis, found: bool| {
            let due = |step: &UnixMillis| {
                let now = from + step * 100;
                let due = watch.is_due(now, 0, now, 0);
                if due {
                    watch.looked(now, found);
                }
                due
            };
            (0..36_000).filter(due).count()
        };
        let fruitless = looks(&mut watch, start, false);
        assert!((60..120).contains(&fruitless), "{fruitless} in an hour");
        let fruitful = looks(&mut watch, start + 3_600_000, true);
        assert!(fruitful > 5_000, "{fruitful} in an hour");
    }
}
