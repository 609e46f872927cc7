//! The key documents of other Vizards: looked for at both places, compared, pinned, and used until they are out of date.
//!
//! Strangers can make this ask (a request that another Vizard's bot signed needs that Vizard's keys), so the work is bounded: a few
//! fetches at once, one for each server at a time, and what failed is not tried again for a minute; names that nobody knows have
//! fewer, so many in an hour, and longer to wait. Whoever is known loses nothing by them: what is pinned serves on while it is good.

mod counting;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ruma::{OwnedServerName, ServerName};

use super::{
    Unknown,
    effort::{Effort, Who},
    pinned::PinnedPeer,
    places::{Places, Sought, is_signed_by},
};
use crate::{
    clock::{Clock, UnixMillis},
    config::{Anchor, Config},
    homeserver::{Actor, Homeserver},
    peer::Fetcher,
    sealed::{self, Anchored, Change, KeyDocument, Pin, Place, Refusal, Trust, accept},
    store::{Store, StoreError},
};

/// What was pinned because its server asked is forgotten when it was not fetched again for so long.
const UNASKED: UnixMillis = 30 * DAY;
const MINUTE: UnixMillis = 60 * 1000;
const DAY: UnixMillis = 24 * 60 * MINUTE;
/// A document is looked for anew after so long, even if it is still good: keys may have been replaced.
const FRESH: UnixMillis = DAY;

/// For what a document is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Somebody here needs it.
    Known,
    /// The same, and not what is known.
    Now,
    /// An admin takes what is there, from the one place alone if it is named.
    Accepting(Option<Place>),
    /// That server asked for something.
    OfStranger,
    /// The same, and what is known does not do.
    NewerOfStranger,
}

impl Need {
    fn is_of_stranger(self) -> bool {
        matches!(self, Self::OfStranger | Self::NewerOfStranger)
    }

    /// Whether nothing that is remembered will do.
    fn is_of_admin(self) -> bool {
        matches!(self, Self::Now | Self::Accepting(_))
    }
}

