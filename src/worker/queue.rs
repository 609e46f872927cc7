//! What waits in one lane that runs, and from where on the rest of it waits in the inbox alone.
//!
//! A lane that does not go on must not keep the others waiting when the memory is full. So what waits in it is thrown out of
//! memory, and from then on the lane is **behind**: the dispatcher passes it by. When it has worked off what it has, it asks, and
//! the dispatcher goes back and dispatches the stored transactions from there once more, as after a start. A transaction that was
//! dispatched in part stays open until then, because nobody closes what was thrown out.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use tokio::sync::Notify;

use super::lanes::Item;
use crate::{
    clock::UnixMillis,
    event::Event,
    store::{Direction, Source},
};

/// A lane that does not go on for so long while the memory is full loses what waits in it, in milliseconds.
pub(super) const PATIENCE: u64 = 3_000;

/// What waits in a lane that runs.
#[derive(Debug)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// What the lane took and has not begun.
    hand: VecDeque<Item>,
    /// What it is about.
    begun: Option<Begun>,
    /// Rung with each event.
    pub(super) news: Arc<Notify>,
    /// When the lane last went on; `None`: it waits until others let it.
    moved: Option<UnixMillis>,
    behind: Option<Behind>,
    /// What was fetched for the lane, is stored, and has not come to it from there: it is not to be stored once more.
    copies: HashSet<Source>,
}

/// What a lane is about: an event that it took, or one that was fetched.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) event: Arc<Event>,
    pub(super) direction: Direction,
    /// Whether it was in memory as one that was delivered.
    taken: bool,
}

/// A lane that lacks events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Behind {
    /// The first position of which something may lack.
    from: i64,
    want: Want,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// It has enough to do.
    Rests,
    /// It has nothing to do.
    Asks,
    /// The dispatcher went back for it.
    Takes,
}

impl Queue {
    /// An empty one.
    pub(super) fn new(now: UnixMillis) -> Self {
        Self {
            items: VecDeque::new(),
            hand: VecDeque::new(),
            begun: None,
            news: Arc::default(),
            moved: Some(now),
            behind: None,
            copies: HashSet::new(),
        }
    }

    /// Appends an event. `again`: the dispatcher went back. `false`: the lane is behind, and the event is left to the inbox.
    pub(super) fn push(&mut self, item: Item, again: bool, share: usize) -> bool {
        if item.copy {
            self.copies.insert(item.look.source);
        }
        let full = self.waiting() >= share;
        if let Some(behind) = &mut self.behind {
            let seq = item.transaction.seq();
            // What is before the gap was handled or waits in memory. It comes again for other lanes' sake, and its transaction
            // would stay open if this part of it were left out.
            let before = again && seq < behind.from;
            if !before {
                if !again || behind.want != Want::Takes {
                    return false;
                }
                // Never in the middle of a transaction, or a long one would fill the share each time and nothing be won.
                if full && seq > behind.from {
                    behind.want = Want::Rests;
                    behind.from = seq;
                    return false;
                }
                behind.from = seq;
            }
        }
        self.items.push_back(item);
        self.news.notify_one();
        true
    }

    /// Whether nothing waits to be taken.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether something waits in the inbox alone.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Whether something of what the inbox held up to this position is to be begun, or waits in the inbox alone.
    pub(super) fn lacks(&self, position: i64) -> bool {
        let waits = |item: &Item| item.transaction.seq() <= position;
        self.behind.is_some_and(|behind| behind.from <= position)
            || self.hand.iter().chain(&self.items).any(waits)
    }

    /// How many events are to be taken, or were and are to be begun.
    pub(super) fn waiting(&self) -> usize {
        self.items.len() + self.hand.len()
    }

    /// Shows the next events, at most `limit`, which [`Queue::next`] then gives out.
    pub(super) fn take(&mut self, limit: usize, now: UnixMillis) -> Vec<Item> {
        self.moved = Some(now);
        let count = self.items.len().min(limit);
        self.hand = self.items.drain(..count).collect();
        self.hand.iter().cloned().collect()
    }

