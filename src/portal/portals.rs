//! Portal records in memory: one copy each, changed under a lock, written through to the store.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use lru::LruCache;
use ruma::{OwnedUserId, UserId};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::PortalError;
use crate::store::{Created, Portal, PortalId, Store, StoreError};

/// How many idle records stay in memory.
const CACHED: usize = 16_384;

type Slot = AsyncMutex<Option<Arc<Portal>>>;

/// The cells in use, found by id, and the idle ones that are kept for a while. A cell that somebody holds is
/// never replaced by a second one, whatever the cache evicts.
#[derive(Debug)]
struct Cells {
    live: HashMap<PortalId, Weak<Slot>>,
    recent: LruCache<PortalId, Arc<Slot>>,
    /// Who works on a portal, apart from its record, and who takes in a user's invites.
    work: HashMap<Whose, Weak<AsyncMutex<()>>>,
}

/// What is worked on by one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    /// A portal.
    Portal(PortalId),
    /// The invites of a user.
    Invitee(OwnedUserId),
}

/// Read and change portal records. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Portals {
    store: Store,
    cells: Arc<Mutex<Cells>>,
    epoch: Arc<AtomicU64>,
}

impl Portals {
    /// Records of this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let cells = Cells {
            live: HashMap::new(),
            // A bounded one would take the room for all its entries at once.
            recent: LruCache::unbounded(),
            work: HashMap::new(),
        };
        Self {
            store,
            cells: Arc::new(Mutex::new(cells)),
            epoch: Arc::default(),
        }
    }

    /// Puts a new record into the store.
    pub async fn create(&self, portal: &Portal) -> Result<Created, StoreError> {
        let created = self.store.create_portal(portal).await;
        self.epoch.fetch_add(1, Ordering::SeqCst);
        created
    }

    /// Rises whenever the route of some room may have changed.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// A portal's record.
    pub async fn get(&self, id: PortalId) -> Result<Arc<Portal>, PortalError> {
        let cell = self.cell(id);
        let mut slot = cell.lock().await;
        self.load(id, &mut slot).await
    }

    /// Changes a record and writes it before anybody else sees it. Unchanged records are not written.
    pub async fn update(
        &self,
        id: PortalId,
        change: impl FnOnce(&mut Portal) + Send,
    ) -> Result<Arc<Portal>, PortalError> {
        let cell = self.cell(id);
        let mut slot = cell.lock().await;
        let current = self.load(id, &mut slot).await?;
        let mut portal = (*current).clone();
        change(&mut portal);
        if portal == *current {
            return Ok(current);
        }
        self.store.save_portal(&portal).await?;
        if portal.room != current.room
            || portal.portal_room != current.portal_room
            || portal.moved != current.moved
        {
            self.epoch.fetch_add(1, Ordering::SeqCst);
        }
        let portal = Arc::new(portal);
        *slot = Some(portal.clone());
        Ok(portal)
    }

    /// Waits until nobody else works on a portal in long steps (a join, a leave), and keeps others waiting until the guard is
    /// dropped: two joins of one room must not make two portals. Records can be read and changed meanwhile.
    pub async fn alone(&self, id: PortalId) -> OwnedMutexGuard<()> {
        self.turn(Whose::Portal(id)).lock_owned().await
    }

    /// The same for the invites of a user: as each is counted before the next is looked at, many at once are no more than many one
    /// after the other.
    pub async fn alone_for(&self, user: &UserId) -> OwnedMutexGuard<()> {
        let turn = self.turn(Whose::Invitee(user.to_owned()));
        turn.lock_owned().await
    }

    fn turn(&self, whose: Whose) -> Arc<AsyncMutex<()>> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.work.retain(|_, turn| turn.strong_count() > 0);
        let turn = cells.work.get(&whose).and_then(Weak::upgrade);
        let turn = turn.unwrap_or_default();
        cells.work.insert(whose, Arc::downgrade(&turn));
        turn
    }

    /// Destroys a record through `destroy`, with nobody reading or changing it meanwhile.
    pub async fn destroy<F>(
        &self,
        id: PortalId,
        destroy: impl FnOnce(Arc<Portal>) -> F + Send,
    ) -> Result<(), PortalError>
    where
        F: Future<Output = Result<(), StoreError>> + Send,
    {
        let cell = self.cell(id);
        let mut slot = cell.lock().await;
        let current = self.load(id, &mut slot).await?;
        destroy(current).await?;
        self.epoch.fetch_add(1, Ordering::SeqCst);
        *slot = None;
        Ok(())
    }

    async fn load(
        &self,
        id: PortalId,
        slot: &mut Option<Arc<Portal>>,
    ) -> Result<Arc<Portal>, PortalError> {
        if let Some(portal) = slot {
            return Ok(portal.clone());
        }
        let portal = Arc::new(self.store.portal(id).await?.ok_or(PortalError::Gone)?);
        *slot = Some(portal.clone());
        Ok(portal)
    }

    fn cell(&self, id: PortalId) -> Arc<Slot> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.recent.get(&id) {
            return cell.clone();
        }
        let cell = cells
            .live
            .get(&id)
            .and_then(Weak::upgrade)
            .unwrap_or_default();
        if cells.live.len() >= 4 * CACHED {
            cells.live.retain(|_, cell| cell.strong_count() > 0);
        }
        cells.live.insert(id, Arc::downgrade(&cell));
        cells.recent.put(id, cell.clone());
        if cells.recent.len() > CACHED {
            cells.recent.pop_lru();
        }
        cell
    }
}
