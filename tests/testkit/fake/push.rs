//! Pushing transactions, as Synapse does: one in flight, at most 100 events, numbers that grow.
//!
//! A transaction that fails is pushed again, with the same number, until it is accepted; meanwhile the
//! application service counts as down and each further event gets a transaction of its own. A
//! transaction's events are looked up when it is pushed: what was redacted before arrives empty.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Inner, lock, world::World};

const MOST_EVENTS: usize = 100;
const REMEMBERED: usize = 256;

/// Something to deliver.
#[derive(Clone, Debug)]
pub enum Item {
    /// An event, by its room and place.
    Event(String, usize),
    /// Anything.
    Raw(Arc<Value>),
}

#[derive(Clone, Debug)]
struct Transaction {
    id: u64,
    items: Vec<Item>,
}

/// How long to wait before a failed transaction is pushed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// So long.
    After(Duration),
    /// 2, 4, 8 … 512 seconds.
    Backoff,
    /// Until [`Fake::retry_now`](super::Fake::retry_now).
    Manual,
}

/// What is to be pushed.
pub(super) struct Outbox {
    pub(super) url: Option<String>,
    pub(super) queue: VecDeque<Item>,
    pub(super) retry: Retry,
    pub(super) held: bool,
    pub(super) last_txn: u64,
    pub(super) accepted: u64,
    pending: VecDeque<Transaction>,
    history: VecDeque<Transaction>,
    in_flight: bool,
    down: bool,
    failures: u32,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            url: None,
            queue: VecDeque::new(),
            retry: Retry::After(Duration::from_millis(10)),
            held: false,
            last_txn: 0,
            accepted: 0,
            pending: VecDeque::new(),
            history: VecDeque::new(),
            in_flight: false,
            down: false,
            failures: 0,
        }
    }
}

impl Outbox {
    pub(super) fn is_down(&self) -> bool {
        self.down
    }

    /// Nothing is being pushed, and nothing will be by itself.
    pub(super) fn idle(&self) -> bool {
        !self.in_flight && (self.held || (self.queue.is_empty() && self.pending.is_empty()))
    }

    pub(super) fn redeliver(&mut self, id: u64) -> bool {
        let Some(old) = self.history.iter().find(|txn| txn.id == id).cloned() else {
            return false;
        };
        // Never before the one that may be in flight: that one is answered first.
        let at = usize::from(self.in_flight).min(self.pending.len());
        self.pending.insert(at, old);
        true
    }

    pub(super) fn accepted_item(&self, pick: u64) -> Option<Item> {
        let items: Vec<&Item> = self.history.iter().flat_map(|txn| &txn.items).collect();
        let place = usize::try_from(pick).ok()?.checked_rem(items.len())?;
        Some(items[place].clone())
    }

    /// Forgets everything but what is in flight.
    pub(super) fn lose(&mut self) -> Vec<Item> {
        let kept = usize::from(self.in_flight).min(self.pending.len());
        let lost = self.pending.drain(kept..).flat_map(|txn| txn.items);
        let mut lost: Vec<Item> = lost.collect();
        lost.extend(self.queue.drain(..));
        lost
    }

    fn take(&mut self) -> Option<(String, Transaction)> {
        let url = self.url.clone()?;
        if self.held {
            return None;
        }
        if self.pending.is_empty() && !self.queue.is_empty() {
            let most = if self.down { 1 } else { MOST_EVENTS };
            let items = self.queue.drain(..most.min(self.queue.len())).collect();
            self.last_txn += 1;
            self.pending.push_back(Transaction {
                id: self.last_txn,
                items,
            });
        }
        let transaction = self.pending.front()?.clone();
        self.in_flight = true;
        Some((url, transaction))
    }

    fn accepted(&mut self) {
        self.in_flight = false;
        self.accepted += 1;
        self.failures = 0;
        if let Some(done) = self.pending.pop_front()
            && self.history.iter().all(|old| old.id != done.id)
        {
            self.history.push_back(done);
            if self.history.len() > REMEMBERED {
                self.history.pop_front();
            }
        }
        if self.pending.is_empty() && self.queue.is_empty() {
            self.down = false;
        }
    }

    /// Returns how long to wait; `None` is until told.
    fn failed(&mut self) -> Option<Duration> {
        self.in_flight = false;
        self.down = true;
        self.failures += 1;
        match self.retry {
            Retry::After(pause) => Some(pause),
            Retry::Backoff => Some(Duration::from_secs(1 << self.failures.min(9))),
            Retry::Manual => None,
        }
    }
}

/// The pusher, until it is aborted.
pub(super) async fn run(inner: Arc<Inner>) {
    loop {
        let taken = lock(&inner.outbox).take();
        let Some((url, transaction)) = taken else {
            inner.work.notified().await;
            continue;
        };
        let body = body(&lock(&inner.world), &transaction.items);
        let answered = inner
            .http
            .put(format!(
                "{url}/_matrix/app/v1/transactions/{}",
                transaction.id
            ))
            .bearer_auth(&inner.config.hs_token)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .is_ok_and(|response| response.status() == 200);
        let faults = lock(&inner.log).faults;
        let strikes = |often: u64| often > 0 && inner.rng.below(1000) < often;
        if answered && !strikes(faults.push_lost) {
            let mut outbox = lock(&inner.outbox);
            outbox.accepted();
            if strikes(faults.push_old) && !outbox.history.is_empty() {
                let id = outbox.history[below(&inner, outbox.history.len())].id;
                outbox.redeliver(id);
            }
            if strikes(faults.push_duplicate) && !transaction.items.is_empty() {
                let again = below(&inner, transaction.items.len());
                outbox.queue.push_back(transaction.items[again].clone());
            }
        } else {
            let pause = lock(&inner.outbox).failed();
            inner.touch();
            let told = inner.retry.notified();
            match pause {
                Some(pause) => {
                    let _ = tokio::time::timeout(pause, told).await;
                }
                None => told.await,
            }
        }
        inner.touch();
    }
}

fn below(inner: &Inner, bound: usize) -> usize {
    usize::try_from(inner.rng.below(bound as u64)).unwrap()
}

fn body(world: &World, items: &[Item]) -> Vec<u8> {
    let events: Vec<&Value> = items
        .iter()
        .map(|item| match item {
            Item::Event(room, index) => &*world.rooms[room].events[*index],
            Item::Raw(value) => &**value,
        })
        .collect();
    serde_json::to_vec(&json!({ "events": events, "ephemeral": [] })).unwrap()
}