    /// The next event that was shown, unless it was thrown out meanwhile.
    pub(super) fn next(&mut self, now: UnixMillis) -> Option<Item> {
        self.moved = Some(now);
        let item = self.hand.pop_front();
        if let Some(item) = item.as_ref().filter(|item| item.copy) {
            self.copies.remove(&item.look.source);
        }
        self.begun = item.as_ref().map(|item| Begun {
            event: item.event.clone(),
            direction: item.direction,
            taken: true,
        });
        item
    }

    /// The lane is about an event that was fetched.
    pub(super) fn begin(&mut self, direction: Direction, event: &Event) {
        self.begun = Some(Begun {
            event: Arc::new(event.clone()),
            direction,
            taken: false,
        });
    }

    /// What the lane was about is handled, and what comes of it noted.
    pub(super) fn noted(&mut self) {
        self.begun = None;
    }

    /// The lane broke off. Throws out all that waits, and asks for all that the inbox holds for it: what it handled last may not be
    /// written. How many events that were, what it was about included, and what that was.
    pub(super) fn break_off(&mut self) -> (usize, Option<Begun>) {
        let begun = self.begun.take();
        let taken = begun.as_ref().is_some_and(|begun| begun.taken);
        let gone = self.waiting() + usize::from(taken);
        self.hand.clear();
        self.items.clear();
        let (from, want) = (0, Want::Rests);
        self.behind = Some(Behind { from, want });
        (gone, begun)
    }

    /// Notes what was stored for the lane because it was fetched.
    pub(super) fn stored(&mut self, copies: &[Source]) {
        self.copies.extend(copies);
    }

    /// Whether something that was fetched is stored, and is still to come from there.
    pub(super) fn has_copy(&self, source: Source) -> bool {
        self.copies.contains(&source)
    }

    /// Notes that the lane goes on; `None`: that it waits until others let it.
    pub(super) fn moves(&mut self, now: Option<UnixMillis>) {
        self.moved = now;
    }

    /// Throws out what waits, if the lane does not go on, or what is more than its share. How many events.
    pub(super) fn shed(&mut self, now: UnixMillis, share: usize) -> usize {
        let before = self.waiting();
        let stuck = self
            .moved
            .is_some_and(|at| now.saturating_sub(at) >= PATIENCE);
        let gone = if stuck {
            self.hand.extend(self.items.drain(..));
            std::mem::take(&mut self.hand)
        } else if before > share {
            let kept = share.saturating_sub(self.hand.len()).min(self.items.len());
            self.items.split_off(kept)
        } else {
            return 0;
        };
        // Not the first one's: what was dispatched for a second time may stand behind what is newer.
        let Some(first) = gone.iter().map(|item| item.transaction.seq()).min() else {
            return 0;
        };
        self.items.shrink_to_fit();
        let from = self.behind.map_or(first, |behind| behind.from.min(first));
        let want = Want::Rests;
        self.behind = Some(Behind { from, want });
        gone.len()
    }

    /// The lane has nothing to do. Whether the dispatcher has to go back for it.
    pub(super) fn ask(&mut self) -> bool {
        match &mut self.behind {
            Some(behind) if behind.want == Want::Rests => {
                behind.want = Want::Asks;
                true
            }
            _ => false,
        }
    }

    /// From where on the lane asks for what it lacks.
    pub(super) fn asks_from(&self) -> Option<i64> {
        let behind = self.behind.filter(|behind| behind.want == Want::Asks);
        behind.map(|behind| behind.from)
    }

    /// The dispatcher goes back, and what it dispatches again is for this lane too, if it lacks nothing up to `after`.
    pub(super) fn take_part(&mut self, after: i64) {
        if let Some(behind) = &mut self.behind
            && behind.want == Want::Asks
            && behind.from > after
        {
            behind.want = Want::Takes;
        }
    }

    /// Whether what the dispatcher goes back for is for this lane.
    pub(super) fn takes_part(&self) -> bool {
        self.behind.is_some_and(|behind| behind.want == Want::Takes)
    }

    /// The dispatcher has caught up with itself: what took part lacks nothing any more.
    pub(super) fn caught_up(&mut self) {
        if self.takes_part() {
            self.behind = None;
            self.news.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
