//! Event type → who rewrites it. Both directions take the same way: what is harmless is the same, and what
//! differs is in the [`Translations`].

use serde_json::value::RawValue;

use super::{Rewritten, Translations, attachment, kinds, limits::MAX_INPUT, message, reaction};

/// Rewrites a content for the other side.
pub(super) fn rewrite(
    event_type: &str,
    content: &RawValue,
    translations: &Translations,
) -> Rewritten {
    match event_type {
        _ if content.get().len() > MAX_INPUT => Rewritten::Refused("a message that is too long"),
        message::TYPE => message::rewrite(content, translations),
        attachment::STICKER => attachment::sticker(content, translations),
        reaction::TYPE => reaction::rewrite(content, translations),
        other => kinds::other(other, content),
    }
}
