//! The key documents of other Vizards: looked for at both places, compared, pinned, and used until they are out of date.
//!
//! Strangers can make this ask (a request that another Vizard's bot signed needs that Vizard's keys), so the work is bounded: a few
//! fetches at once, one for each server at a time, and what failed is not tried again for a minute.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::PROFILE_FIELD;
use crate::{
    clock::{Clock, UnixMillis},
    config::{Anchor, Config},
    homeserver::{Actor, Homeserver},
    peer::{FetchError, Fetcher},
    pseudonym::ServerKeyId,
    sealed::{self, Anchored, Change, Found, KeyDocument, Pin, Refusal, Trust, accept},
    store::{Note, Store, StoreError},
};

/// The key document of another Vizard, as it was last accepted. Found by server name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedPeer {
    /// The server.
    pub server: OwnedServerName,
    /// Its document, as JSON.
    pub document: String,
    /// When it was first seen.
    pub since: UnixMillis,
    /// When it was last fetched.
    pub fetched: UnixMillis,
    /// Whether it was seen over TLS, or pinned by hand; otherwise the homeserver alone vouches for it.
    pub anchored: bool,
}

impl PinnedPeer {
    /// The document, whether it is still good or not.
    #[must_use]
    pub fn document(&self) -> Option<KeyDocument> {
        KeyDocument::parse_of_any_time(self.document.as_bytes(), &self.server).ok()
    }
}

impl Note for PinnedPeer {
    const KIND: i64 = 2;
}

const AT_ONCE: usize = 4;
/// A failure is remembered for so long.
const FAILED: UnixMillis = 60_000;
/// Failures that are remembered at most.
const MOST: usize = 1_000;
/// A document is looked for anew after so long, even if it is still good: keys may have been replaced.
const FRESH: UnixMillis = 24 * 60 * 60 * 1000;

/// Why there are no keys of a server.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unknown {
    /// What was found is not to be relied on.
    #[error("{refusal}{}", because(tls.as_ref()))]
    Refused {
        /// Why.
        refusal: Refusal,
        /// Why there was nothing over TLS, if there was not.
        tls: Option<FetchError>,
    },
    /// Too many servers are asked at the moment.
    #[error("too many servers are being asked for their keys; try again in a minute")]
    Busy,
    /// The database.
    #[error("{0}")]
    Store(Arc<StoreError>),
}

fn because(tls: Option<&FetchError>) -> String {
    tls.map_or(String::new(), |error| format!(" (over TLS: {error})"))
}

impl From<StoreError> for Unknown {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// Other Vizards. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    homeserver: Homeserver,
    config: Arc<Config>,
    clock: Clock,
    bot: Actor,
    fetcher: Fetcher,
    slots: Semaphore,
    failed: Mutex<HashMap<OwnedServerName, (UnixMillis, Unknown)>>,
    asking: Mutex<HashMap<OwnedServerName, Arc<tokio::sync::Mutex<()>>>>,
}

