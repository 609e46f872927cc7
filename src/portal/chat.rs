//! The bot's chat with a user: the one in which they talk, or one that the bot opens, for what has to be told to somebody who never
//! wrote to it. What is said there is for one pair of eyes: whoever says something unasked asks here where.

use ruma::{OwnedRoomId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Deps, PortalError, room};
use crate::{clock::UnixMillis, config::EncryptPortals, homeserver::Class, store::Note};

/// For so long it is remembered that a chat may have been made of which nothing was heard.
const KEPT: UnixMillis = 24 * 60 * 60 * 1000;

/// The bot makes a chat with a user, or was about to. Found by the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Opening {}

impl Note for Opening {
    const KIND: i64 = 18;
}

/// The chat with a user, to which they are invited once more if they left it; `None`: there is none in which the bot and they are
/// alone.
pub async fn known(deps: &Deps, user: &UserId) -> Result<Option<OwnedRoomId>, PortalError> {
    let Some((chat, is_there)) = found(deps, user).await? else {
        return Ok(None);
    };
    if !is_there {
        match deps.homeserver.invite(&deps.bot, &chat, user).await {
            Err(error) if error.class() == Class::GiveUp => return Ok(None),
            invited => invited?,
        }
        // What is said next is for them as well, and their invite may not have been heard of by then.
        deps.e2ee.forget_room(&chat);
    }
    Ok(Some(chat))
}

/// The same for what is no reason to invite anybody.
pub async fn private(deps: &Deps, user: &UserId) -> Result<Option<OwnedRoomId>, PortalError> {
    Ok(found(deps, user).await?.map(|(chat, _)| chat))
}

/// The chat in which nobody is but the bot and perhaps a user; and whether they are.
async fn found(deps: &Deps, user: &UserId) -> Result<Option<(OwnedRoomId, bool)>, PortalError> {
    let record = deps.store.user(user).await?;
    let Some(chat) = record.and_then(|user| user.direct_chat) else {
        return Ok(None);
    };
    match is_theirs(deps, &chat, user).await {
        Err(error) if error.class() == Class::GiveUp => Ok(None),
        other => Ok(other?.map(|is_there| (chat, is_there))),
    }
}

/// Opens a chat with a user. Asked once more after a crash, it finds the one that was made.
pub async fn open(deps: &Deps, user: &UserId) -> Result<OwnedRoomId, PortalError> {
    let (key, due) = (user.as_bytes(), Some(deps.clock.now() + KEPT));
    let first = deps.store.add_note(key, due, &Opening {}).await?;
    let lost = if first { None } else { lost(deps, user).await? };
    let chat = match lost {
        Some(chat) => chat,
        None => make(deps, user).await?,
    };
    let note = |user: &mut crate::store::User| user.direct_chat = Some(chat.clone());
    deps.store.update_user(user, note).await?;
    deps.store.delete_note::<Opening>(key).await?;
    Ok(chat)
}

/// A chat that was made and of which nobody heard.
async fn lost(deps: &Deps, user: &UserId) -> Result<Option<OwnedRoomId>, PortalError> {
    for chat in deps.homeserver.joined_rooms(&deps.bot).await? {
        match is_theirs(deps, &chat, user).await {
            Ok(Some(true)) => return Ok(Some(chat)),
            // The bot has just left it, for example.
            Err(error) if error.class() != Class::GiveUp => return Err(error),
            _ => {}
        }
    }
    Ok(None)
}

async fn make(deps: &Deps, user: &UserId) -> Result<OwnedRoomId, PortalError> {
    // As portals are: in a chat with the bot no less is said.
    let encrypted = deps.e2ee.unavailable().is_none()
        && matches!(deps.config.encryption.portal, EncryptPortals::Always);
    let mut body = json!({
        "preset": "trusted_private_chat",
        "visibility": "private",
        "is_direct": true,
        "invite": [user],
        "creation_content": {"m.federate": user.server_name() != deps.namespace.server()},
        "initial_state": [
            {"type": "m.room.history_visibility", "content": {"history_visibility": "invited"}},
        ],
    });
    if let (true, Some(state)) = (encrypted, body["initial_state"].as_array_mut()) {
        state.push(json!({"type": "m.room.encryption", "content": room::encryption()}));
    }
    Ok(deps.homeserver.create_room(&deps.bot, &body).await?)
}

/// Whether a user is in a room with the bot, or invited; `None`: the bot and they are not alone there.
async fn is_theirs(deps: &Deps, chat: &RoomId, user: &UserId) -> Result<Option<bool>, PortalError> {
    let members = deps.homeserver.members_in(&deps.bot, chat, true).await?;
    let bot = &deps.bot.user;
    let alone =
        members.contains(bot) && members.iter().all(|member| member == bot || member == user);
    Ok(alone.then(|| members.iter().any(|member| member == user)))
}
