//! From stored transactions to lanes, in order.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use ruma::{OwnedRoomId, UserId};
use tokio_util::sync::CancellationToken;

use super::{
    Intake,
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
    store::{Batch, Direction, PortalId, Route, Source, StoreError},
};

/// Rooms whose route is remembered.
const REMEMBERED: usize = 20_000;

/// Hands stored transactions to the lanes, oldest first.
#[derive(Debug)]
pub struct Dispatcher {
    deps: Deps,
    lanes: Arc<Lanes>,
    arrivals: Arrivals,
    last: i64,
    routes: HashMap<OwnedRoomId, Route>,
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
                routes: HashMap::new(),
                epoch: 0,
            },
            intake,
        )
    }

    /// Runs until cancelled: first what is left from before, then what arrives.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut from_store = true;
        loop {
            if from_store {
                match stop.run_until_cancelled(self.catch_up()).await {
                    None => return,
                    Some(Ok(())) => from_store = false,
                    Some(Err(error)) => {
                        tracing::error!(%error, "the inbox cannot be read; trying again");
                        self.deps.clock.sleep(Duration::from_secs(1)).await;
                        continue;
                    }
                }
            }
            let Some(arrival) = stop.run_until_cancelled(self.arrivals.next()).await else {
                return;
            };
            let Some(arrival) = arrival else {
                from_store = true;
                continue;
            };
            if arrival.seq <= self.last {
                continue;
            }
            if arrival.seq != self.last + 1 {
                from_store = true;
                continue;
            }
            let space = self.lanes.wait_for_space();
            if stop.run_until_cancelled(space).await.is_none() {
                return;
            }
            if let Err(error) = self.dispatch(arrival).await {
                tracing::error!(%error, "a transaction cannot be routed; trying again");
                from_store = true;
            }
        }
    }

    /// Reads transactions from the store until there are none.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            self.lanes.wait_for_space().await;
            let entries = self.deps.store.inbox_after(self.last, 8).await?;
            if entries.is_empty() {
                return Ok(());
            }
            for entry in entries {
                let events = decode(&entry.body)
                    .map(|(events, _)| events)
                    .unwrap_or_default();
                self.dispatch(Arrival {
                    seq: entry.seq,
                    received: entry.received,
                    events,
                    room: None,
                })
                .await?;
            }
        }
    }

    /// Gives each event to the lanes that it concerns.
    async fn dispatch(&mut self, arrival: Arrival) -> Result<(), StoreError> {
        let mut items: Vec<(LaneKey, Direction, Arc<Event>)> =
            Vec::with_capacity(arrival.events.len());
        for event in arrival.events {
            if event.state_key.is_some() {
                self.deps.e2ee.hears(&event.room_id, &event.kind);
            }
            let route = self.route(&event).await?;
            let event = Arc::new(event);
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
        let looks = self.look(&items).await;
        // Only now: what failed is read from the store once more.
        self.last = arrival.seq;
        let transaction = Transaction::new(arrival.seq, items.len());
        for ((key, direction, event), look) in items.into_iter().zip(looks) {
            let item = Item {
                event,
                direction,
                received: arrival.received,
                look,
                transaction: transaction.clone(),
            };
            self.lanes.push(key, item);
        }
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
        if self.epoch != epoch || self.routes.len() >= REMEMBERED {
            self.routes.clear();
            self.epoch = epoch;
        }
        if let Some(route) = self.routes.get(&event.room_id) {
            return Ok(route.clone());
        }
        let route = self.deps.store.route(&event.room_id).await?;
        if self.deps.portals.epoch() == epoch {
            self.routes.insert(event.room_id.clone(), route.clone());
        }
        Ok(route)
    }
}