impl Peers {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(
        store: Store,
        homeserver: Homeserver,
        config: Arc<Config>,
        clock: Clock,
        bot: Actor,
        fetcher: Fetcher,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            homeserver,
            config,
            clock,
            bot,
            fetcher,
            slots: Semaphore::new(AT_ONCE),
            failed: Mutex::default(),
            asking: Mutex::default(),
        }))
    }

    /// The keys of a server: those that are pinned if they are fresh, otherwise what is found now.
    pub async fn document(&self, server: &ServerName) -> Result<KeyDocument, Unknown> {
        self.find(server, false).await
    }

    /// What is found now, whatever is remembered; compared with what is pinned, and pinned, like any.
    pub async fn fetch_now(&self, server: &ServerName) -> Result<KeyDocument, Unknown> {
        self.find(server, true).await
    }

    async fn find(&self, server: &ServerName, anew: bool) -> Result<KeyDocument, Unknown> {
        let asking = {
            let mut asking = self.0.asking.lock().unwrap_or_else(PoisonError::into_inner);
            asking.retain(|_, lock| Arc::strong_count(lock) > 1);
            asking.entry(server.to_owned()).or_default().clone()
        };
        let _one = asking.lock().await;
        let now = self.0.clock.now();
        let pinned = self.pinned(server).await?;
        if let Some(peer) = &pinned
            && !anew
            && now.saturating_sub(peer.fetched) < FRESH
            && let Ok(document) = KeyDocument::parse(peer.document.as_bytes(), server, now)
        {
            return Ok(document);
        }
        if let Some(error) = self.failure(server, now).filter(|_| !anew) {
            return Err(error);
        }
        let slot = tokio::time::timeout(Duration::from_secs(5), self.0.slots.acquire()).await;
        let Ok(Ok(_slot)) = slot else {
            return Err(Unknown::Busy);
        };
        let result = self.fetch(server, pinned, now).await;
        if let Err(error) = &result {
            metrics::counter!("vizard_failures_total", "class" => "peer_keys").increment(1);
            let mut failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.len() >= MOST {
                failed.clear();
            }
            failed.insert(server.to_owned(), (now, error.clone()));
        }
        result
    }

    /// Forgets what is pinned, so that the next document is taken as the first. Whether anything was pinned.
    pub async fn accept(&self, server: &ServerName) -> Result<bool, StoreError> {
        self.0
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(server);
        self.0
            .store
            .delete_note::<PinnedPeer>(server.as_bytes())
            .await
    }

    fn failure(&self, server: &ServerName, now: UnixMillis) -> Option<Unknown> {
        let failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, error) = failed.get(server)?;
        (now.saturating_sub(*at) < FAILED).then(|| error.clone())
    }

    async fn fetch(
        &self,
        server: &ServerName,
        pinned: Option<PinnedPeer>,
        now: UnixMillis,
    ) -> Result<KeyDocument, Unknown> {
        let known = self.0.config.peers.get(server);
        let by_hand = known
            .and_then(|peer| peer.server_key.as_deref())
            .and_then(ServerKeyId::from_base64);
        let before = pinned.as_ref().and_then(PinnedPeer::document);
        let url = known.and_then(|peer| peer.url.as_ref());
        let (tls, why) = match self.0.fetcher.document(server, url).await {
            Ok(document) => (Some(KeyDocument::parse(&document, server, now)), None),
            Err(error) => (None, Some(error)),
        };
        let bot = match (&tls, &before) {
            (Some(Ok(document)), _) | (_, Some(document)) => document.bot().to_owned(),
            _ => self.usual_bot(server),
        };
        let found = Found {
            tls,
            federation: self.relayed(server, &bot, now).await,
        };
        let pin = before.as_ref().map(Pin::of);
        let trust = Trust {
            anchor: match self.0.config.keys.anchor {
                Anchor::Tls => sealed::Anchor::Tls,
                Anchor::Federation => sealed::Anchor::Federation,
            },
            by_hand,
            pin: pin.as_ref(),
        };
        let accepted =
            accept(trust, found).map_err(|refusal| Unknown::Refused { refusal, tls: why })?;
        let anchored = match accepted.anchored {
            Anchored::Pin => pinned.as_ref().is_some_and(|peer| peer.anchored),
            Anchored::ByHand | Anchored::Tls => true,
            Anchored::Federation => false,
        };
        if accepted.change != Change::None {
            tracing::info!(change = ?accepted.change, "the keys of another server are pinned");
        }
        let peer = PinnedPeer {
            server: server.to_owned(),
            document: accepted.document.json().to_string(),
            since: pinned.map_or(now, |peer| peer.since),
            fetched: now,
            anchored,
        };
        self.0
            .store
            .set_note(server.as_bytes(), None, &peer)
            .await?;
        Ok(accepted.document)
    }

    /// What is pinned of a server.
    pub async fn pinned(&self, server: &ServerName) -> Result<Option<PinnedPeer>, StoreError> {
        self.0.store.note(server.as_bytes()).await
    }

    /// All that is pinned.
    pub async fn all(&self) -> Result<Vec<PinnedPeer>, StoreError> {
        self.0.store.notes().await
    }

    /// The document in the profile of the other bot, as one's own homeserver relays it. One that forbids looking is as one
    /// without.
    async fn relayed(
        &self,
        server: &ServerName,
        bot: &UserId,
        now: UnixMillis,
    ) -> Option<Result<KeyDocument, sealed::DocumentError>> {
        let Inner {
            homeserver,
            bot: own,
            ..
        } = &*self.0;
        let value = homeserver
            .profile_field(own, bot, PROFILE_FIELD)
            .await
            .ok()??;
        Some(KeyDocument::parse(
            value.to_string().as_bytes(),
            server,
            now,
        ))
    }

    /// The bot of a server of which nothing is known: named like one's own.
    fn usual_bot(&self, server: &ServerName) -> OwnedUserId {
        let own = &self.0.bot.user;
        UserId::parse_with_server_name(own.localpart(), server).unwrap_or_else(|_| own.clone())
    }
}
