//! Room in memory, and lanes that are behind: see [`queue`](super::queue).

use std::{sync::atomic::Ordering, time::Duration};

use tokio::sync::SemaphorePermit;

use super::{
    lanes::{LaneKey, Lanes, lock, show_depth},
    queue::{PATIENCE, Queue},
};
use crate::{
    event::Event,
    store::{PortalId, Source, Store, StoreError},
};

/// So many lanes of which none goes on may fill the memory together.
const SHARES: usize = 8;

impl Lanes {
    /// How many events a lane may keep in memory while others lack room.
    pub(super) fn share(&self) -> usize {
        (self.limit / SHARES).max(1)
    }

    /// Notes that events left memory.
    pub(super) fn finished(&self, count: usize) {
        let less = |depth: usize| Some(depth.saturating_sub(count));
        let (set, get) = (Ordering::SeqCst, Ordering::SeqCst);
        let before = self
            .depth
            .fetch_update(set, get, less)
            .unwrap_or_else(|depth| depth);
        let now = before.saturating_sub(count);
        show_depth(now);
        if before >= self.limit && now < self.limit {
            self.space.notify_one();
        }
        // Not at the limit: a lane that slowly goes on would hold up the others for ever, event by event.
        if now < self.limit - self.limit / 4 {
            self.full_since.store(0, Ordering::SeqCst);
        }
    }

    /// Whether as many events are in memory as may be.
    fn is_full(&self) -> bool {
        self.depth.load(Ordering::SeqCst) >= self.limit
    }

    /// Waits until there is room in memory, which is made if it takes long.
    pub(super) async fn wait_for_space(&self) {
        while self.is_full() {
            let now = self.deps.clock.now();
            let unset = 0;
            let since = self
                .full_since
                .compare_exchange(unset, now, Ordering::SeqCst, Ordering::SeqCst)
                .map_or_else(|since| since, |_| now);
            let waited = now.saturating_sub(since);
            if waited >= PATIENCE {
                self.full_since.store(now, Ordering::SeqCst);
                self.make_space();
                // What is being handled just now cannot be thrown out: if it is that much, there is one more.
                return;
            }
            tokio::select! {
                () = self.space.notified() => {}
                () = self.deps.clock.sleep(Duration::from_millis(PATIENCE - waited)) => {}
            }
        }
    }

    /// Throws out of memory what waits in lanes that do not go on, or is more than a share.
    fn make_space(&self) {
        let (now, share) = (self.deps.clock.now(), self.share());
        let mut lanes = 0;
        let mut gone = 0;
        for queue in lock(&self.queues).values_mut() {
            let shed = queue.shed(now, share);
            lanes += usize::from(shed > 0);
            gone += shed;
        }
        if gone > 0 {
            tracing::warn!(
                lanes,
                events = gone,
                "the memory is full: what waits in lanes that do not go on, or in long ones, is left to the inbox"
            );
            metrics::counter!("vizard_events_total", "outcome" => "put_off").increment(gone as u64);
            self.finished(gone);
        }
    }

    /// Whether something for a portal waits in the inbox alone.
    pub(super) fn is_behind(&self, portal: PortalId) -> bool {
        let queues = lock(&self.queues);
        queues
            .get(&LaneKey::Portal(portal))
            .is_some_and(Queue::is_behind)
    }

    /// Whether a portal's lane has handled, but for what it did not begin because it stops, whatever the inbox held for it up to
    /// this position.
    pub(super) fn has_handled(&self, portal: PortalId, position: i64) -> bool {
        let queues = lock(&self.queues);
        let lacks = queues
            .get(&LaneKey::Portal(portal))
            .is_some_and(|queue| queue.lacks(position));
        !lacks && self.dispatched.load(Ordering::SeqCst) >= position
    }

    /// Whether more than so many events may wait for a portal's lane. While the memory is full the dispatcher stands still: what the
    /// inbox holds behind it, up to this position, may all be for that lane. When it goes on, it is a moment behind at most.
    pub(super) fn may_have_more_than(&self, portal: PortalId, position: i64, most: usize) -> bool {
        if self.is_full() && self.dispatched.load(Ordering::SeqCst) < position {
            return true;
        }
        let queues = lock(&self.queues);
        queues
            .get(&LaneKey::Portal(portal))
            .is_some_and(|queue| queue.is_behind() || queue.waiting() > most)
    }

