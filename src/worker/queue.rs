//! What waits in one lane that runs, and from where on the rest of it waits in the inbox alone.
//!
//! A lane that does not go on must not keep the others waiting when the memory is full. So what waits in it is thrown out of
//! memory, and from then on the lane is **behind**: the dispatcher passes it by. When it has worked off what it has, it asks, and
//! the dispatcher goes back and dispatches the stored transactions from there once more, as after a start. A transaction that was
//! dispatched in part stays open until then, because nobody closes what was thrown out.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::Notify;

use super::lanes::Item;
use crate::clock::UnixMillis;

/// A lane that does not go on for so long while the memory is full loses what waits in it, in milliseconds.
pub(super) const PATIENCE: u64 = 3_000;

/// What waits in a lane that runs.
#[derive(Debug)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// What the lane took and has not begun.
    hand: VecDeque<Item>,
    /// What it began last.
    begun: Option<Item>,
    /// Rung with each event.
    pub(super) news: Arc<Notify>,
    /// When the lane last went on; `None`: it waits until others let it.
    moved: Option<UnixMillis>,
    behind: Option<Behind>,
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
        }
    }

    /// Appends an event. `again`: the dispatcher went back. `false`: the lane is behind, and the event is left to the inbox.
    pub(super) fn push(&mut self, item: Item, again: bool, share: usize) -> bool {
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
        self.begun = self.hand.pop_front();
        self.begun.clone()
    }

    /// The lane broke off. Throws out all that waits, and asks for all that the inbox holds for it: what it handled last may not be
    /// written. How many events that were, and what it was about.
    pub(super) fn break_off(&mut self) -> (usize, Option<Item>) {
        let gone = self.waiting();
        self.hand.clear();
        self.items.clear();
        let (from, want) = (0, Want::Rests);
        self.behind = Some(Behind { from, want });
        (gone, self.begun.take())
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
mod tests {
    use super::*;
    use crate::{
        event::Event,
        store::{Direction, Source},
        worker::{seen::Look, ticket::Transaction},
    };

    fn item(seq: i64) -> Item {
        let json = format!(
            r#"{{"event_id":"${seq}","room_id":"!r:x","sender":"@u:x","type":"m.x","content":{{}}}}"#
        );
        let raw = serde_json::value::RawValue::from_string(json).expect("JSON");
        let look = Look {
            source: Source::any(0),
            at: 0,
            found: false,
        };
        Item {
            event: Arc::new(Event::decode(&raw).expect("an event")),
            direction: Direction::Inbound,
            received: 0,
            look,
            transaction: Transaction::new(seq, 1),
        }
    }

    fn all(queue: &mut Queue) -> Vec<i64> {
        queue.take(99, 0);
        std::iter::from_fn(|| queue.next(0))
            .map(|item| item.transaction.seq())
            .collect()
    }

    #[test]
    fn what_was_thrown_out_comes_again_in_order() {
        let mut queue = Queue::new(0);
        for seq in 1..=9 {
            assert!(queue.push(item(seq), false, 4));
        }
        assert_eq!(queue.take(3, 0).len(), 3);
        assert_eq!(queue.next(0).map(|item| item.transaction.seq()), Some(1));
        assert_eq!(queue.shed(PATIENCE - 1, 99), 0, "it goes on");
        assert_eq!(queue.shed(PATIENCE, 99), 8);
        assert!(queue.next(PATIENCE).is_none() && queue.is_empty());
        assert!(!queue.push(item(10), false, 4), "it is behind");
        assert_eq!(queue.asks_from(), None);
        assert!(queue.ask() && !queue.ask());
        assert_eq!(queue.asks_from(), Some(2));
        // The dispatcher is past what it lacks: the next time.
        queue.take_part(2);
        assert!(!queue.takes_part());
        queue.take_part(1);
        let taken = |queue: &mut Queue, after: i64| {
            (after + 1..=10)
                .filter(|seq| queue.push(item(*seq), true, 4))
                .collect::<Vec<_>>()
        };
        assert_eq!(taken(&mut queue, 1), [2, 3, 4, 5]);
        queue.caught_up();
        assert!(queue.is_behind(), "its share was full");
        assert_eq!(all(&mut queue), [2, 3, 4, 5]);
        assert!(queue.ask());
        queue.take_part(5);
        assert_eq!(taken(&mut queue, 5), [6, 7, 8, 9]);
        assert_eq!(all(&mut queue), [6, 7, 8, 9]);
        assert!(queue.ask());
        queue.take_part(9);
        assert_eq!(taken(&mut queue, 9), [10]);
        queue.caught_up();
        assert!(!queue.is_behind() && queue.push(item(11), false, 4));
        assert_eq!(all(&mut queue), [10, 11]);
    }

    #[test]
    fn a_transaction_that_is_longer_than_the_share_comes_whole() {
        let mut queue = Queue::new(0);
        for seq in [1, 2, 2, 2, 3] {
            queue.push(item(seq), false, 1);
        }
        queue.take(1, 0);
        queue.next(0);
        queue.shed(PATIENCE, 1);
        queue.ask();
        queue.take_part(1);
        for (seq, taken) in [(2, true), (2, true), (2, true), (3, false)] {
            assert_eq!(queue.push(item(seq), true, 1), taken, "{seq}");
        }
        assert_eq!(all(&mut queue), [2, 2, 2]);
        // Another lane asks for what this one had: it closes its part of that again.
        assert!(queue.push(item(2), true, 1) && !queue.push(item(3), true, 1));
        assert_eq!(all(&mut queue), [2]);
        queue.ask();
        assert_eq!(queue.asks_from(), Some(3));
    }

    #[test]
    fn who_broke_off_asks_for_all_but_what_broke_it() {
        let mut queue = Queue::new(0);
        for seq in 3..=9 {
            queue.push(item(seq), false, 4);
        }
        queue.take(3, 0);
        queue.next(0);
        queue.next(0);
        let (gone, begun) = queue.break_off();
        assert_eq!(gone, 5);
        assert_eq!(begun.map(|item| item.transaction.seq()), Some(4));
        assert!(queue.is_behind() && queue.waiting() == 0 && queue.ask());
        assert_eq!(
            queue.asks_from(),
            Some(0),
            "also for what it may not have written"
        );
        queue.take_part(-1);
        assert!(queue.takes_part());
    }

    #[test]
    fn who_goes_on_keeps_a_share() {
        let mut queue = Queue::new(0);
        for seq in 1..=20 {
            queue.push(item(seq), false, 4);
        }
        queue.take(3, 0);
        assert_eq!(queue.shed(1, 4), 16);
        assert!(queue.is_behind());
        assert_eq!(queue.hand.len() + queue.items.len(), 4);
        // Waiting for a turn is nobody's fault.
        queue.moves(None);
        assert_eq!(queue.shed(u64::MAX, 4), 0);
    }
}
