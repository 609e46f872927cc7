//! What must arrive, what did, and what was wrong with it.
//!
//! The traffic announces messages here, the stub reports every request. A message is *lost* when it never
//! arrives, *doubled* when it arrives under a second transaction id (after de-duplication as Synapse does it),
//! *out of order* when a later one of its stream came first, and *overlapping* when another message of its lane
//! was still being answered.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use crate::event::Mark;

/// A room in which messages arrive, and the stream they belong to.
pub type Place = (u32, u32);
/// A lane as the homeserver sees it: a portal room, or a room and the ghost that speaks there.
pub type Lane = (u32, u64);

/// Streams of different runs differ by multiples of this, so that nothing late is taken for something new.
pub const STREAMS_PER_RUN: u32 = 1_000_000;

/// How much went wrong, by kind.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub counts: BTreeMap<&'static str, u64>,
    /// A few of them in words.
    pub samples: Vec<String>,
}

impl Faults {
    pub fn add(&mut self, kind: &'static str, sample: impl FnOnce() -> String) {
        *self.counts.entry(kind).or_default() += 1;
        if self.samples.len() < 10 {
            self.samples.push(format!("{kind}: {}", sample()));
        }
    }

    pub fn none(&self) -> bool {
        self.counts.is_empty()
    }
}

#[derive(Debug, Default)]
struct Stream {
    expected: u32,
    /// The number after the greatest that arrived.
    next: u32,
    seen: Vec<bool>,
}

/// A send as it was first received.
#[derive(Debug)]
struct Sent {
    event: String,
    user: u64,
}

/// A send that has been judged.
pub struct Judged {
    /// The event's id: the first one's, for a repeated transaction id.
    pub event: String,
    /// Whether it is the first with its transaction id.
    pub new: bool,
}

/// The books of one run. Senders' identities are kept from run to run.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: HashMap<Box<str>, Sent>,
    streams: HashMap<Place, Stream>,
    queued: HashMap<u32, Vec<Instant>>,
    in_flight: HashMap<Lane, Vec<(Mark, Instant)>>,
    speakers: HashMap<(Place, u32), u64>,
    /// Outbound events, and the room in which each must arrive before its receipt may come.
    outbound: HashMap<String, (u32, Mark)>,
    /// The last outbound event of each portal room: its receipt is owed.
    owed: HashMap<u32, String>,
    /// How long each lane was being answered, over all its messages.
    pub answering: HashMap<Lane, Duration>,
    pub faults: Faults,
    /// Requests by kind.
    pub requests: BTreeMap<&'static str, u64>,
    /// Repeated transaction ids: resends, which the homeserver answers with the first one's event.
    pub resent: u64,
    /// Messages that must still arrive.
    pub remaining: u64,
    pub arrived: u64,
    /// Milliseconds from the moment a message was ready to be pushed until it arrived.
    pub latencies: Vec<f64>,
    pub last_arrival: Option<Instant>,
    pub last_request: Option<Instant>,
}

impl Ledger {
    /// Empties the books for a new run.
    pub fn reset(&mut self) {
        let speakers = std::mem::take(&mut self.speakers);
        *self = Self {
            speakers,
            ..Self::default()
        };
    }

    /// A message is about to be queued, and must arrive once in each of `rooms`.
    pub fn expect(&mut self, mark: Mark, rooms: &[u32]) {
        for room in rooms {
            let stream = self.streams.entry((*room, mark.stream)).or_default();
            stream.expected = stream.expected.max(mark.number + 1);
            self.remaining += 1;
        }
        self.queued
            .entry(mark.stream)
            .or_default()
            .push(Instant::now());
    }

    /// The announced message is the user's event `event` in portal room `portal`; it goes to `room`, and its fate must
    /// be shown by a read receipt for it or a later one.
    pub fn owe_receipt(&mut self, portal: u32, room: u32, mark: Mark, event: &str) {
        self.outbound.insert(event.to_owned(), (room, mark));
        self.owed.insert(portal, event.to_owned());
    }

    /// A host read `event` in portal room `portal`, which tells the user that it has reached its room.
    pub fn receipt(&mut self, portal: u32, event: &str) {
        let Some((room, mark)) = self.outbound.get(event) else {
            return;
        };
        let stream = self.streams.get(&(*room, mark.stream));
        let arrived =
            stream.is_some_and(|stream| stream.seen.get(mark.number as usize) == Some(&true));
        if !arrived {
            self.faults.add("early receipt", || format!("{mark:?}"));
        }
        if self.owed.get(&portal).is_some_and(|last| last == event) {
            self.owed.remove(&portal);
        }
    }

