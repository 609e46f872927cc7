//! Which pseudonym a user means: a number of the list, a room, or a nick.

use std::sync::Arc;

use super::{
    call::Asked,
    parse::{self, Word},
    reply::{Reply, tidy},
};
use crate::{
    portal::{Deps, JoinTarget, PortalError},
    store::{Portal, User, UserPseudonym},
};

/// What a text may mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This one.
    One(usize),
    /// Any of these.
    Several(Vec<usize>),
    /// None.
    Nothing,
}

/// The pseudonym that `text` names, as an index: its number in the list, its room's id (also as a link) or
/// name, its ghost, or its nick. Case does not matter in names.
pub fn find(pseudonyms: &[UserPseudonym], text: &str) -> Found {
    let text = text.trim();
    if let Ok(number) = text.trim_start_matches('#').trim_end_matches('.').parse() {
        let number: usize = number;
        if let Some(index) = number.checked_sub(1).filter(|at| *at < pseudonyms.len()) {
            return Found::One(index);
        }
    }
    let room = JoinTarget::parse(text).ok().map(|target| target.room);
    let name = text.to_lowercase();
    let names = |pseudonym: &UserPseudonym| {
        room.as_ref()
            .is_some_and(|room| room.as_str() == pseudonym.room.as_str())
            || pseudonym.ghost.as_str() == text
            || pseudonym.nick.to_lowercase() == name
            || pseudonym
                .room_name
                .as_ref()
                .is_some_and(|room| !name.is_empty() && room.to_lowercase() == name)
    };
    let found: Vec<_> = (0..pseudonyms.len())
        .filter(|index| names(&pseudonyms[*index]))
        .collect();
    match found[..] {
        [] => Found::Nothing,
        [one] => Found::One(one),
        _ => Found::Several(found),
    }
}

/// The pseudonym that the first words name, and where the rest begins. As many words as possible are taken,
/// so that a nick of two words needs no quotes.
pub fn find_first(pseudonyms: &[UserPseudonym], words: &[Word]) -> (Found, usize) {
    for count in (1..=words.len()).rev() {
        let found = find(pseudonyms, &parse::join(&words[..count]));
        if found != Found::Nothing {
            return (found, words[count - 1].end);
        }
    }
    (Found::Nothing, 0)
}

/// The portal that the first words of `rest` name, and what follows them; or what to say instead.
pub async fn select<'a>(
    deps: &Deps,
    user: &User,
    rest: &'a str,
    usage: &str,
) -> Result<Asked<(Arc<Portal>, &'a str)>, PortalError> {
    if user.pseudonyms.is_empty() {
        return Ok(Asked::Answered(Reply::say(
            "You have no pseudonym yet. `join #room:server` makes one.",
        )));
    }
    let words = parse::words(rest);
    let (mut found, mut end) = find_first(&user.pseudonyms, &words);
    if let (Found::Nothing, Some(first)) = (&found, words.first())
        && let Some(index) = find_alias(deps, user, &first.text).await?
    {
        (found, end) = (Found::One(index), first.end);
    }
    let index = match found {
        Found::One(index) => index,
        found => return Ok(Asked::Answered(which(user, &found, rest, usage))),
    };
    match deps.portals.get(user.pseudonyms[index].portal).await {
        Ok(portal) => Ok(Asked::Found((portal, rest[end..].trim()))),
        Err(PortalError::Gone) => Ok(Asked::Answered(Reply::say(
            "That pseudonym is gone already.",
        ))),
        Err(error) => Err(error),
    }
}

/// The pseudonym in the room of this alias, as the portals show it, or else as its server says.
async fn find_alias(deps: &Deps, user: &User, text: &str) -> Result<Option<usize>, PortalError> {
    let Ok(target) = JoinTarget::parse(text) else {
        return Ok(None);
    };
    let Ok(alias) = ruma::OwnedRoomAliasId::try_from(target.room) else {
        return Ok(None);
    };
    for (index, pseudonym) in user.pseudonyms.iter().enumerate() {
        match deps.portals.get(pseudonym.portal).await {
            Ok(portal) if portal.shown.alias.as_deref() == Some(alias.as_str()) => {
                return Ok(Some(index));
            }
            Ok(_) | Err(PortalError::Gone) => {}
            Err(error) => return Err(error),
        }
    }
    // An alias that cannot be resolved now names nothing that could be acted on.
    let room = deps.homeserver.resolve_alias(&deps.bot, &alias).await.ok();
    Ok(room.and_then(|(room, _)| {
        user.pseudonyms
            .iter()
            .position(|pseudonym| pseudonym.room == room)
    }))
}

