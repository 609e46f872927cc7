//! Commands: in a direct chat with the bot, and behind a prefix inside portals.
//!
//! `worker` hands in what was typed ([`handle`]) and invitations of the bot ([`invited`]). Each command is a
//! file in `commands` and an entry of its table. What takes long is queued as a job. A command may be handled
//! twice after a crash: whatever it says first has one transaction id, jobs have derived ids, and what it
//! counts bears its mark (`stamp`).

mod access;
mod ask;
mod call;
mod command;
mod commands;
mod depart;
mod direct;
mod dispatch;
mod help;
mod nicks;
pub mod parse;
mod reply;
mod select;
mod stamp;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};

use crate::{
    portal::{Deps, PortalError},
    store::PortalId,
};

/// A command as it was given.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Where.
    pub room: OwnedRoomId,
    /// The event: the source of the answers' transaction ids.
    pub event: OwnedEventId,
    /// By whom.
    pub sender: OwnedUserId,
    /// The text, without the prefix.
    pub text: String,
    /// In which portal; `None` in the direct chat.
    pub portal: Option<PortalId>,
}

/// Answers a command. Errors are the homeserver's or the database's (the caller tries again); everything a
/// person can do wrong is answered here.
pub async fn handle(deps: &Deps, invocation: &Invocation) -> Result<(), PortalError> {
    match dispatch::handle(deps, invocation).await {
        // Forgotten while it was handled: there is nobody left to answer.
        Err(PortalError::Gone) => Ok(()),
        result => result,
    }
}

/// The bot was invited to a room.
pub async fn invited(
    deps: &Deps,
    room: &ruma::RoomId,
    event: &ruma::EventId,
    inviter: &ruma::UserId,
) -> Result<(), PortalError> {
    direct::invited(deps, room, event, inviter).await
}
