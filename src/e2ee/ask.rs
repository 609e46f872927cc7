//! Asking for a room key that did not come: the sender is asked, and nobody else (`m.room_key_request`).
//!
//! The crate asks a user's own other devices, of which our users have none. What the sender's devices learn is what they
//! know: that this device is in the room, and which session it lacks. A key that is shared once more (`m.room_key`) is
//! taken. A key that is forwarded (`m.forwarded_room_key`) is not, whoever sends it: the crate takes one only from a verified
//! device of the same user that it asked itself, because nothing in it proves where it was before.

use ruma::{EventId, OwnedEventId, OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{E2ee, E2eeError, machine::Machine};
use crate::{clock::UnixMillis, event::Event, homeserver::Actor};

const TYPE: &str = "m.room_key_request";

/// Sessions of one device that were asked for and did not come.
const ASKED: usize = 512;
/// How many keys one sender is asked for by one device within an hour: who sends what nobody can read makes no end of requests.
const OF_ONE: usize = 32;
const HOUR: UnixMillis = 3_600_000;

/// Events that wait for their keys at once, for each device.
const WAITING: usize = 100;
/// Where they stand beside the device's keys.
const WAITING_KEY: &str = "waiting for keys";

/// A key that was asked for.
pub(super) struct Asked {
    of: OwnedUserId,
    at: UnixMillis,
}

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

    /// Takes note that an event waits for its key. Which of those that waited before are to wait no longer, because there are too
    /// many: the oldest.
    pub async fn waits_for_key(
        &self,
        actor: &Actor,
        event: &EventId,
    ) -> Result<Vec<OwnedEventId>, E2eeError> {
        if self.unavailable().is_some() {
            return Ok(Vec::new());
        }
        self.with(actor, async |machine| {
            let store = machine.olm.store();
            let known = store.get_custom_value(WAITING_KEY).await?;
            let known = known.and_then(|json| serde_json::from_slice(&json).ok());
            let mut waiting: Vec<OwnedEventId> = known.unwrap_or_default();
            if waiting.iter().any(|known| known == event) {
                return Ok(Vec::new());
            }
            waiting.push(event.to_owned());
            let over = waiting.len().saturating_sub(WAITING);
            let gone = waiting.drain(..over).collect();
            let json = serde_json::to_vec(&waiting).unwrap_or_default();
            store.set_custom_value(WAITING_KEY, json).await?;
            Ok(gone)
        })
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
    /// Whether enough was asked of a sender lately.
    fn has_asked_enough(&self, sender: &UserId) -> bool {
        let since = self.clock.now().saturating_sub(HOUR);
        let of_sender = |(_, asked): &(&String, &Asked)| asked.of == sender && asked.at > since;
        self.asked.iter().filter(of_sender).count() >= OF_ONE
    }

    async fn ask(&mut self, e2ee: &E2ee, event: &Event, wanted: bool) -> Result<(), E2eeError> {
        let Ok(content) = serde_json::from_str::<Content>(event.content.get()) else {
            return Ok(());
        };
        if content.algorithm != "m.megolm.v1.aes-sha2"
            || wanted
                && (self.asked.contains(&content.session_id)
                    || self.has_asked_enough(&event.sender))
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
            let asked = Asked {
                of: event.sender.clone(),
                at: self.clock.now(),
            };
            self.asked.put(content.session_id, asked);
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
