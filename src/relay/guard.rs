//! The identity guard: does a message name the user, or another of their pseudonyms?

use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use ruma::{OwnedUserId, RoomAliasId};

use super::Relay;
use crate::{
    event::Event,
    portal::{Deps, PortalError},
    pseudonym::Role,
    rewrite::{self, GuardWords, Scrubbed, Sieve},
    store::{Portal, PortalId, User},
};

/// Users whose sieve is kept.
const REMEMBERED: usize = 4096;

/// The weight of the letters of a single word that names a room.
const LONG: usize = 8;

/// So many letters and digits of a name in our namespace stand nowhere by chance.
const UNMISTAKABLE: usize = 6;

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
    /// What in `content`, which `event` became, names the user, if anything does and the guard is on.
    pub(super) async fn names_the_user(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        content: &Scrubbed,
    ) -> Result<Option<String>, PortalError> {
        let glance = self.guards.glance(deps, portal).await?;
        let Some(sieve) = &glance.sieve else {
            return Ok(None);
        };
        if self.has_foreign_pill(deps, portal, event).await? {
            return Ok(Some("a pill of somebody in another portal".to_owned()));
        }
        if !sieve.may_match(content) {
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

impl Relay {
    /// Whether an event mentions one of ours who stands in another portal. The rewriting takes the pill out, but not the name
    /// on it, and whoever meant to write elsewhere had better know.
    async fn has_foreign_pill(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<bool, PortalError> {
        if !event.content.get().contains(&deps.config.appservice.prefix) {
            return Ok(false);
        }
        let references = rewrite::references(&event.kind, &event.content);
        let known = self
            .outbound_translations(deps, portal, &references)
            .await?;
        let own = [&portal.ghost.id, &portal.host.id];
        let others = references
            .users
            .iter()
            .filter(|user| !known.users.contains_key(*user) && !own.contains(user));
        for other in others {
            match deps.namespace.role(other) {
                Some(Role::Mirror | Role::Host) => return Ok(true),
                Some(Role::Ghost) => {
                    let user = deps.store.user(&portal.user).await?;
                    let mut all = user.iter().flat_map(|user| &user.pseudonyms);
                    if all.any(|pseudonym| pseudonym.ghost == *other) {
                        return Ok(true);
                    }
                }
                _ => {}
            }
        }
        Ok(false)
    }
}

/// What must not be said in this portal.
fn words(deps: &Deps, portal: &Portal, user: &User) -> GuardWords {
    let mut found = of_others(user, Some(portal.id));
    // What this room is called may be said in it; by the names it had at the join, since its moderators would else choose which
    // of the user's other names pass here.
    let own = || portal.called.iter().chain([&portal.ghost.nick]);
    let is_own = |word: &String| own().any(|own| word.eq_ignore_ascii_case(own));
    found.words.retain(|word| !is_own(word));
    let mut ids = GuardWords::default();
    own().for_each(|own| add_name(&mut ids, own));
    found.ids.retain(|id| !ids.ids.contains(id));
    add_own(deps, portal, user, &mut found);
    if let Some(room) = &portal.portal_room {
        add_id(&mut found, room.as_str());
    }
    found
}

/// What must not be said in some portal of this user: the record of a user names every portal room, this portal's too.
fn words_of_all(deps: &Deps, portal: &Portal, user: &User) -> GuardWords {
    let mut found = of_others(user, None);
    add_own(deps, portal, user, &mut found);
    found
}

/// What names the user, which nothing that a room is called takes away.
fn add_own(deps: &Deps, portal: &Portal, user: &User, found: &mut GuardWords) {
    found.words.push(portal.user.localpart().to_owned());
    found.words.extend(user.display_name.clone());
    add_id(found, portal.user.as_str());
    for kind in ["m_", "p_"] {
        add_puppet(found, &format!("@{}{kind}", deps.config.appservice.prefix));
    }
}

/// What names the user's pseudonyms and their rooms.
fn of_others(user: &User, without: Option<PortalId>) -> GuardWords {
    let mut found = GuardWords::default();
    for other in user
        .pseudonyms
        .iter()
        .filter(|other| Some(other.portal) != without)
    {
        found.words.push(other.nick.clone());
        for name in &other.called {
            add_name(&mut found, name);
        }
        add_puppet(&mut found, other.ghost.as_str());
        add_id(&mut found, other.room.as_str());
        if let Some(room) = &other.portal_room {
            add_id(&mut found, room.as_str());
        }
    }
    found
}

/// A room's address, or its name if that names it.
fn add_name(found: &mut GuardWords, name: &str) {
    if RoomAliasId::parse(name).is_ok() {
        add_id(found, name);
    } else if is_telling(name) {
        found.words.push(name.to_owned());
    }
}

/// An id, and the `matrix:` URI that says it without its sigil.
fn add_id(found: &mut GuardWords, id: &str) {
    let kind = match id.as_bytes().first() {
        Some(b'@') => "u",
        Some(b'#') => "r",
        _ => "roomid",
    };
    found.ids.push(id.to_owned());
    if let Some(rest) = id.get(1..) {
        found.ids.push(format!("matrix:{kind}/{rest}"));
    }
}

/// The id of one of ours, or how many of them begin. Without its sigil and server it says as much, in a link for example; unless it is so
/// short that it may be something else.
fn add_puppet(found: &mut GuardWords, id: &str) {
    let name = id.trim_start_matches('@').split(':').next().unwrap_or(id);
    let letters = name.chars().filter(|c| c.is_alphanumeric()).count();
    if letters >= UNMISTAKABLE {
        found.ids.push(name.to_owned());
    } else {
        add_id(found, id);
    }
}

/// Whether a room's name can be told from what people say anyway: two words or more, or one long one. Others chose it, and one
/// that is in everybody's mouth would only hold messages back, which who watches could notice.
fn is_telling(name: &str) -> bool {
    let words = name.split_whitespace();
    let words = words.filter(|word| word.chars().any(char::is_alphanumeric));
    // Where letters have no case, a few make a word.
    let weight = |c: char| match (c.is_alphanumeric(), c.is_lowercase() || c.is_uppercase()) {
        (true, false) if !c.is_numeric() => 2,
        (true, _) => 1,
        (false, _) => 0,
    };
    words.count() >= 2 || name.chars().map(weight).sum::<usize>() >= LONG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_ids_are_known_without_sigil_and_server() {
        let mut found = GuardWords::default();
        add_puppet(&mut found, "@_vizard_m_");
        add_puppet(&mut found, "@_vizard_mask:a.example");
        assert_eq!(found.ids, ["_vizard_m_", "_vizard_mask"]);
        let held = |text: &str| rewrite::guard(&Scrubbed::notice(text), &found).is_some();
        for text in [
            "@_vizard_m_x:a.example",
            "_vizard_m_x",
            "https://admin.example/users/%40_vizard_m_x%3Aa.example",
            "https://admin.example/users/_vizard_m_x",
            "matrix:u/_vizard_mask:a.example",
            "who is _VIZARD_MASK?",
        ] {
            assert!(held(text), "{text}");
        }
        for text in ["a vizard, mind", "vizardmore", "@vizard:a.example"] {
            assert!(!held(text), "{text}");
        }
        let mut short = GuardWords::default();
        add_puppet(&mut short, "@v_m_");
        assert_eq!(short.ids, ["@v_m_", "matrix:u/v_m_"]);
    }

    #[test]
    fn a_commonplace_name_is_no_word() {
        for name in ["Knitting", "Tea room", "Die Teestube", "東京読書会", "a b"] {
            assert!(is_telling(name), "{name}");
        }
        for name in [
            "",
            "yes",
            "Chess",
            " ok! ",
            "👍 👍",
            "- -",
            "はい",
            "1234567",
        ] {
            assert!(!is_telling(name), "{name}");
        }
        let mut found = GuardWords::default();
        for name in ["#t:b.example", "yes", "Tea room"] {
            add_name(&mut found, name);
        }
        assert_eq!(found.words, ["Tea room"]);
        assert_eq!(found.ids, ["#t:b.example", "matrix:r/t:b.example"]);
    }
}
