//! Links: what a link points at, and what it becomes on the other side.
//!
//! `matrix.to` and `matrix:` links are taken apart into identifiers and built anew, so that nothing but
//! identifiers (and routing servers of a room) survives. The parsing is Vizard's own because ruma's
//! indexes into empty segments (`https://matrix.to/#///x`). Commands read links with it too ([`named`]).

use std::{borrow::Cow, fmt::Write as _};

use ruma::{
    EventId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName,
    OwnedUserId, RoomAliasId, RoomId, ServerName, UserId,
};
use url::Url;

use super::{
    Person, Translations,
    limits::{MAX_HREF, MAX_VIA},
};

/// What a link points at.
#[derive(Debug)]
pub(super) enum Link {
    /// A user.
    User(OwnedUserId),
    /// A room, with its routing servers.
    Room(OwnedRoomId, Vec<OwnedServerName>),
    /// An event in a room.
    Event(OwnedRoomId, OwnedEventId, Vec<OwnedServerName>),
    /// A room by its public name, and perhaps an event in it.
    Alias(OwnedRoomAliasId, Option<OwnedEventId>),
    /// Something else that may be linked.
    Web(Url),
    /// Nothing that may be linked.
    Bad,
}

/// What a link of Matrix names, for whoever gives a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A user.
    User(OwnedUserId),
    /// A room, or an event in it, and the servers that the link names.
    Room(OwnedRoomOrAliasId, Vec<OwnedServerName>),
}

/// What a `matrix.to` or `matrix:` link names, if a text is one. Any text may come here.
#[must_use]
pub fn named(text: &str) -> Option<Named> {
    Some(match parse(text) {
        Link::User(user) if user.localpart().is_empty() => return None,
        Link::User(user) => Named::User(user),
        Link::Room(room, via) | Link::Event(room, _, via) => Named::Room(room.into(), via),
        Link::Alias(alias, _) => {
            let query = text.rsplit_once('?').map_or("", |(_, query)| query);
            Named::Room(alias.into(), via_of(query))
        }
        Link::Web(_) | Link::Bad => return None,
    })
}

/// What a link becomes.
pub(super) enum Outcome<'t> {
    /// A link to this person.
    Person(&'t Person),
    /// This link.
    Keep(String),
    /// Plain text.
    Drop,
}

/// Reads a link.
pub(super) fn parse(href: &str) -> Link {
    let href = href.trim();
    if href.len() > MAX_HREF {
        return Link::Bad;
    }
    if let Some(rest) = strip_prefix_ignore_case(href, "matrix:") {
        return parse_matrix_uri(rest).unwrap_or(Link::Bad);
    }
    let Ok(url) = Url::parse(href) else {
        return Link::Bad;
    };
    if matches!(url.host_str(), Some("matrix.to" | "www.matrix.to")) {
        let fragment = href.split_once('#').map_or("", |(_, fragment)| fragment);
        return parse_fragment(fragment).unwrap_or(Link::Bad);
    }
    match url.scheme() {
        "http" | "https" | "ftp" | "mailto" | "magnet" => Link::Web(url),
        _ => Link::Bad,
    }
}

/// Translates a link. A link to what cannot be translated is no link any more.
pub(super) fn translate<'t>(href: &str, translations: &'t Translations) -> Outcome<'t> {
    let rooms = translations.rooms.as_ref();
    match parse(href) {
        Link::User(user) => translations
            .users
            .get(&user)
            .map_or(Outcome::Drop, Outcome::Person),
        Link::Room(room, via) => match rooms {
            None => Outcome::Drop,
            Some((here, there)) if *here == room => Outcome::Keep(link(&[there.as_str()], &[])),
            Some(_) => Outcome::Keep(link(&[room.as_str()], &via)),
        },
        Link::Event(room, event, via) => match rooms {
            None => Outcome::Drop,
            Some((here, there)) if *here == room => translations
                .events
                .get(&event)
                .map_or(Outcome::Drop, |event| {
                    Outcome::Keep(link(&[there.as_str(), event.as_str()], &[]))
                }),
            Some(_) => Outcome::Keep(link(&[room.as_str(), event.as_str()], &via)),
        },
        Link::Alias(alias, None) => Outcome::Keep(link(&[alias.as_str()], &[])),
        Link::Alias(alias, Some(event)) => {
            Outcome::Keep(link(&[alias.as_str(), event.as_str()], &[]))
        }
        Link::Web(url) if carries_id(&url, translations) => Outcome::Drop,
        Link::Web(url) => Outcome::Keep(url.into()),
        Link::Bad => Outcome::Drop,
    }
}

