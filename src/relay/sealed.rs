//! Encrypted events: opened before anything else looks at them; what cannot be opened is waited for, then said, and said
//! again in clear when its key comes. What is known of the sender's device is passed on, never laundered.

use std::time::Duration;

use ruma::OwnedEventId;

use super::{
    Done, Relay,
    inbound::open_portal,
    reconcile,
    reopen::{LOOKS, kept},
};
use crate::{
    clock::UnixMillis,
    event::{Event, Trust, Withheld},
    portal::{Deps, PortalError, source_in},
    rewrite::Scrubbed,
    store::{Direction, Portal, ReopenTask, Task},
};

/// The type of an encrypted event.
pub const ENCRYPTED: &str = "m.room.encrypted";

/// How long an event waits for its key before the portal shows that it is there, in milliseconds.
const PATIENCE: u64 = 2_000;
/// The same for what the user wrote, before it is refused.
const USER_PATIENCE: u64 = 10_000;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(300);
/// How long the sending of a placeholder may take before it is looked for, in milliseconds.
const UNSETTLED: u64 = 10_000;

/// What stands for a message that cannot be read, whatever comes.
pub(super) const UNREADABLE: &str = "🔒 an encrypted message that cannot be read.";
/// What replaces a placeholder when the search for its key ends.
pub(super) const NEVER_CAME: &str = "🔒 an encrypted message whose key did not come.";

const PLACEHOLDER: &str =
    "🔒 an encrypted message whose key has not come yet. It will be shown here when it does.";

/// What is said for a member, and whether it is marked.
pub(super) struct Marked {
    pub(super) content: Scrubbed,
    pub(super) is: bool,
}

/// Counts an event that nobody could read, or that claimed another sender than its device's.
fn count() {
    metrics::counter!("vizard_failures_total", "class" => "undecryptable").increment(1);
}

impl Relay {
    /// The event as its sender wrote it, if it is encrypted and can be opened; otherwise as it is, with the reason.
    pub async fn open(
        &self,
        deps: &Deps,
        direction: Direction,
        event: &Event,
    ) -> Result<Event, PortalError> {
        let portal = deps.portals.get(self.portal).await?;
        let actor = match direction {
            Direction::Inbound => deps.ghost(&portal),
            Direction::Outbound => deps.host(&portal),
        };
        if event.sender == portal.ghost.id || actor.device.is_none() {
            return Ok(event.clone());
        }
        Ok(deps.e2ee.decrypt(&actor, event).await?)
    }

