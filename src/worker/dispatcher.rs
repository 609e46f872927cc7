//! From stored transactions to lanes, in order.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt as _;
use lru::LruCache;
use ruma::{OwnedRoomId, UserId};
use tokio_util::sync::CancellationToken;

use super::{
    Intake, fetched,
    hints::Hints,
    intake::{Arrival, Arrivals, decode},
    lanes::{Item, LaneKey, Lanes},
    seen::Look,
    ticket::Transaction,
};
use crate::{
    event::{Event, Membership},
    portal::Deps,
    pseudonym::Role,
    store::{Batch, Direction, InboxEntry, PortalId, Route, Source, StoreError},
};

/// Rooms whose route is remembered; two for each portal.
const REMEMBERED: usize = 65_536;
/// Transactions that are read from the store at once.
const PAGE: u32 = 8;

/// For whom something is dispatched once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// If a lane lacks something, all that have a part in it.
    ForThose,
    /// Everybody.
    ForAll,
}

/// A way back.
#[derive(Clone, Copy, Debug)]
struct Back {
    /// After which position it began.
    began: i64,
    /// After which position it goes on.
    after: i64,
    again: Again,
}

/// Hands stored transactions to the lanes, oldest first.
#[derive(Debug)]
pub struct Dispatcher {
    deps: Deps,
    lanes: Arc<Lanes>,
    arrivals: Arrivals,
    last: i64,
    /// Whether there may be more in the store after `last`.
    from_store: bool,
    /// Where the dispatcher is that went back for lanes that were behind.
    back: Option<Back>,
    routes: LruCache<OwnedRoomId, Route>,
    epoch: u64,
}

impl Dispatcher {
    /// A dispatcher and the door that feeds it.
    #[must_use]
    pub fn new(deps: Deps, lanes: Arc<Lanes>) -> (Self, Intake) {
        let (intake, arrivals) = Intake::new(
            deps.store.clone(),
            deps.clock.clone(),
            deps.namespace.clone(),
            Hints::new(&deps),
        );
        (
            Self {
                deps,
                lanes,
                arrivals,
                last: 0,
                from_store: true,
                back: None,
                // A bounded one would take the room for all its entries at once.
                routes: LruCache::unbounded(),
                epoch: 0,
            },
            intake,
        )
    }

    /// Runs until cancelled: first what is left from before, then what arrives.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            match stop.run_until_cancelled(self.advance()).await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::error!(%error, "stored transactions cannot be read or routed; trying again");
                    self.from_store = true;
                    let pause = self.deps.clock.sleep(Duration::from_secs(1));
                    if stop.run_until_cancelled(pause).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// Some steps: of what it went back for, and of what is new.
    async fn advance(&mut self) -> Result<(), StoreError> {
        self.go_back().await?;
        self.from_store |= self.lanes.has_stored();
        if self.from_store {
            return self.catch_up().await;
        }
        let arrival = if self.back.is_some() {
            self.arrivals.next().now_or_never()
        } else {
            tokio::select! {
                arrival = self.arrivals.next() => Some(arrival),
                () = self.lanes.asking.notified() => None,
            }
        };
        match arrival {
            Some(Some(arrival)) if arrival.seq == self.last + 1 => {
                self.lanes.wait_for_space().await;
                self.dispatch(arrival, None).await?;
            }
            Some(Some(arrival)) if arrival.seq <= self.last => {}
            Some(_) => self.from_store = true,
            None => {}
        }
        Ok(())
    }

