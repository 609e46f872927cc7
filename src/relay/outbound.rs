//! Portal → room: what the user said, said by the ghost.

use std::time::Duration;

use super::{Done, ENCRYPTED, Relay, media::Fate, reconcile};
use crate::{
    clock::UnixMillis,
    e2ee::E2eeError,
    event::{Event, Membership},
    homeserver::Class,
    portal::{Deps, PortalError, invited},
    rewrite::{self, Rewritten, Scrubbed},
    store::{Direction, Portal, PortalState, Task},
};

impl Relay {
    pub(super) async fn outbound(
        &mut self,
        deps: &Deps,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Done, PortalError> {
        let portal = deps.portals.get(self.portal).await?;
        if event.sender != portal.user && event.state_key.as_deref() != Some(portal.user.as_str()) {
            return Ok(Done::default());
        }
        if event.state_key.is_some() {
            return self.user_membership(deps, &portal, event).await;
        }
        match self.say_outbound(deps, &portal, event, received).await {
            Err(
                PortalError::Homeserver(error) | PortalError::E2ee(E2eeError::Homeserver(error)),
            ) if error.class() == Class::GiveUp => {
                metrics::counter!("vizard_failures_total", "class" => "outbound").increment(1);
                self.not_sent(deps, &portal, event, &super::fate::reason(&error))
                    .await
            }
            Err(PortalError::E2ee(error)) if error.class() == Class::GiveUp => {
                metrics::counter!("vizard_failures_total", "class" => "outbound").increment(1);
                self.not_sent(deps, &portal, event, &error.to_string())
                    .await
            }
            other => other,
        }
    }

    async fn say_outbound(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Done, PortalError> {
        if event.kind == ENCRYPTED {
            return self.unread_outbound(deps, portal, event, received).await;
        }
        if event.kind == "m.room.redaction" {
            return self.redact_outbound(deps, portal, event).await;
        }
        if let Some(refused) = self.refused_in_clear(deps, portal, event).await? {
            return Ok(refused);
        }
        self.own_device(deps, portal, event).await?;
        if let Some(decision) = self.decision(deps, portal, event).await? {
            return self.decide(deps, portal, event, received, decision).await;
        }
        if let Some(why) = cannot_speak(deps, portal).as_deref() {
            // A refusal would be wrong a moment later.
            if portal.state == PortalState::Joining {
                return Err(PortalError::NotReady);
            }
            return self.not_sent(deps, portal, event, why).await;
        }
        let content = match self.rewritten(deps, portal, event).await? {
            Rewritten::Send(content) => content,
            Rewritten::Media(attachment) => {
                let fate = self
                    .attachment_outbound(deps, portal, event, received, &attachment, None)
                    .await?;
                return Ok(match fate {
                    Fate::Sent(done) => done,
                    Fate::Told | Fate::Held => Done::default(),
                });
            }
            // What no person wrote, or what was taken back before it came here: nobody waits for its fate.
            Rewritten::Nothing => return Ok(Done::default()),
            Rewritten::Unknown(why) => return self.not_sent(deps, portal, event, why).await,
            Rewritten::Refused(what) => {
                return self
                    .not_sent(deps, portal, event, &format!("{what} cannot be relayed"))
                    .await;
            }
            Rewritten::Unsupported(what) => {
                return self
                    .not_sent(deps, portal, event, &format!("{what}: not supported yet"))
                    .await;
            }
        };
        if let Some(found) = self.names_the_user(deps, portal, event, &content).await? {
            return self.hold(deps, portal, event, &found).await;
        }
        self.send_as_ghost(deps, portal, event, received, content)
            .await
    }

    pub(super) async fn rewritten(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Rewritten, PortalError> {
        let references = rewrite::references(&event.kind, &event.content);
        let translations = self
            .outbound_translations(deps, portal, &references)
            .await?;
        Ok(rewrite::outbound(
            &event.kind,
            &event.content,
            &translations,
        ))
    }

    pub(super) async fn send_as_ghost(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        received: UnixMillis,
        content: Scrubbed,
    ) -> Result<Done, PortalError> {
        self.may_go(deps, portal, event)?;
        let (ghost, former) = (deps.ghost(portal), portal.ghost.former.as_ref());
        let txn_id = deps
            .store
            .txn_id(&ghost.user, event.event_id.as_str(), "out", 0);
        let sent =
            match reconcile::already_sent(deps, &ghost, former, &portal.room, &txn_id, received)
                .await?
            {
                Some(sent) => sent,
                None => {
                    deps.send(&ghost, &portal.room, content, &txn_id, None)
                        .await?
                }
            };
        self.tell_unread(deps, portal, event).await?;
        self.delivered(event);
        Ok(Done { target: Some(sent) })
    }

    /// Whether a message may go now: within the user's limit, and after the random delay that the admin may have set. Asked
    /// again for the same message it does not count twice.
    fn may_go(&mut self, deps: &Deps, portal: &Portal, event: &Event) -> Result<(), PortalError> {
        if self.let_go.as_ref() == Some(&event.event_id) {
            return Ok(());
        }
        if let Err(wait) = deps.limits.take(&portal.user, deps.clock.now()) {
            metrics::counter!("vizard_failures_total", "class" => "user_limit").increment(1);
            return Err(PortalError::Limited(wait));
        }
        self.let_go = Some(event.event_id.clone());
        match deps
            .rng
            .below(deps.config.privacy.outbound_delay_ms.saturating_add(1))
        {
            0 => Ok(()),
            delay => Err(PortalError::NotYet(Duration::from_millis(delay))),
        }
    }

    /// The user redacts what they wrote. A held message is discarded; one that never went out needs nothing.
    async fn redact_outbound(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Done, PortalError> {
        let Some(redacted) = event.redacted() else {
            return Ok(Done::default());
        };
        deps.store.release(portal.id, &redacted).await?;
        let Some(link) = self.link(deps, &redacted).await? else {
            // Whatever was handled has a link, until that is too old.
            let why = "the message this redacts is not known here";
            return self.not_sent(deps, portal, event, why).await;
        };
        let (Direction::Outbound, Some(target)) = (link.direction, link.target) else {
            return Ok(Done::default());
        };
        if link.source != redacted {
            return Ok(Done::default());
        }
        if let Some(why) = cannot_speak(deps, portal).as_deref() {
            // No client redacts a message twice.
            if portal.state == PortalState::Joining {
                return Err(PortalError::NotReady);
            }
            return self.not_sent(deps, portal, event, why).await;
        }
        let ghost = deps.ghost(portal);
        let txn_id = deps
            .store
            .txn_id(&ghost.user, event.event_id.as_str(), "redact", 0);
        let sent = deps
            .homeserver
            .redact(&ghost, &portal.room, &target, &txn_id)
            .await?;
        Ok(Done { target: Some(sent) })
    }

    /// The user entered or left the portal room. Leaving the portal leaves the room.
    async fn user_membership(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Done, PortalError> {
        match event.membership() {
            Some(Membership::Join) => {
                welcome(deps, portal, event).await?;
                deps.portals
                    .update(portal.id, |portal| portal.user_joined = true)
                    .await?;
                self.learn_name(deps, portal, event).await?;
                invited::accept(deps, portal, &event.event_id).await?;
            }
            Some(Membership::Leave | Membership::Ban) if portal.state == PortalState::Invited => {
                invited::decline(deps, portal.id).await?;
            }
            Some(Membership::Leave | Membership::Ban) => {
                let portal = deps
                    .portals
                    .update(portal.id, |portal| {
                        portal.user_joined = false;
                        // A join that is under way sees it, and ends.
                        if matches!(
                            portal.state,
                            PortalState::Joining | PortalState::Joined | PortalState::Knocking
                        ) {
                            portal.state = PortalState::Leaving;
                        }
                    })
                    .await?;
                if portal.state == PortalState::Leaving {
                    // An account that is deactivated leaves all its portals at once; its ghosts must not.
                    let wait = deps
                        .until_departure(&portal, event.origin_server_ts)
                        .await?;
                    let task = Task::Leave {
                        portal: portal.id,
                        forget: false,
                        report: None,
                        spread: wait > 0,
                    };
                    let due = deps.clock.now() + wait;
                    deps.add_job(event.event_id.as_str(), due, task).await?;
                }
            }
            _ => {}
        }
        Ok(Done::default())
    }

    /// Keeps the user's display name for the guard, in their own record alone.
    async fn learn_name(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<(), PortalError> {
        let profile: crate::portal::MemberProfile =
            serde_json::from_str(event.content.get()).unwrap_or_default();
        let Some(name) = profile.displayname else {
            return Ok(());
        };
        let user = deps.store.user(&portal.user).await?;
        if user.is_some_and(|user| user.display_name.as_ref() != Some(&name)) {
            deps.store
                .update_user(&portal.user, |user| user.display_name = Some(name.clone()))
                .await?;
        }
        Ok(())
    }
}

/// Tells the user who enters a portal who they are in it, since their own client goes on showing their own name.
async fn welcome(deps: &Deps, portal: &Portal, event: &Event) -> Result<(), PortalError> {
    // As it is by now: the join may have gone on since.
    let portal = deps.portals.get(portal.id).await?;
    let (Some(room), false) = (&portal.portal_room, portal.user_joined) else {
        return Ok(());
    };
    let name = portal.shown.name.as_deref().map(rewrite::clean_name);
    let name = name.as_deref().unwrap_or("the room");
    let nick = &portal.ghost.nick;
    let prefix = &deps.config.portal.command_prefix;
    let text = format!(
        "This is your portal to {name}. What you write here is said there by {nick}, though your own screen shows your own name. \
         A read receipt of mine means that it arrived. `{prefix} help` lists commands."
    );
    let (host, source) = (deps.host(&portal), event.event_id.as_str());
    match deps
        .say(&host, room, &Scrubbed::notice(&text), source, "welcome", 0)
        .await
    {
        Err(error) if error.class() == Class::Retry => Err(error),
        _ => Ok(()),
    }
}

/// Why the ghost cannot speak now.
pub(super) fn cannot_speak(deps: &Deps, portal: &Portal) -> Option<String> {
    let why = match portal.state {
        _ if portal.shown.encrypted && deps.e2ee.unavailable().is_some() => {
            "this room is end-to-end encrypted, and there is no encryption here"
        }
        PortalState::Joined => return None,
        _ if portal.forgetting => "your pseudonym is being forgotten",
        PortalState::Joining => "the join is not finished; send it again in a moment",
        PortalState::Knocking => "you knocked and were not let in yet",
        PortalState::Leaving | PortalState::Left => {
            let prefix = &deps.config.portal.command_prefix;
            return Some(format!(
                "you are not in this room (`{prefix} rejoin` brings you back)"
            ));
        }
        PortalState::Banned => "your pseudonym is banned from this room",
        PortalState::Invited => "you have not accepted the invite",
    };
    Some(why.to_owned())
}
