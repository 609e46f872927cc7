//! A room event as the homeserver hands it over: decoded once, leniently.
//!
//! Used by everything that handles events. Decoding never fails a whole transaction: an event that cannot be read is
//! the caller's to count and skip.

pub mod hints;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::clock::UnixMillis;

/// The parts of an event that Vizard reads.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its room.
    pub room_id: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its state key, if it is state.
    #[serde(default)]
    pub state_key: Option<String>,
    /// Its content: any JSON.
    pub content: Box<RawValue>,
    /// When its sender's server says it was sent.
    #[serde(default)]
    pub origin_server_ts: UnixMillis,
    /// The event it redacts, in room versions before 11.
    #[serde(default)]
    pub redacts: Option<OwnedEventId>,
    /// What the homeserver adds.
    #[serde(default)]
    pub unsigned: Unsigned,
    /// How it came, and from what device.
    #[serde(skip)]
    pub trust: Trust,
}

/// What is known of the device that an event comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// It came unencrypted.
    #[default]
    Clear,
    /// A device that its owner's cross-signing identity has signed.
    Signed,
    /// A device of its owner that the owner has not signed.
    UnsignedDevice,
    /// A device that is not known, or not any more.
    UnknownDevice,
    /// The owner has another identity than the one that was verified.
    ChangedIdentity,
    /// It is encrypted, and there is no key for it yet.
    NoKey,
    /// The same, and the sender's device has said that it keeps the key back.
    Withheld(Withheld),
    /// It is encrypted, and cannot be read whatever comes.
    Broken,
    /// Its sender does not own the device that encrypted it.
    Forged,
    /// It is encrypted with a step of a room key that encrypted another event: a server sends that once more.
    Replayed,
}

impl Trust {
    /// Whether it is encrypted and its key is missing, but may still come.
    #[must_use]
    pub fn lacks_key(self) -> bool {
        matches!(self, Self::NoKey | Self::Withheld(_))
    }

    /// Whether it is no word of its sender's, and is dropped.
    #[must_use]
    pub fn is_void(self) -> bool {
        matches!(self, Self::Forged | Self::Replayed)
    }
}

/// Why a device keeps a room key back (`m.room_key.withheld`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// It gives keys to verified devices only.
    Unverified,
    /// It was told to give our device none.
    Blacklisted,
    /// It thinks that we may not read this.
    Unauthorised,
    /// It does not have the key itself.
    Unavailable,
    /// It could not make a secure channel to our device.
    NoOlm,
    /// It gave a reason that is not known here.
    Other,
}

/// What the homeserver adds to an event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Unsigned {
    /// The content that this state replaced.
    pub prev_content: Option<Box<RawValue>>,
    /// The transaction id with which the asking device sent it.
    pub transaction_id: Option<String>,
    /// Present when the event was redacted before it was delivered.
    pub redacted_because: Option<Box<RawValue>>,
    /// What an invited user is shown of the room: any JSON, as the inviter's server says it.
    pub invite_room_state: Option<Box<RawValue>>,
}

/// Types of state that are read when they come encrypted (MSC4362): what a portal shows, and what a room asks of pseudonyms.
/// Servers need to read the rest, and whatever says who may do what would be a way around them.
pub const HIDDEN: [&str; 6] = [
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.tombstone",
    "org.vizard.policy",
];

/// The type and state key that an encrypted state event hides content for: `TYPE:STATE_KEY`, if it is one of [`HIDDEN`].
#[must_use]
pub fn hidden_state(state_key: &str) -> Option<(&str, &str)> {
    state_key
        .split_once(':')
        .filter(|(kind, _)| HIDDEN.contains(kind))
}

/// The longest id that the specification allows, in bytes.
const MAX_ID: usize = 255;

impl Event {
    /// Decodes one event; `None` when it is not one.
    #[must_use]
    pub fn decode(raw: &RawValue) -> Option<Self> {
        let event: Self = serde_json::from_str(raw.get()).ok()?;
        let ids = [
            event.event_id.as_str(),
            event.room_id.as_str(),
            event.sender.as_str(),
            &event.kind,
        ];
        ids.iter().all(|id| id.len() <= MAX_ID).then_some(event)
    }

    /// Its membership, if it is a member event.
    #[must_use]
    pub fn membership(&self) -> Option<Membership> {
        (self.kind == "m.room.member").then(|| membership(&self.content))
    }

    /// The membership before, if it is a member event that replaced one.
    #[must_use]
    pub fn previous_membership(&self) -> Membership {
        self.unsigned
            .prev_content
            .as_deref()
            .map_or(Membership::Other, membership)
    }

    /// What an invite shows of its room. What is not well-formed is left out.
    #[must_use]
    pub fn invite_state(&self) -> Vec<Stripped> {
        let Some(state) = &self.unsigned.invite_room_state else {
            return Vec::new();
        };
        let events: Vec<&RawValue> = serde_json::from_str(state.get()).unwrap_or_default();
        events
            .into_iter()
            .filter_map(|event| serde_json::from_str(event.get()).ok())
            .collect()
    }

    /// The event that this message replies to.
    #[must_use]
    pub fn reply_to(&self) -> Option<OwnedEventId> {
        #[derive(Deserialize)]
        struct Content {
            #[serde(rename = "m.relates_to")]
            relates_to: Relation,
        }
        #[derive(Deserialize)]
        struct Relation {
            #[serde(rename = "m.in_reply_to")]
            in_reply_to: Reply,
        }
        #[derive(Deserialize)]
        struct Reply {
            event_id: OwnedEventId,
        }
        if !self.content.get().contains("m.in_reply_to") {
            return None;
        }
        let content: Content = serde_json::from_str(self.content.get()).ok()?;
        Some(content.relates_to.in_reply_to.event_id)
    }

    /// The event that this redaction redacts (`content.redacts` since room version 11).
    #[must_use]
    pub fn redacted(&self) -> Option<OwnedEventId> {
        #[derive(Deserialize)]
        struct Redaction {
            redacts: Option<OwnedEventId>,
        }
        let content: Option<Redaction> = serde_json::from_str(self.content.get()).ok();
        content
            .and_then(|content| content.redacts)
            .or_else(|| self.redacts.clone())
    }
}

/// A state event without its envelope, as invited users are shown it.
#[derive(Debug, Deserialize)]
pub struct Stripped {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its state key.
    #[serde(default)]
    pub state_key: String,
    /// Its content: any JSON.
    pub content: Box<RawValue>,
}

/// The membership in a member event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// `join`
    Join,
    /// `leave`
    Leave,
    /// `ban`
    Ban,
    /// `invite`
    Invite,
    /// `knock`
    Knock,
    /// Missing or unknown.
    Other,
}

fn membership(content: &RawValue) -> Membership {
    #[derive(Deserialize)]
    struct Member<'a> {
        #[serde(borrow)]
        membership: std::borrow::Cow<'a, str>,
    }
    match serde_json::from_str::<Member<'_>>(content.get())
        .as_ref()
        .map(|member| &*member.membership)
    {
        Ok("join") => Membership::Join,
        Ok("leave") => Membership::Leave,
        Ok("ban") => Membership::Ban,
        Ok("invite") => Membership::Invite,
        Ok("knock") => Membership::Knock,
        _ => Membership::Other,
    }
}
