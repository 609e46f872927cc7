//! Telling a user privately, some minutes later, that somebody invited them to a room in which they are or were. The inviter gets
//! an answer like any other, and learns nothing.

use ruma::{RoomId, UserId};
use serde::{Deserialize, Serialize};

use super::quota;
use crate::{
    clock::UnixMillis,
    homeserver::Class,
    portal::{Deps, Outcome, PortalError, chat, invited},
    rewrite::{Scrubbed, clean_name},
    store::{Note, Portal, PortalState, Task, TellTask, Where},
};

const MINUTE: UnixMillis = 60 * 1000;
/// Told so long after the request, and within so long from then.
const SOONEST: UnixMillis = 2 * MINUTE;
const SPREAD: UnixMillis = 20 * MINUTE;

/// For so long no further invite to the same room is told of. Strangers bring about rows of the database here.
const QUIET: UnixMillis = 90 * DAY;
/// The same if it could not be said: what others may send in a day is used up once, however often it is tried.
const DAY: UnixMillis = 24 * 60 * MINUTE;

/// A user was told of invites to a room, or could not be. Found by both: they are told once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {}

impl Note for Told {
    const KIND: i64 = 8;
}

fn key(user: &UserId, room: &RoomId) -> Vec<u8> {
    [user.as_bytes(), b" ", room.as_bytes()].concat()
}

/// Lets a user know that somebody invited them to a room, which is that of this portal or came before or after it; unless they
/// were told before. It reaches them as an invite does, and is counted as one. Whoever calls looked whether another may reach them,
/// and keeps others from it meanwhile.
pub async fn about(
    deps: &Deps,
    portal: &Portal,
    inviter: &UserId,
    room: &RoomId,
    place: Where,
) -> Result<(), PortalError> {
    let source = format!("tell {} {room}", portal.user);
    // They have an invite already, and see it, or want to hear nothing more of it.
    if portal.state == PortalState::Invited
        || portal.forgetting
        || deps
            .store
            .note::<Told>(&key(&portal.user, room))
            .await?
            .is_some()
        || deps.has_job(&source).await?
    {
        return Ok(());
    }
    let now = deps.clock.now();
    quota::reached(deps, &portal.user, now).await?;
    let task = Task::Tell(TellTask {
        portal: portal.id,
        inviter: inviter.to_owned(),
        place,
        room: Some(room.to_owned()),
    });
    let due = now + SOONEST + deps.rng.below(SPREAD);
    deps.add_job(&source, due, task).await
}

/// Tells it: in the chat with the bot, in the portal where there is no chat, or in a chat that is opened for it.
pub async fn run(deps: &Deps, task: &TellTask) -> Result<Outcome, PortalError> {
    let portal = deps.portals.get(task.portal).await?;
    if portal.forgetting {
        return Ok(Outcome::Done);
    }
    let here = portal.portal_room.clone().filter(|_| portal.user_joined);
    let told = task.room.as_deref().unwrap_or(&portal.room);
    let key = key(&portal.user, told);
    let quiet = |life: UnixMillis| {
        let due = Some(deps.clock.now() + life);
        let key = &key;
        async move { deps.store.set_note(key, due, &Told {}).await }
    };
    // Two at once would open two chats.
    let alone = deps.portals.alone_for(&portal.user).await;
    let (actor, room, rejoin) = match (chat::known(deps, &portal.user).await?, here) {
        (None, Some(here)) => {
            let rejoin = format!("{} rejoin", deps.config.portal.command_prefix);
            (deps.host(&portal), here, rejoin)
        }
        (chat, _) => {
            let chat = match chat {
                Some(chat) => chat,
                None => match chat::open(deps, &portal.user).await {
                    Err(error) if error.class() == Class::GiveUp => {
                        quiet(DAY).await?;
                        return Ok(Outcome::Done);
                    }
                    opened => opened?,
                },
            };
            let rejoin = format!("rejoin \"{}\"", portal.ghost.nick);
            (deps.bot.clone(), chat, rejoin)
        }
    };
    drop(alone);
    let source = format!("told {} {told}", portal.ghost.id);
    let notice = Scrubbed::notice(&words(&portal, task, &rejoin));
    match deps.say(&actor, &room, &notice, &source, "told", 0).await {
        Err(error) if error.class() == Class::Retry => return Err(error),
        // Nothing can be said there. The next invite is tried to be told of again, on another day.
        Err(_) => quiet(DAY).await?,
        Ok(_) => quiet(QUIET).await?,
    }
    Ok(Outcome::Done)
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
         Of further invites to this room I say nothing for three months.\n(The inviter's ID is {inviter}.)"
    )
}