/// The `matrix.to` link of a user.
pub(super) fn to_user(user: &UserId) -> String {
    link(&[user.as_str()], &[])
}

/// Whether a web link (another web client's, for example) carries a user id, an identifier of this side, or
/// media.
fn carries_id(url: &Url, translations: &Translations) -> bool {
    let text = decode_fully(url.as_str());
    if text.to_ascii_lowercase().contains("mxc:") {
        return true;
    }
    if !text.contains(['@', '!', '$']) {
        return false;
    }
    if text
        .match_indices('@')
        .any(|(at, _)| is_user(&text[at + 1..]))
    {
        return true;
    }
    let here = translations.rooms.as_ref().map(|(here, _)| here.as_str());
    let users = translations.users.keys().map(|user| user.as_str());
    let events = translations.events.keys().map(|event| event.as_str());
    here.into_iter()
        .chain(users)
        .chain(events)
        .any(|id| text.contains(id))
}

/// Whether a text that follows an `@` goes on like a user id: `LOCALPART:SERVER`.
fn is_user(text: &str) -> bool {
    let local = text
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"._=-/+".contains(byte))
        .count();
    let mut server = text[local..].bytes();
    local > 0
        && server.next() == Some(b':')
        && server
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'[')
}

/// `//SEGMENT/SEGMENT?via=…`, after `https://matrix.to/#`.
fn parse_fragment(fragment: &str) -> Option<Link> {
    let (path, query) = fragment.split_once('?').unwrap_or((fragment, ""));
    let path = path.trim_start_matches('/').trim_end_matches('/');
    if let Ok(user) = UserId::parse(decode(path).as_ref()) {
        return Some(Link::User(user));
    }
    let (first, second) = match path.split_once('/') {
        Some((first, second)) => (first, Some(second)),
        None => (path, None),
    };
    room_link(&decode(first), second.map(decode).as_deref(), via_of(query))
}

/// `u/NAME`, `r/NAME`, `roomid/ID` or `roomid/ID/e/EVENT`, after `matrix:`.
fn parse_matrix_uri(rest: &str) -> Option<Link> {
    let rest = rest.split('#').next()?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parts = path.trim_end_matches('/').splitn(4, '/');
    let (kind, id) = (parts.next()?, decode(parts.next()?));
    let event = match (parts.next(), parts.next()) {
        (Some("e" | "event"), Some(event)) => Some(format!("${}", decode(event))),
        (None, None) => None,
        _ => return None,
    };
    match kind {
        "u" | "user" if event.is_none() => UserId::parse(format!("@{id}")).ok().map(Link::User),
        "r" | "room" => room_link(&format!("#{id}"), event.as_deref(), Vec::new()),
        "roomid" => room_link(&format!("!{id}"), event.as_deref(), via_of(query)),
        _ => None,
    }
}

fn room_link(room: &str, event: Option<&str>, via: Vec<OwnedServerName>) -> Option<Link> {
    let event = match event {
        Some(event) => Some(EventId::parse(event).ok()?),
        None => None,
    };
    if room.starts_with('#') {
        let alias = RoomAliasId::parse(room).ok()?;
        return Some(Link::Alias(alias, event));
    }
    let room = RoomId::parse(room).ok()?;
    Some(match event {
        Some(event) => Link::Event(room, event, via),
        None => Link::Room(room, via),
    })
}

