//! The door: a transaction is durable before it is answered. What it says beside its events are hints (`hints`), which are
//! passed on and not stored.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use super::hints::Hints;
use crate::{
    clock::{Clock, UnixMillis},
    event::{Event, hints::Field},
    pseudonym::Namespace,
    store::{PortalId, Store, StoreError},
};

/// Why a transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The body is not JSON, or not an object with an array of events.
    #[error("the transaction is not readable")]
    NotJson,
    /// It could not be stored; the homeserver sends it again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A transaction on its way from the door to the dispatcher.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) seq: i64,
    pub(super) received: UnixMillis,
    pub(super) events: Vec<Event>,
    /// The only portal that it is for, if its events were fetched and not delivered.
    pub(super) portal: Option<PortalId>,
    /// Its part of [`EVENTS`], until it is dispatched. `None`: it was read from the store.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// What the dispatcher listens to.
#[derive(Debug)]
pub(super) struct Arrivals {
    receiver: mpsc::Receiver<Arrival>,
    overflow: Arc<Notify>,
}

impl Arrivals {
    /// The next transaction; `None`: some did not fit, they are in the store alone.
    pub(super) async fn next(&mut self) -> Option<Arrival> {
        tokio::select! {
            arrival = self.receiver.recv() => match arrival {
                Some(arrival) => Some(arrival),
                // The door is closed for good.
                None => std::future::pending().await,
            },
            () = self.overflow.notified() => None,
        }
    }
}

/// Takes transactions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    store: Store,
    clock: Clock,
    arrivals: mpsc::Sender<Arrival>,
    overflow: Arc<Notify>,
    room: Arc<Semaphore>,
    hints: Hints,
    namespace: Arc<Namespace>,
}

/// Transactions between door and dispatcher; beyond it the dispatcher reads them from the store.
const WAITING: usize = 64;
/// Events between door and dispatcher. Further ones wait with the homeserver, which keeps them as safely, but not for long:
/// then they are stored, and the dispatcher reads them from there.
const EVENTS: u32 = 1024;
const PATIENCE: Duration = Duration::from_secs(1);
/// A homeserver has one transaction in flight, and what happens meanwhile goes into the next. One that brings no more than a few
/// echoes of what Vizard's own users said is answered so much later, so that a conversation comes back in a few transactions instead
/// of one for each message: a fifth of what a message costs Synapse is the transaction. Nobody waits for an echo; what somebody else
/// says in the meantime waits at most so long.
const BREATH: Duration = Duration::from_millis(40);
const FEW: usize = 16;

impl Intake {
    /// The door, and what the dispatcher listens to.
    pub(super) fn new(
        store: Store,
        clock: Clock,
        namespace: Arc<Namespace>,
        hints: Hints,
    ) -> (Self, Arrivals) {
        let (arrivals, receiver) = mpsc::channel(WAITING);
        let overflow: Arc<Notify> = Arc::default();
        let theirs = Arrivals {
            receiver,
            overflow: overflow.clone(),
        };
        let intake = Self {
            store,
            clock,
            arrivals,
            overflow,
            room: Arc::new(Semaphore::new(EVENTS as usize)),
            hints,
            namespace,
        };
        (intake, theirs)
    }

    /// What is done about hints.
    #[must_use]
    pub fn hints(&self) -> Hints {
        self.hints.clone()
    }

    /// Stores a transaction. When this returns, nothing of it can be lost.
    pub async fn accept(&self, body: Vec<u8>) -> Result<(), Refused> {
        let read = Body::read(&body).ok_or(Refused::NotJson)?;
        let (events, skipped) = read.events();
        let stored = read.without_hints();
        if !read.hints.is_empty() {
            self.hints.take(&read.hints);
        }
        let body = stored.unwrap_or(body);
        metrics::counter!("vizard_transactions_total").increment(1);
        metrics::counter!("vizard_events_total", "outcome" => "accepted")
            .increment(events.len() as u64);
        if skipped > 0 {
            metrics::counter!("vizard_events_total", "outcome" => "malformed").increment(skipped);
        }
        if events.is_empty() {
            return Ok(());
        }
        let received = self.clock.now();
        tracing::debug!(events = events.len(), skipped, "a transaction came");
        let room = self.room_for(events.len()).await;
        let seq = self.store.push_inbox(body).await?;
        let echoes = are_echoes(&self.namespace, &events);
        let arrival = Arrival {
            seq,
            received,
            events,
            portal: None,
            room,
        };
        if arrival.room.is_none() || self.arrivals.try_send(arrival).is_err() {
            // There is no room: the dispatcher finds the transaction in the store, and is told to look.
            self.overflow.notify_one();
        }
        // What came is being worked on already.
        if echoes {
            self.clock.sleep(BREATH).await;
        }
        Ok(())
    }

    /// Waits until so many events have room in memory. `None`: that takes long.
    async fn room_for(&self, events: usize) -> Option<OwnedSemaphorePermit> {
        let events = u32::try_from(events).unwrap_or(EVENTS).min(EVENTS);
        let room = Arc::clone(&self.room).acquire_many_owned(events);
        tokio::select! {
            biased;
            room = room => room.ok(),
            () = self.clock.sleep(PATIENCE) => None,
        }
    }
}