    /// Reads some transactions from the store, if there are more.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        self.lanes.wait_for_space().await;
        let entries = self.deps.store.inbox_after(self.last, PAGE).await?;
        self.from_store = !entries.is_empty();
        for entry in entries {
            self.dispatch(stored(&entry), None).await?;
        }
        Ok(())
    }

    /// Dispatches some of what lanes that were behind lack, up to where the dispatcher is.
    async fn go_back(&mut self) -> Result<(), StoreError> {
        let after = self.lanes.gather(self.back.map(|back| back.after));
        let Some(after) = after else {
            return Ok(());
        };
        let mut back = self.back.unwrap_or(Back {
            began: after,
            after,
            again: Again::ForThose,
        });
        self.back = Some(back);
        if !self.lanes.anybody_takes_part() {
            // All have as much as they may, and ask for the rest.
            self.back = None;
            self.lanes.caught_up();
            return Ok(());
        }
        self.lanes.wait_for_space().await;
        let mut entries = self.deps.store.inbox_after(after, PAGE).await?;
        entries.retain(|entry| entry.seq <= self.last);
        if entries.is_empty() {
            if back.again == Again::ForThose
                && self.lanes.lost_their_portal(&self.deps.store).await?
            {
                // What they lacked is of no lane any more, or of others that had their part of it: nobody else would close it.
                (back.after, back.again) = (back.began, Again::ForAll);
                self.back = Some(back);
                return Ok(());
            }
            self.back = None;
            self.lanes.caught_up();
        }
        for entry in entries {
            self.dispatch(stored(&entry), Some(back.again)).await?;
            back.after = entry.seq;
            self.back = Some(back);
        }
        Ok(())
    }

    /// Gives each event to the lanes that it concerns. `again`: the dispatcher went back. What is of no lane that it went back
    /// for is left out then; the rest is given to all that it concerns, as after a start: who had it before finds its link.
    async fn dispatch(&mut self, arrival: Arrival, again: Option<Again>) -> Result<(), StoreError> {
        let mut items: Vec<(LaneKey, Direction, Arc<Event>)> =
            Vec::with_capacity(arrival.events.len());
        for event in arrival.events {
            if let Some(key) = &event.state_key {
                self.deps.e2ee.hears(&event.room_id, &event.kind, key);
            }
            let route = self.route(&event).await?;
            let event = Arc::new(event);
            if let Some(portal) = arrival.portal {
                // Others have looked for what they missed themselves, and may see less of it.
                items.extend(
                    side(&route, portal).map(|side| (LaneKey::Portal(portal), side, event)),
                );
                continue;
            }
            let invites = self.is_about_an_invite(&event);
            if invites && !matches!(route, Route::Portal(_)) {
                let key = LaneKey::Direct(event.room_id.clone());
                items.push((key, Direction::Outbound, event.clone()));
            }
            match route {
                Route::Portal(id) => {
                    if self.deps.namespace.role(&event.sender).is_none() {
                        items.push((LaneKey::Portal(id), Direction::Outbound, event));
                    }
                }
                Route::Room(ids) => {
                    items.extend(
                        ids.into_iter()
                            .map(|id| (LaneKey::Portal(id), Direction::Inbound, event.clone())),
                    );
                }
                Route::Unknown => {
                    if !invites && self.deps.namespace.role(&event.sender).is_none() {
                        items.push((
                            LaneKey::Direct(event.room_id.clone()),
                            Direction::Outbound,
                            event,
                        ));
                    }
                }
            }
        }
        if items.is_empty() {
            let batch = Batch {
                links: Vec::new(),
                done: vec![arrival.seq],
            };
            self.deps.store.commit(&batch).await?;
        }
        let keys = items.iter().map(|(key, ..)| key);
        if again == Some(Again::ForThose) && !self.lanes.take_part(keys) {
            return Ok(());
        }
        let looks = self.look(&items).await;
        // Only now: what failed is read from the store once more.
        self.last = self.last.max(arrival.seq);
        let transaction = Transaction::new(arrival.seq, items.len());
        for ((key, direction, event), look) in items.into_iter().zip(looks) {
            let received = match arrival.portal {
                Some(_) => fetched::received(&event, arrival.received),
                None => arrival.received,
            };
            let item = Item {
                event,
                direction,
                received,
                copy: arrival.portal.is_some(),
                look,
                transaction: transaction.clone(),
            };
            self.lanes.push(key, item, again.is_some());
        }
        self.lanes.dispatched.store(self.last, Ordering::SeqCst);
        Ok(())
    }

    /// Whether somebody invites a ghost, or takes that back: whatever other portals lead into the room, there may be none of its
    /// own yet, and both go one after the other.
    fn is_about_an_invite(&self, event: &Event) -> bool {
        let Some(key) = event.state_key.as_deref() else {
            return false;
        };
        event.sender != *key
            && matches!(
                event.membership(),
                Some(Membership::Invite | Membership::Leave | Membership::Ban)
            )
            && <&UserId>::try_from(key)
                .is_ok_and(|user| self.deps.namespace.role(user) == Some(Role::Ghost))
    }

    /// Asks, once for all, which of these events were handled before. If that fails, the lanes ask again.
    async fn look(&self, items: &[(LaneKey, Direction, Arc<Event>)]) -> Vec<Look> {
        let store = &self.deps.store;
        let sources: Vec<Source> = items
            .iter()
            .map(|(key, _, event)| {
                // A direct chat's lane asks itself.
                let portal = match key {
                    LaneKey::Portal(portal) => *portal,
                    LaneKey::Direct(_) => PortalId([0; 16]),
                };
                store.source(portal, &event.event_id)
            })
            .collect();
        let at = self.lanes.tick();
        let (at, found) = match store.handled_of(&sources).await {
            Ok(found) => (at, found),
            Err(_) => (0, HashSet::new()),
        };
        let look = |source| Look {
            source,
            at,
            found: found.contains(&source),
        };
        sources.into_iter().map(look).collect()
    }

    async fn route(&mut self, event: &Event) -> Result<Route, StoreError> {
        let epoch = self.deps.portals.epoch();
        if self.epoch != epoch {
            self.routes.clear();
            self.epoch = epoch;
        }
        if let Some(route) = self.routes.get(&event.room_id) {
            return Ok(route.clone());
        }
        let route = self.deps.store.route(&event.room_id).await?;
        if self.deps.portals.epoch() == epoch {
            self.routes.put(event.room_id.clone(), route.clone());
            if self.routes.len() > REMEMBERED {
                self.routes.pop_lru();
            }
        }
        Ok(route)
    }
}

/// On which side of a portal a room is.
fn side(route: &Route, portal: PortalId) -> Option<Direction> {
    match route {
        Route::Portal(id) => (*id == portal).then_some(Direction::Outbound),
        Route::Room(ids) => ids.contains(&portal).then_some(Direction::Inbound),
        Route::Unknown => None,
    }
}

/// A stored transaction, as if it arrived.
fn stored(entry: &InboxEntry) -> Arrival {
    let (portal, events) = match fetched::decode(&entry.body) {
        Some((portal, events)) => (Some(portal), events),
        None => (None, decode(&entry.body).unwrap_or_default().0),
    };
    Arrival {
        seq: entry.seq,
        received: entry.received,
        events,
        portal,
        room: None,
    }
}