    /// What a member wrote cannot be read (yet): wait a moment for its key, then say so.
    pub(super) async fn unread_inbound(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Done, PortalError> {
        if event.was_redacted() {
            return Ok(Done::default());
        }
        let Some(room) = open_portal(portal)? else {
            return Ok(Done::default());
        };
        let text = match event.trust {
            trust if trust.is_void() => {
                count();
                return Ok(Done::default());
            }
            trust if trust.lacks_key() => {
                still_waits(deps, received)?;
                placeholder(event.trust)
            }
            _ => UNREADABLE,
        };
        let ghost = deps.ghost(portal);
        if event.trust == Trust::NoKey {
            // One that was withheld is not given for the asking.
            deps.e2ee.ask_for_key(&ghost, event).await;
        }
        // Before it is sent: after a crash the key may be there, and nobody would know of the placeholder.
        if event.trust.lacks_key() {
            look_for_key(deps, portal, event, None, UNSETTLED).await?;
            // Whoever sends what nobody can read has Vizard look for so many keys at once; of the others the placeholders say
            // that they did not come.
            let (id, sender) = (&event.event_id, &event.sender);
            for given_up in deps.e2ee.waits_for_key(&ghost, id, sender).await? {
                let source = source_in(portal.id, given_up.as_str());
                deps.hurry_job(&source, LOOKS).await?;
                // Not before: after a crash in between nobody would know that it is to end.
                deps.e2ee.waits_no_more(&ghost, &given_up).await?;
            }
        }
        let done = self
            .send_as_mirror(deps, portal, room, event, received, Scrubbed::notice(text))
            .await?;
        if let (true, Some(target)) = (event.trust.lacks_key(), &done.target) {
            look_for_key(deps, portal, event, Some(target.clone()), 1_000).await?;
        }
        count();
        Ok(done)
    }

    /// What the user wrote cannot be read: wait for its key, then say that it was not sent.
    pub(super) async fn unread_outbound(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Done, PortalError> {
        if event.trust.is_void() || event.was_redacted() {
            return Ok(Done::default());
        }
        if event.trust.lacks_key() {
            if event.trust == Trust::NoKey && !waits(deps, received, PATIENCE) {
                deps.e2ee.ask_for_key(&deps.host(portal), event).await;
            }
            if waits(deps, received, USER_PATIENCE) {
                return Err(PortalError::NotYet(LOOK));
            }
            // It may have been sent before its key was lost, with a device or a part of the database.
            if let Some(sent) = self.sent_before(deps, portal, event, received).await? {
                return Ok(Done { target: Some(sent) });
            }
        }
        let why = match event.trust {
            Trust::Withheld(Withheld::Unverified) => {
                "it is encrypted, and your client gives its keys to verified people only (see its settings)"
            }
            Trust::Withheld(_) => "it is encrypted, and your client keeps its key from Vizard",
            Trust::Broken => "it is encrypted, and cannot be read here. Send it again",
            _ => "it is encrypted, and your client did not give Vizard its key. Send it again",
        };
        self.not_sent(deps, portal, event, why).await
    }

    /// What the ghost said already for an event that cannot be read any more.
    async fn sent_before(
        &self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Option<OwnedEventId>, PortalError> {
        let (ghost, former) = (deps.ghost(portal), portal.ghost.former.as_ref());
        let (room, source) = (&portal.room, event.event_id.as_str());
        let txn_id = deps.store.txn_id(&ghost.user, source, "out", 0);
        reconcile::already_sent(deps, &ghost, former, room, &txn_id, received).await
    }

    /// Refuses what came in clear into an encrypted portal: the user's homeserver, or another, may have made it up, and the
    /// ghost's signed device would say it. `None`: it may go.
    pub(super) async fn refused_in_clear(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Option<Done>, PortalError> {
        let Some(room) = &portal.portal_room else {
            return Ok(None);
        };
        // What no client encrypts.
        if event.trust != Trust::Clear || event.kind == "m.reaction" {
            return Ok(None);
        }
        if !deps.e2ee.is_encrypted(&deps.host(portal), room).await? {
            return Ok(None);
        }
        let why = "it came unencrypted into this encrypted portal, so the servers could read and change it. Does your client encrypt here?";
        self.not_sent(deps, portal, event, why).await.map(Some)
    }

    /// Tells the user, once, of a device of their own that may be somebody else's: what it says is said by the ghost, whose
    /// device is signed.
    pub(super) async fn own_device(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<(), PortalError> {
        let why = match event.trust {
            Trust::UnsignedDevice => "from a device of yours that you have not verified",
            Trust::UnknownDevice => "from a device that is not known, or not any more",
            Trust::ChangedIdentity => "after your identity was reset",
            _ => return Ok(()),
        };
        // Under the ghost's name: the user may be a member of the room as well.
        let about = (portal.ghost.id.clone(), event.trust);
        if self.warned.get(&about).is_some() {
            return Ok(());
        }
        let text = format!(
            "⚠ Something was written here {why}. Your pseudonym says it. If that was not you, somebody else uses your account."
        );
        let leg = format!("own trust:{:?}", event.trust);
        let source = event.event_id.clone();
        let told = self.tell(deps, portal, &source, &leg, &text).await?;
        if told.target.is_none() {
            // The portal took it not. The next message tells again.
            return Ok(());
        }
        if event.trust == Trust::ChangedIdentity {
            let host = deps.host(portal);
            let known = deps.e2ee.has_told_of_identity(&host, &event.sender);
            known.await?;
        } else {
            self.warned.put(about, ());
        }
        Ok(())
    }

    /// Marks what comes from a device that is not its owner's for sure, or that came unencrypted into an encrypted room.
    pub(super) async fn marked(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        content: Scrubbed,
    ) -> Result<Marked, PortalError> {
        let as_it_is = |content| Ok(Marked { content, is: false });
        if !portal.shown.encrypted || !content.is_secret() {
            return as_it_is(content);
        }
        let why = match event.trust {
            Trust::Signed => return as_it_is(content),
            Trust::Clear => "was sent unencrypted, so the servers could read and change it",
            Trust::UnsignedDevice => {
                "comes from a device that its owner has not verified, so it may be somebody else's"
            }
            Trust::ChangedIdentity => "comes from somebody whose identity has changed",
            _ => "comes from a device that is not known, or not any more",
        };
        let about = (event.sender.clone(), event.trust);
        if self.warned.get(&about).is_none() {
            let text = format!("⚠ What is marked so here {why}.");
            let leg = format!("trust:{:?}", event.trust);
            // Not of this event: what is shown late has a relay of its own, and this one may have forgotten.
            let source = format!("trust {}", event.sender);
            let told = self.tell_of(deps, portal, &source, &leg, &text).await?;
            if told.target.is_some() {
                self.warned.put(about, ());
            }
        }
        Ok(Marked {
            content: content.marked("⚠"),
            is: true,
        })
    }
}

/// Queues the job that looks for the key of an event, in `after` milliseconds.
async fn look_for_key(
    deps: &Deps,
    portal: &Portal,
    event: &Event,
    shown: Option<OwnedEventId>,
    after: u64,
) -> Result<(), PortalError> {
    let task = Task::Reopen(ReopenTask {
        portal: portal.id,
        event: kept(event),
        shown,
    });
    let source = source_in(portal.id, event.event_id.as_str());
    deps.add_job(&source, deps.clock.now() + after, task).await
}

/// An error while what came without its key still waits for it.
pub(super) fn still_waits(deps: &Deps, received: UnixMillis) -> Result<(), PortalError> {
    if waits(deps, received, PATIENCE) {
        return Err(PortalError::NotYet(LOOK));
    }
    Ok(())
}

/// Whether so many milliseconds are not over yet. A time that lies ahead, as a server may claim, is no reason to wait for it.
fn waits(deps: &Deps, received: UnixMillis, patience: u64) -> bool {
    let now = deps.clock.now();
    received <= now && now - received < patience
}

/// What stands in a portal for a message whose key is missing.
fn placeholder(trust: Trust) -> &'static str {
    let Trust::Withheld(why) = trust else {
        return PLACEHOLDER;
    };
    match why {
        Withheld::Unverified => {
            "🔒 an encrypted message whose key was withheld: its sender's device gives keys only to devices that its owner has verified."
        }
        Withheld::Blacklisted => {
            "🔒 an encrypted message whose key was withheld: its sender has blocked your device in this room."
        }
        Withheld::Unauthorised => {
            "🔒 an encrypted message whose key was withheld: by its sender's device you may not read it."
        }
        Withheld::Unavailable => {
            "🔒 an encrypted message whose key was withheld: its sender's device does not have it."
        }
        Withheld::NoOlm => {
            "🔒 an encrypted message whose key has not come: its sender's device found no secure channel to yours. It will be shown here when the key comes."
        }
        Withheld::Other => {
            "🔒 an encrypted message whose key was withheld by its sender's device, for a reason that is not known here."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_says_why() {
        let all = [
            Withheld::Unverified,
            Withheld::Blacklisted,
            Withheld::Unauthorised,
            Withheld::Unavailable,
            Withheld::NoOlm,
            Withheld::Other,
        ];
        let mut texts: Vec<_> = all
            .iter()
            .map(|why| placeholder(Trust::Withheld(*why)))
            .collect();
        texts.push(placeholder(Trust::NoKey));
        for (at, text) in texts.iter().enumerate() {
            assert!(text.starts_with("🔒"));
            assert!(!texts[..at].contains(text), "{text}");
        }
    }
}
