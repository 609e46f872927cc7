//! Rooms and servers that the admin denies (`access.denied_rooms`, `access.denied_servers`).
//!
//! Asked before a join for the room as it was named, and again for the room to which an alias leads.

use ruma::{OwnedServerName, RoomOrAliasId};

use super::Access;

/// Why a room may not be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The room is denied.
    Room,
    /// Its server is, or every server through which it could be reached.
    Server,
}

impl Access {
    /// Whether a room may not be joined. `via` are the servers through which it would be reached.
    #[must_use]
    pub fn denial(&self, room: &RoomOrAliasId, via: &[OwnedServerName]) -> Option<Denial> {
        let denied = |patterns: &[String], text: &str| {
            patterns.iter().any(|pattern| matches_glob(pattern, text))
        };
        if denied(&self.denied_rooms, room.as_str()) {
            return Some(Denial::Room);
        }
        // A port does not make it another server's room.
        let server = |server: &ruma::ServerName| {
            denied(&self.denied_servers, server.as_str())
                || denied(&self.denied_servers, server.host())
        };
        let refused = match room.server_name() {
            Some(own) => server(own),
            None => !via.is_empty() && via.iter().all(|via| server(via)),
        };
        refused.then_some(Denial::Server)
    }
}

/// Whether `text` is what `pattern` describes, in which `*` stands for any characters and `?` for one. Case
/// does not matter. Takes time proportional to the product of the lengths at worst.
#[must_use]
pub fn matches_glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let (mut at, mut in_pattern) = (0, 0);
    // Where to go on when the rest does not match: the last `*`, and how much it stands for.
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some('*') => {
                retry = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(c) if *c == '?' || *c == text[at] => {
                in_pattern += 1;
                at += 1;
            }
            _ => {
                let Some((star, swallowed)) = retry else {
                    return false;
                };
                retry = Some((star, swallowed + 1));
                in_pattern = star + 1;
                at = swallowed + 1;
            }
        }
    }
    pattern[in_pattern..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.example", "b.example", true),
            ("*.example", "example", false),
            ("*.EXAMPLE", "B.example", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("**a**", "bab", true),
            ("#spam*:*", "#spammers:b.example", true),
            ("é?", "éa", true),
        ] {
            assert_eq!(matches_glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn rooms_and_servers_are_denied() {
        let access = Access {
            denied_rooms: vec!["#spam*:*".to_owned(), "!bad:b.example".to_owned()],
            denied_servers: vec!["evil.example".to_owned(), "*.evil.example".to_owned()],
            ..Access::default()
        };
        for (room, via, expected) in [
            ("#pub:b.example", &["b.example"][..], None),
            ("#spam:b.example", &["b.example"], Some(Denial::Room)),
            ("!bad:b.example", &[], Some(Denial::Room)),
            ("#pub:evil.example", &[], Some(Denial::Server)),
            ("#pub:evil.example:8448", &[], Some(Denial::Server)),
            ("#pub:x.evil.example", &["b.example"], Some(Denial::Server)),
            ("!pub", &[], None),
            ("!pub", &["evil.example"], Some(Denial::Server)),
            ("!pub", &["evil.example", "b.example"], None),
        ] {
            let room = RoomOrAliasId::parse(room).expect("a room");
            let via: Vec<_> = via
                .iter()
                .map(|via| OwnedServerName::try_from(*via).expect("a server"))
                .collect();
            assert_eq!(access.denial(&room, &via), expected, "{room}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(pattern: String, text: String) {
            let _ = matches_glob(&pattern, &text);
            prop_assert!(matches_glob("*", &text));
        }
    }
}
