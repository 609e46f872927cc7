//! Room → portal: what a member said, said again by the member's mirror.

use ruma::{EventId, MilliSecondsSinceUnixEpoch, RoomId, UInt};

use super::{Done, ENCRYPTED, Relay, reconcile, sealed::still_waits};
use crate::{
    clock::UnixMillis,
    e2ee::E2eeError,
    event::{Event, Membership, Trust},
    homeserver::{Actor, Class},
    portal::{Deps, PortalError, source_in},
    rewrite::{self, Rewritten, Scrubbed},
    store::{Direction, Mirror, Portal, PortalState},
};

/// The leg of a placeholder, which is not the message's own.
pub(super) const UNREAD: &str = "unread";

/// An event this much older than its arrival keeps its own time in the portal, in milliseconds.
const LATE: u64 = 60_000;

/// What was said so long after a portal moved on to another room is not taken from the one before, in milliseconds.
const LINGERS: u64 = 3_600_000;

/// The portal room in which a room's messages are shown. `None`: they are not shown any more, or not yet.
pub(super) fn open_portal(portal: &Portal) -> Result<Option<&RoomId>, PortalError> {
    match (&portal.state, &portal.portal_room) {
        (PortalState::Joined, Some(room)) => Ok(Some(room)),
        (PortalState::Joined | PortalState::Joining, _) => Err(PortalError::NotReady),
        _ => Ok(None),
    }
}

/// Whether the homeserver has redacted an event of a room in which `actor` is.
pub(super) async fn is_redacted(
    deps: &Deps,
    actor: &Actor,
    room: &RoomId,
    event: &EventId,
) -> Result<bool, PortalError> {
    let raw = deps.homeserver.event(actor, room, event).await?;
    let event = raw.and_then(|raw| Event::decode(&raw));
    Ok(event.is_some_and(|event| event.was_redacted()))
}

/// Whether an event of a room from which the portal moved on was said there before that. The last of them is that the ghost left.
async fn is_of_former_room(
    deps: &Deps,
    portal: &Portal,
    event: &Event,
    received: UnixMillis,
) -> Result<bool, PortalError> {
    let Some(moved) = &portal.moved else {
        return Ok(false);
    };
    if moved.room != event.room_id {
        return Ok(false);
    }
    let left = event.state_key.as_deref() == Some(portal.ghost.id.as_str())
        && matches!(
            event.membership(),
            Some(Membership::Leave | Membership::Ban)
        );
    // Where it could not leave, nobody says that it did. What was said before may be received long afterwards, after an outage; and
    // what was received in time may be handled long afterwards, whatever its server says of when it was said.
    let said = event.origin_server_ts.min(received);
    if left || said.saturating_sub(moved.at) > LINGERS {
        deps.portals
            .update(portal.id, |portal| portal.moved = None)
            .await?;
        return Ok(false);
    }
    // What the room is called and who is in it is another room's matter by now.
    Ok(event.state_key.is_none())
}