    /// Rings the dispatcher, because a lane asks for what it lacks.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.asking.notify_one();
    }

    /// Leaves those of these fetched events that are not stored, or came to the lane from there already.
    pub(super) fn unstored(&self, portal: PortalId, fetched: &mut Vec<(Source, &Event)>) {
        if let Some(queue) = lock(&self.queues).get(&LaneKey::Portal(portal)) {
            fetched.retain(|(source, _)| !queue.has_copy(*source));
        }
    }

    /// Notes what a lane stored because it was fetched, and rings the dispatcher.
    pub(super) fn stored(&self, portal: PortalId, copies: &[Source]) {
        if let Some(queue) = lock(&self.queues).get_mut(&LaneKey::Portal(portal)) {
            queue.stored(copies);
        }
        self.stored.store(true, Ordering::SeqCst);
        self.asking.notify_one();
    }

    /// Whether a lane stored something, since the dispatcher last asked.
    pub(super) fn has_stored(&self) -> bool {
        self.stored.swap(false, Ordering::SeqCst)
    }

    /// Lets lanes that ask take part when the dispatcher goes back. It is past `after` already; `None`: it has yet to begin.
    /// Returns after which position it goes on; `None`: nobody takes part.
    pub(super) fn gather(&self, after: Option<i64>) -> Option<i64> {
        if !self.asked.swap(false, Ordering::SeqCst) {
            return after;
        }
        let mut queues = lock(&self.queues);
        let first = queues.values().filter_map(Queue::asks_from).min();
        let after = after.or(first.map(|first| first - 1))?;
        for queue in queues.values_mut() {
            queue.take_part(after);
        }
        Some(after)
    }

    /// Whether any of these lanes takes part in what the dispatcher went back for.
    pub(super) fn take_part<'a>(&self, mut keys: impl Iterator<Item = &'a LaneKey>) -> bool {
        let queues = lock(&self.queues);
        keys.any(|key| queues.get(key).is_some_and(Queue::takes_part))
    }

    /// Whether there is a lane for which the dispatcher goes on with what it went back for.
    pub(super) fn anybody_takes_part(&self) -> bool {
        lock(&self.queues).values().any(Queue::takes_part)
    }

    /// Whether the portal of a lane takes part that was forgotten meanwhile, so that what it lacks goes another way now.
    pub(super) async fn lost_their_portal(&self, store: &Store) -> Result<bool, StoreError> {
        let takers: Vec<PortalId> = lock(&self.queues)
            .iter()
            .filter(|(_, queue)| queue.takes_part())
            .filter_map(|(key, _)| match key {
                LaneKey::Portal(portal) => Some(*portal),
                LaneKey::Direct(_) => None,
            })
            .collect();
        for portal in takers {
            if store.portal(portal).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The dispatcher is where it was before it went back.
    pub(super) fn caught_up(&self) {
        let mut ask = false;
        for queue in lock(&self.queues).values_mut() {
            queue.caught_up();
            ask |= queue.asks_from().is_some();
        }
        if ask {
            self.ask();
        }
    }

    /// For an empty lane: whether it is behind. Then waits until it gets something, or lacks nothing any more, or the process
    /// stops.
    pub(super) async fn catches_up(&self, key: &LaneKey) -> bool {
        let behind = |queue: &Queue| queue.is_behind().then(|| queue.news.clone());
        let Some(news) = lock(&self.queues).get(key).and_then(behind) else {
            return false;
        };
        tokio::select! {
            () = news.notified() => {}
            () = self.stop.cancelled() => {}
        }
        true
    }

    /// A turn to make requests for an event of a portal.
    pub(super) async fn turn(&self, portal: PortalId) -> Option<SemaphorePermit<'_>> {
        if let Ok(permit) = self.slots.try_acquire() {
            return Some(permit);
        }
        // Others are slow: this lane does not stand still by itself.
        let key = LaneKey::Portal(portal);
        let moves = |now| {
            if let Some(queue) = lock(&self.queues).get_mut(&key) {
                queue.moves(now);
            }
        };
        moves(None);
        let permit = self.slots.acquire().await.ok();
        moves(Some(self.deps.clock.now()));
        permit
    }
}
