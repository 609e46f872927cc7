//! The lanes: one queue per portal or direct chat, each worked off by at most one task at a time.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lru::LruCache;
use ruma::OwnedRoomId;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{direct, lane, queue::Queue, seen::Look, ticket::Transaction};
use crate::{
    clock::UnixMillis,
    event::Event,
    portal::Deps,
    relay::{Guards, Relay, Watch},
    store::{Direction, Link, PortalId},
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
    /// Whether it was fetched and stored, and not delivered.
    pub(super) copy: bool,
    pub(super) look: Look,
    pub(super) transaction: Arc<Transaction>,
}

/// What a lane gets to do.
#[derive(Debug)]
pub(super) enum Taken {
    /// These events.
    Items(Vec<Item>),
    /// Nothing at the moment.
    Nothing,
    /// Nothing, and it has ended: its task may not go on.
    Ended,
}

/// Relays of idle portals that stay in memory with what they remember, some KiB each.
const REMEMBERED: usize = 16_384;

/// All lanes.
#[derive(Debug)]
pub struct Lanes {
    pub(super) deps: Deps,
    /// How many lanes may have a request under way.
    pub(super) slots: Semaphore,
    pub(super) stop: CancellationToken,
    /// Whether missed events are fetched when a lane first runs.
    pub(super) fill_gaps: bool,
    pub(super) queues: Mutex<HashMap<LaneKey, Queue>>,
    relays: Mutex<Relays>,
    guards: Guards,
    pub(super) depth: AtomicUsize,
    pub(super) limit: usize,
    pub(super) space: Notify,
    /// The last position that was dispatched.
    pub(super) dispatched: AtomicI64,
    /// Since when the memory has been full, more or less; 0: it is not.
    pub(super) full_since: AtomicU64,
    /// Whether a lane asks for what it lacks, and what is rung then.
    pub(super) asked: AtomicBool,
    pub(super) asking: Notify,
    /// Whether a lane stored what it fetched, for which it is rung too.
    pub(super) stored: AtomicBool,
    /// Until when every portal expects holes, because the homeserver failed lately.
    wary_until: AtomicU64,
    tasks: TaskTracker,
    /// See [`Seen`](super::seen::Seen).
    tick: AtomicU64,
}