/// Other Vizards. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    config: Arc<Config>,
    clock: Clock,
    places: Places,
    effort: Effort,
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
            config,
            clock,
            places: Places::new(homeserver, bot, fetcher),
            effort: Effort::default(),
            asking: Mutex::default(),
        }))
    }

    /// The keys of a server: those that are pinned if they are fresh, otherwise what is found now.
    pub async fn document(&self, server: &ServerName) -> Result<KeyDocument, Unknown> {
        let found = self.find(server, Need::Known).await?;
        self.keep(server).await?;
        Ok(found)
    }

    /// What is at hand and fresh enough: nobody has to be asked.
    pub async fn at_hand(&self, server: &ServerName) -> Result<Option<KeyDocument>, Unknown> {
        let now = self.0.clock.now();
        let found = self.fresh(server, Need::Known, now).await?;
        if found.is_some() {
            self.keep(server).await?;
        }
        Ok(found)
    }

    /// Somebody here relies on what is pinned: it is not forgotten, also if its server alone had given cause to look for it.
    async fn keep(&self, server: &ServerName) -> Result<(), StoreError> {
        let pinned = self.pinned(server).await?;
        if !pinned.is_some_and(|peer| peer.unasked) {
            return Ok(());
        }
        let kept = |peer: PinnedPeer| PinnedPeer {
            unasked: false,
            ..peer
        };
        // What an admin had forgotten meanwhile stays so.
        let key = server.as_bytes();
        self.0.store.amend_note(key, None, kept).await.map(drop)
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

    /// Forgets what is pinned, and pins what is found now as the first, from one place alone if that is named. Where none is and
    /// the two contradict each other, the server itself counts. The place that counts does so until the next time.
    pub async fn accept_now(
        &self,
        server: &ServerName,
        place: Option<Place>,
    ) -> Result<KeyDocument, Unknown> {
        self.accept(server).await?;
        match self.find(server, Need::Accepting(place)).await {
            Err(Unknown::Refused { refusal, .. })
                if place.is_none() && refusal.is_about_the_places() =>
            {
                self.find(server, Need::Accepting(Some(Place::Tls))).await
            }
            found => found,
        }
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
            match asking.try_lock() {
                Ok(one) => one,
                Err(_) => return self.held_while_busy(server, need).await,
            }
        } else {
            asking.lock().await
        };
        let now = self.0.clock.now();
        if let Some(known) = self.fresh(server, need, now).await? {
            return Ok(known);
        }
        let pinned = self.pinned(server).await?;
        let who = match (need.is_of_stranger(), &pinned) {
            (false, _) => Who::Us,
            (true, Some(_)) => Who::Stranger,
            (true, None) => Who::UnheardOf,
        };
        let failed = self.0.effort.failure(server, who, now);
        if let Some(error) = failed.filter(|_| !need.is_of_admin()) {
            return self.held(need, pinned.as_ref(), error, now);
        }
        let Some(_slot) = self.0.effort.slot(who, now).await else {
            return self.held(need, pinned.as_ref(), Unknown::Busy, now);
        };
        let held = pinned.clone();
        let result = self.fetch(server, need, pinned, now).await;
        if let Err(error) = &result {
            metrics::counter!("vizard_peer_keys_refused_total", "why" => error.name()).increment(1);
            self.0.effort.failed(server, error, now);
        }
        result.or_else(|error| self.held(need, held.as_ref(), error, now))
    }

    /// What is pinned, if it is still good, while somebody else looks for what is newer.
    async fn held_while_busy(
        &self,
        server: &ServerName,
        need: Need,
    ) -> Result<KeyDocument, Unknown> {
        let pinned = self.pinned(server).await?;
        self.held(need, pinned.as_ref(), Unknown::Busy, self.0.clock.now())
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
            Unknown::Busy
                | Unknown::Refused {
                    refusal: Refusal::NotFound | Refusal::NotAnchored,
                    ..
                }
        );
        let asks_anew = need.is_of_admin() || need == Need::NewerOfStranger;
        let held = pinned.and_then(|peer| self.good(peer, now));
        held.filter(|_| away && !asks_anew).ok_or(error)
    }

    /// Forgets what is pinned, so that the next document is taken as the first. Whether anything was pinned.
    pub async fn accept(&self, server: &ServerName) -> Result<bool, StoreError> {
        self.0.effort.forget(server);
        PinnedPeer::forget(&self.0.store, server).await
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
            Need::NewerOfStranger => MINUTE,
            Need::Now | Need::Accepting(_) => return Ok(None),
        };
        let pinned = self.pinned(server).await?;
        Ok(pinned
            .filter(|peer| now.saturating_sub(peer.fetched) < for_so_long)
            .and_then(|peer| self.good(&peer, now)))
    }

    /// What is pinned, if it is still good, and may be relied on by the configuration as it is now.
    fn good(&self, pinned: &PinnedPeer, now: UnixMillis) -> Option<KeyDocument> {
        let document = self.counting(pinned);
        document.filter(|_| pinned.valid(now).is_some())
    }

    async fn fetch(
        &self,
        server: &ServerName,
        need: Need,
        pinned: Option<PinnedPeer>,
        now: UnixMillis,
    ) -> Result<KeyDocument, Unknown> {
        let by_hand = self.by_hand(server);
        let before = pinned.as_ref().and_then(PinnedPeer::document);
        // What that key did not sign is of no account any more, pinned or not.
        let before = before.filter(|document| is_signed_by(document, by_hand));
        let only = match need {
            Need::Accepting(place) => place,
            _ => pinned.as_ref().and_then(|peer| peer.only),
        };
        let known = self.0.config.peers.get(server);
        let sought = Sought {
            server,
            url: known.and_then(|peer| peer.url.as_ref()),
            by_hand,
            only,
            pinned: before.as_ref(),
        };
        let (found, why) = self.0.places.look(sought, now).await;
        let over_tls = match &found.tls {
            Some(Ok(document)) => Some(*document.digest()),
            _ => None,
        };
        let pin = before.as_ref().map(Pin::of);
        let trust = Trust {
            only,
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
            Anchored::Pin => {
                over_tls.is_some() || pinned.as_ref().is_some_and(|peer| peer.anchored)
            }
            Anchored::Chosen | Anchored::Tls => true,
            Anchored::Federation => false,
            // The key in the configuration may be taken out again: then there is what was seen, and nothing else.
            Anchored::ByHand => {
                let follows = before.is_some() && pinned.as_ref().is_some_and(|peer| peer.anchored);
                over_tls.as_ref() == Some(accepted.document.digest()) || follows
            }
        };
        if accepted.change != Change::None {
            tracing::info!(change = ?accepted.change, "the keys of another server are pinned");
        }
        // Looked at once more: somebody here may have come to rely on it meanwhile.
        let now_pinned = self.pinned(server).await?;
        let unasked = need.is_of_stranger() && now_pinned.is_none_or(|pinned| pinned.unasked);
        if unasked && pinned.is_none() {
            self.0.effort.pinned_one(now);
        }
        let peer = PinnedPeer {
            server: server.to_owned(),
            document: accepted.document.json().to_string(),
            unasked,
            since: pinned.map_or(now, |peer| peer.since),
            fetched: now,
            anchored,
            only,
        };
        let due = unasked.then_some(now + UNASKED);
        self.0.store.set_note(server.as_bytes(), due, &peer).await?;
        Ok(accepted.document)
    }
}
