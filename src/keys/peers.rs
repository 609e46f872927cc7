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
use tokio::sync::Semaphore;

use super::{PROFILE_FIELD, pinned::PinnedPeer};
use crate::{
    clock::{Clock, UnixMillis},
    config::{Anchor, Config},
    homeserver::{Actor, Homeserver},
    peer::{FetchError, Fetcher},
    pseudonym::ServerKeyId,
    sealed::{self, Anchored, Change, Found, KeyDocument, Pin, Refusal, Trust, accept},
    store::{Store, StoreError},
};

const AT_ONCE: usize = 4;
/// A failure is remembered for so long.
const FAILED: UnixMillis = 60_000;
/// Failures that are remembered at most.
const MOST: usize = 1_000;
/// Servers of which nothing was known and that are pinned in a day because they asked.
const NEW_A_DAY: u32 = 200;
/// What was pinned because its server asked is forgotten when it was not fetched again for so long.
const UNASKED: UnixMillis = 30 * DAY;
/// For what one's own homeserver says of another's.
const RELAY: Duration = Duration::from_secs(15);
const DAY: UnixMillis = 24 * 60 * 60 * 1000;
/// A document is looked for anew after so long, even if it is still good: keys may have been replaced.
const FRESH: UnixMillis = DAY;

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

/// For what a document is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Somebody here needs it.
    Known,
    /// The same, and not what is known.
    Now,
    /// That server asked for something.
    OfStranger,
    /// The same, and what is known does not do.
    NewerOfStranger,
}

