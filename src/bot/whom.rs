//! Whom a user means, by a Matrix ID or a link to one; and whom to invite, also by a mention or a sealed address. Any text may
//! come here.

use ruma::{OwnedUserId, UserId};

use super::parse;
use crate::{
    pseudonym::{Namespace, SenderKeyId},
    rewrite::{self, Named},
    sealed::SealedAddress,
    store::{User, UserPseudonym, Whom},
};

/// What the words say after `invite` (and a pseudonym).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// Whom.
    pub who: String,
    /// The room after `to`.
    pub room: Option<String>,
    /// Whether an ordinary invite is wanted.
    pub plain: bool,
    /// Something that starts with two dashes and is not known.
    pub unknown: Option<String>,
}

/// Whether the words begin with a person, and not with one of the user's own pseudonyms.
pub fn begins_with_person(user: &User, text: &str) -> bool {
    let words = parse::words(text);
    let Some(first) = words.iter().find(|word| flag(&word.text).is_none()) else {
        return false;
    };
    let own = |pseudonym: &UserPseudonym| pseudonym.ghost.as_str() == first.text;
    is_person(&first.text) && !user.pseudonyms.iter().any(own)
}

fn is_person(word: &str) -> bool {
    bare(word).starts_with("vz1:") || user_in(word).is_some()
}

/// Takes the words apart.
pub fn split(text: &str) -> Words {
    let mut words: Vec<String> = parse::words(text).into_iter().map(|it| it.text).collect();
    let (mut plain, mut unknown) = (false, None);
    words.retain(|word| match flag(word) {
        None => true,
        Some("plain") => {
            plain = true;
            false
        }
        Some(_) => {
            unknown = Some(word.clone());
            false
        }
    });
    let to = words.first().is_some_and(|word| is_person(word))
        && words
            .get(1)
            .is_some_and(|word| word.eq_ignore_ascii_case("to"));
    let room = to.then(|| words.split_off(2).join(" "));
    if to {
        words.truncate(1);
    }
    Words {
        who: words.join(" "),
        room,
        plain,
        unknown,
    }
}

/// The name of an option. Some keyboards make one dash of two.
pub fn flag(word: &str) -> Option<&str> {
    word.strip_prefix("--").or_else(|| word.strip_prefix('—'))
}

/// Reads whom a word means; `mentions` are the users whom the message mentions. Otherwise what to say.
pub fn read(word: &str, mentions: &[OwnedUserId]) -> Result<Whom, String> {
    let word = bare(word);
    if word.starts_with("vz1:") {
        return match SealedAddress::parse(word) {
            Ok(_) => Ok(Whom::Sealed(word.to_owned())),
            Err(error) => Err(format!("That is not a sealed address: {error}.")),
        };
    }
    match (user_in(word), mentions) {
        (Some(user), _) => Ok(Whom::User(user)),
        (None, [one]) => Ok(Whom::User(one.clone())),
        (None, []) => Err(
            "Whom? Give a Matrix ID (`@name:server`), a link to one, or a sealed address (`vz1:…`)."
                .to_owned(),
        ),
        (None, _) => Err("One at a time, please.".to_owned()),
    }
}

/// Why this user cannot be invited by `inviter`.
pub fn unfit(
    namespace: &Namespace,
    inviter: &UserId,
    user: &UserId,
    plain: bool,
) -> Option<&'static str> {
    if user == inviter {
        return Some("That is you.");
    }
    if namespace.role(user).is_some() {
        return Some(
            "That is one of Vizard's own users here, or somebody who is in the room already.",
        );
    }
    if !plain && SenderKeyId::of_ghost(user).is_some() {
        return Some(
            "That is the Matrix ID of a pseudonym, which hides nobody's account any better. `--plain` invites it as it is.",
        );
    }
    None
}

fn bare(word: &str) -> &str {
    word.trim_start_matches('<').trim_end_matches('>')
}

