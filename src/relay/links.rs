//! Which event became which, from memory or the store; and the translation of everything a content refers to.

use std::sync::Arc;

use ruma::{EventId, OwnedEventId, UserId};

use super::{ByMirror, LINKS, Relay};
use crate::{
    portal::{Deps, PortalError},
    rewrite::{Person, References, Translations},
    store::{Link, Portal},
};

impl Relay {
    /// Keeps a new link in memory, found by either end. One without a target is not kept: what the ghost sent comes back from the
    /// homeserver and is noted as handled, and must not stand in the way of the link that leads to it.
    pub(super) fn remember(&mut self, link: &Link) {
        if link.target.is_some() {
            if self.links.len() >= LINKS {
                self.links.pop_front();
            }
            self.links.push_back(link.clone());
        }
    }

    /// The newest of the new links of which `event` is either end.
    fn new_link(&self, event: &EventId) -> Option<&Link> {
        self.links
            .iter()
            .rev()
            .find(|link| link.source == event || link.target.as_deref() == Some(event))
    }

    /// Takes note that an event was sent anew, as another one.
    pub fn relearn(&mut self, link: &Link) {
        let read = || self.read.peek(&link.source).map(Arc::as_ref);
        let before = self.new_link(&link.source).or_else(read);
        let before = before.and_then(|before| before.target.clone());
        for gone in before.into_iter().chain([link.source.clone()]) {
            self.links
                .retain(|link| link.source != gone && link.target.as_ref() != Some(&gone));
            self.read.pop(&gone);
        }
    }

    /// Whether `event` was relayed, or is what was sent.
    pub async fn knows(&mut self, deps: &Deps, event: &EventId) -> Result<bool, PortalError> {
        let link = self.link(deps, event).await?;
        Ok(link.is_some_and(|link| link.target.is_some()))
    }

    /// The link of which `event` is either end.
    pub(super) async fn link(
        &mut self,
        deps: &Deps,
        event: &EventId,
    ) -> Result<Option<Link>, PortalError> {
        if let Some(link) = self.new_link(event) {
            return Ok(Some(link.clone()));
        }
        if let Some(link) = self.read.get(event) {
            return Ok(Some(Link::clone(link)));
        }
        let link = deps.store.link(self.portal, event).await?;
        if let Some(link) = link.as_ref().filter(|link| link.target.is_some()) {
            self.read.put(event.to_owned(), Arc::new(link.clone()));
        }
        Ok(link)
    }

    /// The other end of `event`.
    pub(super) async fn other_end(
        &mut self,
        deps: &Deps,
        event: &EventId,
    ) -> Result<Option<OwnedEventId>, PortalError> {
        Ok(self.link(deps, event).await?.and_then(|link| {
            if link.source == event {
                link.target
            } else {
                Some(link.source)
            }
        }))
    }

    /// Translates what an inbound content refers to: members become mirrors, the ghost becomes the user.
    pub(super) async fn inbound_translations(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        references: &References,
    ) -> Result<Translations, PortalError> {
        let mut found = self.translated_events(deps, references).await?;
        for user in &references.users {
            if *user == portal.ghost.id {
                let name = deps
                    .store
                    .user(&portal.user)
                    .await?
                    .and_then(|user| user.display_name);
                let name = name.unwrap_or_else(|| portal.user.localpart().to_owned());
                found.users.insert(
                    user.clone(),
                    Person {
                        id: portal.user.clone(),
                        name,
                    },
                );
                continue;
            }
            let mirror = match self.mirrors.peek(user) {
                Some(mirror) => Some(mirror.clone()),
                None => deps.store.mirror(portal.id, user).await?,
            };
            if let Some(mirror) = mirror {
                let name = mirror.name.unwrap_or_else(|| user.localpart().to_owned());
                found.users.insert(
                    user.clone(),
                    Person {
                        id: mirror.puppet.id,
                        name,
                    },
                );
            }
        }
        found.rooms = portal
            .portal_room
            .clone()
            .map(|there| (portal.room.clone(), there));
        Ok(found)
    }

    /// Translates what an outbound content refers to: mirrors become members, the user becomes the ghost.
    pub(super) async fn outbound_translations(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        references: &References,
    ) -> Result<Translations, PortalError> {
        let mut found = self.translated_events(deps, references).await?;
        let mut mirrors: Option<ByMirror> = None;
        for user in &references.users {
            if *user == portal.user {
                let person = Person {
                    id: portal.ghost.id.clone(),
                    name: portal.ghost.nick.clone(),
                };
                found.users.insert(user.clone(), person);
                continue;
            }
            if deps.namespace.role(user).is_none() {
                found.users.insert(user.clone(), themselves(user));
                continue;
            }
            if mirrors.is_none() {
                let all = deps.store.mirrors(portal.id).await?;
                mirrors = Some(
                    all.into_iter()
                        .map(|mirror| (mirror.puppet.id.clone(), mirror))
                        .collect(),
                );
            }
            if let Some(mirror) = mirrors.as_ref().and_then(|mirrors| mirrors.get(user)) {
                let name = mirror
                    .name
                    .clone()
                    .unwrap_or_else(|| mirror.member.localpart().to_owned());
                found.users.insert(
                    user.clone(),
                    Person {
                        id: mirror.member.clone(),
                        name,
                    },
                );
            }
        }
        found.rooms = portal
            .portal_room
            .clone()
            .map(|here| (here, portal.room.clone()));
        Ok(found)
    }

    async fn translated_events(
        &mut self,
        deps: &Deps,
        references: &References,
    ) -> Result<Translations, PortalError> {
        let mut found = Translations::default();
        for event in &references.events {
            if let Some(other) = self.other_end(deps, event).await? {
                found.events.insert(event.clone(), other);
            }
        }
        Ok(found)
    }
}

/// A member who has no other name on the other side.
fn themselves(user: &UserId) -> Person {
    Person {
        id: user.to_owned(),
        name: user.localpart().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        relay::Guards,
        store::{Direction, PortalId},
    };

    fn link(nth: usize) -> Link {
        let id = |kind: &str| format!("${kind}{nth:0>42}").try_into().unwrap();
        Link {
            source: id("s"),
            target: Some(id("t")),
            direction: Direction::Inbound,
            sender: "@somebody:b.example".try_into().unwrap(),
        }
    }

    /// Bytes that new links take.
    fn taken(relay: &Relay) -> usize {
        let texts = |link: &Link| {
            let target = link.target.as_ref().map_or(0, |id| id.as_bytes().len());
            link.source.as_bytes().len() + target + link.sender.as_bytes().len()
        };
        let entries = relay.links.capacity() * size_of::<Link>();
        entries + relay.links.iter().map(texts).sum::<usize>()
    }

    #[test]
    fn new_links_are_found_by_either_end_and_leave_little_behind() {
        let mut relay = Relay::new(PortalId([1; 16]), Guards::default());
        assert_eq!(taken(&relay), 0);
        for nth in 0..=LINKS {
            relay.remember(&link(nth));
        }
        let found = |relay: &Relay, nth: usize| {
            let link = link(nth);
            let by_target = link.target.as_ref().and_then(|id| relay.new_link(id));
            assert_eq!(relay.new_link(&link.source), by_target);
            by_target.is_some()
        };
        assert!(!found(&relay, 0));
        assert!(found(&relay, 1) && found(&relay, LINKS));
        relay.relearn(&link(1));
        assert!(!found(&relay, 1));
        relay.rest();
        assert!(found(&relay, LINKS));
        assert!(size_of::<Relay>() < 500 && taken(&relay) < 1000);
    }
}
