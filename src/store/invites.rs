//! Records of invites: what a user is invited to and whom they keep out, and the durable work of inviting and being invited.

use std::fmt;

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};

use super::{PortalId, Report};
use crate::clock::UnixMillis;

/// An invite that a portal stands for, until it is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Who sent it, in the room.
    pub inviter: OwnedUserId,
    /// Their display name there.
    #[serde(default)]
    pub inviter_name: Option<String>,
    /// Whether their server's Vizard vouches: it signed the mapping of the pseudonym that invites, or its bot asked for an invite by
    /// somebody of that server.
    #[serde(default)]
    pub vouched: bool,
    /// The label of the contact address through which it came.
    #[serde(default)]
    pub address: Option<String>,
    /// Until when it can be accepted.
    pub expires: UnixMillis,
    /// The invite itself.
    #[serde(default)]
    pub event: Option<OwnedEventId>,
}

/// A contact address, in its owner's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// What is sealed in it.
    pub id: [u8; 16],
    /// What its owner calls it.
    pub label: String,
    /// When it was made.
    pub created: UnixMillis,
    /// When it stops to work.
    pub expires: UnixMillis,
    /// Whether its owner took it back.
    #[serde(default)]
    pub revoked: bool,
}

/// Whom a user keeps out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptOut {
    /// An inviter: a pseudonym, or anybody who invites.
    User(OwnedUserId),
    /// All who invite from a server.
    Server(OwnedServerName),
    /// Whoever uses a contact address of the user's.
    Address([u8; 16]),
}

/// An invite on its way out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteTask {
    /// Who asked for it.
    pub user: OwnedUserId,
    /// The portal whose ghost invites; `None`: the bot asks for somebody who is no pseudonym, and invites themselves.
    #[serde(default)]
    pub portal: Option<PortalId>,
    /// Into which room.
    pub room: OwnedRoomId,
    /// Whom; nothing is left of a name once it is sealed.
    pub whom: Whom,
    /// The request, once it is signed.
    #[serde(default)]
    pub request: Option<Asking>,
    /// The ghost that was answered with, once it was.
    #[serde(default)]
    pub ghost: Option<OwnedUserId>,
    /// Whether the invite is among those that the portal waits for; of an ordinary one, whether it may have been sent.
    #[serde(default)]
    pub noted: bool,
    /// Who is told.
    pub report: Report,
}

impl fmt::Debug for InviteTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteTask(…)")
    }
}

/// Who is invited.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// A user, who is not sealed yet.
    User(OwnedUserId),
    /// A sealed address, as text.
    Sealed(String),
    /// A user, by an ordinary invite that hides nothing.
    Plain(OwnedUserId),
}

impl fmt::Debug for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Whom(…)")
    }
}

/// A signed request and what its answer is recognised by.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    /// The content of the message, as JSON.
    pub content: String,
    /// Its id.
    pub id: String,
    /// Its hash.
    pub hash: String,
    /// Which server is asked.
    pub server: OwnedServerName,
    /// Until when the invite is good.
    pub expires: UnixMillis,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asking(…)")
    }
}

/// A room that is to be made behind a fresh pseudonym.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTask {
    /// Who asked for it.
    pub user: OwnedUserId,
    /// Its name.
    pub name: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Whether anybody may join.
    pub public: bool,
    /// The display name that the user asked for.
    #[serde(default)]
    pub nick: Option<String>,
    /// The pseudonym's seed, once it is made.
    #[serde(default)]
    pub seed: Option<[u8; 32]>,
    /// The room, once it is known.
    #[serde(default)]
    pub room: Option<OwnedRoomId>,
    /// Who is told.
    pub report: Report,
}

/// A ghost that was invited and has to be gone from the room, unless its invite was accepted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawTask {
    /// The ghost.
    pub ghost: OwnedUserId,
    /// The room to which it was invited.
    pub room: OwnedRoomId,
    /// When it was to leave, where nothing else is on record of it.
    #[serde(default)]
    pub leave_at: Option<UnixMillis>,
}

impl fmt::Debug for WithdrawTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WithdrawTask(…)")
    }
}

/// A user who is to hear that somebody invited them to a room in which they are or were.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TellTask {
    /// Their portal into that room.
    pub portal: PortalId,
    /// Who asked.
    pub inviter: OwnedUserId,
    /// Where their pseudonym is.
    #[serde(default)]
    pub place: Where,
    /// To which room. (Jobs of earlier versions do not say.)
    #[serde(default)]
    pub room: Option<OwnedRoomId>,
}

/// Where a user's pseudonym is, seen from the room to which somebody invited them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Where {
    /// In that room, or it was.
    #[default]
    There,
    /// In the room that replaced it.
    Successor,
    /// In the room that it replaces.
    Predecessor,
}

impl fmt::Debug for TellTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TellTask(…)")
    }
}
