//! Intentional mentions (`m.mentions`).

use ruma::{OwnedUserId, UserId};

use super::{
    Translations,
    content::{Mentions, MentionsOut},
};

/// Translates mentions; who cannot be translated is dropped. A content without `m.mentions` mentions those
/// to whom it has pills, as clients did before there were intentional mentions.
pub(super) fn translate(
    mentions: Option<&Mentions<'_>>,
    pills: &[OwnedUserId],
    translations: &Translations,
) -> MentionsOut {
    let mut out = MentionsOut::default();
    match mentions {
        Some(mentions) => {
            out.room = mentions.room.unwrap_or(false);
            for person in mentions
                .user_ids
                .iter()
                .flatten()
                .filter_map(|user| <&UserId>::try_from(user.0.as_ref()).ok())
                .filter_map(|user| translations.users.get(user))
            {
                out.add(&person.id);
            }
        }
        None => {
            for user in pills {
                out.add(user);
            }
        }
    }
    out
}
