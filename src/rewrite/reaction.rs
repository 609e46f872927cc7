//! `m.reaction`, in both directions.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    Rewritten, Scrubbed, Translations,
    content::{Reaction, ReactionOut, RelationOut, is_empty, parse},
    limits::MAX_REACTION,
    relations, text,
};

/// The event type.
pub(super) const TYPE: &str = "m.reaction";

/// Rewrites a reaction for the other side. Reactions with a picture are not relayed: the picture's
/// `mxc` URI would name a server.
pub(super) fn rewrite(content: &RawValue, translations: &Translations) -> Rewritten {
    if is_empty(content) {
        return Rewritten::Nothing;
    }
    let Some(relation) = parse::<Reaction<'_>>(content).and_then(|reaction| reaction.relates_to)
    else {
        return malformed();
    };
    let is_annotation = relation
        .rel_type
        .as_ref()
        .is_some_and(|kind| kind.0 == "m.annotation");
    let Some(key) = relation.key.as_ref().filter(|_| is_annotation) else {
        return malformed();
    };
    let key = text::clean(&key.0);
    if key.trim().is_empty() {
        return malformed();
    }
    if key.len() > MAX_REACTION {
        return Rewritten::Refused("a reaction that is too long");
    }
    if matches!(text::strip_media(Cow::Borrowed(&*key)), Cow::Owned(_)) {
        return Rewritten::Unsupported("a reaction with a picture".to_owned());
    }
    let Some(target) = relations::target(Some(&relation), translations) else {
        return Rewritten::Unknown("the message this reacts to is not known here");
    };
    let out = ReactionOut {
        relates_to: RelationOut {
            rel_type: Some("m.annotation"),
            event_id: Some(target),
            key: Some(key),
            ..RelationOut::default()
        },
    };
    Scrubbed::of(TYPE, &out).map_or_else(malformed, Rewritten::Send)
}

fn malformed() -> Rewritten {
    Rewritten::Refused("a malformed reaction")
}
