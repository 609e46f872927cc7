//! Events as Synapse shows them to an application service, written as text because floods need many.
//!
//! Used by the traffic, the set-up and the stub. Never parses anything.

use std::fmt::Write as _;

/// The content of a text message; `body` needs no escaping.
pub fn text(body: &str) -> String {
    format!(r#"{{"body":"{body}","msgtype":"m.text"}}"#)
}

/// A message event with this content.
pub fn message(room: &str, sender: &str, id: &str, ts: u64, content: &str) -> String {
    event(room, sender, id, ts, "m.room.message", None, content)
}

/// An encrypted event with this content.
pub fn encrypted(room: &str, sender: &str, id: &str, ts: u64, content: &str) -> String {
    event(room, sender, id, ts, "m.room.encrypted", None, content)
}

/// A state event with this content.
pub fn state(
    room: &str,
    sender: &str,
    id: &str,
    ts: u64,
    (kind, key): (&str, &str),
    content: &str,
) -> String {
    event(room, sender, id, ts, kind, Some(key), content)
}

fn event(
    room: &str,
    sender: &str,
    id: &str,
    ts: u64,
    kind: &str,
    key: Option<&str>,
    content: &str,
) -> String {
    let mut json = String::with_capacity(content.len() + 320);
    let _ = write!(
        json,
        r#"{{"age":3,"content":{content},"event_id":"{id}","origin_server_ts":{ts},"room_id":"{room}","sender":"{sender}","type":"{kind}","unsigned":{{"age":3}},"user_id":"{sender}""#
    );
    if let Some(key) = key {
        let _ = write!(json, r#","state_key":"{key}""#);
    }
    json.push('}');
    json
}

/// What a measured message says about itself, so that the stub can check it wherever it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The stream: everything said in one source room in one direction.
    pub stream: u32,
    /// Who says it, among the stream's senders.
    pub sender: u32,
    /// Its place in the stream, from 0.
    pub number: u32,
}

impl Mark {
    /// The message's text. It holds nothing that Vizard's guard could take for the user's name.
    pub fn body(self) -> String {
        let Self {
            stream,
            sender,
            number,
        } = self;
        format!(
            "lane {stream} from {sender} number {number}: some words of the usual length for a chat"
        )
    }

    /// Finds the mark in an event's content.
    pub fn find(content: &[u8]) -> Option<Self> {
        let at = content.windows(6).position(|window| window == b"\"lane ")?;
        let mut words = content[at + 6..].split(|byte| *byte == b' ' || *byte == b':');
        let stream = number(words.next()?)?;
        let sender = number(words.nth(1)?)?;
        let number = number(words.nth(1)?)?;
        Some(Self {
            stream,
            sender,
            number,
        })
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
