//! A portal that stands for an invite: opened when the invite comes, and closed without a trace when it is declined, taken back or
//! over. Until it is accepted nothing is done as its ghost: nobody but the user knows that there is more than a name.
//!
//! Called by `invite` (it came, it is over), `relay` (the user answered, somebody took it back), `bot`, and the join that an
//! acceptance starts. Each step is idempotent; whoever calls is called again after a crash.

use std::sync::Arc;

use ruma::{EventId, OwnedUserId};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

pub use super::invitation::whose;
use super::{
    Deps, Offered, Outcome, PortalError, chat,
    ghost::new_portal,
    invitation, room, source_in,
    state::{RoomState, of_invite},
};
use crate::{
    event::Event,
    homeserver::Class,
    pseudonym::{Mapping, SenderKey, SenderKeyId},
    rewrite::{Scrubbed, clean_name},
    sealed::KeyDocument,
    store::{Created, JoinStage, JoinTask, Portal, PortalId, PortalState, Received, Report, Task},
};

/// Where a member event carries the mapping.
const MAPPING: &str = "org.matrix.msc4014.mxid_mapping";

/// Counts what becomes of invites.
pub fn count(outcome: &'static str) {
    metrics::counter!("vizard_invites_received_total", "outcome" => outcome).increment(1);
}

/// Puts a portal on record for an invite that came for an offered ghost, and for whose sender their Vizard vouches or does not. It
/// is not open yet.
pub async fn create(
    deps: &Deps,
    offered: &Offered,
    event: &Event,
    vouched: bool,
) -> Result<(PortalId, Created), PortalError> {
    let key = SenderKey::from_seed(&offered.seed);
    let mut portal = new_portal(deps, &offered.user, &offered.room, &key, None);
    portal.via = vec![event.sender.server_name().to_owned()];
    portal.state = PortalState::Invited;
    portal.received = Some(Received {
        inviter: event.sender.clone(),
        inviter_name: inviter_name(event),
        vouched,
        address: offered.address.as_ref().map(|(_, label)| label.clone()),
        expires: offered.expires,
        event: Some(event.event_id.clone()),
    });
    let created = deps.portals.create(&portal).await?;
    if created == Created::New {
        Offered::show(deps, &portal.ghost.id).await?;
    }
    Ok((portal.id, created))
}

/// The inviter's membership in the room.
fn inviter_member<T: DeserializeOwned>(event: &Event) -> Option<T> {
    let members = event.invite_state();
    let member = members.iter().find(|stripped| {
        stripped.kind == "m.room.member" && stripped.state_key == event.sender.as_str()
    })?;
    serde_json::from_str(member.content.get()).ok()
}

/// The inviter's display name in the room.
fn inviter_name(event: &Event) -> Option<String> {
    let profile: super::MemberProfile = inviter_member(event)?;
    let name = clean_name(&profile.displayname?);
    (!name.is_empty()).then_some(name)
}

/// Whether the Vizard of the inviter's server vouches: for a pseudonym by its mapping for this room, which has to be signed with a
/// key that is pinned of that server; for anybody else by having asked for this invite. Nothing is fetched for it here, as that
/// would be seen: what can be known was looked for when the request came.
pub async fn is_vouched_for(
    deps: &Deps,
    offered: &Offered,
    event: &Event,
) -> Result<bool, PortalError> {
    let (sender, server) = (&event.sender, event.sender.server_name());
    if SenderKeyId::of_ghost(sender).is_none() {
        return Ok(server == offered.inviter.server_name());
    }
    let document = if server == deps.namespace.server() {
        Some(KeyDocument::clone(&deps.keys.document()))
    } else {
        deps.peers.vouching_soon(server).await?
    };
    let member: Option<Value> = inviter_member(event);
    let (Some(document), Some(member)) = (document, member) else {
        return Ok(false);
    };
    let (prefix, keys) = (document.prefix(), document.mapping_keys());
    let verified = Mapping::verify(&member[MAPPING], sender, &event.room_id, prefix, &keys);
    Ok(verified.is_ok())
}

/// Opens the portal room, in which the user is invited, and reads outside what the invite is.
pub async fn open(deps: &Deps, id: PortalId, event: &Event) -> Result<(), PortalError> {
    let Some((_alone, portal, received)) = waiting(deps, id).await? else {
        return Ok(());
    };
    let mut state = of_invite(event);
    // Otherwise the join looks by itself whether it can be entered.
    state.encrypted &= deps.e2ee.unavailable().is_none();
    let title = state.title(&portal);
    let topic = invitation::topic(&portal, &received, &title);
    state.topic = Some(topic.clone());
    let portal = room::open(deps, &portal, &state).await?;
    let room = portal.portal_room.as_deref().ok_or(PortalError::NotReady)?;
    let (host, reason) = (
        deps.host(&portal),
        invitation::reason(&portal, &received, &title),
    );
    let invited = deps
        .homeserver
        .invite_saying(&host, room, &portal.user, Some(&reason));
    match invited.await {
        Err(error) if error.class() == Class::Retry => return Err(error.into()),
        // An account that is closed, perhaps. It ends with the invite.
        Err(_) => return Ok(()),
        // What is said next is for them as well.
        Ok(()) => deps.e2ee.forget_room(room),
    }
    let notice = Scrubbed::notice(&topic);
    let source = portal.ghost.id.as_str();
    match deps
        .say(&host, room, &notice, source, "invitation", 0)
        .await
    {
        Err(error) if error.class() == Class::Retry => return Err(error),
        _ => {}
    }
    count("shown");
    Ok(())
}

