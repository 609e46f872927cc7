//! The lanes: one queue per portal or direct chat, each worked off by at most one task at a time.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lru::LruCache;
use ruma::OwnedRoomId;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{lane, ticket::Transaction};
use crate::{
    clock::UnixMillis,
    event::Event,
    portal::Deps,
    relay::Relay,
    store::{Direction, PortalId},
};

/// Which lane an event goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum LaneKey {
    /// A portal's.
    Portal(PortalId),
    /// A direct chat's (or a room's to which the bot was invited).
    Direct(OwnedRoomId),
}

/// One event in a lane.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) event: Arc<Event>,
    pub(super) direction: Direction,
    pub(super) received: UnixMillis,
    pub(super) transaction: Arc<Transaction>,
}

/// Relays of idle portals that stay in memory with what they remember.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// All lanes.
#[derive(Debug)]
pub struct Lanes {
    pub(super) deps: Deps,
    /// How many lanes may have a request under way.
    pub(super) slots: Semaphore,
    pub(super) stop: CancellationToken,
    /// Whether missed events are fetched when a lane first runs.
    pub(super) fill_gaps: bool,
    queues: Mutex<HashMap<LaneKey, VecDeque<Item>>>,
    relays: Mutex<Relays>,
    depth: AtomicUsize,
    limit: usize,
    space: Notify,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Relays {
    idle: LruCache<PortalId, Relay>,
    /// Portals whose missed events were fetched since the start, even if their relay is no longer in memory.
    filled: HashSet<PortalId>,
    /// Portals whose lane shall look for missed events before it ends.
    wanted: HashSet<PortalId>,
}

impl Lanes {
    /// No lanes yet. They stop, each between two events, when `stop` is cancelled.
    #[must_use]
    pub fn new(deps: Deps, stop: CancellationToken) -> Arc<Self> {
        let relay = &deps.config.relay;
        Arc::new(Self {
            slots: Semaphore::new(relay.concurrency.max(1)),
            limit: relay.max_in_memory.max(1),
            fill_gaps: relay.gap_limit > 0,
            deps,
            stop,
            queues: Mutex::default(),
            relays: Mutex::new(Relays {
                idle: LruCache::new(REMEMBERED),
                filled: HashSet::new(),
                wanted: HashSet::new(),
            }),
            depth: AtomicUsize::new(0),
            space: Notify::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Appends an event to a lane and wakes it.
    pub(super) fn push(self: &Arc<Self>, key: LaneKey, item: Item) {
        let depth = self.depth.fetch_add(1, Ordering::SeqCst) + 1;
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("vizard_lane_depth").set(depth as f64);
        let mut queues = lock(&self.queues);
        if let Some(queue) = queues.get_mut(&key) {
            queue.push_back(item);
            return;
        }
        queues.insert(key.clone(), VecDeque::from([item]));
        drop(queues);
        self.wake(key);
    }

    /// Starts a lane that has nothing to do, so that it looks for missed events.
    pub fn visit(self: &Arc<Self>, portal: PortalId) {
        let key = LaneKey::Portal(portal);
        // Looking and entering under one lock: an event may come at the same time, and a lane has one task.
        let mut queues = lock(&self.queues);
        let mut relays = lock(&self.relays);
        if relays.filled.contains(&portal) {
            return;
        }
        if queues.contains_key(&key) {
            relays.wanted.insert(portal);
            return;
        }
        drop(relays);
        queues.insert(key.clone(), VecDeque::new());
        drop(queues);
        self.wake(key);
    }

    /// Lets a lane look for missed events once more: its portal leads into another room now.
    pub(super) fn look_again(self: &Arc<Self>, portal: PortalId) {
        let mut relays = lock(&self.relays);
        relays.filled.remove(&portal);
        if let Some(relay) = relays.idle.peek_mut(&portal) {
            relay.filled = false;
        }
        drop(relays);
        self.visit(portal);
    }

    fn wake(self: &Arc<Self>, key: LaneKey) {
        let lanes = self.clone();
        self.tasks.spawn(async move {
            match key {
                LaneKey::Portal(portal) => lane::portal(&lanes, portal).await,
                LaneKey::Direct(room) => lane::direct(&lanes, &room).await,
            }
        });
    }

    /// The next events of a lane, at most `limit`. `None`: it is empty. Then, unless the caller means to `keep` it,
    /// the lane ends, and the next event starts it anew.
    pub(super) fn take(&self, key: &LaneKey, limit: usize, keep: bool) -> Option<Vec<Item>> {
        let mut queues = lock(&self.queues);
        let queue = queues.get_mut(key)?;
        if queue.is_empty() {
            if !keep {
                queues.remove(key);
            }
            return None;
        }
        let count = queue.len().min(limit);
        Some(queue.drain(..count).collect())
    }

    /// Waits until a lane has events, at most `longest`, and not at all once the process stops.
    pub(super) async fn wait_for_item(&self, key: &LaneKey, longest: Duration) {
        let has_item = || {
            lock(&self.queues)
                .get(key)
                .is_some_and(|queue| !queue.is_empty())
        };
        let deadline =
            self.deps.clock.now() + u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        while !has_item() && !self.stop.is_cancelled() {
            let left = deadline.saturating_sub(self.deps.clock.now());
            if left == 0 {
                return;
            }
            self.deps
                .clock
                .sleep(Duration::from_millis(left.min(50)))
                .await;
        }
    }

    /// Notes that events left memory.
    pub(super) fn finished(&self, count: usize) {
        let before = self.depth.fetch_sub(count, Ordering::SeqCst);
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("vizard_lane_depth").set(before.saturating_sub(count) as f64);
        if before >= self.limit && before - count < self.limit {
            self.space.notify_one();
        }
    }

    /// Whether as many events are in memory as may be.
    pub(super) fn is_full(&self) -> bool {
        self.depth.load(Ordering::SeqCst) >= self.limit
    }

    /// Waits until there is room in memory.
    pub(super) async fn wait_for_space(&self) {
        while self.is_full() {
            self.space.notified().await;
        }
    }

    /// The relay of a portal, with what it remembers.
    pub(super) fn relay(&self, portal: PortalId) -> Relay {
        let mut relays = lock(&self.relays);
        let mut relay = relays
            .idle
            .pop(&portal)
            .unwrap_or_else(|| Relay::new(portal));
        relay.filled |= relays.filled.contains(&portal);
        relay
    }

    /// Ends an empty lane and keeps its relay; gives the relay back if an event came meanwhile.
    pub(super) fn end(&self, key: &LaneKey, portal: PortalId, mut relay: Relay) -> Option<Relay> {
        let mut queues = lock(&self.queues);
        if queues.get(key).is_some_and(|queue| !queue.is_empty()) {
            return Some(relay);
        }
        let mut relays = lock(&self.relays);
        if relays.wanted.remove(&portal) {
            relay.filled = false;
            return Some(relay);
        }
        if relay.filled {
            relays.filled.insert(portal);
        }
        relays.idle.put(portal, relay);
        queues.remove(key);
        None
    }

    /// Whether nothing is queued or running.
    #[must_use]
    pub fn idle(&self) -> bool {
        lock(&self.queues).is_empty()
    }

    /// Waits until every lane has come to rest; call after cancelling `stop`.
    pub async fn settled(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
