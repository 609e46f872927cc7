//! What a running lane handled lately, so that it need not ask the store about each event.
//!
//! The dispatcher looks all events of a transaction up at once, before it hands them to the lanes. What a lane handles after
//! that look it must know itself. Time is counted in ticks of [`Lanes::tick`](super::Lanes): a look's tick is taken before
//! it begins. A lane's memory holds everything that the lane handled and that was not durable at the tick `since`. So an
//! event that was looked up after `since`, not found, and not remembered was never handled. Of any other event nothing is
//! known, and the store is asked again.

use std::collections::{HashSet, VecDeque};

use super::lanes::Item;
use crate::store::Source;

/// How many events a lane remembers: many more than it may have handled and not yet written.
const MOST: usize = 512;

/// The look-up of an event, when it was dispatched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The event's name in the store.
    pub(super) source: Source,
    /// The tick before the look; 0: there was none.
    pub(super) at: u64,
    /// Whether the event had been handled.
    pub(super) found: bool,
}

/// The memory of a running lane.
#[derive(Debug)]
pub(super) struct Seen {
    since: u64,
    handled: HashSet<Source>,
    order: VecDeque<Source>,
}

impl Seen {
    /// An empty memory. All that the lane handled before was durable at the tick `since`.
    pub(super) fn new(since: u64) -> Self {
        Self {
            since,
            handled: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Notes an event that was handled. `tick` gives the present tick; what is forgotten must be durable by then.
    pub(super) fn note(&mut self, source: Source, tick: impl FnOnce() -> u64) {
        if !self.handled.insert(source) {
            return;
        }
        self.order.push_back(source);
        if self.order.len() > MOST {
            // By half, so that the tick does not rise with each event.
            for old in self.order.drain(..MOST / 2) {
                self.handled.remove(&old);
            }
            self.since = tick();
        }
    }

    /// Whether the event is remembered.
    pub(super) fn contains(&self, source: Source) -> bool {
        self.handled.contains(&source)
    }

    /// Whether the store need not be asked about this event.
    pub(super) fn knows(&self, item: &Item) -> bool {
        let Look { source, at, found } = item.look;
        found || self.contains(source) || at > self.since
    }
}