impl Relay {
    pub(super) async fn inbound(
        &mut self,
        deps: &Deps,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Done, PortalError> {
        let portal = deps.portals.get(self.portal).await?;
        let former = event.room_id != portal.room;
        if former && !is_of_former_room(deps, &portal, event, received).await? {
            return Ok(Done::default());
        }
        if event.sender == portal.ghost.id {
            return Ok(Done::default());
        }
        if portal.state == PortalState::Joined
            && !former
            && !self.since_join(deps, &portal, event, received).await?
        {
            return Ok(Done::default());
        }
        if event.state_key.is_some() {
            return self.room_state(deps, &portal, event, received).await;
        }
        let said = if event.kind == ENCRYPTED {
            self.unread_inbound(deps, &portal, event, received).await
        } else {
            self.say_inbound(deps, &portal, event, received).await
        };
        match said {
            Err(error) if error.is_unencryptable() => self.not_shown(deps, &portal, event).await,
            Err(error) if error.class() == Class::GiveUp => {
                metrics::counter!("vizard_failures_total", "class" => "inbound").increment(1);
                tracing::warn!(portal = %self.portal, "a message could not be shown in its portal");
                let name = self
                    .mirrors
                    .peek(&event.sender)
                    .and_then(|mirror| mirror.name.clone());
                let name = name.unwrap_or_else(|| event.sender.localpart().to_owned());
                self.tell(
                    deps,
                    &portal,
                    &event.event_id,
                    "lost",
                    &format!("A message from {name} could not be shown here."),
                )
                .await
            }
            other => other,
        }
    }

    async fn say_inbound(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Done, PortalError> {
        let Some(room) = open_portal(portal)? else {
            return Ok(Done::default());
        };
        if event.kind == "m.room.redaction" {
            return self
                .redact_inbound(deps, portal, room, event, received)
                .await;
        }
        let references = rewrite::references(&event.kind, &event.content);
        let translations = self.inbound_translations(deps, portal, &references).await?;
        let content = match rewrite::inbound(&event.kind, &event.content, &translations) {
            Rewritten::Nothing => return Ok(Done::default()),
            Rewritten::Send(content) => content,
            Rewritten::Media(attachment) => {
                self.attachment_inbound(deps, portal, room, event, &attachment)
                    .await?
            }
            // A reaction to what is not shown here, such as a message from before the join: without it, it says nothing that
            // could be shown, and on large rooms' old messages there are many.
            Rewritten::Unknown(what) => {
                tracing::debug!(portal = %self.portal, what, "an inbound event refers to one that was not relayed");
                return Ok(Done::default());
            }
            Rewritten::Refused(what) => Scrubbed::notice(&format!("{what}: cannot be shown here")),
            Rewritten::Unsupported(what) => Scrubbed::notice(&format!("{what}: not supported yet")),
        };
        let marked = self.marked(deps, portal, event, content).await?;
        let done = self
            .send_as_mirror(deps, portal, room, event, received, marked.content)
            .await?;
        if let (true, Trust::ChangedIdentity, Some(_)) = (marked.is, event.trust, &done.target) {
            // Sent before that is known once more, it is the same message. A reaction carries no mark, and tells nobody.
            let ghost = deps.ghost(portal);
            deps.e2ee
                .has_told_of_identity(&ghost, &event.sender)
                .await?;
        }
        Ok(done)
    }

    pub(super) async fn send_as_mirror(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        room: &RoomId,
        event: &Event,
        received: UnixMillis,
        content: Scrubbed,
    ) -> Result<Done, PortalError> {
        // A placeholder whose answer was lost must not be taken for the message when its key has come. But the message may be
        // there, and its key be lost since.
        let legs: &[&str] = if event.trust.lacks_key() {
            &["in", UNREAD]
        } else {
            &["in"]
        };
        let mut mirror = self.mirror(deps, portal, event).await?;
        let mut again = false;
        loop {
            let (actor, former) = (deps.mirror(&mirror), mirror.puppet.former.as_ref());
            let mut txn_id = String::new();
            for leg in legs {
                txn_id = deps
                    .store
                    .txn_id(&actor.user, event.event_id.as_str(), leg, 0);
                if let Some(sent) =
                    reconcile::already_sent(deps, &actor, former, room, &txn_id, received).await?
                {
                    return Ok(Done { target: Some(sent) });
                }
            }
            let late = deps.clock.now().saturating_sub(event.origin_server_ts) > LATE;
            let ts = UInt::new(event.origin_server_ts)
                .filter(|_| late)
                .map(MilliSecondsSinceUnixEpoch);
            match deps.send(&actor, room, content.clone(), &txn_id, ts).await {
                Ok(sent) => return Ok(Done { target: Some(sent) }),
                // The mirror may have been removed from the portal: bring it back, once.
                Err(
                    PortalError::Homeserver(error)
                    | PortalError::E2ee(E2eeError::Homeserver(error)),
                ) if error.status() == Some(403) && !again => {
                    again = true;
                    mirror.joined = false;
                    self.mirrors.pop(&event.sender);
                    mirror = deps
                        .ready_mirror(portal, &event.sender, Some(mirror))
                        .await?;
                    self.keep_mirror(&mirror);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn keep_mirror(&mut self, mirror: &Mirror) {
        self.mirrors.put(mirror.member.clone(), mirror.clone());
    }

    pub(super) async fn mirror(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Mirror, PortalError> {
        let known = self.mirrors.get(&event.sender).cloned();
        let mirror = deps.ready_mirror(portal, &event.sender, known).await?;
        self.keep_mirror(&mirror);
        Ok(mirror)
    }

    /// A member redacted something: what they wrote (their mirror redacts), or, as a moderator, what another or the user
    /// wrote (the host redacts). Whether they may is not for us to say: the homeserver has done it, or nothing is done here.
    async fn redact_inbound(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        room: &RoomId,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Done, PortalError> {
        // Servers have not looked at what comes encrypted.
        if event.trust != Trust::Clear {
            return Ok(Done::default());
        }
        let Some(redacted) = event.redacted() else {
            return Ok(Done::default());
        };
        let Some(link) = self.link(deps, &redacted).await? else {
            return Ok(Done::default());
        };
        let here = match link.direction {
            Direction::Inbound => link.target,
            Direction::Outbound => Some(link.source),
        };
        let Some(here) = here else {
            return Ok(Done::default());
        };
        let ghost = deps.ghost(portal);
        if !is_redacted(deps, &ghost, &event.room_id, &redacted).await? {
            // One part of the homeserver may know it before another.
            still_waits(deps, received)?;
            return Ok(Done::default());
        }
        // If its key is still missing, nobody needs it any more.
        deps.drop_job(&source_in(portal.id, redacted.as_str()))
            .await?;
        if link.direction == Direction::Inbound {
            deps.e2ee.waits_no_more(&ghost, &redacted).await?;
        }
        let actor = if link.direction == Direction::Inbound && link.sender == event.sender {
            deps.mirror(&self.mirror(deps, portal, event).await?)
        } else {
            deps.host(portal)
        };
        let txn_id = deps
            .store
            .txn_id(&actor.user, event.event_id.as_str(), "redact", 0);
        match deps.homeserver.redact(&actor, room, &here, &txn_id).await {
            Ok(sent) => Ok(Done { target: Some(sent) }),
            Err(error) if error.class() == Class::GiveUp => {
                let host = deps.host(portal);
                let txn_id = deps
                    .store
                    .txn_id(&host.user, event.event_id.as_str(), "redact", 1);
                Ok(Done {
                    target: deps
                        .homeserver
                        .redact(&host, room, &here, &txn_id)
                        .await
                        .ok(),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A notice of the host in the portal.
    pub(super) async fn tell(
        &self,
        deps: &Deps,
        portal: &Portal,
        source: &EventId,
        leg: &str,
        text: &str,
    ) -> Result<Done, PortalError> {
        self.tell_of(deps, portal, source.as_str(), leg, text).await
    }

    /// The same, about what is no event.
    pub(super) async fn tell_of(
        &self,
        deps: &Deps,
        portal: &Portal,
        source: &str,
        leg: &str,
        text: &str,
    ) -> Result<Done, PortalError> {
        let Some(room) = &portal.portal_room else {
            return Ok(Done::default());
        };
        let (host, notice) = (deps.host(portal), Scrubbed::notice(text));
        match deps.say(&host, room, &notice, source, leg, 0).await {
            Ok(sent) => Ok(Done { target: Some(sent) }),
            Err(error) if error.class() == Class::GiveUp => Ok(Done::default()),
            Err(error) => Err(error),
        }
    }
}
