//! The keys of end-to-end encryption: `matrix-sdk-crypto`'s store, one per device of a Matrix user of the namespace.
//!
//! All of it is in one table. What arrives in one call is written in one durable transaction, together with whatever else
//! waits ([`super::writer`]), and in the order in which the session it belongs to moved on: a state behind all that was used
//! is on the disk before what was encrypted leaves, so that no index is ever used twice after a crash.
//!
//! Called by `e2ee`, through [`Store::crypto`]. Logs nothing.

mod api;
mod changes;
mod hashes;
mod heard;
mod hot;
mod outbound;
mod pack;
mod rows;
mod sessions;
mod spare;
mod words;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use matrix_sdk_crypto::{olm::StaticAccountData, store::CryptoStoreError};
use ruma::{DeviceId, UserId};
use sqlx::{AnyConnection, Connection as _};

pub use heard::{BLOCK, Block};
pub use outbound::NotShared;
pub(super) use rows::{CRYPTO, Kind, row_of};

use self::{hot::Hot, outbound::OnDisk};
use super::{
    Store, StoreError,
    db::{beside, write_tx},
    group::{CryptoRow, Work},
    seal::Hash,
};
use crate::clock::UnixMillis;

/// The devices that are in use.
pub(super) type InUse = Mutex<HashMap<Hash, Weak<State>>>;

/// The keys of one device. Cheap to clone.
#[derive(Clone)]
pub struct CryptoStore(Arc<State>);

impl fmt::Debug for CryptoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CryptoStore(…)")
    }
}

/// What all handles of one device share.
pub(super) struct State {
    store: Store,
    machine: Hash,
    user_hash: Hash,
    /// Held from before a state is read out of a session until it is on the disk: an older one never overwrites a newer one.
    saving: tokio::sync::Mutex<()>,
    /// Whether the device is in the list of its user's.
    listed: AtomicBool,
    /// The keys were destroyed.
    gone: AtomicBool,
    /// The public part of the account, once known.
    account: Mutex<Option<StaticAccountData>>,
    /// How many hashes of messages were written since old ones were looked for.
    hashes: AtomicUsize,
    /// The same of Olm sessions, and of notices that a key is withheld.
    sessions: AtomicUsize,
    notices: AtomicUsize,
    /// Olm sessions were deleted that a machine may have in memory.
    spared: AtomicBool,
    /// What is on the disk of each outbound session.
    outbound: Mutex<HashMap<Hash, OnDisk>>,
    /// What is read for nearly every message.
    hot: Mutex<Hot>,
    /// In memory: a database has one process.
    leases: Mutex<HashMap<String, Lease>>,
}

struct Lease {
    holder: String,
    until: UnixMillis,
    generation: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const COUNT: &str = "SELECT COUNT(*) FROM crypto WHERE kind = 0";
const DEVICES: &str = "SELECT key, sealed FROM crypto WHERE machine = $1 AND kind = 1";
const DELETE: &str = "DELETE FROM crypto WHERE machine = $1";
const UNLIST: &str = "DELETE FROM crypto WHERE machine = $1 AND kind = $2 AND key = $3";

impl Store {
    /// The keys of one device of one Matrix user of the namespace.
    #[must_use]
    pub fn crypto(&self, user: &UserId, device: &DeviceId) -> CryptoStore {
        let machine = self
            .0
            .vault
            .hash("crypto device", &[user.as_bytes(), device.as_bytes()]);
        let mut in_use = lock(&self.0.crypto);
        if let Some(state) = in_use.get(&machine).and_then(Weak::upgrade) {
            return CryptoStore(state);
        }
        let state = Arc::new(State {
            store: self.clone(),
            machine,
            user_hash: self.crypto_user_hash(user),
            saving: tokio::sync::Mutex::default(),
            listed: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            account: Mutex::default(),
            hashes: AtomicUsize::new(hashes::SPARE),
            sessions: AtomicUsize::new(spare::DUE),
            notices: AtomicUsize::new(spare::DUE),
            spared: AtomicBool::new(false),
            outbound: Mutex::default(),
            hot: Mutex::default(),
            leases: Mutex::default(),
        });
        in_use.insert(machine, Arc::downgrade(&state));
        CryptoStore(state)
    }

    /// Destroys everything that all devices of `user` hold. A [`CryptoStore`] of theirs that is still in use saves nothing
    /// more; another is made with [`Store::crypto`].
    pub async fn destroy_crypto(&self, user: &UserId) -> Result<(), StoreError> {
        let user_hash = self.crypto_user_hash(user);
        let states: Vec<Arc<State>> = lock(&self.0.crypto)
            .values()
            .filter_map(Weak::upgrade)
            .filter(|state| state.user_hash == user_hash)
            .collect();
        for state in &states {
            // Whoever is saving ends first.
            let _saving = state.saving.lock().await;
            state.gone.store(true, Ordering::SeqCst);
            *lock(&state.hot) = Hot::default();
            lock(&self.0.crypto).remove(&state.machine);
        }
        // What somebody handed over and did not wait for is written first.
        self.0.writer.submit(Work::default()).await?.await?;
        write_tx!(self.0.database, "destroy_crypto", |tx| self
            .destroy_crypto_in(tx, user_hash))?;
        self.0.database.empty_log().await
    }

