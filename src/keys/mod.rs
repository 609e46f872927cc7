//! This Vizard's own keys (the server key that vouches for ghosts, the keys to which others seal invites, the signed document that
//! names them), and the documents of other Vizards.
//!
//! Own keys are made at the first start, rotated on schedule or when an admin says so, and kept in the store: [`OwnKeys`] hands out
//! what is in use, `record` says what follows from what. [`Peers`] finds the documents of others, has `sealed` judge them, and pins
//! them. Called by `portal`, `invite`, `http`, `bot` and `cli`. Publishes nothing by itself: that is `invite`.

pub mod describe;
mod effort;
mod peers;
mod pinned;
mod places;
mod record;
mod unknown;

use std::sync::{Arc, PoisonError, RwLock};

use ruma::{OwnedServerName, OwnedUserId};

pub use peers::Peers;
pub use pinned::PinnedPeer;
pub use record::Rotate;
pub use unknown::Unknown;

use record::{OWN, Own};

use crate::{
    clock::Clock,
    pseudonym::ServerKey,
    rng::Rng,
    sealed::{DocumentError, HpkeKeys, InviteSecret, KeyDocument},
    store::{Store, StoreError},
};

/// The bot's profile field (MSC4133) in which the document is published.
pub const PROFILE_FIELD: &str = "org.vizard.server_keys";

/// Own keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The document could not be signed, or a stored one not be read.
    #[error("own key document: {0}")]
    Document(#[from] DocumentError),
}

/// What the document says of the installation, and when keys are replaced.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The homeserver's name.
    pub server: OwnedServerName,
    /// The bot.
    pub bot: OwnedUserId,
    /// The prefix of ghosts.
    pub prefix: String,
    /// Days after which a new HPKE key is made.
    pub rotate_days: u32,
    /// Days for which the one before stays published.
    pub overlap_days: u32,
}

/// The keys in use. Cheap to clone; clones see a rotation at once.
#[derive(Clone, Debug)]
pub struct OwnKeys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Clock,
    rng: Rng,
    settings: Settings,
    secret: InviteSecret,
    current: RwLock<Arc<Current>>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Current {
    server_key: Arc<ServerKey>,
    hpke: Arc<HpkeKeys>,
    document: Arc<KeyDocument>,
}

impl OwnKeys {
    /// Reads the keys, or makes them, and replaces those that are due.
    pub async fn open(
        store: Store,
        clock: Clock,
        rng: Rng,
        settings: Settings,
    ) -> Result<Self, KeysError> {
        let first = ServerKey::from_seed(&store.derive("server-key", &[]));
        let secret = InviteSecret::from_bytes(store.derive("invite-secret", &[]));
        let now = clock.now();
        let stored: Option<Own> = store.note(OWN).await?;
        let own = match stored {
            Some(own) => own.at(&rng, &settings, now, Rotate::WhatIsDue)?,
            None => Some(Own::first(&rng, &first, &settings, now)?),
        };
        let own = match own {
            Some(own) => {
                store.set_note(OWN, None, &own).await?;
                own
            }
            None => match store.note(OWN).await? {
                Some(own) => own,
                None => Own::first(&rng, &first, &settings, now)?,
            },
        };
        let current = RwLock::new(Arc::new(current(&own, &settings)?));
        Ok(Self(Arc::new(Inner {
            store,
            clock,
            rng,
            settings,
            secret,
            current,
            changing: tokio::sync::Mutex::new(()),
        })))
    }

    /// The server key in use.
    #[must_use]
    pub fn server_key(&self) -> Arc<ServerKey> {
        self.current().server_key.clone()
    }

    /// The keys with which sealed addresses are opened: those in use, and older ones.
    #[must_use]
    pub fn hpke(&self) -> Arc<HpkeKeys> {
        self.current().hpke.clone()
    }

    /// The signed document.
    #[must_use]
    pub fn document(&self) -> Arc<KeyDocument> {
        self.current().document.clone()
    }

    /// What the keys of invited ghosts are derived from.
    #[must_use]
    pub fn invite_secret(&self) -> &InviteSecret {
        &self.0.secret
    }

    /// Replaces keys. Whether the document is another one now.
    pub async fn rotate(&self, what: Rotate) -> Result<bool, KeysError> {
        let inner = &self.0;
        let _one = inner.changing.lock().await;
        let now = inner.clock.now();
        let Some(own) = inner.store.note::<Own>(OWN).await? else {
            return Ok(false);
        };
        let Some(own) = own.at(&inner.rng, &inner.settings, now, what)? else {
            return Ok(false);
        };
        let next = Arc::new(current(&own, &inner.settings)?);
        inner.store.set_note(OWN, None, &own).await?;
        *inner
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner) = next;
        Ok(true)
    }

    fn current(&self) -> Arc<Current> {
        let current = self.0.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn current(own: &Own, settings: &Settings) -> Result<Current, KeysError> {
    Ok(Current {
        server_key: Arc::new(own.server_key()),
        hpke: Arc::new(own.hpke()),
        document: Arc::new(own.document(&settings.server)?),
    })
}
