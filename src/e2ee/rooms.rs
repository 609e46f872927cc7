//! What is known of encrypted rooms: the settings of their encryption, and who is in them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lru::LruCache;
use matrix_sdk_crypto::{CollectStrategy, EncryptionSettings};
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId,
    events::room::{encryption::RoomEncryptionEventContent, history_visibility::HistoryVisibility},
};

use super::{E2ee, E2eeError};
use crate::homeserver::Actor;

/// Rooms that are remembered.
const REMEMBERED: usize = 4096;

/// How a room encrypts, and who is in it.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) settings: EncryptionSettings,
    pub(super) members: Vec<OwnedUserId>,
}

/// What was learnt of rooms.
pub(super) struct Rooms(Mutex<Known>);

struct Known {
    /// `None`: not encrypted.
    rooms: LruCache<OwnedRoomId, Option<Arc<Room>>>,
    /// Rises with every change, so that what was fetched meanwhile is not kept.
    changes: u64,
}

impl Default for Rooms {
    fn default() -> Self {
        Self(Mutex::new(Known {
            rooms: LruCache::unbounded(),
            changes: 0,
        }))
    }
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl E2ee {
    /// Whether a room is encrypted, as `actor`, who is in it, sees it.
    pub async fn is_encrypted(&self, actor: &Actor, room: &RoomId) -> Result<bool, E2eeError> {
        Ok(self.room(actor, room).await?.is_some())
    }

    /// Takes notice of a state event: whatever changes who is in a room, or how it is encrypted, is fetched anew.
    pub fn hears(&self, room: &RoomId, kind: &str) {
        let mut known = self.0.rooms.lock();
        let matters = match kind {
            "m.room.encryption" => true,
            "m.room.member" | "m.room.history_visibility" => {
                // Who is in a room that is not encrypted does not matter.
                !matches!(known.rooms.peek(room), Some(None))
            }
            _ => false,
        };
        if matters {
            known.changes += 1;
            known.rooms.pop(room);
        }
    }

    pub(super) async fn room(
        &self,
        actor: &Actor,
        room: &RoomId,
    ) -> Result<Option<Arc<Room>>, E2eeError> {
        let changes = {
            let mut known = self.0.rooms.lock();
            if let Some(found) = known.rooms.get(room) {
                return Ok(found.clone());
            }
            known.changes
        };
        let found = self.fetch(actor, room).await?.map(Arc::new);
        let mut known = self.0.rooms.lock();
        if known.changes == changes {
            known.rooms.put(room.to_owned(), found.clone());
            if known.rooms.len() > REMEMBERED {
                known.rooms.pop_lru();
            }
        }
        Ok(found)
    }

    async fn fetch(&self, actor: &Actor, room: &RoomId) -> Result<Option<Room>, E2eeError> {
        let homeserver = &self.0.homeserver;
        let Some(encryption) = homeserver
            .state_event(actor, room, "m.room.encryption", "")
            .await?
        else {
            return Ok(None);
        };
        let history = homeserver
            .state_event(actor, room, "m.room.history_visibility", "")
            .await?
            .and_then(|content| {
                let content: serde_json::Value = serde_json::from_str(content.get()).ok()?;
                Some(HistoryVisibility::from(
                    content["history_visibility"].as_str()?,
                ))
            })
            .unwrap_or(HistoryVisibility::Shared);
        let invited = !matches!(history, HistoryVisibility::Joined);
        let members = homeserver.members_in(actor, room, invited).await?;
        Ok(Some(Room {
            settings: self.settings(encryption.get(), history),
            members,
        }))
    }

    fn settings(&self, encryption: &str, history: HistoryVisibility) -> EncryptionSettings {
        let strategy = if self.0.settings.only_signed {
            CollectStrategy::IdentityBasedStrategy
        } else {
            CollectStrategy::AllDevices
        };
        match serde_json::from_str::<RoomEncryptionEventContent>(encryption) {
            Ok(content) => {
                let mut settings = EncryptionSettings::new(content, history, strategy);
                // An hour at least: a room cannot make everybody share keys for each message.
                settings.rotation_period = settings.rotation_period.max(Duration::from_hours(1));
                settings.rotation_period_msgs = settings.rotation_period_msgs.clamp(1, 10_000);
                settings
            }
            // Broken settings do not make a room unencrypted.
            Err(_) => EncryptionSettings {
                history_visibility: history,
                sharing_strategy: strategy,
                ..EncryptionSettings::default()
            },
        }
    }
}
