//! Events: sending, redacting, marking as read, and walking back.
//!
//! Only [`Scrubbed`] content goes in, by [`Homeserver::send`] and [`Homeserver::send_state`].

use ruma::{EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Actor, Class, Error, Homeserver, Page, request::Call};
use crate::rewrite::Scrubbed;

#[derive(Deserialize)]
struct Sent {
    event_id: OwnedEventId,
}

impl Homeserver {
    /// Sends a message event. The same `txn_id` gives the same event.
    pub async fn send(
        &self,
        actor: &Actor,
        room: &RoomId,
        event: &Scrubbed,
        txn_id: &str,
    ) -> Result<OwnedEventId, Error> {
        self.send_at(actor, room, event, txn_id, None).await
    }

    /// Sends a message event with an origin time of the past (`ts`, application services only).
    pub async fn send_at(
        &self,
        actor: &Actor,
        room: &RoomId,
        event: &Scrubbed,
        txn_id: &str,
        ts: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Result<OwnedEventId, Error> {
        self.put_event(actor, room, event.event_type(), event.content(), txn_id, ts)
            .await
    }

    pub(super) async fn put_event(
        &self,
        actor: &Actor,
        room: &RoomId,
        kind: &str,
        content: &RawValue,
        txn_id: &str,
        ts: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Result<OwnedEventId, Error> {
        let mut target = self
            .at("/_matrix/client/v3/rooms")
            .segment(room.as_str())
            .path("/send")
            .segment(kind)
            .segment(txn_id)
            .actor(actor);
        if let Some(ts) = ts {
            target = target.query("ts", &ts.get().to_string());
        }
        let call = Call::put("send", target, content.get().to_owned());
        self.0.json(call).await.map(|Sent { event_id }| event_id)
    }

    /// Sends a state event.
    pub async fn send_state(
        &self,
        actor: &Actor,
        room: &RoomId,
        event: &Scrubbed,
        key: &str,
    ) -> Result<OwnedEventId, Error> {
        let target = self
            .at("/_matrix/client/v3/rooms")
            .segment(room.as_str())
            .path("/state")
            .segment(event.event_type())
            .segment(key)
            .actor(actor);
        let call = Call::put("send_state", target, event.content().get().to_owned());
        self.0.json(call).await.map(|Sent { event_id }| event_id)
    }

    /// Redacts an event, never with a reason.
    pub async fn redact(
        &self,
        actor: &Actor,
        room: &RoomId,
        event: &EventId,
        txn_id: &str,
    ) -> Result<OwnedEventId, Error> {
        let target = self
            .at("/_matrix/client/v3/rooms")
            .segment(room.as_str())
            .path("/redact")
            .segment(event.as_str())
            .segment(txn_id)
            .actor(actor);
        let call = Call::put("redact", target, "{}".to_owned());
        self.0.json(call).await.map(|Sent { event_id }| event_id)
    }

    /// An event as it stands by now; `None`: there is none that the actor may see.
    pub async fn event(
        &self,
        actor: &Actor,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<Box<RawValue>>, Error> {
        let target = self
            .at("/_matrix/client/v3/rooms")
            .segment(room.as_str())
            .path("/event")
            .segment(event.as_str())
            .actor(actor);
        match self.0.json(Call::get("event", target)).await {
            Ok(event) => Ok(Some(event)),
            Err(error) if error.status().is_some() && error.class() == Class::GiveUp => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a public read receipt (used in portals alone).
    pub async fn read_receipt(
        &self,
        actor: &Actor,
        room: &RoomId,
        event: &EventId,
    ) -> Result<(), Error> {
        let target = self
            .at("/_matrix/client/v3/rooms")
            .segment(room.as_str())
            .path("/receipt/m.read")
            .segment(event.as_str())
            .actor(actor);
        self.0
            .done(Call::post("read_receipt", target, "{}".to_owned()))
            .await
    }

    /// A page of history. `from` = `None` starts at the newest (backwards).
    pub async fn messages(
        &self,
        actor: &Actor,
        room: &RoomId,
        from: Option<&str>,
        limit: u32,
    ) -> Result<Page, Error> {
        #[derive(Deserialize)]
        struct Messages {
            #[serde(default)]
            chunk: Vec<Box<RawValue>>,
            end: Option<String>,
        }
        let mut target = self
            .room(actor, room, "/messages")
            .query("dir", "b")
            .query("limit", &limit.to_string());
        if let Some(from) = from {
            target = target.query("from", from);
        }
        let page: Messages = self.0.json(Call::get("messages", target)).await?;
        Ok(Page {
            chunk: page.chunk,
            end: page.end,
        })
    }
}
