//! Room keys of strangers: anybody can give a device keys of rooms in which its user is not, as many as they like. Of those the
//! newest are kept, because a key may come before its room is entered.
//!
//! That a user is in a room is told by an event that came from there; where none came, the homeserver is asked, once there are
//! more keys than are kept unasked. Which keys they are is written down, so that they are bounded across restarts too.

use matrix_sdk_crypto::store::types::RoomKeyInfo;
use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};

use super::{E2eeError, machine::Machine};

/// Keys that are kept of rooms of which nothing is known.
const KEPT: usize = 64;
/// Where the list stands beside the device's keys.
const LIST: &str = "keys of other rooms";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    room: OwnedRoomId,
    session: String,
}

/// Splits off what is too much, the oldest.
fn too_many(keys: &mut Vec<Key>) -> Vec<Key> {
    let over = keys.len().saturating_sub(KEPT);
    keys.drain(..over).collect()
}

impl Machine {
    /// Takes in which keys came, and destroys the oldest of those that belong to no room of the user's, if there are too many.
    pub(super) async fn spare_strangers_keys(
        &mut self,
        came: Vec<RoomKeyInfo>,
    ) -> Result<(), E2eeError> {
        let new: Vec<Key> = came
            .into_iter()
            .filter(|key| !self.rooms.contains(&key.room_id))
            .map(|key| Key {
                room: key.room_id,
                session: key.session_id,
            })
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let known = self.olm.store().get_custom_value(LIST).await?;
        let known = known.and_then(|json| serde_json::from_slice(&json).ok());
        let mut keys: Vec<Key> = known.unwrap_or_default();
        for key in new {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let mut gone = Vec::new();
        if keys.len() > KEPT {
            // If it does not say, nothing is destroyed; the next key asks again.
            if let Ok(joined) = self.homeserver.joined_rooms(self.actor()).await {
                self.rooms.extend(joined);
                keys.retain(|key| !self.rooms.contains(&key.room));
                gone = too_many(&mut keys);
            }
        }
        for key in &gone {
            self.keys.forget_inbound(&key.room, &key.session).await?;
        }
        let json = serde_json::to_vec(&keys).unwrap_or_default();
        self.olm.store().set_custom_value(LIST, json).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ruma::owned_room_id;

    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let key = |number: usize| Key {
            room: owned_room_id!("!r:x"),
            session: number.to_string(),
        };
        let mut keys: Vec<_> = (0..KEPT + 3).map(key).collect();
        assert_eq!(too_many(&mut keys), [key(0), key(1), key(2)]);
        assert_eq!(keys.len(), KEPT);
        assert!(too_many(&mut keys).is_empty());
    }
}