/// The portal, if its invite waits for an answer, and nobody else works on it meanwhile.
async fn waiting(
    deps: &Deps,
    id: PortalId,
) -> Result<Option<(OwnedMutexGuard<()>, Portal, Received)>, PortalError> {
    // Looked at twice: a join that is under way is not waited for.
    if unanswered(deps, id).await?.is_none() {
        return Ok(None);
    }
    let alone = deps.portals.alone(id).await;
    let Some((portal, received)) = unanswered(deps, id).await? else {
        return Ok(None);
    };
    // A room whose id was lost in a crash.
    room::adopt(deps, &portal).await?;
    let portal = Portal::clone(&*deps.portals.get(id).await?);
    Ok(Some((alone, portal, received)))
}

async fn unanswered(
    deps: &Deps,
    id: PortalId,
) -> Result<Option<(Arc<Portal>, Received)>, PortalError> {
    let portal = match deps.portals.get(id).await {
        Err(PortalError::Gone) => return Ok(None),
        other => other?,
    };
    let received = portal.received.clone();
    let received = received.filter(|_| portal.state == PortalState::Invited);
    Ok(received.map(|received| (portal, received)))
}

/// The user joined the portal room, by the event `source`: that accepts.
pub async fn accept(deps: &Deps, portal: &Portal, source: &EventId) -> Result<(), PortalError> {
    let (PortalState::Invited, Some(room)) = (&portal.state, &portal.portal_room) else {
        return Ok(());
    };
    let mut report = Report {
        room: room.clone(),
        command: source.to_owned(),
        portal: Some(portal.id),
        unasked: true,
        silent: false,
        message: None,
    };
    let nick = &portal.ghost.nick;
    let text = if portal.forgetting {
        format!("not accepted: {nick} is being forgotten, as you wished. This portal closes then.")
    } else {
        format!("accepted. {nick} is on the way…")
    };
    deps.report_if_possible(&mut report, "accepted", &text)
        .await?;
    if portal.forgetting {
        return Ok(());
    }
    let task = Task::Join(JoinTask {
        user: portal.user.clone(),
        target: portal.room.clone().into(),
        via: portal.via.clone(),
        knock: false,
        nick: None,
        successor_of: None,
        fresh: false,
        stage: JoinStage::default(),
        report,
    });
    deps.add_job(source.as_str(), deps.clock.now(), task)
        .await?;
    count("accepted");
    // Not before: after a crash in between nobody would know that it was accepted.
    deps.portals
        .update(portal.id, |portal| {
            if portal.state == PortalState::Invited {
                portal.state = PortalState::Joining;
            }
        })
        .await?;
    Ok(())
}

/// The user declined. It stays at home: the ghost leaves with all others of its time. `false`: there was nothing to decline.
pub async fn decline(deps: &Deps, id: PortalId) -> Result<bool, PortalError> {
    let Some((_alone, portal, _)) = waiting(deps, id).await? else {
        return Ok(false);
    };
    Offered::decline(deps, &portal.ghost.id).await?;
    close(deps, &portal, Some("Declined.")).await?;
    count("declined");
    Ok(true)
}

/// Somebody in the room took the invite back; `why` is what they said of it.
pub async fn take_back(deps: &Deps, id: PortalId, why: &str) -> Result<(), PortalError> {
    let Some((_alone, portal, _)) = waiting(deps, id).await? else {
        return Ok(());
    };
    let text = format!("The invite to {} was taken back{why}.", named(&portal));
    tell(deps, &portal, "taken back", &text).await?;
    close(deps, &portal, Some(&text)).await?;
    count("rescinded");
    Ok(())
}

/// The invite is over. `false`: it was accepted.
pub async fn expire(deps: &Deps, ghost: &OwnedUserId) -> Result<bool, PortalError> {
    let Some(id) = deps.store.portal_of_ghost(ghost).await? else {
        return Ok(true);
    };
    let Some((_alone, portal, _)) = waiting(deps, id).await? else {
        return Ok(deps.store.portal_of_ghost(ghost).await?.is_none());
    };
    let text = format!("The invite to {} has expired.", named(&portal));
    tell(deps, &portal, "expired", &text).await?;
    close(deps, &portal, Some(&text)).await?;
    count("expired");
    Ok(true)
}

