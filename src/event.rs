//! A room event as the homeserver hands it over: decoded once, leniently.
//!
//! Used by everything that handles events. Decoding never fails a whole transaction: an event that cannot be read is
//! the caller's to count and skip.

pub mod hints;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::UnixMillis;

/// The parts of an event that Vizard reads.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_key: Option<String>,
    /// Its content: any JSON.
    pub content: Box<RawValue>,
    /// When its sender's server says it was sent.
    #[serde(default)]
    pub origin_server_ts: UnixMillis,
    /// The event it redacts, in room versions before 11.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Unsigned {
    /// The content that this state replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_content: Option<Box<RawValue>>,
    /// The transaction id with which the asking device sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// Present when the event was redacted before it was delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted_because: Option<Box<RawValue>>,
    /// What an invited user is shown of the room: any JSON, as the inviter's server says it.
    #[serde(skip_serializing_if = "Option::is_none")]
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

/// Types of the specification that clients encrypt. No other type that begins with `m.` is taken out of ciphertext: servers
/// look at redactions and state before they let them through, and at ciphertext they do not.
const SECRET: [&str; 14] = [
    "m.room.message",
    "m.sticker",
    "m.reaction",
    "m.message",
    "m.image",
    "m.file",
    "m.audio",
    "m.video",
    "m.voice",
    "m.location",
    "m.beacon",
    "m.dummy",
    "m.emote",
    "m.rtc.notification",
];
/// How other types that clients encrypt begin.
const SECRET_KINDS: [&str; 3] = ["m.poll.", "m.call.", "m.key.verification."];

/// Whether an event of this type, which is no state, may come encrypted. Types of others than the specification mean nothing
/// here and are named only; our own are never messages.
#[must_use]
pub fn may_be_secret(kind: &str) -> bool {
    if kind.starts_with("m.") {
        return SECRET.contains(&kind) || SECRET_KINDS.iter().any(|start| kind.starts_with(start));
    }
    !kind.starts_with("org.vizard.")
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

    /// Whether nothing is left of it but its envelope.
    #[must_use]
    pub fn was_redacted(&self) -> bool {
        let is_empty = |content: &RawValue| {
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(content.get())
                .is_ok_and(|content| content.is_empty())
        };
        self.unsigned.redacted_because.is_some() || is_empty(&self.content)
    }

    /// The event that this redaction redacts (`content.redacts` since room version 11, before that beside it). `None` if it
    /// names two: servers looked at one of them.
    #[must_use]
    pub fn redacted(&self) -> Option<OwnedEventId> {
        #[derive(Deserialize)]
        struct Redaction {
            redacts: Option<OwnedEventId>,
        }
        let content: Option<Redaction> = serde_json::from_str(self.content.get()).ok();
        match (content.and_then(|content| content.redacts), &self.redacts) {
            (Some(inside), Some(beside)) if inside != *beside => None,
            (inside, beside) => inside.or_else(|| beside.clone()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn event(rest: &str) -> Event {
        let raw = format!(
            r#"{{"event_id":"$e","room_id":"!r:x","sender":"@bob:x","type":"m.room.redaction",{rest}}}"#
        );
        Event::decode(&RawValue::from_string(raw).unwrap()).unwrap()
    }

    #[test]
    fn a_redaction_names_one_event() {
        for (rest, redacted) in [
            (r#""content":{"redacts":"$a"}"#, Some("$a")),
            (r#""content":{},"redacts":"$a""#, Some("$a")),
            (r#""content":{"redacts":"$a"},"redacts":"$a""#, Some("$a")),
            (r#""content":{"redacts":"$b"},"redacts":"$a""#, None),
            (r#""content":{}"#, None),
        ] {
            let found = event(rest).redacted();
            assert_eq!(found.as_ref().map(|id| id.as_str()), redacted, "{rest}");
        }
    }

    #[test]
    fn what_is_empty_was_redacted() {
        for (rest, redacted) in [
            (r#""content":{}"#, true),
            (
                r#""content":{"a":1},"unsigned":{"redacted_because":{}}"#,
                true,
            ),
            (r#""content":{"a":1}"#, false),
            (r#""content":[]"#, false),
        ] {
            assert_eq!(event(rest).was_redacted(), redacted, "{rest}");
        }
    }

    #[test]
    fn what_carries_authority_never_comes_encrypted() {
        for kind in [
            "m.room.message",
            "m.reaction",
            "m.sticker",
            "m.poll.start",
            "org.matrix.msc3381.poll.start",
            "com.example.thing",
        ] {
            assert!(may_be_secret(kind), "{kind}");
        }
        for kind in [
            "m.room.redaction",
            "m.room.member",
            "m.room.power_levels",
            "m.room.encryption",
            "m.room.encrypted",
            "m.policy.rule.user",
            "m.space.child",
            "m.room.tombstone",
            "org.vizard.policy",
            "m.new",
        ] {
            assert!(!may_be_secret(kind), "{kind}");
        }
    }
}
