//! Display names of ghosts: derived from the sender key, or chosen by the user and cleaned.
//!
//! A derived name needs no knowledge of the room and says nothing about the user.

use sha2::{Digest as _, Sha256};

use super::SenderKeyId;

const ADJECTIVES: &str = include_str!("names/adjectives.txt");
const ANIMALS: &str = include_str!("names/animals.txt");

/// The longest name, in characters.
pub const MAX_NICK: usize = 64;

/// Why a text will not do as a name. The messages are for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NickError {
    /// Nothing of it can be seen.
    #[error("A name needs at least one character that can be seen.")]
    Empty,
    /// It has more than [`MAX_NICK`] characters.
    #[error("That name is too long: at most 64 characters, please.")]
    TooLong,
    /// It has characters that control the text around it or that cannot be seen.
    #[error("That name has control characters or invisible ones. Please leave them out.")]
    Control,
    /// It reads like a Matrix ID, a room or a link.
    #[error("That name reads like a Matrix address or a link. Please choose a plain name.")]
    LooksLikeAnAddress,
}

/// The name derived from a sender key: adjective and animal, such as `Quiet Heron`.
#[must_use]
pub fn nick_of(key: &SenderKeyId) -> String {
    let digest = Sha256::new()
        .chain_update(b"vizard nick\0")
        .chain_update(key.as_bytes())
        .finalize();
    format!(
        "{} {}",
        pick(ADJECTIVES, digest[0]),
        pick(ANIMALS, digest[1])
    )
}

/// The line of a list, capitalised.
fn pick(list: &str, index: u8) -> String {
    let mut word = list
        .lines()
        .nth(usize::from(index))
        .unwrap_or("masked")
        .to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}

/// The name that a user chose: trimmed, runs of white space made one space.
pub fn clean_nick(text: &str) -> Result<String, NickError> {
    if text
        .chars()
        .any(|c| (c.is_control() && !c.is_whitespace()) || is_treacherous(c))
    {
        return Err(NickError::Control);
    }
    let nick = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if !nick.chars().any(is_visible) {
        return Err(NickError::Empty);
    }
    if nick.chars().count() > MAX_NICK {
        return Err(NickError::TooLong);
    }
    if looks_like_an_address(&nick) {
        return Err(NickError::LooksLikeAnAddress);
    }
    Ok(nick)
}

/// Characters that turn the writing direction, hide, or mean nothing by themselves: they make a name look
/// like another one. (The joiners of emoji and of some scripts are not among them.)
fn is_treacherous(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}'
        | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}'
        | '\u{e0000}'..='\u{10ffff}')
}

/// Whether a character shows by itself (joiners, variation selectors and combining marks do not).
fn is_visible(c: char) -> bool {
    !c.is_whitespace()
        && !matches!(c, '\u{200c}' | '\u{200d}' | '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}')
}

/// `@user:server`, `#alias:server`, `!room:server`, also inside a word, and links.
fn looks_like_an_address(nick: &str) -> bool {
    nick.contains("://")
        || nick.to_lowercase().contains("matrix.to")
        || nick.to_lowercase().contains("matrix:")
        || nick.split(' ').any(|word| {
            word.match_indices(['@', '＠', '#', '!', '$'])
                .filter_map(|(at, sigil)| word.get(at + sigil.len()..))
                .filter_map(|rest| rest.split_once([':', '：']))
                .any(|(local, server)| !local.is_empty() && !server.is_empty())
        })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{pseudonym::SenderKey, rng::Rng};

    #[test]
    fn lists_are_whole() {
        for list in [ADJECTIVES, ANIMALS] {
            let words: HashSet<_> = list.lines().collect();
            assert_eq!(words.len(), 256);
            assert_eq!(list.lines().count(), 256);
            for word in words {
                assert!(
                    (3..=13).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase()),
                    "{word}"
                );
            }
        }
    }

    #[test]
    fn name_follows_from_the_key() {
        let key = SenderKey::from_seed(&[1; 32]).id();
        assert_eq!(nick_of(&key), nick_of(&key));
        let rng = Rng::seeded(1);
        let names: HashSet<_> = (0..200)
            .map(|_| nick_of(&SenderKey::generate(&rng).id()))
            .collect();
        assert!(names.len() > 190);
        for name in names {
            assert_eq!(clean_nick(&name).as_deref(), Ok(name.as_str()));
            assert!(
                name.split(' ')
                    .all(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
            );
        }
    }

    #[test]
    fn chosen_names_are_cleaned() {
        for (text, nick) in [
            ("Quiet Heron", "Quiet Heron"),
            ("  Quiet \t  Heron\n", "Quiet Heron"),
            ("ליאור", "ליאור"),
            ("👩‍🚀 Jo", "👩‍🚀 Jo"),
            ("Jo @ work", "Jo @ work"),
            ("10:30 #1", "10:30 #1"),
            ("Hi!", "Hi!"),
            ("e\u{301}", "e\u{301}"),
        ] {
            assert_eq!(clean_nick(text).as_deref(), Ok(nick), "{text:?}");
        }
        for (text, error) in [
            ("", NickError::Empty),
            (" \t\n ", NickError::Empty),
            ("\u{200d}", NickError::Empty),
            ("\u{301}\u{302}", NickError::Empty),
            ("a\0b", NickError::Control),
            ("a\u{7}", NickError::Control),
            ("\u{202e}ecila", NickError::Control),
            ("\u{2066}x\u{2069}", NickError::Control),
            ("a\u{200b}b", NickError::Control),
            ("\u{3164}", NickError::Control),
            ("@alice:a.example", NickError::LooksLikeAnAddress),
            ("I am (@alice:a.example)", NickError::LooksLikeAnAddress),
            ("#pub:b.example", NickError::LooksLikeAnAddress),
            ("https://a.example", NickError::LooksLikeAnAddress),
            ("matrix.to/x", NickError::LooksLikeAnAddress),
        ] {
            assert_eq!(clean_nick(text), Err(error), "{text:?}");
        }
        assert!(clean_nick(&"é".repeat(64)).is_ok());
        assert_eq!(clean_nick(&"é".repeat(65)), Err(NickError::TooLong));
    }

    proptest! {
        #[test]
        fn cleaning_is_final(text: String) {
            if let Ok(nick) = clean_nick(&text) {
                prop_assert!(nick.chars().count() <= MAX_NICK);
                prop_assert!(!nick.chars().any(char::is_control));
                prop_assert_eq!(clean_nick(&nick), Ok(nick.clone()));
            }
        }
    }
}