    /// Portals whose last message has no receipt yet.
    pub fn receipts_owed(&self) -> usize {
        self.owed.len()
    }

    pub fn request(&mut self, kind: &'static str) {
        *self.requests.entry(kind).or_default() += 1;
        self.last_request = Some(Instant::now());
    }

    /// Judges a send of a measured message. `path` carries room, type and transaction id: Synapse's key for an
    /// application service, the same for all of its ghosts. `check_speaker`: whether each sender must have
    /// a user of its own.
    pub fn send(
        &mut self,
        path: &str,
        room: u32,
        user: u64,
        mark: Mark,
        check_speaker: bool,
        new_event: impl FnOnce() -> String,
    ) -> Judged {
        if let Some(first) = self.sent.get(path) {
            if first.user != user {
                self.faults.add("collided", || {
                    format!("{mark:?} has another user's transaction id")
                });
            }
            self.resent += 1;
            return Judged {
                event: first.event.clone(),
                new: false,
            };
        }
        let event = new_event();
        let sent = Sent {
            event: event.clone(),
            user,
        };
        self.sent.insert(path.into(), sent);
        if check_speaker {
            self.check_speaker(room, user, mark);
        }
        self.arrive(room, mark);
        Judged { event, new: true }
    }

    fn check_speaker(&mut self, room: u32, user: u64, mark: Mark) {
        let place = (room, mark.stream % STREAMS_PER_RUN);
        let known = *self.speakers.entry((place, mark.sender)).or_insert(user);
        if known != user {
            self.faults.add("wrong speaker", || {
                format!("{mark:?} in room {room} came from another user than before")
            });
        }
    }

    fn arrive(&mut self, room: u32, mark: Mark) {
        let now = Instant::now();
        let Some(stream) = self
            .streams
            .get_mut(&(room, mark.stream))
            .filter(|stream| mark.number < stream.expected)
        else {
            self.faults
                .add("stray", || format!("{mark:?} in room {room}"));
            return;
        };
        let at = mark.number as usize;
        if stream.seen.len() <= at {
            stream.seen.resize(at + 1, false);
        }
        if std::mem::replace(&mut stream.seen[at], true) {
            self.faults
                .add("doubled", || format!("{mark:?} in room {room}"));
            return;
        }
        if mark.number < stream.next {
            let next = stream.next;
            self.faults.add("out of order", || {
                format!("{mark:?} in room {room} after number {}", next - 1)
            });
        }
        stream.next = stream.next.max(mark.number + 1);
        self.remaining -= 1;
        self.arrived += 1;
        self.last_arrival = Some(now);
        if let Some(queued) = self
            .queued
            .get(&mark.stream)
            .and_then(|stream| stream.get(at))
        {
            self.latencies.push((now - *queued).as_secs_f64() * 1000.0);
        }
    }

    /// A send in `lane` begins to be answered.
    pub fn begin(&mut self, lane: Lane, mark: Mark) {
        let busy = self.in_flight.entry(lane).or_default();
        if let Some((other, _)) = busy.iter().find(|(other, _)| *other != mark) {
            let other = *other;
            self.faults
                .add("overlapping", || format!("{mark:?} with {other:?}"));
        }
        busy.push((mark, Instant::now()));
    }

    /// A send in `lane` has been answered, or its connection is gone.
    pub fn end(&mut self, lane: Lane, mark: Mark) {
        let Some(busy) = self.in_flight.get_mut(&lane) else {
            return;
        };
        if let Some(at) = busy.iter().position(|(other, _)| *other == mark) {
            let (_, since) = busy.swap_remove(at);
            *self.answering.entry(lane).or_default() += since.elapsed();
        }
    }

    /// Closes the books: what has not arrived is lost.
    pub fn close(&mut self) {
        for (portal, event) in &self.owed {
            self.faults
                .add("no receipt", || format!("{event} in portal room {portal}"));
        }
        for ((room, stream), state) in &self.streams {
            for number in 0..state.expected {
                if !state.seen.get(number as usize).copied().unwrap_or(false) {
                    self.faults.add("lost", || {
                        format!("stream {stream} number {number} in room {room}")
                    });
                }
            }
        }
    }
}
