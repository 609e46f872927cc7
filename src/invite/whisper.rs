//! Telling a user privately, some minutes later, that somebody invited them to a room in which they are or were. The inviter gets
//! an answer like any other, and learns nothing.

use ruma::{RoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    clock::UnixMillis,
    homeserver::Class,
    portal::{Deps, Outcome, PortalError, invited},
    rewrite::{Scrubbed, clean_name},
    store::{Note, Portal, PortalState, Task, TellTask, Where},
};

const MINUTE: UnixMillis = 60 * 1000;
/// Told so long after the request, and within so long from then.
const SOONEST: UnixMillis = 2 * MINUTE;
const SPREAD: UnixMillis = 20 * MINUTE;

/// A user was told of invites to a room. Found by both: they are told once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {}

impl Note for Told {
    const KIND: i64 = 8;
}

/// Lets a user know that somebody invited them to a room, which is that of this portal or came before or after it; unless they
/// were told before.
pub async fn about(
    deps: &Deps,
    portal: &Portal,
    inviter: &UserId,
    room: &RoomId,
    place: Where,
) -> Result<(), PortalError> {
    let key = [portal.user.as_bytes(), b" ", room.as_bytes()].concat();
    // They have an invite already, and see it.
    if portal.state == PortalState::Invited || deps.store.note::<Told>(&key).await?.is_some() {
        return Ok(());
    }
    let task = Task::Tell(TellTask {
        portal: portal.id,
        inviter: inviter.to_owned(),
        place,
    });
    let due = deps.clock.now() + SOONEST + deps.rng.below(SPREAD);
    let source = format!("tell {} {room}", portal.user);
    deps.add_job(&source, due, task).await?;
    deps.store.add_note(&key, None, &Told {}).await?;
    Ok(())
}

/// Tells it: in the chat with the bot, or in the portal where there is no chat.
pub async fn run(deps: &Deps, task: &TellTask) -> Result<Outcome, PortalError> {
    let portal = deps.portals.get(task.portal).await?;
    let user = deps.store.user(&portal.user).await?;
    let chat = user.and_then(|user| user.direct_chat);
    let here = portal
        .portal_room
        .clone()
        .filter(|_| chat.is_none() && portal.user_joined);
    let rejoin = match here {
        Some(_) => format!("{} rejoin", deps.config.portal.command_prefix),
        None => format!("rejoin \"{}\"", portal.ghost.nick),
    };
    let (actor, room) = match (chat, here) {
        (Some(chat), _) => (deps.bot.clone(), chat),
        (None, Some(here)) => (deps.host(&portal), here),
        (None, None) => return Ok(Outcome::Done),
    };
    let source = match task.place {
        Where::There => format!("told {}", portal.ghost.id),
        other => format!("told {} {other:?}", portal.ghost.id),
    };
    let notice = Scrubbed::notice(&words(&portal, task, &rejoin));
    match deps.say(&actor, &room, &notice, &source, "told", 0).await {
        Err(error) if error.class() == Class::Retry => Err(error),
        _ => Ok(Outcome::Done),
    }
}

fn words(portal: &Portal, task: &TellTask, rejoin: &str) -> String {
    let inviter = &task.inviter;
    let name = portal.shown.name.as_deref().map(clean_name);
    let room = name.filter(|name| !name.is_empty());
    let room = room.unwrap_or_else(|| portal.room.to_string());
    let (nick, who) = (&portal.ghost.nick, invited::whose(inviter));
    let next = match portal.state {
        PortalState::Left | PortalState::Banned => {
            format!(", where you were as {nick}. `{rejoin}` brings you back.")
        }
        _ => format!(", where you are already, as {nick}."),
    };
    let to = match task.place {
        Where::There => format!("“{room}”"),
        Where::Successor => format!("the room that “{room}” replaced"),
        Where::Predecessor => format!("the room that replaces “{room}”"),
    };
    format!(
        "{who} has invited you to {to}{next} They were not told: for them it looks like an invite that nobody answers. \
         Of further invites to this room I say nothing.\n(The inviter's ID is {inviter}.)"
    )
}