#[derive(Debug)]
struct Relays {
    idle: LruCache<PortalId, Relay>,
    /// Portals whose missed events were fetched since the start, even if their relay is no longer in memory, and when they were
    /// looked for: else each event of a portal that is not in memory would have its room's history read.
    filled: HashMap<PortalId, Watch>,
    /// Portals whose lane shall look for missed events before it ends.
    wanted: HashSet<PortalId>,
    /// What portals' relays have to relearn.
    relearn: HashMap<PortalId, Vec<Link>>,
    /// The tick at which everything was durable that lanes had handled whose relays are no longer in memory.
    forgotten_at: u64,
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
                idle: LruCache::unbounded(),
                filled: HashMap::new(),
                wanted: HashSet::new(),
                relearn: HashMap::new(),
                forgotten_at: 0,
            }),
            guards: Guards::default(),
            depth: AtomicUsize::new(0),
            space: Notify::new(),
            dispatched: AtomicI64::new(0),
            full_since: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            asking: Notify::new(),
            stored: AtomicBool::new(false),
            wary_until: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            tick: AtomicU64::new(1),
        })
    }

    /// The present tick, which is over.
    pub(super) fn tick(&self) -> u64 {
        self.tick.fetch_add(1, Ordering::SeqCst)
    }

    /// Appends an event to a lane and wakes it. A lane that is behind gets it only when the dispatcher went back (`again`).
    pub(super) fn push(self: &Arc<Self>, key: LaneKey, item: Item, again: bool) {
        let mut queues = lock(&self.queues);
        let new = !queues.contains_key(&key);
        let queue = queues
            .entry(key.clone())
            .or_insert_with(|| Queue::new(self.deps.clock.now()));
        let pushed = queue.push(item, again, self.share());
        // Before anybody can take it.
        if pushed {
            let depth = self.depth.fetch_add(1, Ordering::SeqCst) + 1;
            show_depth(depth);
        }
        drop(queues);
        if new {
            self.wake(key);
        }
    }

    /// Starts a lane that has nothing to do, so that it looks for missed events.
    pub fn visit(self: &Arc<Self>, portal: PortalId) {
        self.look_for_missed(portal, false);
    }

    /// Lets a lane look for missed events once more: its portal leads into another room now.
    pub(super) fn look_again(self: &Arc<Self>, portal: PortalId) {
        self.look_for_missed(portal, true);
    }

    fn look_for_missed(self: &Arc<Self>, portal: PortalId, again: bool) {
        let key = LaneKey::Portal(portal);
        // Looking and entering under one lock: an event may come at the same time, and a lane has one task; and a lane that ends
        // in between would note that it has looked.
        let mut queues = lock(&self.queues);
        let mut relays = lock(&self.relays);
        if again {
            relays.filled.remove(&portal);
            if let Some(relay) = relays.idle.peek_mut(&portal) {
                relay.filled = false;
            }
        } else if relays.filled.contains_key(&portal) {
            return;
        }
        if queues.contains_key(&key) {
            relays.wanted.insert(portal);
            return;
        }
        drop(relays);
        queues.insert(key.clone(), Queue::new(self.deps.clock.now()));
        drop(queues);
        self.wake(key);
    }

    fn wake(self: &Arc<Self>, key: LaneKey) {
        let lanes = self.clone();
        self.tasks.spawn(async move {
            match &key {
                LaneKey::Portal(portal) => {
                    let work = || lane::portal(&lanes, *portal);
                    lanes.guard(&key, work).await;
                }
                LaneKey::Direct(room) => {
                    // Boxed: there are few, and a portal's lane would take as much.
                    let work = || Box::pin(direct::direct(&lanes, room));
                    lanes.guard(&key, work).await;
                }
            }
        });
    }

    /// Shows the next events of a lane, at most `limit`; [`Lanes::next`] gives them out. If it is empty and not behind, and the
    /// caller does not mean to `keep` it, the lane ends, and the next event starts it anew.
    pub(super) fn take(&self, key: &LaneKey, limit: usize, keep: bool) -> Taken {
        let mut queues = lock(&self.queues);
        let Some(queue) = queues.get_mut(key) else {
            return Taken::Ended;
        };
        if !queue.is_empty() {
            return Taken::Items(queue.take(limit, self.deps.clock.now()));
        }
        if queue.is_behind() {
            if queue.ask() {
                drop(queues);
                self.ask();
            }
        } else if !keep {
            queues.remove(key);
            return Taken::Ended;
        }
        Taken::Nothing
    }

    /// The next event of those that were shown, if they are still to be handled.
    pub(super) fn next(&self, key: &LaneKey) -> Option<Item> {
        let now = self.deps.clock.now();
        lock(&self.queues).get_mut(key)?.next(now)
    }

    /// A lane is about an event that was fetched.
    pub(super) fn begin(&self, key: &LaneKey, direction: Direction, event: &Event) {
        if let Some(queue) = lock(&self.queues).get_mut(key) {
            queue.begin(direction, event);
        }
    }

    /// What a lane was about is noted in its outcome, where it is counted from now on.
    pub(super) fn noted(&self, key: &LaneKey) {
        if let Some(queue) = lock(&self.queues).get_mut(key) {
            queue.noted();
        }
    }

    /// Rung when a lane that is empty gets an event. `None`: it has some.
    pub(super) fn news(&self, key: &LaneKey) -> Option<Arc<Notify>> {
        let queues = lock(&self.queues);
        let queue = queues.get(key)?;
        queue.is_empty().then(|| queue.news.clone())
    }

    /// Waits until a lane has events, at most `longest`, and not at all once the process stops. May return early.
    pub(super) async fn wait_for_item(&self, key: &LaneKey, longest: Duration) {
        let Some(news) = self.news(key) else {
            return;
        };
        tokio::select! {
            () = news.notified() => {}
            () = self.stop.cancelled() => {}
            () = self.deps.clock.sleep(longest) => {}
        }
    }

    /// The relay of a portal, with what it remembers.
    pub(super) fn relay(&self, portal: PortalId) -> Relay {
        let mut relays = lock(&self.relays);
        let mut relay = relays.idle.pop(&portal).unwrap_or_else(|| {
            let mut relay = Relay::new(portal, self.guards.clone());
            relay.durable_at = relays.forgotten_at;
            relay.watch = relays.filled.get(&portal).copied().unwrap_or_default();
            relay
        });
        relay.filled |= relays.filled.contains_key(&portal);
        for link in relays.relearn.remove(&portal).into_iter().flatten() {
            relay.relearn(&link);
        }
        relay
    }

    /// An event of a portal was sent anew, as another one: its relay remembers the old one.
    pub(super) fn relearn(&self, portal: PortalId, link: Link) {
        let queues = lock(&self.queues);
        let mut relays = lock(&self.relays);
        if let Some(relay) = relays.idle.peek_mut(&portal) {
            relay.relearn(&link);
        } else if queues.contains_key(&LaneKey::Portal(portal)) {
            relays.relearn.entry(portal).or_default().push(link);
        }
    }

    /// Tells a relay that is at work what it has to relearn.
    pub(super) fn update(&self, portal: PortalId, relay: &mut Relay) {
        let news = lock(&self.relays).relearn.remove(&portal);
        for link in news.into_iter().flatten() {
            relay.relearn(&link);
        }
    }

    /// Ends an empty lane, of which everything is durable, and keeps its relay; gives the relay back if an event came meanwhile.
    pub(super) fn end(&self, key: &LaneKey, portal: PortalId, mut relay: Relay) -> Option<Relay> {
        let mut queues = lock(&self.queues);
        if queues
            .get(key)
            .is_some_and(|queue| !queue.is_empty() || queue.is_behind())
        {
            return Some(relay);
        }
        let mut relays = lock(&self.relays);
        if relays.wanted.remove(&portal) {
            relay.filled = false;
            return Some(relay);
        }
        if relay.filled {
            relays.filled.insert(portal, relay.watch);
        }
        for link in relays.relearn.remove(&portal).into_iter().flatten() {
            relay.relearn(&link);
        }
        relay.rest();
        relay.durable_at = self.tick();
        relays.idle.put(portal, relay);
        if relays.idle.len() > REMEMBERED
            && let Some((_, oldest)) = relays.idle.pop_lru()
        {
            relays.forgotten_at = relays.forgotten_at.max(oldest.durable_at);
        }
        queues.remove(key);
        None
    }

    /// What a relay knew went with it: what was handled until now is looked up again, and what was missed is looked for again.
    pub(super) fn forget_relay(&self, key: &LaneKey) {
        let now = self.tick();
        let mut relays = lock(&self.relays);
        if let LaneKey::Portal(portal) = key {
            relays.filled.remove(portal);
        }
        relays.forgotten_at = relays.forgotten_at.max(now);
    }

    /// Notes that the homeserver failed: it may have been away, and may owe events.
    pub(super) fn be_wary(&self) {
        self.wary_until
            .store(Watch::wary_from(self.deps.clock.now()), Ordering::SeqCst);
    }

    /// Until when every portal expects holes.
    pub(super) fn wary_until(&self) -> UnixMillis {
        self.wary_until.load(Ordering::SeqCst)
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

/// Shows how many events are in memory.
pub(super) fn show_depth(depth: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::gauge!("vizard_lane_depth").set(depth as f64);
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
