//! Records of what is on its way: transactions, messages that wait, and what became of each event.

use ruma::{OwnedEventId, OwnedUserId};
use serde::{Deserialize, Serialize};

use super::PortalId;
use crate::{clock::UnixMillis, event::Event};

/// Which way an event went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Portal → room.
    Outbound,
    /// Room → portal.
    Inbound,
}

/// One handled event. Its presence means: never handle it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The event that was received.
    pub source: OwnedEventId,
    /// The event that was sent for it, if any.
    pub target: Option<OwnedEventId>,
    /// Which way it went.
    pub direction: Direction,
    /// Who sent `source` (an edit or a redaction must come from the same mirror).
    pub sender: OwnedUserId,
}

impl Link {
    /// An event that was handled, and what was sent for it.
    #[must_use]
    pub fn of(event: &Event, direction: Direction, target: Option<OwnedEventId>) -> Self {
        Self {
            source: event.event_id.clone(),
            target,
            direction,
            sender: event.sender.clone(),
        }
    }
}

/// An acknowledged transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxEntry {
    /// Its position; later transactions have greater ones.
    pub seq: i64,
    /// When it was received.
    pub received: UnixMillis,
    /// The body, as the homeserver sent it.
    pub body: Vec<u8>,
}

/// An outbound message that waits for `send` or `discard`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The user's event.
    pub event: OwnedEventId,
    /// The notice that asks about it, once sent.
    #[serde(default)]
    pub question: Option<OwnedEventId>,
    /// The whole event as received.
    pub json: String,
    /// When it was held.
    pub at: UnixMillis,
    /// What is asked is whether its file may go without being cleaned of metadata.
    #[serde(default)]
    pub unstripped: bool,
}

/// Where the events of a room go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// It is a portal room.
    Portal(PortalId),
    /// It is a room that these portals lead into (never two of one user).
    Room(Vec<PortalId>),
    /// The store does not know it (a direct chat with the bot, or none of ours).
    Unknown,
}

/// What `Store::commit` writes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// New links.
    pub links: Vec<(PortalId, Link)>,
    /// Positions of transactions that are wholly handled.
    pub done: Vec<i64>,
}
