//! Asking for a room key that did not come: the sender is asked, and nobody else (`m.room_key_request`).
//!
//! The crate asks a user's own other devices, of which our users have none. What the sender's devices learn is what they
//! know: that this device is in the room, and which session it lacks. A key that is shared once more (`m.room_key`) is
//! taken. A key that is forwarded (`m.forwarded_room_key`) is not, whoever sends it: the crate takes one only from a verified
//! device of the same user that it asked itself, because nothing in it proves where it was before.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{E2ee, E2eeError, machine::Machine};
use crate::{event::Event, homeserver::Actor};

const TYPE: &str = "m.room_key_request";

/// Sessions of one device that were asked for and did not come.
const ASKED: usize = 512;

/// The parts of an `m.room.encrypted` event's content that are read here.
#[derive(Deserialize)]
struct Content {
    algorithm: String,
    session_id: String,
    #[serde(default)]
    sender_key: Option<String>,
    #[serde(default)]
    device_id: Option<String>,
}

impl E2ee {
    /// Asks the sender of an event for its key, once.
    pub async fn ask_for_key(&self, actor: &Actor, event: &Event) -> Result<(), E2eeError> {
        if self.unavailable().is_some() {
            return Ok(());
        }
        // Whom a forged sender names is not bothered.
        let room = self.room(actor, &event.room_id).await?;
        if !room.is_some_and(|room| room.members.contains(&event.sender)) {
            return Ok(());
        }
        self.with(actor, async |machine| machine.ask(self, event, true).await)
            .await
    }

    /// The key of an event came: the sender need not look for it any more.
    pub async fn has_key(&self, actor: &Actor, event: &Event) -> Result<(), E2eeError> {
        if self.unavailable().is_some() {
            return Ok(());
        }
        self.with(actor, async |machine| machine.ask(self, event, false).await)
            .await
    }
}

impl Machine {
    async fn ask(&mut self, e2ee: &E2ee, event: &Event, wanted: bool) -> Result<(), E2eeError> {
        let Ok(content) = serde_json::from_str::<Content>(event.content.get()) else {
            return Ok(());
        };
        if content.algorithm != "m.megolm.v1.aes-sha2"
            || wanted && self.asked.contains(&content.session_id)
        {
            return Ok(());
        }
        let Some(device) = &self.actor().device else {
            return Ok(());
        };
        // One id for a request and its end, also after a restart.
        let session = content.session_id.as_str();
        let store = &e2ee.0.store;
        let id = store.txn_id(&self.actor().user, session, "key request", 0);
        let leg = if wanted { "ask" } else { "asked" };
        let txn_id = store.txn_id(&self.actor().user, session, leg, 0);
        let message = message(event, &content, device.as_str(), &id, wanted);
        let target = content.device_id.as_deref().filter(|id| !id.is_empty());
        let messages = json!({ event.sender.as_str(): { target.unwrap_or("*"): message } });
        self.homeserver
            .send_to_device(self.actor(), TYPE, &txn_id, &messages)
            .await?;
        if wanted {
            metrics::counter!("vizard_key_requests_total").increment(1);
            self.asked.put(content.session_id, ());
            while self.asked.len() > ASKED {
                self.asked.pop_lru();
            }
        } else {
            self.asked.pop(&content.session_id);
        }
        Ok(())
    }
}

fn message(event: &Event, content: &Content, device: &str, id: &str, wanted: bool) -> Value {
    let mut message = json!({
        "action": if wanted { "request" } else { "request_cancellation" },
        "requesting_device_id": device,
        "request_id": id,
    });
    if wanted {
        message["body"] = json!({
            "algorithm": content.algorithm,
            "room_id": event.room_id,
            "session_id": content.session_id,
        });
        if let Some(key) = &content.sender_key {
            message["body"]["sender_key"] = json!(key);
        }
    }
    message
}
