//! Rewriting and scrubbing: pure functions from event content to event content.
//!
//! [`outbound`] builds what a ghost says in the room from what the user said in the portal; [`inbound`]
//! builds what a mirror says in the portal from what a member said in the room. Both work by
//! allow-list: the result is made of typed fields that are known to be harmless, and what is not known
//! does not pass. A caller first collects the [`References`] of a content, looks them up, and hands the
//! answers in as [`Translations`]; nothing here waits, stores or sends.
//!
//! [`Scrubbed`] is the only thing `homeserver` can send into a room, and only this module makes one.

use std::collections::HashMap;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde_json::{Value, value::RawValue};

/// Content that passed the allow-list. Its fields are private: it cannot be made elsewhere.
#[derive(Clone, Debug)]
pub struct Scrubbed {
    event_type: String,
    content: Box<RawValue>,
}

impl Scrubbed {
    /// The event type, such as `m.room.message`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The content, as JSON.
    #[must_use]
    pub fn content(&self) -> &RawValue {
        &self.content
    }
}

/// The events and users to which a content refers, to be looked up before rewriting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Event ids: relation targets, reply targets, permalinks.
    pub events: Vec<OwnedEventId>,
    /// User ids: mentions and pills.
    pub users: Vec<OwnedUserId>,
}

/// What the look-up of [`References`] gave. What is missing is not translatable.
#[derive(Clone, Debug, Default)]
pub struct Translations {
    /// Event here → event there.
    pub events: HashMap<OwnedEventId, OwnedEventId>,
    /// User here → user there.
    pub users: HashMap<OwnedUserId, Person>,
    /// The room here and the room there, for permalinks.
    pub rooms: Option<(OwnedRoomId, OwnedRoomId)>,
}

/// A user on the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Their Matrix ID there.
    pub id: OwnedUserId,
    /// Their display name there, for the text of a pill.
    pub name: String,
}

/// What a content becomes on the other side.
#[derive(Clone, Debug)]
pub enum Rewritten {
    /// This is sent.
    Send(Scrubbed),
    /// A relation's target is not known on the other side, and without it the event makes no sense
    /// (an edit, a reaction). The text says so to a person: "the message this edits is not known here".
    Unknown(&'static str),
    /// A kind of event that is not relayed yet; the text names it to a person: "a poll".
    Unsupported(String),
    /// Nothing that a person would miss (typing, receipts, an empty redacted event).
    Nothing,
}

/// The references of an event's content.
#[must_use]
pub fn references(_event_type: &str, _content: &RawValue) -> References {
    todo!()
}

/// Portal → room.
#[must_use]
pub fn outbound(_event_type: &str, _content: &RawValue, _translations: &Translations) -> Rewritten {
    todo!()
}

/// Room → portal. `mxc` URIs never pass.
#[must_use]
pub fn inbound(_event_type: &str, _content: &RawValue, _translations: &Translations) -> Rewritten {
    todo!()
}

/// What the identity guard looks for.
#[derive(Clone, Debug, Default)]
pub struct GuardWords {
    /// Names of the user and of their other pseudonyms and rooms: matched case-insensitively, at word boundaries.
    pub words: Vec<String>,
    /// Matrix ids (users, rooms, events) of other portals and of the user: matched anywhere, also inside links
    /// and percent-encoded.
    pub ids: Vec<String>,
}

/// Whether (and by what) a content that is about to go out names the user. Returns what was found, for the
/// question to the user.
#[must_use]
pub fn guard(_content: &Scrubbed, _words: &GuardWords) -> Option<String> {
    todo!()
}

/// Builders of what hosts and the bot say; plain text and formatted.
impl Scrubbed {
    /// An `m.notice` of Markdown-free plain text.
    #[must_use]
    pub fn notice(_text: &str) -> Self {
        todo!()
    }
    /// An `m.notice` of plain text and HTML made by Vizard itself.
    #[must_use]
    pub fn notice_html(_text: &str, _html: &str) -> Self {
        todo!()
    }
    /// The notice as a reply to `event`.
    #[must_use]
    pub fn in_reply_to(self, _event: &ruma::EventId) -> Self {
        todo!()
    }
    /// The notice as an edit of `event`.
    #[must_use]
    pub fn replacing(self, _event: &ruma::EventId) -> Self {
        todo!()
    }
    /// A state event of a portal room (name, topic, avatar, bridge information), made by Vizard itself.
    #[must_use]
    pub fn portal_state(_event_type: &str, _content: &Value) -> Self {
        todo!()
    }
    /// A ghost's member event, whole: display name and mapping.
    #[must_use]
    pub fn ghost_member(_displayname: &str, _mapping: &Value) -> Self {
        todo!()
    }
}

/// A display name without control characters, bidi overrides and excess combining marks; empty if nothing is left.
#[must_use]
pub fn clean_name(_name: &str) -> String {
    todo!()
}
