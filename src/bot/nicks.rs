//! Names that would tell who is behind a pseudonym, or which pseudonyms belong together.

use ruma::UserId;

use crate::store::{PortalId, UserPseudonym};

/// What a name would tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// The user's own name.
    Own,
    /// The name of another pseudonym of theirs.
    Another,
}

impl Telling {
    /// The explanation for the user.
    pub fn explain(self) -> &'static str {
        match self {
            Self::Own => {
                "That name has your own name in it, so everybody in the room could tell who you are. Please choose one that says nothing about you."
            }
            Self::Another => {
                "You use that name in another room, so people could tell that both pseudonyms are yours. Please choose a different one."
            }
        }
    }
}

/// Whether `nick`, in the portal `here`, would tell something. Names are compared by their letters and digits
/// alone; the user's own name counts as a part too.
pub fn telling(
    nick: &str,
    user: &UserId,
    display_name: Option<&str>,
    pseudonyms: &[UserPseudonym],
    here: Option<PortalId>,
) -> Option<Telling> {
    let folded = fold(nick);
    let own = [Some(user.localpart()), Some(user.as_str()), display_name];
    if own
        .into_iter()
        .flatten()
        .any(|own| has_part(&folded, &fold(own)))
    {
        return Some(Telling::Own);
    }
    let squeezed = folded.concat();
    pseudonyms
        .iter()
        .filter(|other| Some(other.portal) != here)
        .any(|other| fold(&other.nick).concat() == squeezed && !squeezed.is_empty())
        .then_some(Telling::Another)
}

/// The words of a name in lower case, split at whatever is no letter or digit.
fn fold(name: &str) -> Vec<String> {
    name.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

/// Whether the words of `part` stand in `name`, side by side, or the two are the same when run together.
fn has_part(name: &[String], part: &[String]) -> bool {
    !part.is_empty()
        && (name.windows(part.len()).any(|window| window == part) || name.concat() == part.concat())
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;

    #[test]
    fn names_that_tell() {
        let alice = user_id!("@alice.w:a.example");
        let others = [UserPseudonym {
            portal: PortalId([1; 16]),
            room: room_id!("!one").to_owned(),
            ghost: user_id!("@g:a.example").to_owned(),
            nick: "Quiet Heron".to_owned(),
            room_name: None,
            called: Vec::new(),
            portal_room: None,
        }];
        for (nick, expected) in [
            ("Brave Fox", None),
            ("Alice", None),
            ("alice.w", Some(Telling::Own)),
            ("Alice W", Some(Telling::Own)),
            ("AliceW", Some(Telling::Own)),
            ("the real Alice W", Some(Telling::Own)),
            ("Wonderland Alice", None),
            ("Alice Wonder", Some(Telling::Own)),
            ("ALICE  WONDER!", Some(Telling::Own)),
            ("quiet heron", Some(Telling::Another)),
            ("Quiet-Heron", Some(Telling::Another)),
            ("QuietHeron", Some(Telling::Another)),
            ("Quiet Heron II", None),
            ("👻", None),
        ] {
            let found = telling(nick, alice, Some("Alice Wonder"), &others, None);
            assert_eq!(found, expected, "{nick}");
        }
        let here = Some(PortalId([1; 16]));
        assert_eq!(telling("Quiet Heron", alice, None, &others, here), None);
        assert_eq!(telling("Jo", alice, Some("…"), &others, here), None);
    }
}
