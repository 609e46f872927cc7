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

/// A send that can be read, and judged, only when the run is over.
#[derive(Debug)]
pub struct Sealed {
    /// As in [`Ledger::send`].
    pub path: Box<str>,
    pub room: u32,
    pub room_id: String,
    pub user: String,
    pub at: Instant,
    pub event: String,
    pub content: String,
}

/// What waits to be judged, in the order in which it came.
#[derive(Debug)]
pub enum Late {
    Sent(Sealed),
    /// A host's receipt for this event.
    Read(String),
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
    late: Vec<Late>,
    /// The numbers and events of the paths of those that were put aside.
    aside: HashMap<Box<str>, (u32, String)>,
    /// How long each lane was being answered, over all its messages.
    pub answering: HashMap<Lane, Duration>,
    pub faults: Faults,
    /// Requests by kind.
    pub requests: BTreeMap<&'static str, u64>,
    /// Bytes of bodies, of all requests but sends.
    pub bytes: u64,
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
        if self.late.is_empty() {
            self.check_receipt(event);
        } else {
            self.late.push(Late::Read(event.to_owned()));
        }
        if self.owed.get(&portal).is_some_and(|last| last == event) {
            self.owed.remove(&portal);
        }
    }

    /// Whether the message of a receipt has arrived.
    pub fn check_receipt(&mut self, event: &str) {
        let Some((room, mark)) = self.outbound.get(event) else {
            return;
        };
        let stream = self.streams.get(&(*room, mark.stream));
        let arrived =
            stream.is_some_and(|stream| stream.seen.get(mark.number as usize) == Some(&true));
        if !arrived {
            self.faults.add("early receipt", || format!("{mark:?}"));
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
        (mark, at): (Mark, Instant),
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
        self.arrive(room, mark, at);
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

    fn arrive(&mut self, room: u32, mark: Mark, now: Instant) {
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

    /// Stands in for the mark of a send that cannot be read: the same for the same path.
    pub fn nameless(&mut self, path: &str) -> Mark {
        let next = u32::try_from(self.aside.len()).unwrap_or(u32::MAX);
        let number = self.aside.get(path).map_or(next, |(number, _)| *number);
        Mark {
            stream: u32::MAX,
            sender: 0,
            number,
        }
    }

    /// Keeps a send until it can be read. Its event, the first one's for a repeated transaction id; and whether it is new.
    pub fn put_aside(&mut self, sealed: Sealed) -> (String, bool) {
        if let Some((_, first)) = self.aside.get(&sealed.path) {
            self.resent += 1;
            return (first.clone(), false);
        }
        let number = u32::try_from(self.aside.len()).unwrap_or(u32::MAX);
        let event = sealed.event.clone();
        let path = sealed.path.clone();
        self.aside.insert(path, (number, event.clone()));
        self.last_arrival = Some(sealed.at);
        self.late.push(Late::Sent(sealed));
        (event, true)
    }

    /// How many have come that are expected, whether they can be read yet or not.
    pub fn has_come(&self) -> u64 {
        self.arrived + self.aside.len() as u64
    }

    /// How many must still come.
    pub fn waits_for(&self) -> u64 {
        self.remaining.saturating_sub(self.aside.len() as u64)
    }

    /// Begins to count requests anew.
    pub fn forget_requests(&mut self) {
        self.requests.clear();
        self.bytes = 0;
    }

    /// Takes out what waits to be judged.
    pub fn late(&mut self) -> Vec<Late> {
        self.aside.clear();
        std::mem::take(&mut self.late)
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
