//! The door: a transaction is durable before it is answered.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc};

use crate::{
    clock::{Clock, UnixMillis},
    event::Event,
    store::{Store, StoreError},
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
}

/// Transactions between door and dispatcher; beyond it the dispatcher reads them from the store.
const WAITING: usize = 64;

impl Intake {
    /// The door, and what the dispatcher listens to.
    pub(super) fn new(store: Store, clock: Clock) -> (Self, Arrivals) {
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
        };
        (intake, theirs)
    }

    /// Stores a transaction. When this returns, nothing of it can be lost.
    pub async fn accept(&self, body: Vec<u8>) -> Result<(), Refused> {
        let (events, skipped) = decode(&body).ok_or(Refused::NotJson)?;
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
        let seq = self.store.push_inbox(body).await?;
        let arrival = Arrival {
            seq,
            received,
            events,
        };
        if self.arrivals.try_send(arrival).is_err() {
            // The channel is full: the dispatcher finds the transaction in the store, and is told to look.
            self.overflow.notify_one();
        }
        Ok(())
    }
}

/// The readable events of a transaction and the number of others; `None` when it is not a transaction at all.
#[must_use]
pub fn decode(body: &[u8]) -> Option<(Vec<Event>, u64)> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        events: Vec<&'a RawValue>,
    }
    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    let total = body.events.len();
    let events: Vec<Event> = body.events.into_iter().filter_map(Event::decode).collect();
    let skipped = (total - events.len()) as u64;
    Some((events, skipped))
}

#[cfg(test)]
mod tests {
    use super::decode;

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
}
