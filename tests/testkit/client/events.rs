//! Sending events: what people do in a room. Each returns the event's id.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{super::content, Client, text};

impl Client {
    /// Sends an event of any type.
    pub async fn send(&self, room: &str, kind: &str, content: Value) -> Result<String> {
        let transaction = self.next_transaction();
        let path = ["v3", "rooms", room, "send", kind, &transaction];
        text(
            &self.call(Method::PUT, &path, Some(content)).await?,
            "event_id",
        )
    }

    /// Sends a text.
    pub async fn say(&self, room: &str, body: &str) -> Result<String> {
        self.send(
            room,
            "m.room.message",
            json!({"msgtype": "m.text", "body": body}),
        )
        .await
    }

    /// Answers an event, as clients do today (no fallback).
    pub async fn reply(&self, room: &str, to: &str, body: &str) -> Result<String> {
        let relation = json!({"m.in_reply_to": {"event_id": to}});
        let content = json!({"msgtype": "m.text", "body": body, "m.relates_to": relation});
        self.send(room, "m.room.message", content).await
    }

    /// Speaks in the thread that begins at `first`.
    pub async fn reply_in_thread(&self, room: &str, first: &str, body: &str) -> Result<String> {
        let relation = json!({
            "rel_type": "m.thread", "event_id": first, "is_falling_back": true,
            "m.in_reply_to": {"event_id": first},
        });
        let content = json!({"msgtype": "m.text", "body": body, "m.relates_to": relation});
        self.send(room, "m.room.message", content).await
    }

    /// Replaces the text of an own message.
    pub async fn edit(&self, room: &str, event: &str, body: &str) -> Result<String> {
        self.send(room, "m.room.message", content::edit(event, body))
            .await
    }

    pub async fn react(&self, room: &str, event: &str, key: &str) -> Result<String> {
        self.send(room, "m.reaction", content::reaction(event, key))
            .await
    }

    pub async fn redact(&self, room: &str, event: &str, reason: &str) -> Result<String> {
        let transaction = self.next_transaction();
        let path = ["v3", "rooms", room, "redact", event, &transaction];
        text(
            &self
                .call(Method::PUT, &path, Some(json!({"reason": reason})))
                .await?,
            "event_id",
        )
    }

    /// Writes a state event.
    pub async fn set_state(
        &self,
        room: &str,
        kind: &str,
        key: &str,
        content: Value,
    ) -> Result<String> {
        let path = ["v3", "rooms", room, "state", kind, key];
        text(
            &self.call(Method::PUT, &path, Some(content)).await?,
            "event_id",
        )
    }

    /// Sends a message to all devices of a user.
    pub async fn send_to_devices(&self, user: &str, kind: &str, content: &Value) -> Result<()> {
        let transaction = self.next_transaction();
        let body = json!({"messages": {user: {"*": content}}});
        self.call(
            Method::PUT,
            &["v3", "sendToDevice", kind, &transaction],
            Some(body),
        )
        .await
        .map(drop)
    }
}
