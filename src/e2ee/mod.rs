//! End-to-end encryption: one device with keys of its own for every ghost, host, mirror and the bot.
//!
//! Two places in the pipeline use it: every event passes [`E2ee::decrypt`] before it is rewritten, and every message
//! passes [`E2ee::encrypt`] before it is sent into an encrypted room. Each actor's keys live in a machine, an
//! `OlmMachine` over Vizard's own store; machines are loaded when they are needed and leave memory again, the longest
//! unused first. A machine has one user at a time, so a ratchet is never stepped twice at once; and it writes each step
//! before the ciphertext leaves, so a crash never steps it twice either.
//!
//! What waits for a device on the homeserver is fetched by a `/sync` of that device alone (`Machine::sync`), which
//! is the truth; what reaches the application service otherwise is a hint at most. Called by `portal`, `relay`, `bot`
//! and `worker`. Nothing else in the crate looks at ciphertext.

mod ask;
mod decrypt;
mod encrypt;
mod error;
mod ever;
mod hints;
mod machine;
mod mail;
mod replay;
mod requests;
mod rooms;
mod slots;
mod strangers;
#[cfg(test)]
mod tests;
pub mod trial;
mod withheld;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub use error::E2eeError;
pub use hints::Nudged;
use lru::LruCache;
pub use mail::{Letters, Mail};
use matrix_sdk_crypto::{CryptoStoreError, store::CryptoStore as _};
use ruma::{DeviceId, OwnedRoomId, OwnedUserId, UserId};
pub use withheld::KeptFrom;

use self::{
    hints::Changes, machine::Machine, mail::Letterbox, replay::Heard, rooms::Rooms, slots::Slots,
};
use crate::{
    clock::Clock,
    homeserver::{Actor, Homeserver},
    pseudonym::Namespace,
    store::{CryptoStore, Store},
};

/// The machines. Cheap to clone.
#[derive(Clone)]
pub struct E2ee(Arc<Inner>);

struct Inner {
    store: Store,
    homeserver: Homeserver,
    clock: Clock,
    namespace: Arc<Namespace>,
    settings: Settings,
    slots: Slots,
    rooms: Arc<Rooms>,
    changes: Changes,
    heard: Arc<Heard>,
    mail: Arc<Letterbox>,
    /// Rooms and actors whose room key is of this start.
    started: Mutex<HashSet<(OwnedUserId, OwnedRoomId)>>,
    /// From whom what ghosts say is kept back, until their users know.
    kept: Mutex<HashMap<OwnedUserId, Vec<KeptFrom>>>,
    /// Users whose keys were destroyed: whoever still has work for them makes no new ones.
    destroyed: Mutex<LruCache<OwnedUserId, ()>>,
    /// Whether anything was encrypted since somebody asked.
    used: AtomicBool,
    /// Why there is no encryption, once that is known.
    unavailable: OnceLock<String>,
}

/// What the admin may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether there is encryption at all.
    pub enabled: bool,
    /// Share room keys only with devices that their owner has signed.
    pub only_signed: bool,
    /// Machines in memory.
    pub machines: usize,
}

/// Destroyed users that are remembered: longer than what was under way for them can take.
const DESTROYED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Adds what stands in a list of one device to the same list of another.
async fn inherit_list(from: &CryptoStore, to: &CryptoStore, list: &str) -> Result<(), E2eeError> {
    let read = async |store: &CryptoStore| {
        let json = store.get_custom_value(list).await;
        let json = json.map_err(CryptoStoreError::from)?.unwrap_or_default();
        let items: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap_or_default();
        Ok::<_, E2eeError>(items)
    };
    let mut items = read(from).await?;
    for own in read(to).await? {
        if !items.contains(&own) {
            items.push(own);
        }
    }
    if items.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_vec(&items).unwrap_or_default();
    let saved = to.set_custom_value(list, json).await;
    Ok(saved.map_err(CryptoStoreError::from)?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for E2ee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("E2ee").field(&self.0.settings).finish()
    }
}

impl E2ee {
    /// No machine is loaded yet.
    #[must_use]
    pub fn new(
        store: Store,
        homeserver: Homeserver,
        clock: Clock,
        namespace: Arc<Namespace>,
        settings: Settings,
    ) -> Self {
        let unavailable = OnceLock::new();
        if !settings.enabled {
            let _ = unavailable.set("its admin switched encryption off".to_owned());
        }
        Self(Arc::new(Inner {
            slots: Slots::new(settings.machines),
            rooms: Arc::default(),
            changes: Changes::default(),
            heard: Arc::default(),
            mail: Arc::new(Letterbox::new(clock.clone())),
            store,
            homeserver,
            clock,
            namespace,
            settings,
            started: Mutex::default(),
            kept: Mutex::default(),
            destroyed: Mutex::new(LruCache::new(DESTROYED)),
            used: AtomicBool::new(false),
            unavailable,
        }))
    }

    /// Why there is no encryption here; `None` when there is.
    #[must_use]
    pub fn unavailable(&self) -> Option<&str> {
        self.0.unavailable.get().map(String::as_str)
    }

    /// From now on there is none: the homeserver cannot give a device what it needs.
    pub fn give_up(&self, why: String) {
        let _ = self.0.unavailable.set(why);
    }

    /// Makes sure that the actor's device has its keys on the homeserver: signed by a cross-signing identity of its own,
    /// with one-time keys and a fallback key. Does nothing where there is no encryption.
    pub async fn settle(&self, actor: &Actor) -> Result<(), E2eeError> {
        if self.unavailable().is_some() {
            return Ok(());
        }
        self.with(actor, async |_| Ok(())).await
    }

