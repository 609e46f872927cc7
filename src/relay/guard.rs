//! The identity guard: does a message name the user, or another of their pseudonyms?

use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use ruma::OwnedUserId;

use super::Relay;
use crate::{
    portal::{Deps, PortalError},
    rewrite::{self, GuardWords, Scrubbed, Sieve},
    store::{Portal, PortalId, User},
};

/// Users whose sieve is kept.
const REMEMBERED: usize = 4096;

/// What to look for, and the state of the user's records from which it was made.
#[derive(Debug)]
pub(super) struct Words {
    epoch: u64,
    words: GuardWords,
}

/// A look that is the same for all portals of a user, and cheap however many they have.
#[derive(Debug)]
struct Glance {
    epoch: u64,
    /// `None`: the guard is off.
    sieve: Option<Sieve>,
}

/// Sieves of the users who spoke lately, shared by all relays.
#[derive(Clone, Debug)]
pub struct Guards(Arc<Mutex<LruCache<OwnedUserId, Arc<Glance>>>>);

impl Default for Guards {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::unbounded())))
    }
}

impl Guards {
    async fn glance(&self, deps: &Deps, portal: &Portal) -> Result<Arc<Glance>, PortalError> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = deps.store.users_epoch();
        let known = lock().get(&portal.user).cloned();
        if let Some(glance) = known.filter(|glance| glance.epoch == epoch) {
            return Ok(glance);
        }
        let user = deps.store.user(&portal.user).await?;
        let on = user.as_ref().is_none_or(|user| user.guard);
        let user = user.unwrap_or_else(|| User::new(portal.user.clone()));
        let sieve = on.then(|| Sieve::new(&words_of_all(deps, portal, &user)));
        let glance = Arc::new(Glance { epoch, sieve });
        let mut kept = lock();
        kept.put(portal.user.clone(), glance.clone());
        if kept.len() > REMEMBERED {
            kept.pop_lru();
        }
        Ok(glance)
    }
}

impl Relay {
    /// What in `content` names the user, if anything does and the guard is on.
    pub(super) async fn names_the_user(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        content: &Scrubbed,
    ) -> Result<Option<String>, PortalError> {
        let glance = self.guards.glance(deps, portal).await?;
        if !glance
            .sieve
            .as_ref()
            .is_some_and(|sieve| sieve.may_match(content))
        {
            return Ok(None);
        }
        let epoch = deps.store.users_epoch();
        if self.words.as_ref().is_none_or(|words| words.epoch != epoch) {
            let user = deps.store.user(&portal.user).await?;
            let user = user.unwrap_or_else(|| User::new(portal.user.clone()));
            self.words = Some(Words {
                epoch,
                words: words(deps, portal, &user),
            });
        }
        Ok(self
            .words
            .as_ref()
            .and_then(|words| rewrite::guard(content, &words.words)))
    }
}

/// What must not be said in this portal.
fn words(deps: &Deps, portal: &Portal, user: &User) -> GuardWords {
    let mut found = words_but(deps, portal, user, Some(portal.id));
    found
        .ids
        .extend(portal.portal_room.as_ref().map(ToString::to_string));
    let own = [&portal.shown.name, &portal.shown.hidden.name];
    for own in own.into_iter().flatten() {
        found.words.retain(|word| !word.eq_ignore_ascii_case(own));
    }
    found
        .words
        .retain(|word| !word.eq_ignore_ascii_case(&portal.ghost.nick));
    found
}

/// What must not be said in some portal of this user: the record of a user names every portal room, this portal's too.
fn words_of_all(deps: &Deps, portal: &Portal, user: &User) -> GuardWords {
    words_but(deps, portal, user, None)
}

fn words_but(deps: &Deps, portal: &Portal, user: &User, without: Option<PortalId>) -> GuardWords {
    let mut found = GuardWords::default();
    found.words.push(portal.user.localpart().to_owned());
    found.words.extend(user.display_name.clone());
    found.ids.push(portal.user.to_string());
    for kind in ["m_", "p_"] {
        found
            .ids
            .push(format!("@{}{kind}", deps.config.appservice.prefix));
    }
    for other in user
        .pseudonyms
        .iter()
        .filter(|other| Some(other.portal) != without)
    {
        found.words.push(other.nick.clone());
        found.words.extend(other.room_name.clone());
        found.words.extend(other.hidden_name.clone());
        found.ids.push(other.ghost.to_string());
        found.ids.push(other.room.to_string());
        found
            .ids
            .extend(other.portal_room.as_ref().map(ToString::to_string));
    }
    found
}
