//! Commands: in a direct chat with the bot, and behind a prefix inside portals.

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
pub async fn handle(_deps: &Deps, _invocation: &Invocation) -> Result<(), PortalError> {
    todo!()
}

/// The bot was invited to a room.
pub async fn invited(
    _deps: &Deps,
    _room: &ruma::RoomId,
    _event: &ruma::EventId,
    _inviter: &ruma::UserId,
) -> Result<(), PortalError> {
    todo!()
}
