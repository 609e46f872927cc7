//! Rewriting and scrubbing: pure functions from event content to event content.
//!
//! [`outbound`] builds what a ghost says in the room from what the user said in the portal; [`inbound`]
//! builds what a mirror says in the portal from what a member said in the room. Both work by
//! allow-list: the result is made of typed fields that are known to be harmless, and what is not known
//! does not pass. A caller first collects the [`References`] of a content, looks them up, and hands the
//! answers in as [`Translations`]; nothing here waits, stores or sends.
//!
//! [`Scrubbed`] is the only thing `homeserver` can send into a room, and only this module makes one.

mod attachment;
mod attachment_content;
mod content;
mod dispatch;
mod fold;
mod guard;
mod html;
mod kinds;
mod limits;
mod link;
mod mentions;
mod message;
mod notice;
mod portal_event;
mod reaction;
mod references;
mod relations;
#[cfg(test)]
mod tests;
mod text;
mod tokens;

use std::collections::HashMap;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde_json::value::RawValue;

pub use self::{
    attachment::{Attachment, Copied, Location, Placed},
    guard::Sieve,
    link::{Named, named},
    notice::code_spans,
    portal_event::{Bridge, PortalEvent},
    text::{clean_name, escape_html},
};

/// Content that passed the allow-list. Its fields are private: it cannot be made elsewhere.
#[derive(Clone, Debug)]
pub struct Scrubbed {
    event_type: String,
    content: Box<RawValue>,
    /// It may be said in clear in an encrypted room.
    public: bool,
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

    /// The same, encrypted (`m.room.encrypted`) to this content. What was encrypted had passed the allow-list.
    #[must_use]
    pub fn encrypted(self, content: Box<RawValue>) -> Self {
        Self {
            event_type: "m.room.encrypted".to_owned(),
            content,
            public: true,
        }
    }

    /// Whether it is worth encrypting: state is not, nor are reactions and redactions, which no client encrypts, nor is what
    /// is made by [`Scrubbed::public`].
    #[must_use]
    pub fn is_secret(&self) -> bool {
        !self.public
            && !matches!(
                self.event_type.as_str(),
                "m.reaction" | "m.room.redaction" | "m.room.encrypted"
            )
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
    /// User here → user there. Users who are known on both sides by one id stand here too, as themselves:
    /// a mention or pill of whoever is missing does not pass.
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
    /// This is sent once its files were copied; see [`Attachment`].
    Media(Box<Attachment>),
    /// A relation's target is not known on the other side, and without it the event makes no sense
    /// (an edit, a reaction). The text says so to a person: "the message this edits is not known here".
    Unknown(&'static str),
    /// A kind of event that is not relayed yet; the text names it to a person: "a poll".
    Unsupported(String),
    /// Malformed or too long, and so never relayed; the text names it to a person: "a malformed edit".
    Refused(&'static str),
    /// Nothing that a person would miss (typing, receipts, what redaction left of an event).
    Nothing,
}

/// The references of an event's content, at most 100 of each kind.
#[must_use]
pub fn references(event_type: &str, content: &RawValue) -> References {
    references::collect(event_type, content)
}

/// Portal → room: what a ghost says in the room for the user.
///
/// What never passes, because nothing writes it: unknown keys (`com.*`, client details, per-message
/// profiles), file names, `mxc` URIs of others, pictures in text, reply fallbacks, relations of other kinds,
/// mentions of and links to users, events and the portal that have no counterpart in the room, HTML that
/// the specification does not list, control characters. Users who are the same on both sides have to be
/// among the translations too. Names and ids in plain words stay as they are: see [`guard()`].
///
/// Redactions and state are the caller's: state that comes here (the content alone does not tell) is
/// [`Rewritten::Nothing`] where its type is known.
#[must_use]
pub fn outbound(event_type: &str, content: &RawValue, translations: &Translations) -> Rewritten {
    dispatch::rewrite(event_type, content, translations)
}

/// Room → portal: what a mirror says in the portal for a member of the room.
///
/// The same allow-list as [`outbound`], for another reason: nothing may stand in a portal that makes the
/// user's client or homeserver ask a remote server. So `mxc` URIs never pass, and a pill of somebody who
/// has no mirror becomes plain text.
///
/// An edit of what is not known here becomes a message that says so. A reaction to it stays [`Rewritten::Unknown`].
#[must_use]
pub fn inbound(event_type: &str, content: &RawValue, translations: &Translations) -> Rewritten {
    match dispatch::rewrite(event_type, content, translations) {
        Rewritten::Unknown(what) if event_type == message::TYPE => {
            message::detached(content, translations).unwrap_or(Rewritten::Unknown(what))
        }
        other => other,
    }
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

/// Whether (and by what) a content that is about to go out names the user. Returns the word or id that was
/// found, as it was given (cleaned for display), for the question to the user.
#[must_use]
pub fn guard(content: &Scrubbed, words: &GuardWords) -> Option<String> {
    guard::find(content, words)
}