/// The user that a text is: a Matrix ID or a link to one.
pub fn user_in(text: &str) -> Option<OwnedUserId> {
    let text = bare(text.trim());
    if text.starts_with('@') {
        let user = UserId::parse(text).ok();
        return user.filter(|user| !user.localpart().is_empty());
    }
    match rewrite::named(text) {
        Some(Named::User(user)) => Some(user),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::{owned_user_id, server_name, user_id};

    use super::*;
    use crate::portal::JoinTarget;

    fn words(who: &str, room: Option<&str>, plain: bool) -> Words {
        Words {
            who: who.to_owned(),
            room: room.map(ToOwned::to_owned),
            plain,
            unknown: None,
        }
    }

    #[test]
    fn whom_and_where() {
        for (text, expected) in [
            ("@bob:b.example", words("@bob:b.example", None, false)),
            (
                "@bob:b.example --plain",
                words("@bob:b.example", None, true),
            ),
            ("—plain @bob:b.example", words("@bob:b.example", None, true)),
            (
                "@bob:b.example to #tea:c.example",
                words("@bob:b.example", Some("#tea:c.example"), false),
            ),
            (
                "https://matrix.to/#/@bob:b.example TO !room c.example",
                words(
                    "https://matrix.to/#/@bob:b.example",
                    Some("!room c.example"),
                    false,
                ),
            ),
            ("vz1:x to", words("vz1:x", Some(""), false)),
            ("Bob to tea", words("Bob to tea", None, false)),
            ("", words("", None, false)),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
        assert_eq!(split("@b:c --plian").unknown.as_deref(), Some("--plian"));
    }

    #[test]
    fn who_is_a_person() {
        let mut user = User::new(owned_user_id!("@alice:a.example"));
        for (text, expected) in [
            ("@bob:b.example", true),
            ("@g:a.example @bob:b.example", true),
            ("matrix:u/bob:b.example to x", true),
            ("<https://matrix.to/#/%40bob%3Ab.example>", true),
            ("vz1:whatever", true),
            ("2 @bob:b.example", false),
            ("Quiet Heron @bob:b.example", false),
            ("#tea:b.example @bob:b.example", false),
            ("https://matrix.to/#//x", false),
            ("https://matrix.to/#/!r:x///", false),
            ("https://matrix.to/#/!r:x//?via=b", false),
            ("@", false),
            ("@:b.example", false),
            ("", false),
        ] {
            assert_eq!(begins_with_person(&user, text), expected, "{text}");
        }
        user.pseudonyms.push(crate::store::UserPseudonym {
            portal: crate::store::PortalId([1; 16]),
            room: ruma::owned_room_id!("!one"),
            ghost: owned_user_id!("@g:a.example"),
            nick: "Quiet Heron".to_owned(),
            room_name: None,
            portal_room: None,
            called: Vec::new(),
        });
        assert!(!begins_with_person(&user, "@g:a.example @bob:b.example"));
        assert!(begins_with_person(&user, "@bob:b.example"));
    }

    #[test]
    fn readings() {
        let bob = owned_user_id!("@bob:b.example");
        for text in [
            "@bob:b.example",
            "matrix:u/bob:b.example",
            "<@bob:b.example>",
        ] {
            assert_eq!(read(text, &[]), Ok(Whom::User(bob.clone())), "{text}");
        }
        let mentioned = [bob.clone(), owned_user_id!("@carol:b.example")];
        assert_eq!(read("Bob", &mentioned[..1]), Ok(Whom::User(bob.clone())));
        assert!(read("Bob", &mentioned).is_err());
        assert!(read("Bob", &[]).is_err());
        assert!(read("vz1:b.example:AAAA", &[]).is_err_and(|text| text.contains("damaged")));
    }

    #[test]
    fn who_cannot_be_invited() {
        let namespace =
            Namespace::new(server_name!("a.example"), "_vizard_", "vizard").expect("valid");
        let alice = user_id!("@alice:a.example");
        let key = crate::pseudonym::SenderKey::from_seed(&[1; 32]).id();
        let theirs = UserId::parse(format!("@_vizard_{}:b.example", key.to_localpart()));
        let theirs = theirs.expect("a ghost");
        for (user, plain, fits) in [
            (user_id!("@bob:b.example"), false, true),
            (user_id!("@carol:a.example"), false, true),
            (alice, false, false),
            (user_id!("@vizard:a.example"), false, false),
            (&*namespace.ghost(&key), true, false),
            (&theirs, false, false),
            (&theirs, true, true),
        ] {
            let found = unfit(&namespace, alice, user, plain);
            assert_eq!(found.is_none(), fits, "{user}");
        }
    }

    /// Texts that are nearly links, and any others.
    fn texts() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            proptest::sample::select(vec![
                "https://matrix.to/#",
                "matrix:",
                "u/",
                "r/",
                "roomid/",
                "e/",
                "/",
                "//",
                "#",
                "!",
                "@",
                "$",
                "?",
                "via=",
                "x:y",
                "%",
                "%2F",
                "%00",
                "<",
                ">",
                " to ",
                "vz1:",
                "--",
            ])
            .prop_map(str::to_owned),
            any::<String>(),
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(text in texts(), after in texts()) {
            for text in [&text, &format!("https://matrix.to/#{after}")] {
                let _ = JoinTarget::parse(text);
                let _ = (user_in(text), read(text, &[]), split(text));
            }
        }
    }
}
