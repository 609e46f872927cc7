//! The typed parts of a content: what is read, and what is written.
//!
//! What is read borrows from the JSON, knows only the fields that have a meaning here, and is lenient
//! field by field: a field of an absurd type counts as absent and spoils nothing else. What is written
//! has no place for anything unknown, which is what makes the rewriting an allow-list.

use std::borrow::Cow;

use ruma::{EventId, UserId};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// A string that borrows where JSON allows it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// `m.room.message`, and its `m.new_content`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) msgtype: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) body: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) format: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) formatted_body: Option<Text<'a>>,
    #[serde(
        rename = "m.relates_to",
        borrow,
        default,
        deserialize_with = "lenient_object"
    )]
    pub(super) relates_to: Option<Relation<'a>>,
    #[serde(
        rename = "m.mentions",
        borrow,
        default,
        deserialize_with = "lenient_object"
    )]
    pub(super) mentions: Option<Mentions<'a>>,
    #[serde(rename = "m.new_content", borrow, default)]
    pub(super) new_content: Option<&'a RawValue>,
    /// Marks `m.audio` as a voice message (MSC3245).
    #[serde(rename = "org.matrix.msc3245.voice", borrow, default)]
    unstable_voice: Option<&'a RawValue>,
    #[serde(rename = "m.voice", borrow, default)]
    voice: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    /// The HTML, if the format says that it is HTML.
    pub(super) fn html(&self) -> Option<&str> {
        let html = self.formatted_body.as_ref()?;
        (self.format.as_ref()?.0 == HTML_FORMAT).then_some(html.0.as_ref())
    }

    /// The replacement of an edit.
    pub(super) fn replacement(&self) -> Option<Message<'a>> {
        parse(self.new_content?)
    }

    /// Whether an audio message is a voice message.
    pub(super) fn is_voice(&self) -> bool {
        self.voice.or(self.unstable_voice).is_some()
    }

    /// Whether this edits another message.
    pub(super) fn is_edit(&self) -> bool {
        self.relates_to
            .as_ref()
            .and_then(|relation| relation.rel_type.as_ref())
            .is_some_and(|kind| kind.0 == "m.replace")
    }
}

/// `m.reaction`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Reaction<'a> {
    #[serde(
        rename = "m.relates_to",
        borrow,
        default,
        deserialize_with = "lenient_object"
    )]
    pub(super) relates_to: Option<Relation<'a>>,
}

/// `m.relates_to`, all kinds in one.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Relation<'a> {
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) rel_type: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) event_id: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) key: Option<Text<'a>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) is_falling_back: Option<bool>,
    #[serde(
        rename = "m.in_reply_to",
        borrow,
        default,
        deserialize_with = "lenient_object"
    )]
    pub(super) in_reply_to: Option<InReplyTo<'a>>,
}

/// `m.in_reply_to`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct InReplyTo<'a> {
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) event_id: Option<Text<'a>>,
}

/// `m.mentions`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Mentions<'a> {
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) user_ids: Option<Vec<Text<'a>>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) room: Option<bool>,
}

/// The one format of `formatted_body` that Matrix knows.
pub(super) const HTML_FORMAT: &str = "org.matrix.custom.html";

/// Reads an object; anything else is `None`. (Derived structs would also accept an array.)
pub(super) fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    if !raw.get().starts_with('{') {
        return None;
    }
    serde_json::from_str(raw.get()).ok()
}

/// Whether this is `{}`, which is what redaction leaves of most events.
pub(super) fn is_empty(raw: &RawValue) -> bool {
    raw.get()
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|inside| inside.trim().is_empty())
}

pub(super) fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let raw = <&'de RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

pub(super) fn lenient_object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(parse(<&'de RawValue>::deserialize(deserializer)?))
}

/// What a message says, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    pub(super) msgtype: &'static str,
    pub(super) body: Cow<'a, str>,
    pub(super) html: Option<Cow<'a, str>>,
    pub(super) mentions: MentionsOut,
}

/// A whole `m.room.message` that is sent.
#[derive(Debug, Serialize)]
pub(super) struct MessageOut<'a> {
    msgtype: &'static str,
    body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    formatted_body: Option<&'a str>,
    #[serde(rename = "m.mentions")]
    mentions: &'a MentionsOut,
    #[serde(rename = "m.relates_to", skip_serializing_if = "Option::is_none")]
    pub(super) relates_to: Option<RelationOut<'a>>,
    #[serde(rename = "m.new_content", skip_serializing_if = "Option::is_none")]
    pub(super) new_content: Option<Box<MessageOut<'a>>>,
}

impl<'a> From<&'a Words<'_>> for MessageOut<'a> {
    fn from(words: &'a Words<'_>) -> Self {
        Self {
            msgtype: words.msgtype,
            body: &words.body,
            format: words.html.as_ref().map(|_| HTML_FORMAT),
            formatted_body: words.html.as_deref(),
            mentions: &words.mentions,
            relates_to: None,
            new_content: None,
        }
    }
}

/// `m.mentions` that is sent. It is always there, also empty: whether it is would tell clients apart,
/// and its absence makes receivers guess from the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct MentionsOut {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) user_ids: Vec<ruma::OwnedUserId>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) room: bool,
}

impl MentionsOut {
    /// Adds a user once, up to the limit.
    pub(super) fn add(&mut self, user: &UserId) {
        let full = self.user_ids.len() >= super::limits::MAX_MENTIONS;
        if !full && !self.user_ids.iter().any(|known| known == user) {
            self.user_ids.push(user.to_owned());
        }
    }
}

/// `m.relates_to` that is sent.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct RelationOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rel_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event_id: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_falling_back: Option<bool>,
    #[serde(rename = "m.in_reply_to", skip_serializing_if = "Option::is_none")]
    pub(super) in_reply_to: Option<InReplyToOut<'a>>,
}

/// `m.in_reply_to` that is sent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct InReplyToOut<'a> {
    pub(super) event_id: &'a EventId,
}

/// `m.reaction` that is sent.
#[derive(Debug, Serialize)]
pub(super) struct ReactionOut<'a> {
    #[serde(rename = "m.relates_to")]
    pub(super) relates_to: RelationOut<'a>,
}
