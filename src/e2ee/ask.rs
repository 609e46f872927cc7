//! Asking for a room key that did not come: the sender is asked, and nobody else (`m.room_key_request`).
//!
//! The crate asks a user's own other devices, of which our users have none. What the sender's devices learn is what they
//! know: that this device is in the room, and which session it lacks. A key that is shared once more (`m.room_key`) is
//! taken. A key that is forwarded (`m.forwarded_room_key`) is not, whoever sends it: the crate takes one only from a verified
//! device of the same user that it asked itself, because nothing in it proves where it was before.

use std::collections::HashMap;

use ruma::{EventId, OwnedEventId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
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
const WAITING: usize = 200;
/// How long they do at most, in milliseconds: longer than anybody looks for a key.
const LONGEST: UnixMillis = 16 * 24 * HOUR;
/// Where they stand beside the device's keys.
pub(super) const WAITING_KEY: &str = "waiting for keys";

/// The longest id of a device, a session or a key that is passed on; real ones have less than 50 characters.
const LONGEST_ID: usize = 128;

/// An event that waits for its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    event: OwnedEventId,
    sender: OwnedUserId,
    since: UnixMillis,
}

/// What is too much: the oldest of whoever waits for most, so that nobody's end for what another sends.
fn too_many(waiting: &[Waiting]) -> Vec<OwnedEventId> {
    let mut waiting: Vec<&Waiting> = waiting.iter().collect();
    let mut gone = Vec::new();
    while waiting.len() > WAITING {
        let mut counts: HashMap<&UserId, usize> = HashMap::new();
        for one in &waiting {
            *counts.entry(&one.sender).or_default() += 1;
        }
        let most = counts.values().max().copied();
        let first = waiting
            .iter()
            .position(|one| counts.get(&*one.sender).copied() == most);
        gone.push(waiting.remove(first.unwrap_or(0)).event.clone());
    }
    gone
}

/// Whether an id that somebody sent can be passed on.
fn is_sound(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

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
    /// Asks the sender of an event for its key, once. Nobody waits for that: what they say of their device and of the key may make
    /// it impossible, and the event is shown as what it is in any case.
    pub async fn ask_for_key(&self, actor: &Actor, event: &Event) {
        if self.unavailable().is_some() {
            return;
        }
        // Whom a forged sender names is not bothered.
        let asked = match self.room(actor, &event.room_id).await {
            Ok(Some(room)) if room.members.contains(&event.sender) => {
                self.with(actor, async |machine| machine.ask(self, event, true).await)
                    .await
            }
            other => other.map(drop),
        };
        unasked(&asked);
    }

    /// Takes note that an event waits for its key. Which of those that waited before are to wait no longer, because there are too
    /// many: the oldest of the sender of whom most wait. They are returned again until [`E2ee::waits_no_more`] is told of each.
    pub async fn waits_for_key(
        &self,
        actor: &Actor,
        event: &EventId,
        sender: &UserId,
    ) -> Result<Vec<OwnedEventId>, E2eeError> {
        let now = self.0.clock.now();
        let mut gone = Vec::new();
        self.change_waiting(actor, |waiting| {
            let new = !waiting.iter().any(|known| known.event == event);
            if new {
                waiting.retain(|known| now.saturating_sub(known.since) < LONGEST);
                waiting.push(Waiting {
                    event: event.to_owned(),
                    sender: sender.to_owned(),
                    since: now,
                });
            }
            gone = too_many(waiting);
            new
        })
        .await?;
        Ok(gone)
    }

    /// Takes note that an event waits no longer: its key came, the search ended, or it was redacted.
    pub async fn waits_no_more(&self, actor: &Actor, event: &EventId) -> Result<(), E2eeError> {
        self.change_waiting(actor, |waiting| {
            let before = waiting.len();
            waiting.retain(|known| known.event != event);
            waiting.len() < before
        })
        .await
    }

    /// Changes which events wait, and writes it down if anything changed.
    async fn change_waiting(
        &self,
        actor: &Actor,
        change: impl FnOnce(&mut Vec<Waiting>) -> bool,
    ) -> Result<(), E2eeError> {
        if self.unavailable().is_some() {
            return Ok(());
        }
        self.with(actor, async |machine| {
            let store = machine.olm.store();
            let known = store.get_custom_value(WAITING_KEY).await?;
            let known = known.and_then(|json| serde_json::from_slice(&json).ok());
            let mut waiting: Vec<Waiting> = known.unwrap_or_default();
            if change(&mut waiting) {
                let json = serde_json::to_vec(&waiting).unwrap_or_default();
                store.set_custom_value(WAITING_KEY, json).await?;
            }
            Ok(())
        })
        .await
    }

    /// The key of an event came: the sender need not look for it any more.
    pub async fn has_key(&self, actor: &Actor, event: &Event) -> Result<(), E2eeError> {
        if self.unavailable().is_some() {
            return Ok(());
        }
        let told = self.with(actor, async |machine| machine.ask(self, event, false).await);
        unasked(&told.await);
        Ok(())
    }
}

/// Nobody waits for a request that failed.
fn unasked(asked: &Result<(), E2eeError>) {
    if asked.is_err() {
        metrics::counter!("vizard_failures_total", "class" => "key_request").increment(1);
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
            || !is_sound(&content.session_id)
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
        // Homeservers fail at some strings that can be no device's.
        let target = content.device_id.as_deref().filter(|id| is_sound(id));
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
        if let Some(key) = content.sender_key.as_ref().filter(|key| is_sound(key)) {
            message["body"]["sender_key"] = json!(key);
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: usize, sender: &str) -> Waiting {
        Waiting {
            event: EventId::parse(format!("${number}")).unwrap(),
            sender: UserId::parse(sender).unwrap(),
            since: 0,
        }
    }

    #[test]
    fn nobodys_event_gives_way_to_anothers_many() {
        let mut all = vec![waiting(0, "@bob:y"), waiting(1, "@bob:y")];
        let flood = 2..WAITING + 50;
        all.extend(flood.map(|number| waiting(number, "@mallory:z")));
        let gone = too_many(&all);
        assert_eq!(gone.len(), 50);
        assert_eq!(gone[0], "$2", "the oldest of the flood");
        all.retain(|one| !gone.contains(&one.event));
        assert_eq!(all.len(), WAITING);
        assert_eq!(all[..2], [waiting(0, "@bob:y"), waiting(1, "@bob:y")]);
        assert!(too_many(&all).is_empty());
    }

    #[test]
    fn only_ids_that_can_be_are_passed_on() {
        let long = "x".repeat(LONGEST_ID + 1);
        for (id, sound) in [
            ("ABCDEFGHIJ", true),
            ("Szl29ksW/L8yZGWAX+8dY1XyFi+i5wm+DRhTGkbMiwU", true),
            ("", false),
            ("\0", false),
            ("A B", false),
            ("\u{e9}", false),
            (&long, false),
        ] {
            assert_eq!(is_sound(id), sound, "{id:?}");
        }
    }
}