/// Whether these are a few events of Vizard's own users, and nothing else.
fn are_echoes(namespace: &Namespace, events: &[Event]) -> bool {
    let mut senders = events.iter().map(|event| &event.sender);
    events.len() <= FEW && senders.all(|sender| namespace.role(sender).is_some())
}

/// The readable events of a transaction and the number of others; `None` when it is not a transaction at all.
#[must_use]
pub fn decode(body: &[u8]) -> Option<(Vec<Event>, u64)> {
    Body::read(body).map(|body| body.events())
}

/// A transaction's parts as they came.
#[derive(Default)]
struct Body<'a> {
    events: Vec<&'a RawValue>,
    hints: Vec<(Field, &'a RawValue)>,
}

impl<'a> Body<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    fn events(&self) -> (Vec<Event>, u64) {
        let decoded = self.events.iter().map(|raw| Event::decode(raw));
        let events: Vec<Event> = decoded.flatten().collect();
        let skipped = (self.events.len() - events.len()) as u64;
        (events, skipped)
    }

    /// What is to be stored, if it is not all of it.
    fn without_hints(&self) -> Option<Vec<u8>> {
        if self.hints.is_empty() {
            return None;
        }
        let events: Vec<&str> = self.events.iter().map(|raw| raw.get()).collect();
        Some(format!(r#"{{"events":[{}]}}"#, events.join(",")).into_bytes())
    }
}

/// By hand, because a hint may stand there under two names, or be anything.
impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = Body<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a transaction")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Body<'de>, M::Error> {
                let mut body = Body::default();
                while let Some(Name(name)) = map.next_key()? {
                    if name == "events" {
                        body.events = map.next_value()?;
                    } else if let Some(field) = Field::named(&name) {
                        body.hints.push((field, map.next_value()?));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(body)
            }
        }
        deserializer.deserialize_map(Parts)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::{Body, FEW, are_echoes, decode};
    use crate::{event::hints::Field, pseudonym::Namespace};

    #[test]
    fn nobody_waits_for_echoes() {
        let namespace =
            Namespace::new(ruma::server_name!("a"), "_vizard_", "vizard").expect("valid");
        let events = |senders: &[&str]| {
            let event = |sender| {
                format!(
                    r#"{{"event_id":"$e","room_id":"!r:a","sender":"{sender}","type":"m.x","content":{{}}}}"#
                )
            };
            let events: Vec<String> = senders.iter().map(event).collect();
            let body = format!(r#"{{"events":[{}]}}"#, events.join(","));
            decode(body.as_bytes()).expect("a transaction").0
        };
        let ours = ["@vizard:a", "@_vizard_p_x:a", "@_vizard_m_x:a"];
        assert!(are_echoes(&namespace, &events(&ours)));
        for other in ["@alice:a", "@_vizard_p_x:b"] {
            let mixed = [&ours[..], &[other]].concat();
            assert!(!are_echoes(&namespace, &events(&mixed)), "{other}");
        }
        let many = vec![ours[0]; FEW + 1];
        assert!(
            !are_echoes(&namespace, &events(&many)),
            "the homeserver is behind"
        );
    }

    #[test]
    fn one_bad_event_does_not_spoil_the_rest() {
        let good =
            r#"{"event_id":"$e","room_id":"!r:a","sender":"@u:a","type":"m.x","content":{}}"#;
        let long = format!(
            r#"{{"event_id":"${}","room_id":"!r:a","sender":"@u:a","type":"m.x","content":{{}}}}"#,
            "e".repeat(300)
        );
        let body = format!(
            r#"{{"events":[{good},{{}},3,null,{long},{{"event_id":1}},{good}],"ephemeral":[{{}}]}}"#
        );
        let (events, skipped) = decode(body.as_bytes()).expect("a transaction");
        assert_eq!((events.len(), skipped), (2, 5));
        assert!(decode(b"[1]").is_none_or(|(events, _)| events.is_empty()));
        assert!(decode(b"{").is_none());
        assert_eq!(decode(b"{}").map(|(events, _)| events.len()), Some(0));
    }
    #[test]
    fn hints_are_found_whatever_they_hold_and_are_not_stored() {
        let event = r#"{"event_id":"$e","room_id":"!r:a","sender":"@u:a","type":"m.x","content":{"to_device":1}}"#;
        let body = format!(
            r#"{{"to_device":3,"de.sorunome.msc2409.to_device":[{{}}],"ev\u0065nts":[{event}],"to_device":null,"ephemeral":[{{}}],
                "org.matrix.msc3202.device_lists":{{"changed":[]}}}}"#
        );
        let read = Body::read(body.as_bytes()).expect("a transaction");
        let fields: Vec<Field> = read.hints.iter().map(|(field, _)| *field).collect();
        let to_device = Field::ToDevice;
        assert_eq!(
            fields,
            [to_device, to_device, to_device, Field::DeviceLists]
        );
        let stored = read.without_hints().expect("less");
        assert_eq!(stored, format!(r#"{{"events":[{event}]}}"#).into_bytes());
        assert_eq!(decode(&stored).map(|(events, _)| events.len()), Some(1));
        let plain = format!(r#"{{"events":[{event}]}}"#);
        assert_eq!(
            Body::read(plain.as_bytes()).and_then(|body| body.without_hints()),
            None
        );
    }
}
