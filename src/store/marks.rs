//! Small records within others: what once happened to a user or a portal and still matters.

use ruma::{OwnedDeviceId, OwnedEventId, OwnedRoomId};
use serde::{Deserialize, Serialize};

use super::{Direction, PortalId};
use crate::clock::UnixMillis;

/// A portal that its user left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The portal.
    pub portal: PortalId,
    /// When, by the user's homeserver.
    pub sent: UnixMillis,
    /// When Vizard learnt of it.
    pub noted: UnixMillis,
    /// Whether no other was left at about the same time, or before.
    pub alone: bool,
}

/// What lies before this event of one of a portal's rooms, and was missed, is not looked for any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// The newest event that was given up.
    pub event: OwnedEventId,
    /// The side on which it is.
    pub side: Direction,
    /// What the portal is still to be told of it.
    #[serde(default)]
    pub untold: Option<String>,
}

/// A device that was lost and replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Its id.
    pub device: OwnedDeviceId,
    /// When it was replaced. What was received earlier may have been sent by it.
    pub until: UnixMillis,
}

/// A room from which a portal moved on to the one that replaced it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The room.
    pub room: OwnedRoomId,
    /// When.
    pub at: UnixMillis,
}