    async fn destroy_crypto_in(
        &self,
        tx: &mut AnyConnection,
        user_hash: Hash,
    ) -> Result<(), StoreError> {
        let devices: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(DEVICES)
            .bind(user_hash.to_vec())
            .fetch_all(&mut *tx)
            .await?;
        let mut owners = vec![user_hash.to_vec()];
        for (key, sealed) in &devices {
            owners.push(rows::device_of(&self.0.vault, &user_hash, key, sealed)?);
        }
        for owner in owners {
            sqlx::query(DELETE).bind(owner).execute(&mut *tx).await?;
        }
        Ok(())
    }

    /// Destroys everything that one device of `user` holds, and leaves what is the user's own.
    pub async fn destroy_crypto_device(
        &self,
        user: &UserId,
        device: &DeviceId,
    ) -> Result<(), StoreError> {
        let state = self.crypto(user, device).0;
        // Whoever is saving ends first.
        let _saving = state.saving.lock().await;
        state.gone.store(true, Ordering::SeqCst);
        *lock(&state.hot) = Hot::default();
        lock(&self.0.crypto).remove(&state.machine);
        self.0.writer.submit(Work::default()).await?.await?;
        write_tx!(self.0.database, "destroy_crypto_device", |tx| state
            .destroy_in(tx))?;
        self.0.database.empty_log().await
    }

    /// How many devices have keys here.
    pub async fn crypto_machines(&self) -> Result<u64, StoreError> {
        self.count(COUNT).await
    }

    /// The same, of a database that another process may have open. Changes nothing, and needs no key.
    pub async fn crypto_machines_of(url: &str) -> Result<u64, StoreError> {
        let mut connection = beside(url).await?;
        let count: Result<i64, _> = sqlx::query_scalar(COUNT).fetch_one(&mut connection).await;
        connection.close().await?;
        Ok(count?.try_into().unwrap_or(0))
    }

    fn crypto_user_hash(&self, user: &UserId) -> Hash {
        self.0.vault.hash("crypto user", &[user.as_bytes()])
    }
}

impl State {
    /// Destroys what the device holds, and takes it off the list of its user's.
    async fn destroy_in(&self, tx: &mut AnyConnection) -> Result<(), StoreError> {
        let destroyed = sqlx::query(DELETE).bind(self.machine.to_vec());
        destroyed.execute(&mut *tx).await?;
        let key = self.key(Kind::Device, (b"", &self.machine));
        let unlisted = sqlx::query(UNLIST).bind(self.user_hash.to_vec());
        let unlisted = unlisted.bind(Kind::Device as i64).bind(key.to_vec());
        unlisted.execute(&mut *tx).await?;
        Ok(())
    }

    /// Writes rows durably. To be called with `saving` held.
    async fn write(&self, mut rows: Vec<CryptoRow>) -> Result<(), StoreError> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(StoreError::Closed);
        }
        if rows.is_empty() {
            return Ok(());
        }
        if !self.listed.load(Ordering::SeqCst) {
            rows.push(self.put_bytes(Kind::Device, (b"", &self.machine), &self.machine));
        }
        let work = Work {
            crypto: rows,
            ..Work::default()
        };
        self.store.0.writer.submit(work).await?.await?;
        self.listed.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Hands rows over to be written with, or before, whatever is handed over later, and does not wait. To be called with `saving`
    /// held.
    async fn hand_over(&self, rows: Vec<CryptoRow>) -> Result<(), StoreError> {
        if !self.listed.load(Ordering::SeqCst) {
            return self.write(rows).await;
        }
        if self.gone.load(Ordering::SeqCst) {
            return Err(StoreError::Closed);
        }
        self.store.0.writer.keep(rows).await
    }

    /// Writes rows that depend on nothing.
    async fn save(&self, rows: Vec<CryptoRow>) -> Result<(), StoreError> {
        let _saving = self.saving.lock().await;
        self.write(rows).await
    }

    async fn delete_secrets(&self, name: &str) -> Result<(), StoreError> {
        let _saving = self.saving.lock().await;
        let found = self.rows(Kind::Secret, Some(name.as_bytes())).await?;
        let rows = found
            .iter()
            .filter_map(|(key, _)| key.as_slice().try_into().ok())
            .map(|key| self.delete_key(Kind::Secret, key))
            .collect();
        self.write(rows).await
    }

    /// Takes or extends a lease; `None` while another holds it. Its generation rises with each new holder.
    fn lease(&self, duration_ms: u32, key: &str, holder: &str) -> Option<u64> {
        let now = self.store.0.clock.now();
        let mut leases = lock(&self.leases);
        let lease = leases.entry(key.to_owned()).or_insert_with(|| Lease {
            holder: holder.to_owned(),
            until: now,
            generation: 1,
        });
        if lease.holder != holder {
            if now < lease.until {
                return None;
            }
            holder.clone_into(&mut lease.holder);
            lease.generation += 1;
        }
        lease.until = now + u64::from(duration_ms);
        Some(lease.generation)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let mut in_use = lock(&self.store.0.crypto);
        if in_use
            .get(&self.machine)
            .is_some_and(|state| state.strong_count() == 0)
        {
            in_use.remove(&self.machine);
        }
    }
}

impl From<StoreError> for CryptoStoreError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Keys(error) => *error,
            other => Self::backend(other),
        }
    }
}

/// What the crate could not read again.
fn unusable(error: impl Into<CryptoStoreError>) -> StoreError {
    StoreError::Keys(Box::new(error.into()))
}