    /// Fetches what waits for the actor's device.
    pub async fn sync(&self, actor: &Actor) -> Result<(), E2eeError> {
        if self.unavailable().is_some() {
            return Ok(());
        }
        self.with(actor, async |machine| machine.sync().await).await
    }

    /// Whether the actor's device has keys.
    pub async fn is_known(&self, actor: &Actor) -> Result<bool, E2eeError> {
        let Some(device) = &actor.device else {
            return Ok(false);
        };
        let store = self.0.store.crypto(&actor.user, device);
        let account = store.load_account().await.map_err(CryptoStoreError::from)?;
        Ok(account.is_some())
    }

    /// Whether the homeserver ever answered the actor's device's `/sync`.
    pub async fn has_synced(&self, actor: &Actor) -> Result<bool, E2eeError> {
        let Some(device) = &actor.device else {
            return Ok(false);
        };
        let store = self.0.store.crypto(&actor.user, device);
        let since = store.next_batch_token().await;
        Ok(since.map_err(CryptoStoreError::from)?.is_some())
    }

    /// Whether the homeserver has keys of the actor's device.
    pub async fn is_published(&self, actor: &Actor) -> Result<bool, E2eeError> {
        let there = trial::published(&self.0.homeserver, actor).await?;
        Ok(actor
            .device
            .as_ref()
            .is_some_and(|device| there.devices.contains(device)))
    }

    /// Whether anything was encrypted since this was asked last.
    #[must_use]
    pub fn was_used(&self) -> bool {
        self.0.used.swap(false, Ordering::SeqCst)
    }

    /// Takes note that keys were used, for whoever asks next.
    pub fn mark_used(&self) {
        self.0.used.store(true, Ordering::SeqCst);
    }

    /// Gives a device the room keys that another device of its user has received, and what is known of the events that they
    /// opened.
    pub async fn inherit(&self, from: &Actor, to: &Actor) -> Result<(), E2eeError> {
        let (Some(old), Some(new)) = (&from.device, &to.device) else {
            return Err(E2eeError::NoDevice);
        };
        let slot = self.0.slots.of(&to.user);
        let mut machine = slot.lock().await;
        *machine = None;
        let (old, new) = (
            self.0.store.crypto(&from.user, old),
            self.0.store.crypto(&to.user, new),
        );
        let keys = old.get_inbound_group_sessions().await;
        let keys = keys.map_err(CryptoStoreError::from)?;
        let sessions: Vec<_> = keys.iter().map(|key| key.session_id().to_owned()).collect();
        // First: no key opens anything before it is known what it opened.
        new.inherit_heard(&old, &sessions).await?;
        new.save_inbound_group_sessions(keys, None)
            .await
            .map_err(CryptoStoreError::from)?;
        for list in [strangers::LIST, ask::WAITING_KEY] {
            inherit_list(&old, &new, list).await?;
        }
        Ok(())
    }

    /// Destroys the keys of one device of a user's, which is used no more.
    pub async fn forget_device(&self, user: &UserId, device: &DeviceId) -> Result<(), E2eeError> {
        let slot = self.0.slots.of(user);
        let _machine = slot.lock().await;
        self.0.store.destroy_crypto_device(user, device).await?;
        Ok(())
    }

    /// Destroys all keys of a user's devices. Whoever still has work for the user makes no new ones (see [`E2ee::revive`]).
    pub async fn destroy(&self, user: &UserId) -> Result<(), E2eeError> {
        let slot = self.0.slots.of(user);
        let mut machine = slot.lock().await;
        lock(&self.0.destroyed).put(user.to_owned(), ());
        *machine = None;
        // Whoever comes back under this name is another.
        lock(&self.0.kept).remove(user);
        lock(&self.0.started).retain(|(actor, _)| actor != user);
        self.0.forget_since(user).await;
        self.0.store.destroy_crypto(user).await?;
        Ok(())
    }

    /// A user whose keys were destroyed is to have new ones: an invite that was taken back may come again, for the same ghost.
    pub fn revive(&self, user: &UserId) {
        lock(&self.0.destroyed).pop(user);
    }

    /// Lets `work` use the actor's machine, alone.
    async fn with<T>(
        &self,
        actor: &Actor,
        work: impl AsyncFnOnce(&mut Machine) -> Result<T, E2eeError>,
    ) -> Result<T, E2eeError> {
        let slot = self.0.slots.of(&actor.user);
        let mut held = slot.lock().await;
        if lock(&self.0.destroyed).contains(&actor.user) {
            return Err(E2eeError::Destroyed);
        }
        self.use_held(&mut held, actor, work).await
    }

    /// The same, for whoever holds the slot.
    async fn use_held<T>(
        &self,
        held: &mut Option<Machine>,
        actor: &Actor,
        work: impl AsyncFnOnce(&mut Machine) -> Result<T, E2eeError>,
    ) -> Result<T, E2eeError> {
        let known = held
            .take()
            .filter(|machine| machine.actor().device == actor.device);
        let mut machine = match known {
            Some(machine) => machine,
            None => Machine::load(&self.0, actor).await?,
        };
        let result = work(&mut machine).await;
        // Whoever floods a device with Olm sessions fills no memory either.
        *held = (!machine.keys.has_spared_sessions()).then_some(machine);
        result
    }
}