/// Whether a ghost has a portal whose invite was accepted. One that never came has no business in its room, and an invite that
/// could not be brought to its end ends. One that came and has left since may be invited back, which is its user's to answer.
pub async fn is_accepted(deps: &Deps, ghost: &OwnedUserId) -> Result<bool, PortalError> {
    let Some(id) = deps.store.portal_of_ghost(ghost).await? else {
        return Ok(false);
    };
    match deps.portals.get(id).await {
        Err(PortalError::Gone) => Ok(false),
        other => {
            let portal = other?;
            Ok(match portal.state {
                PortalState::Invited => false,
                PortalState::Left => portal.joined_at != 0,
                _ => true,
            })
        }
    }
}

/// The invite was gone when it was accepted: that is explained, and nothing is left but the explanation, which the user keeps. A
/// later invite to the same room finds nothing in its way.
pub(super) async fn gone(
    deps: &Deps,
    task: &mut JoinTask,
    portal: &Portal,
    why: &str,
) -> Result<Outcome, PortalError> {
    deps.report_if_possible(&mut task.report, "gone", why)
        .await?;
    let ghost = deps.ghost(portal);
    // A join whose answer was lost may still be under way; the homeserver lets the leave wait for it.
    if deps.homeserver.leave(&ghost, &portal.room).await.is_err() {
        deps.portals
            .update(portal.id, |portal| {
                portal.state = PortalState::Left;
                portal.received = None;
            })
            .await?;
        return Ok(Outcome::Done);
    }
    // A device without a pseudonym is of no use, and does no harm either.
    let _ = deps.homeserver.delete_device(&ghost).await;
    // Who is in the portal already keeps it, to read what was said.
    let reason = (!portal.user_joined).then_some(why);
    close(deps, portal, reason).await?;
    count("gone");
    Ok(Outcome::Done)
}

/// The invite may not be accepted any more: that is explained. It stays at home as if it was declined, as nothing was done of it.
pub(super) async fn refused(
    deps: &Deps,
    task: &mut JoinTask,
    portal: &Portal,
    why: &str,
) -> Result<Outcome, PortalError> {
    deps.report_if_possible(&mut task.report, "denied", why)
        .await?;
    Offered::decline(deps, &portal.ghost.id).await?;
    let reason = (!portal.user_joined).then_some(why);
    close(deps, portal, reason).await?;
    count("gone");
    Ok(Outcome::Done)
}

/// Closes the portal room and destroys the record. With a reason the user is removed, or not invited any more.
async fn close(deps: &Deps, portal: &Portal, reason: Option<&str>) -> Result<(), PortalError> {
    if let Some(room) = &portal.portal_room {
        let host = deps.host(portal);
        let kicked = match reason {
            Some(reason) => {
                let user = &portal.user;
                deps.homeserver
                    .kick_saying(&host, room, user, Some(reason))
                    .await
            }
            None => Ok(()),
        };
        // The host leaves when it has nothing left to do there: afterwards it can remove nobody.
        if let Err(error) = kicked
            && error.class() == Class::Retry
        {
            return Err(error.into());
        }
        if let Err(error) = deps.homeserver.leave(&host, room).await
            && error.class() == Class::Retry
        {
            return Err(error.into());
        }
    }
    for user in [&portal.ghost.id, &portal.host.id] {
        deps.e2ee.destroy(user).await?;
    }
    let destroyed = deps.portals.destroy(portal.id, |portal| async move {
        if portal.forgetting {
            // Its user was told that there is never another one there.
            deps.store.forget_portal(&portal, None).await
        } else {
            deps.store.discard_portal(&portal).await
        }
    });
    match destroyed.await {
        Err(PortalError::Gone) => Ok(()),
        other => other,
    }
}

fn named(portal: &Portal) -> String {
    let name = portal.shown.name.as_deref().map(clean_name);
    name.filter(|name| !name.is_empty())
        .map_or_else(|| "a room".to_owned(), |name| format!("“{name}”"))
}

/// Says something in the chat with the bot, if there is one and nobody else listens.
async fn tell(deps: &Deps, portal: &Portal, leg: &str, text: &str) -> Result<(), PortalError> {
    let Some(chat) = chat::private(deps, &portal.user).await? else {
        return Ok(());
    };
    // The same ghost may be invited, and that taken back, more than once: each is another portal.
    let source = source_in(portal.id, portal.ghost.id.as_str());
    let notice = Scrubbed::notice(text);
    match deps.say(&deps.bot, &chat, &notice, &source, leg, 0).await {
        Err(error) if error.class() == Class::Retry => Err(error),
        _ => Ok(()),
    }
}

/// The room that an invite's room says it replaces.
#[must_use]
pub fn replaced(event: &Event) -> Option<ruma::OwnedRoomId> {
    let state: RoomState = of_invite(event);
    state.predecessor
}
