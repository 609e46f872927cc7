//! The identity guard: does a message name the user, or another of their pseudonyms?

use super::Relay;
use crate::{
    portal::{Deps, PortalError},
    rewrite::{self, GuardWords, Scrubbed},
    store::{Portal, User},
};

/// What to look for, and the state of the user's records from which it was made.
#[derive(Debug)]
pub(super) struct Words {
    epoch: u64,
    on: bool,
    words: GuardWords,
}

impl Relay {
    /// What in `content` names the user, if anything does and the guard is on.
    pub(super) async fn names_the_user(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        content: &Scrubbed,
    ) -> Result<Option<String>, PortalError> {
        let epoch = deps.store.users_epoch();
        if self.words.as_ref().is_none_or(|words| words.epoch != epoch) {
            let user = deps.store.user(&portal.user).await?;
            let on = user.as_ref().is_none_or(|user| user.guard);
            let user = user.unwrap_or_else(|| User::new(portal.user.clone()));
            self.words = Some(Words {
                epoch,
                on,
                words: words(deps, portal, &user),
            });
        }
        Ok(self
            .words
            .as_ref()
            .filter(|words| words.on)
            .and_then(|words| rewrite::guard(content, &words.words)))
    }
}

fn words(deps: &Deps, portal: &Portal, user: &User) -> GuardWords {
    let mut found = GuardWords::default();
    found.words.push(portal.user.localpart().to_owned());
    found.words.extend(user.display_name.clone());
    found.ids.push(portal.user.to_string());
    for kind in ["m_", "p_"] {
        found
            .ids
            .push(format!("@{}{kind}", deps.config.appservice.prefix));
    }
    found
        .ids
        .extend(portal.portal_room.as_ref().map(ToString::to_string));
    for other in user
        .pseudonyms
        .iter()
        .filter(|other| other.portal != portal.id)
    {
        found.words.push(other.nick.clone());
        found.words.extend(other.room_name.clone());
        found.ids.push(other.ghost.to_string());
        found.ids.push(other.room.to_string());
        found
            .ids
            .extend(other.portal_room.as_ref().map(ToString::to_string));
    }
    if let Some(own) = &portal.shown.name {
        found.words.retain(|word| !word.eq_ignore_ascii_case(own));
    }
    found
        .words
        .retain(|word| !word.eq_ignore_ascii_case(&portal.ghost.nick));
    found
}