impl Need {
    fn is_of_stranger(self) -> bool {
        matches!(self, Self::OfStranger | Self::NewerOfStranger)
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
    /// For what strangers give cause to: it takes nothing from what people here wait for.
    slots_of_strangers: Semaphore,
    /// How many strangers were pinned on which day.
    new: Mutex<(UnixMillis, u32)>,
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
            slots_of_strangers: Semaphore::new(AT_ONCE),
            new: Mutex::default(),
            failed: Mutex::default(),
            asking: Mutex::default(),
        }))
    }

    /// The keys of a server: those that are pinned if they are fresh, otherwise what is found now.
    pub async fn document(&self, server: &ServerName) -> Result<KeyDocument, Unknown> {
        self.find(server, Need::Known).await
    }

    /// What is at hand and fresh enough: nobody has to be asked.
    pub async fn at_hand(&self, server: &ServerName) -> Result<Option<KeyDocument>, Unknown> {
        self.fresh(server, Need::Known, self.0.clock.now()).await
    }

    /// [`Peers::document`] because that server asked for something. Nothing is waited for but the fetch itself: [`Unknown::Busy`] if others are
    /// being fetched, or if too many are new today.
    pub async fn document_for_stranger(&self, server: &ServerName) -> Result<KeyDocument, Unknown> {
        self.find(server, Need::OfStranger).await
    }

    /// What is found now, because that server signed with a key that is not in what is known; but no more than once a minute.
    pub async fn newer_for_stranger(&self, server: &ServerName) -> Result<KeyDocument, Unknown> {
        self.find(server, Need::NewerOfStranger).await
    }

    /// What is found now, whatever is remembered; compared with what is pinned, and pinned, like any.
    pub async fn fetch_now(&self, server: &ServerName) -> Result<KeyDocument, Unknown> {
        self.find(server, Need::Now).await
    }

    async fn find(&self, server: &ServerName, need: Need) -> Result<KeyDocument, Unknown> {
        let now = self.0.clock.now();
        if let Some(known) = self.fresh(server, need, now).await? {
            return Ok(known);
        }
        let asking = {
            let mut asking = self.0.asking.lock().unwrap_or_else(PoisonError::into_inner);
            asking.retain(|_, lock| Arc::strong_count(lock) > 1);
            asking.entry(server.to_owned()).or_default().clone()
        };
        let _one = if need.is_of_stranger() {
            asking.try_lock().map_err(|_| Unknown::Busy)?
        } else {
            asking.lock().await
        };
        let now = self.0.clock.now();
        if let Some(known) = self.fresh(server, need, now).await? {
            return Ok(known);
        }
        let pinned = self.pinned(server).await?;
        if let Some(error) = self.failure(server, now).filter(|_| need != Need::Now) {
            return self.held(need, pinned.as_ref(), error, now);
        }
        let _slot = if need.is_of_stranger() {
            if pinned.is_none() && self.new_today(now, 0) >= NEW_A_DAY {
                return Err(Unknown::Busy);
            }
            let slot = self.0.slots_of_strangers.try_acquire();
            slot.map_err(|_| Unknown::Busy)?
        } else {
            let slot = tokio::time::timeout(Duration::from_secs(5), self.0.slots.acquire()).await;
            let Ok(Ok(slot)) = slot else {
                return Err(Unknown::Busy);
            };
            slot
        };
        let held = pinned.clone();
        let result = self.fetch(server, need, pinned, now).await;
        if let Err(error) = &result {
            metrics::counter!("vizard_failures_total", "class" => "peer_keys").increment(1);
            let mut failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.len() >= MOST {
                failed.clear();
            }
            failed.insert(server.to_owned(), (now, error.clone()));
        }
        result.or_else(|error| self.held(need, held.as_ref(), error, now))
    }

    /// What was found before, if it is still good and only cannot be found just now: a server that is away for a while does not
    /// lose its keys.
    fn held(
        &self,
        need: Need,
        pinned: Option<&PinnedPeer>,
        error: Unknown,
        now: UnixMillis,
    ) -> Result<KeyDocument, Unknown> {
        let away = matches!(
            &error,
            Unknown::Refused {
                refusal: Refusal::NotFound | Refusal::NotAnchored,
                ..
            }
        );
        let asks_anew = matches!(need, Need::Now | Need::NewerOfStranger);
        let enough =
            |peer: &&PinnedPeer| peer.anchored || self.0.config.keys.anchor == Anchor::Federation;
        let held = pinned.filter(enough).and_then(|peer| peer.valid(now));
        held.filter(|_| away && !asks_anew).ok_or(error)
    }

    /// Forgets what is pinned, so that the next document is taken as the first. Whether anything was pinned.
    pub async fn accept(&self, server: &ServerName) -> Result<bool, StoreError> {
        self.0
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(server);
        PinnedPeer::forget(&self.0.store, server).await
    }

    fn failure(&self, server: &ServerName, now: UnixMillis) -> Option<Unknown> {
        let failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, error) = failed.get(server)?;
        (now.saturating_sub(*at) < FAILED).then(|| error.clone())
    }

    /// What is pinned, if that is fresh enough.
    async fn fresh(
        &self,
        server: &ServerName,
        need: Need,
        now: UnixMillis,
    ) -> Result<Option<KeyDocument>, Unknown> {
        let for_so_long = match need {
            Need::Known | Need::OfStranger => FRESH,
            Need::NewerOfStranger => FAILED,
            Need::Now => return Ok(None),
        };
        let pinned = self.pinned(server).await?;
        Ok(pinned
            .filter(|peer| now.saturating_sub(peer.fetched) < for_so_long)
            .and_then(|peer| peer.valid(now)))
    }

    /// How many strangers were pinned today, and so many more.
    fn new_today(&self, now: UnixMillis, more: u32) -> u32 {
        let mut new = self.0.new.lock().unwrap_or_else(PoisonError::into_inner);
        if new.0 != now / DAY {
            *new = (now / DAY, 0);
        }
        new.1 = new.1.saturating_add(more);
        new.1
    }

    async fn fetch(
        &self,
        server: &ServerName,
        need: Need,
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
        let unasked = need.is_of_stranger() && pinned.as_ref().is_none_or(|pinned| pinned.unasked);
        if unasked && pinned.is_none() {
            self.new_today(now, 1);
        }
        let peer = PinnedPeer {
            server: server.to_owned(),
            document: accepted.document.json().to_string(),
            unasked,
            since: pinned.map_or(now, |peer| peer.since),
            fetched: now,
            anchored,
        };
        let due = unasked.then_some(now + UNASKED);
        self.0.store.set_note(server.as_bytes(), due, &peer).await?;
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
        let asking = homeserver.profile_field(own, bot, PROFILE_FIELD);
        let value = tokio::time::timeout(RELAY, asking).await.ok()?.ok()??;
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
