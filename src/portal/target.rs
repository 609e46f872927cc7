//! The room that a person names: a room id, an alias, a `matrix.to` link or a `matrix:` URI.

use ruma::{OwnedRoomOrAliasId, OwnedServerName, RoomOrAliasId, ServerName};

use crate::rewrite::{self, Named};

/// A room and servers that may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTarget {
    /// The room.
    pub room: OwnedRoomOrAliasId,
    /// Servers through which it can be reached.
    pub via: Vec<OwnedServerName>,
}

/// The text names no room. The message is for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTargetError {
    /// It is a link to something else.
    #[error("That link does not lead to a room.")]
    NotARoom,
    /// It is nothing that names a room.
    #[error(
        "That is not a room. Give an alias (#room:server), a link (https://matrix.to/#/…, matrix:…) or a room id with a server that knows it (!id server.example)."
    )]
    Unreadable,
}

impl JoinTarget {
    /// Reads `text`, optionally followed by server names.
    pub fn parse(text: &str) -> Result<Self, ParseTargetError> {
        let mut words = text.split_whitespace();
        let first = words.next().ok_or(ParseTargetError::Unreadable)?;
        let first = first.trim_start_matches('<').trim_end_matches('>');
        let mut target = Self::parse_one(first)?;
        for word in words {
            let server = ServerName::parse(word.trim_start_matches("via="))
                .map_err(|_| ParseTargetError::Unreadable)?;
            if !target.via.contains(&server) {
                target.via.push(server);
            }
        }
        target.via.truncate(10);
        if target.via.is_empty() {
            target
                .via
                .extend(target.room.server_name().map(ToOwned::to_owned));
        }
        Ok(target)
    }

    fn parse_one(text: &str) -> Result<Self, ParseTargetError> {
        if text.len() > 1 && text.starts_with(['!', '#']) {
            let room = RoomOrAliasId::parse(text).map_err(|_| ParseTargetError::Unreadable)?;
            return Ok(Self {
                room,
                via: Vec::new(),
            });
        }
        match rewrite::named(text) {
            Some(Named::Room(room, via)) => Ok(Self { room, via }),
            Some(Named::User(_)) => Err(ParseTargetError::NotARoom),
            None => Err(ParseTargetError::Unreadable),
        }
    }

    /// The server to name in "asking …".
    #[must_use]
    pub fn server(&self) -> Option<&ServerName> {
        self.room
            .server_name()
            .or_else(|| self.via.first().map(|server| &**server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_way_to_name_a_room() {
        for (text, room, via) in [
            ("#pub:b.example", "#pub:b.example", "b.example"),
            ("!abc:b.example", "!abc:b.example", "b.example"),
            ("!abc:b.example c.example", "!abc:b.example", "c.example"),
            (
                "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM via=b.example",
                "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM",
                "b.example",
            ),
            (
                "https://matrix.to/#/%23pub:b.example",
                "#pub:b.example",
                "b.example",
            ),
            (
                "https://matrix.to/#/!abc:b.example?via=c.example",
                "!abc:b.example",
                "c.example",
            ),
            (
                "<https://matrix.to/#/#pub:b.example>",
                "#pub:b.example",
                "b.example",
            ),
            ("matrix:r/pub:b.example", "#pub:b.example", "b.example"),
            (
                "matrix:roomid/abc:b.example?via=c.example",
                "!abc:b.example",
                "c.example",
            ),
            (
                "https://matrix.to/#/#pub:b.example?via=c.example",
                "#pub:b.example",
                "c.example",
            ),
            (
                "https://matrix.to/#/!abc:b.example/$e?via=c.example",
                "!abc:b.example",
                "c.example",
            ),
            // Empty segments.
            (
                "https://matrix.to/#/!abc:b.example///",
                "!abc:b.example",
                "b.example",
            ),
            (
                "https://matrix.to/#/!abc:b.example//?via=c.example",
                "!abc:b.example",
                "c.example",
            ),
        ] {
            let target = JoinTarget::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(target.room.as_str(), room, "{text}");
            assert_eq!(
                target.via.first().map(|server| server.as_str()),
                Some(via),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_room() {
        assert_eq!(
            JoinTarget::parse("https://matrix.to/#/@bob:b.example"),
            Err(ParseTargetError::NotARoom)
        );
        for text in [
            "",
            "hello",
            "!",
            "#",
            "https://example.org",
            "#a:b c d!",
            "https://matrix.to/#///x",
            "https://matrix.to/#/",
            "https://matrix.to/#//",
            "https://matrix.to/#/!abc:b.example//$e",
            "matrix:",
            "matrix:r",
            "matrix:r/",
        ] {
            assert_eq!(
                JoinTarget::parse(text),
                Err(ParseTargetError::Unreadable),
                "{text}"
            );
        }
    }
}
