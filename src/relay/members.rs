//! Room state that a portal shows: who comes and goes, what happens to the ghost, name, topic, avatar, upgrade.

use serde::{Deserialize, Serialize};

use super::{Done, ENCRYPTED, Relay, sealed::still_waits};
use crate::{
    clock::UnixMillis,
    event::{Event, Membership, hidden_state},
    homeserver::Class,
    portal::{Deps, MemberProfile, PortalError, RoomState, chat, invited, room, sent, source_in},
    rewrite::{Scrubbed, clean_name},
    store::{JoinStage, JoinTask, Note, Portal, PortalState, Report, Task},
};

/// For so long a user is not told once more that their ghost is invited back, unless it was in the room since.
const QUIET: UnixMillis = 30 * 24 * 60 * 60 * 1000;

/// A user was told that their ghost is invited back. Found by the portal, and since when the ghost was in the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct InvitedBack {}

impl Note for InvitedBack {
    const KIND: i64 = 19;
}

impl Relay {
    /// Takes in a state event of the room.
    pub(super) async fn room_state(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Done, PortalError> {
        if event.kind == "m.room.member" {
            if event.state_key.as_deref() == Some(portal.ghost.id.as_str()) {
                return self.ghost_membership(deps, portal, event).await;
            }
            return self.member(deps, portal, event).await;
        }
        let key = event.state_key.as_deref().unwrap_or_default();
        match event.kind.as_str() {
            _ if portal.state != PortalState::Joined || !key.is_empty() => {}
            "m.room.power_levels" => return self.power(deps, portal, event).await,
            "m.room.pinned_events" => return self.pins(deps, portal, event).await,
            _ => {}
        }
        // What could not be opened, but may be shown.
        let hidden = event.kind == ENCRYPTED && hidden_state(key).is_some();
        if portal.state != PortalState::Joined
            || !(hidden || RoomState::default().apply(&event.kind, key, &event.content))
        {
            return Ok(Done::default());
        }
        if hidden && event.trust.lacks_key() {
            still_waits(deps, received)?;
        }
        let state = RoomState::fetch(deps, &deps.ghost(portal), &portal.room).await?;
        if let Some(why) = state.refuses(&portal.ghost.id) {
            return self.sent_away(deps, portal, event, &why).await;
        }
        // In all that follows the record comes last: whatever fails before it is done once more.
        let mut done = Done::default();
        if state.encrypted {
            // Before anything of the room is shown, and however often it was tried before.
            room::encrypt(deps, portal).await?;
            if !portal.shown.encrypted {
                done = self.now_encrypted(deps, portal, event).await?;
            }
        }
        let portal = room::show(deps, portal, &state).await?;
        if let Some(successor) = state
            .successor
            .filter(|successor| portal.successor.as_ref() != Some(successor))
        {
            let text = format!(
                "This room was upgraded: the conversation goes on in a new one. `{} follow` takes you there behind the same mask.",
                deps.config.portal.command_prefix
            );
            done = self
                .tell(deps, &portal, &event.event_id, "upgrade", &text)
                .await?;
            deps.portals
                .update(portal.id, |portal| portal.successor = Some(successor))
                .await?;
        }
        Ok(done)
    }

    /// The room is encrypted from now on.
    async fn now_encrypted(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Done, PortalError> {
        let text = match deps.e2ee.unavailable() {
            None => {
                deps.e2ee.settle(&deps.ghost(portal)).await?;
                "This room is now end-to-end encrypted, and so is this portal.".to_owned()
            }
            Some(why) => format!(
                "This room is now end-to-end encrypted, and this Vizard cannot encrypt: {why}. Nothing that you write here is sent any more."
            ),
        };
        let done = self
            .tell(deps, portal, &event.event_id, "encrypted", &text)
            .await?;
        deps.portals
            .update(portal.id, |portal| portal.shown.encrypted = true)
            .await?;
        Ok(done)
    }

    /// The room began to refuse pseudonyms: this ghost leaves. Nothing else reacts.
    async fn sent_away(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        why: &str,
    ) -> Result<Done, PortalError> {
        // The job waits for it, and then finds what it is about.
        let _alone = deps.portals.alone(portal.id).await;
        let portal = deps.portals.get(portal.id).await?;
        if portal.state != PortalState::Joined || portal.room != event.room_id {
            return Ok(Done::default());
        }
        let task = Task::Leave {
            portal: portal.id,
            forget: false,
            report: None,
            spread: false,
        };
        let source = source_in(portal.id, event.event_id.as_str());
        deps.add_job(&source, deps.clock.now(), task).await?;
        let done = self
            .tell(deps, &portal, &event.event_id, "refused", why)
            .await?;
        deps.portals
            .update(portal.id, |portal| portal.state = PortalState::Leaving)
            .await?;
        Ok(done)
    }

    /// Somebody did something to the ghost.
    async fn ghost_membership(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Done, PortalError> {
        // What happened in a room from which the portal has moved on.
        if event.room_id != portal.room {
            return Ok(Done::default());
        }
        let reason = reason(event);
        match event.membership() {
            Some(Membership::Leave | Membership::Ban) if portal.state == PortalState::Invited => {
                invited::take_back(deps, portal.id, &reason).await?;
                Ok(Done::default())
            }
            Some(Membership::Leave) if portal.state != PortalState::Left => {
                let (nick, prefix) = (&portal.ghost.nick, &deps.config.portal.command_prefix);
                let text = match portal.state {
                    PortalState::Knocking => {
                        format!("{nick} was not let in{reason}: the knock was refused.")
                    }
                    PortalState::Banned => {
                        format!("{nick} is no longer banned. `{prefix} rejoin` tries to return.")
                    }
                    _ => format!(
                        "{nick} was removed from this room{reason}. `{prefix} rejoin` tries to return."
                    ),
                };
                self.tell_end(deps, portal, event, PortalState::Left, &text)
                    .await
            }
            Some(Membership::Ban) => {
                let text = format!("{} was banned from this room{reason}.", portal.ghost.nick);
                self.tell_end(deps, portal, event, PortalState::Banned, &text)
                    .await
            }
            Some(Membership::Invite) if portal.state == PortalState::Left => {
                self.invited_back(deps, portal, event).await
            }
            Some(Membership::Invite) if portal.state == PortalState::Knocking => {
                let Some(user) = deps.store.user(&portal.user).await? else {
                    return Ok(Done::default());
                };
                let Some(chat) = user.direct_chat else {
                    return Ok(Done::default());
                };
                let via = event.sender.server_name().to_owned();
                let task = Task::Join(JoinTask {
                    user: portal.user.clone(),
                    target: portal.room.clone().into(),
                    via: vec![via],
                    knock: false,
                    nick: None,
                    successor_of: None,
                    fresh: false,
                    stage: JoinStage::default(),
                    report: Report {
                        room: chat,
                        command: event.event_id.clone(),
                        portal: None,
                        unasked: true,
                        silent: false,
                        message: None,
                    },
                });
                deps.add_job(event.event_id.as_str(), deps.clock.now(), task)
                    .await?;
                Ok(Done::default())
            }
            _ => Ok(Done::default()),
        }
    }

    /// Somebody invites the ghost into a room in which it was, or which did not let it in: it stays invited until the user says
    /// something. Told once for each stay in the room: it would ring as often as somebody likes.
    async fn invited_back(
        &self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Done, PortalError> {
        let key = [&portal.id.0[..], &portal.joined_at.to_be_bytes()].concat();
        if portal.forgetting || deps.store.note::<InvitedBack>(&key).await?.is_some() {
            return Ok(Done::default());
        }
        let (nick, prefix) = (&portal.ghost.nick, &deps.config.portal.command_prefix);
        let back = if portal.joined_at == 0 { "" } else { " back" };
        let text = if portal.user_joined {
            format!("{nick} is invited{back} to this room. `{prefix} rejoin` accepts.")
        } else {
            format!("{nick} is invited{back} to its room. `rejoin \"{nick}\"` accepts.")
        };
        let leg = "invited back";
        let done = if portal.user_joined {
            self.tell_user(deps, portal, event, leg, &text).await?
        } else if tell_in_chat(deps, portal, event, leg, &text).await? {
            Done::default()
        } else {
            return Ok(Done::default());
        };
        let due = Some(deps.clock.now() + QUIET);
        deps.store.set_note(&key, due, &InvitedBack {}).await?;
        Ok(done)
    }

    /// Tells the user how their ghost came to be outside, and then writes it down.
    async fn tell_end(
        &self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        end: PortalState,
        text: &str,
    ) -> Result<Done, PortalError> {
        let leg = if end == PortalState::Banned {
            "banned"
        } else {
            "kicked"
        };
        let done = self.tell_user(deps, portal, event, leg, text).await?;
        deps.portals
            .update(portal.id, |portal| {
                if portal.room == event.room_id {
                    portal.state = end;
                }
            })
            .await?;
        Ok(done)
    }

    /// Tells the user what happened to their ghost: in the portal or, as long as there is none, in the chat with the bot.
    async fn tell_user(
        &self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        leg: &str,
        text: &str,
    ) -> Result<Done, PortalError> {
        if portal.portal_room.is_some() {
            return self.tell(deps, portal, &event.event_id, leg, text).await;
        }
        tell_in_chat(deps, portal, event, leg, text).await?;
        Ok(Done::default())
    }

    /// Another member came, went, or changed their name or avatar.
    async fn member(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Done, PortalError> {
        if portal.state != PortalState::Joined {
            return Ok(Done::default());
        }
        let Some(member) = event
            .state_key
            .as_deref()
            .and_then(|key| ruma::UserId::parse(key).ok())
        else {
            return Ok(Done::default());
        };
        sent::heard(deps, portal.id, &member, event).await?;
        let profile: MemberProfile = serde_json::from_str(event.content.get()).unwrap_or_default();
        let mirror = deps.store.mirror(portal.id, &member).await?;
        let name = mirror.as_ref().and_then(|mirror| mirror.name.clone());
        // Whoever leaves says no name any more.
        let before = event.unsigned.prev_content.as_deref();
        let before = before.and_then(|before| serde_json::from_str(before.get()).ok());
        let before: MemberProfile = before.unwrap_or_default();
        let said = profile.displayname.as_ref().or(before.displayname.as_ref());
        let name = name
            .or_else(|| said.map(|name| clean_name(name)))
            .filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| member.to_string());
        let by_another = event.sender != member;
        let text = match (event.membership(), event.previous_membership()) {
            (Some(Membership::Join), Membership::Join) => {
                if let Some(mut mirror) = mirror {
                    deps.dress_mirror(portal, &mut mirror, &profile).await?;
                    self.mirrors.pop(&member);
                }
                return Ok(Done::default());
            }
            (Some(Membership::Join), _) => format!("{name} joined"),
            (Some(Membership::Leave), Membership::Join) if by_another => {
                format!("{name} was removed{}", reason(event))
            }
            (Some(Membership::Leave), Membership::Join) => format!("{name} left"),
            (Some(Membership::Leave), Membership::Ban) => format!("{name} is no longer banned"),
            (Some(Membership::Ban), _) => format!("{name} was banned{}", reason(event)),
            (Some(Membership::Invite), _) => format!("{name} was invited"),
            (Some(Membership::Knock), _) => format!("{name} asks to be let in"),
            _ => return Ok(Done::default()),
        };
        if let (Some(Membership::Leave | Membership::Ban), Some(mirror)) =
            (event.membership(), mirror)
        {
            deps.dismiss_mirror(portal, mirror).await?;
            self.mirrors.pop(&member);
        }
        if !deps.config.portal.membership {
            return Ok(Done::default());
        }
        self.tell(deps, portal, &event.event_id, "member", &text)
            .await
    }
}

/// Tells the user something in the chat with the bot, if there is one and nobody else listens. `false`: it was not said.
async fn tell_in_chat(
    deps: &Deps,
    portal: &Portal,
    event: &Event,
    leg: &str,
    text: &str,
) -> Result<bool, PortalError> {
    let Some(chat) = chat::private(deps, &portal.user).await? else {
        return Ok(false);
    };
    let (notice, source) = (Scrubbed::notice(text), event.event_id.as_str());
    match deps.say(&deps.bot, &chat, &notice, source, leg, 0).await {
        Err(error) if error.class() == Class::Retry => Err(error),
        said => Ok(said.is_ok()),
    }
}

/// The reason that a moderator gave, ready to be appended.
fn reason(event: &Event) -> String {
    #[derive(serde::Deserialize)]
    struct Content {
        reason: Option<String>,
    }
    let content: Option<Content> = serde_json::from_str(event.content.get()).ok();
    let reason = content
        .and_then(|content| content.reason)
        .map(|reason| clean_name(&reason))
        .unwrap_or_default();
    if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    }
}
