//! Replays: the same ciphertext under another event id. A server can send that, and the room key opens it; the crate leaves
//! it to its caller to notice.
//!
//! Each step of a room key's ratchet encrypts one event. Which one it was is kept with the device's keys, and what was used
//! lately in memory.

use std::sync::{Mutex, PoisonError};

use lru::LruCache;
use matrix_sdk_crypto::vodozemac::megolm::MegolmMessage;
use ruma::OwnedUserId;
use serde::Deserialize;

use super::{E2eeError, machine::Machine};
use crate::{
    event::Event,
    store::{BLOCK, Block},
};

/// Blocks in memory, of some 400 bytes.
const REMEMBERED: usize = 1024;

type Key = (OwnedUserId, String, u32);

/// Blocks that were used lately. They outlive their machine in memory, because nobody waits for them to be written.
pub(super) struct Heard(Mutex<LruCache<Key, Block>>);

impl Default for Heard {
    fn default() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }
}

/// The parts of an `m.room.encrypted` event's content that are read here.
#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    session_id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    ciphertext: std::borrow::Cow<'a, str>,
}

/// The session and the step of its ratchet with which an event is encrypted.
fn step(event: &Event) -> Option<(String, u32)> {
    let content: Content<'_> = serde_json::from_str(event.content.get()).ok()?;
    let message = MegolmMessage::from_base64(&content.ciphertext).ok()?;
    Some((content.session_id.into_owned(), message.message_index()))
}

impl Machine {
    /// Whether an event that could be opened is another one sent once more. If not, it is the event of its step from now on.
    pub(super) async fn is_replay(&self, event: &Event) -> Result<bool, E2eeError> {
        let Some((session, index)) = step(event) else {
            return Ok(true);
        };
        let size = u32::try_from(BLOCK).unwrap_or(u32::MAX);
        let (block, place) = (index / size, (index % size) as usize);
        let key = (self.actor().user.clone(), session, block);
        let known = self.heard.lock().get(&key).copied();
        let mut steps = match known {
            Some(steps) => steps,
            None => self.keys.heard(&key.1, block).await?,
        };
        let Some(step) = steps.get_mut(place) else {
            return Ok(true);
        };
        let hash = self.keys.heard_as(&event.event_id);
        let mut before = std::mem::replace(step, hash);
        if before == self.keys.was_heard_as(&event.event_id) {
            before = hash;
        }
        if before == 0 {
            self.keys.set_heard(&key.1, block, &steps).await?;
        }
        if before == 0 || before == hash {
            self.heard.put(key, steps);
            return Ok(false);
        }
        metrics::counter!("vizard_failures_total", "class" => "replay").increment(1);
        Ok(true)
    }
}

impl Heard {
    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<Key, Block>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: Key, steps: Block) {
        let mut blocks = self.lock();
        blocks.put(key, steps);
        while blocks.len() > REMEMBERED {
            blocks.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(content: &serde_json::Value) -> Event {
        let raw = serde_json::json!({
            "event_id": "$e", "room_id": "!r:x", "sender": "@bob:x", "type": "m.room.encrypted",
            "content": content,
        });
        let raw = serde_json::value::RawValue::from_string(raw.to_string()).unwrap();
        Event::decode(&raw).unwrap()
    }

    #[test]
    fn the_step_is_read_from_the_ciphertext() {
        use matrix_sdk_crypto::vodozemac::megolm::{GroupSession, SessionConfig};
        let mut session = GroupSession::new(SessionConfig::version_1());
        for index in 0..70 {
            let ciphertext = session.encrypt("x").to_base64();
            let content =
                serde_json::json!({"session_id": session.session_id(), "ciphertext": ciphertext});
            assert_eq!(step(&event(&content)), Some((session.session_id(), index)));
        }
        for content in [
            serde_json::json!({}),
            serde_json::json!({"session_id": "s", "ciphertext": "?"}),
            serde_json::json!({"session_id": "s", "ciphertext": ["x"]}),
        ] {
            assert_eq!(step(&event(&content)), None);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let heard = Heard::default();
        for block in 0..5000 {
            let key = (
                OwnedUserId::try_from("@_vizard_a:x").unwrap(),
                "session".to_owned(),
                block,
            );
            heard.put(key, [1; BLOCK]);
        }
        assert_eq!(heard.lock().len(), REMEMBERED);
    }
}
