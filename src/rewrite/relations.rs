//! Relations of a message: replies and threads. (Edits and reactions are more than a relation: see
//! `message` and `reaction`.)

use ruma::{EventId, OwnedEventId};

use super::{
    Translations,
    content::{InReplyToOut, Relation, RelationOut, Text},
};

/// The event there for the event here.
pub(super) fn event<'t>(
    id: Option<&Text<'_>>,
    translations: &'t Translations,
) -> Option<&'t EventId> {
    let id = <&EventId>::try_from(id?.0.as_ref()).ok()?;
    translations.events.get(id).map(OwnedEventId::as_ref)
}

/// What an edit or a reaction acts on, there.
pub(super) fn target<'t>(
    relation: Option<&Relation<'_>>,
    translations: &'t Translations,
) -> Option<&'t EventId> {
    event(relation?.event_id.as_ref(), translations)
}

/// The reply or thread relation there. Unknown targets leave the message without the relation; kinds of
/// relation that are not known do not pass.
pub(super) fn translate<'t>(
    relation: Option<&Relation<'_>>,
    translations: &'t Translations,
) -> Option<RelationOut<'t>> {
    let relation = relation?;
    let reply = relation
        .in_reply_to
        .as_ref()
        .and_then(|reply| event(reply.event_id.as_ref(), translations));
    let is_thread = relation
        .rel_type
        .as_ref()
        .is_some_and(|kind| kind.0 == "m.thread");
    let root = if is_thread {
        event(relation.event_id.as_ref(), translations)
    } else {
        None
    };
    match (root, reply) {
        (Some(root), reply) => Some(RelationOut {
            rel_type: Some("m.thread"),
            event_id: Some(root),
            // Clients without threads show a reply: to the root, where the last message is not known.
            is_falling_back: Some(reply.is_none() || relation.is_falling_back.unwrap_or(false)),
            in_reply_to: Some(InReplyToOut {
                event_id: reply.unwrap_or(root),
            }),
            key: None,
        }),
        // In a thread whose root is unknown, only a reply that was meant as one is kept.
        (None, Some(reply)) if !(is_thread && relation.is_falling_back == Some(true)) => {
            Some(RelationOut {
                in_reply_to: Some(InReplyToOut { event_id: reply }),
                ..RelationOut::default()
            })
        }
        _ => None,
    }
}

/// Whether a relation makes a message a reply, so that its body may start with a reply fallback.
pub(super) fn is_reply(relation: Option<&Relation<'_>>) -> bool {
    relation.is_some_and(|relation| relation.in_reply_to.is_some())
}
