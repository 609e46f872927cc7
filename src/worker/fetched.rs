//! Events that were fetched because nobody delivered them, as the inbox holds them.
//!
//! They are stored before they are handled, like what was delivered. If Vizard dies after one was sent on, and it is redacted before
//! anybody looks again, its copy alone tells that it may have been sent, and as what: a homeserver shows it empty from then on.

use serde::{Deserialize, Serialize};

use crate::{clock::UnixMillis, event::Event, store::PortalId};

/// An array, so that nothing of the homeserver's is taken for it: a transaction is an object.
#[derive(Deserialize, Serialize)]
struct Fetched<E>(PortalId, Vec<E>);

/// How many events are stored as one.
pub(super) const MOST: usize = 100;

/// What is to be stored. A redaction is left out: it is never redacted itself, and its time comes with what it redacts.
pub(super) fn encode<'a>(
    portal: PortalId,
    events: impl Iterator<Item = &'a Event>,
) -> Option<Vec<u8>> {
    let events: Vec<&Event> = events
        .filter(|event| event.kind != "m.room.redaction")
        .collect();
    if events.is_empty() {
        return None;
    }
    serde_json::to_vec(&Fetched(portal, events)).ok()
}

/// What was stored, and for which portal; `None`: it is something else.
pub(super) fn decode(body: &[u8]) -> Option<(PortalId, Vec<Event>)> {
    if body.first() != Some(&b'[') {
        return None;
    }
    let Fetched(portal, events) = serde_json::from_slice(body).ok()?;
    Some((portal, events))
}

/// When an event that was fetched counts as received. Another server may claim that it will be sent tomorrow.
pub(super) fn received(event: &Event, now: UnixMillis) -> UnixMillis {
    event.origin_server_ts.min(now)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn what_was_fetched_comes_back_as_it_was() {
        let fetched = [
            r#"{"event_id":"$a","room_id":"!r:x","sender":"@u:x","type":"m.room.message","content":{"body":"\u0000<"},"origin_server_ts":7}"#,
            r#"{"event_id":"$b","room_id":"!r:x","sender":"@u:x","type":"m.room.member","state_key":"@u:x","content":{"membership":"leave"},
                "origin_server_ts":8,"unsigned":{"prev_content":{"membership":"join"},"transaction_id":"t"}}"#,
            r#"{"event_id":"$c","room_id":"!r:x","sender":"@u:x","type":"m.room.redaction","content":{},"redacts":"$a","origin_server_ts":9}"#,
        ]
        .map(|json| Event::decode(&RawValue::from_string(json.to_owned()).unwrap()).unwrap());
        let portal = PortalId([7; 16]);
        let body = encode(portal, fetched.iter()).unwrap();
        let (there, events) = decode(&body).unwrap();
        assert_eq!(there, portal);
        let shown = |events: &[Event]| events.iter().map(|e| format!("{e:?}")).collect::<Vec<_>>();
        assert_eq!(shown(&events), shown(&fetched[..2]));
        assert!(encode(portal, fetched[2..].iter()).is_none());
        assert!(decode(br#"{"events":[]}"#).is_none());
        // The door takes no such thing.
        assert!(super::super::decode(&body).is_none());
    }
}