fn via_of(query: &str) -> Vec<OwnedServerName> {
    url::form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == "via")
        .filter_map(|(_, server)| ServerName::parse(server.as_ref()).ok())
        .take(MAX_VIA)
        .collect()
}

fn link(segments: &[&str], via: &[OwnedServerName]) -> String {
    let mut link = String::from("https://matrix.to/#");
    for segment in segments {
        link.push('/');
        for byte in segment.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~!$@:=+".contains(&byte) {
                link.push(char::from(byte));
            } else {
                // Writing to a `String` cannot fail.
                let _ = write!(link, "%{byte:02X}");
            }
        }
    }
    for (index, server) in via.iter().enumerate() {
        link.push_str(if index == 0 { "?via=" } else { "&via=" });
        link.push_str(server.as_str());
    }
    link
}

/// Percent-decodes once. What is no valid UTF-8 afterwards becomes replacement characters.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = (byte == b'%')
            .then(|| Some((hex(*bytes.get(at + 1)?)?, hex(*bytes.get(at + 2)?)?)))
            .flatten();
        if let Some((high, low)) = pair {
            decoded.push(high << 4 | low);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// Percent-decodes until nothing changes, at most three times.
pub(super) fn decode_fully(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..3 {
        let next = decode(&text).into_owned();
        if next == *text {
            break;
        }
        text = Cow::Owned(next);
    }
    text
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// `str::strip_prefix`, ASCII case aside.
pub(super) fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_taken_apart() {
        for (href, expected) in [
            ("https://matrix.to/#/@a:b.example", "User(\"@a:b.example\")"),
            (
                "https://matrix.to/#/%40a%3Ab.example?web=1",
                "User(\"@a:b.example\")",
            ),
            ("HTTP://MATRIX.TO:80/#@a:b", "User(\"@a:b\")"),
            ("https://x@matrix.to/#/@a:b", "User(\"@a:b\")"),
            ("matrix:u/a:b.example?action=chat", "User(\"@a:b.example\")"),
            ("MATRIX:u/a:b", "User(\"@a:b\")"),
            (
                "https://matrix.to/#/!r:b?via=c.d&via=!",
                "Room(\"!r:b\", [\"c.d\"])",
            ),
            ("matrix:roomid/r:b/e/x", "Event(\"!r:b\", \"$x\", [])"),
            ("https://matrix.to/#/!r/$x", "Event(\"!r\", \"$x\", [])"),
            ("https://matrix.to/#/%23r:b", "Alias(\"#r:b\", None)"),
            (
                "https://matrix.to/#/#r:b/$e",
                "Alias(\"#r:b\", Some(\"$e\"))",
            ),
            ("matrix:r/r:b", "Alias(\"#r:b\", None)"),
            ("https://matrix.to/#///x", "Bad"),
            ("https://matrix.to/#//", "Bad"),
            ("https://matrix.to", "Bad"),
            ("javascript:alert(1)", "Bad"),
            ("mxc://a.example/b", "Bad"),
            ("data:text/html,x", "Bad"),
            ("/relative", "Bad"),
            ("", "Bad"),
            ("matrix:", "Bad"),
            ("matrix:u/", "Bad"),
            ("matrix:roomid/r/e", "Bad"),
        ] {
            let link = parse(href);
            assert_eq!(format!("{link:?}"), expected, "{href}");
        }
        assert!(matches!(parse("https://a.example/?x=1"), Link::Web(_)));
        assert!(matches!(
            parse(&"https://a.example/".repeat(200)),
            Link::Bad
        ));
    }

    #[test]
    fn percent_decoding_is_lenient() {
        assert_eq!(decode("a%40b%"), "a@b%");
        assert_eq!(decode("%4"), "%4");
        assert_eq!(decode("%ff"), "\u{fffd}");
        assert_eq!(decode_fully("%252540"), "@");
    }
}