/// The question which one is meant.
fn which(user: &User, found: &Found, text: &str, usage: &str) -> Reply {
    match found {
        Found::Several(indexes) => {
            let numbers: Vec<_> = indexes
                .iter()
                .map(|index| (index + 1).to_string())
                .collect();
            Reply::say(&format!(
                "That could be several of your pseudonyms: {}. Please give the number; `list` shows them.",
                numbers.join(", ")
            ))
        }
        _ if text.is_empty() => Reply::say(&format!(
            "Which pseudonym? Give its number in `list`, its room or its nick: `{usage}`. You have {}.",
            user.pseudonyms.len()
        )),
        _ => Reply::say("None of your pseudonyms is called “")
            .quote(&tidy(text, 60))
            .and("”. `list` shows them; give a number, a room or a nick."),
    }
}

#[cfg(test)]
mod tests {
    use ruma::{OwnedRoomId, OwnedUserId};

    use super::*;
    use crate::store::PortalId;

    fn pseudonym(number: u8, room: &str, nick: &str, name: Option<&str>) -> UserPseudonym {
        UserPseudonym {
            portal: PortalId([number; 16]),
            room: OwnedRoomId::try_from(room).expect("a room"),
            ghost: OwnedUserId::try_from(format!("@g{number}:a.example")).expect("a user"),
            nick: nick.to_owned(),
            room_name: name.map(ToOwned::to_owned),
            portal_room: None,
            called: Vec::new(),
        }
    }

    fn some() -> Vec<UserPseudonym> {
        vec![
            pseudonym(1, "!one:b.example", "Quiet Heron", Some("Knitting")),
            pseudonym(2, "!two", "Brave Fox", None),
            pseudonym(3, "!three:c.example", "7", Some("Chess")),
            pseudonym(4, "!four:c.example", "Merry Owl", Some("chess")),
        ]
    }

    #[test]
    fn every_way_to_name_a_pseudonym() {
        for (text, expected) in [
            ("1", Found::One(0)),
            ("#2", Found::One(1)),
            ("3.", Found::One(2)),
            ("0", Found::Nothing),
            ("5", Found::Nothing),
            ("7", Found::One(2)),
            ("99999999999999999999999", Found::Nothing),
            ("!one:b.example", Found::One(0)),
            ("!two", Found::One(1)),
            ("!two b.example", Found::One(1)),
            ("https://matrix.to/#/!two?via=b.example", Found::One(1)),
            ("matrix:roomid/one:b.example", Found::One(0)),
            ("@g4:a.example", Found::One(3)),
            ("quiet heron", Found::One(0)),
            ("QUIET HERON", Found::One(0)),
            ("quiet", Found::Nothing),
            ("knitting", Found::One(0)),
            ("Chess", Found::Several(vec![2, 3])),
            ("", Found::Nothing),
            ("#pub:b.example", Found::Nothing),
        ] {
            assert_eq!(find(&some(), text), expected, "{text}");
        }
        assert_eq!(find(&[], "1"), Found::Nothing);
    }

    #[test]
    fn the_longest_name_is_taken() {
        for (text, expected, rest) in [
            ("2 Sly Cat", Found::One(1), "Sly Cat"),
            ("Quiet Heron Sly Cat", Found::One(0), "Sly Cat"),
            ("\"Quiet Heron\" Sly Cat", Found::One(0), "Sly Cat"),
            ("!two b.example", Found::One(1), ""),
            ("Sly Cat", Found::Nothing, "Sly Cat"),
            ("", Found::Nothing, ""),
        ] {
            let (found, end) = find_first(&some(), &parse::words(text));
            assert_eq!(found, expected, "{text}");
            assert_eq!(text[end..].trim(), rest, "{text}");
        }
    }
}
