//! Room keys of strangers: anybody can give a device keys of rooms in which its user is not, or in which they are not themselves,
//! as many as they like. Of those the newest are kept, because a key may come before its room, or its sender, is entered.
//!
//! That a user is in a room is told by an event that came from there, and who else is, by what was fetched to encrypt or to look
//! after it; where neither is known, the homeserver is asked, once there are more keys than are kept unasked. Which keys they are
//! is written down, so that they are bounded across restarts too.

use std::collections::{HashMap, HashSet};

use matrix_sdk_common::deserialized_responses::{AlgorithmInfo, ProcessedToDeviceEvent};
use matrix_sdk_crypto::store::types::RoomKeyInfo;
use ruma::{OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

use super::{E2eeError, machine::Machine};
use crate::homeserver::Class;

/// Keys that are kept of rooms or senders of which nothing is known.
const KEPT: usize = 64;
/// The same of rooms in which the user is, while the homeserver does not say who else is there.
const SPARED: usize = 8 * KEPT;
/// Where the list stands beside the device's keys.
pub(super) const LIST: &str = "keys of other rooms";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    room: OwnedRoomId,
    session: String,
    /// Who sent it.
    #[serde(default)]
    sender: Option<OwnedUserId>,
}

impl Key {
    fn is(&self, other: &Self) -> bool {
        self.room == other.room && self.session == other.session
    }

    /// Whether it is of one of a room's members.
    fn is_of(&self, members: &[OwnedUserId]) -> bool {
        let sender = self.sender.as_ref();
        sender.is_some_and(|sender| members.contains(sender))
    }
}

/// Splits off what is too much, the oldest: more may be there of the rooms of which it is not known who is in them.
fn too_many(keys: &mut Vec<Key>, unknown: &HashSet<OwnedRoomId>) -> Vec<Key> {
    let spared = keys.iter().filter(|key| unknown.contains(&key.room));
    let spared = spared.count();
    let mut over = (keys.len() - spared).saturating_sub(KEPT);
    let mut over_spared = spared.saturating_sub(SPARED);
    let is_over = |key: &mut Key| {
        let over = if unknown.contains(&key.room) {
            &mut over_spared
        } else {
            &mut over
        };
        let is_over = *over > 0;
        *over -= usize::from(is_over);
        is_over
    };
    keys.extract_if(.., is_over).collect()
}

/// Who sent room keys with which device, by the messages in which they came. What these call the session counts for nothing: the
/// crate goes by the key, and anybody may write another name beside it.
fn senders(messages: &[ProcessedToDeviceEvent]) -> HashMap<String, OwnedUserId> {
    let mut senders = HashMap::new();
    for message in messages {
        if let ProcessedToDeviceEvent::Decrypted {
            raw,
            encryption_info,
        } = message
            && raw.get_field::<String>("type").ok().flatten().as_deref() == Some("m.room_key")
            && let AlgorithmInfo::OlmV1Curve25519AesSha2 {
                curve25519_public_key_base64: device,
            } = &encryption_info.algorithm_info
        {
            senders.insert(device.clone(), encryption_info.sender.clone());
        }
    }
    senders
}

impl Machine {
    /// Takes in which keys came with what messages, and destroys the oldest of those that belong to no room of the user's, or come
    /// from nobody there, if there are too many.
    pub(super) async fn spare_strangers_keys(
        &mut self,
        messages: &[ProcessedToDeviceEvent],
        came: Vec<RoomKeyInfo>,
    ) -> Result<(), E2eeError> {
        if came.is_empty() {
            return Ok(());
        }
        let senders = senders(messages);
        let new: Vec<Key> = came
            .into_iter()
            .map(|key| Key {
                // One device may send several, and one key twice.
                sender: senders.get(&key.sender_key.to_base64()).cloned(),
                room: key.room_id,
                session: key.session_id,
            })
            .filter(|key| !self.rooms.contains(&key.room) || !self.is_members(key))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let known = self.olm.store().get_custom_value(LIST).await?;
        let known = known.and_then(|json| serde_json::from_slice(&json).ok());
        let mut keys: Vec<Key> = known.unwrap_or_default();
        for key in new {
            if !keys.iter().any(|known| known.is(&key)) {
                keys.push(key);
            }
        }
        let mut gone = Vec::new();
        if keys.len() > KEPT {
            // If it does not say, nothing is destroyed; the next key asks again.
            gone = self.strangers(&mut keys).await.unwrap_or_default();
        }
        for key in &gone {
            self.keys.forget_inbound(&key.room, &key.session).await?;
        }
        let json = serde_json::to_vec(&keys).unwrap_or_default();
        self.olm.store().set_custom_value(LIST, json).await?;
        Ok(())
    }

    /// Whether a key is of somebody in its room, as far as that is known.
    fn is_members(&self, key: &Key) -> bool {
        let sender = key.sender.as_deref();
        sender.is_some_and(|sender| self.known_rooms.has_member(&key.room, sender))
    }

    /// Leaves in the list what is a stranger's, by what the homeserver says, and splits off what is too much of that.
    async fn strangers(&mut self, keys: &mut Vec<Key>) -> Result<Vec<Key>, E2eeError> {
        self.rooms
            .extend(self.homeserver.joined_rooms(self.actor()).await?);
        let ours = keys.iter().map(|key| key.room.clone());
        let ours: HashSet<_> = ours.filter(|room| self.rooms.contains(room)).collect();
        let mut unknown = HashSet::new();
        for room in ours {
            let members = self.homeserver.members_in(self.actor(), &room, true);
            match members.await {
                Ok(members) => keys.retain(|key| key.room != room || !key.is_of(&members)),
                // Its user has left it.
                Err(error) if error.errcode() == Some("M_FORBIDDEN") => {}
                // Whose these are is asked again with the next key.
                Err(error) if error.class() == Class::GiveUp => {
                    unknown.insert(room);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(too_many(keys, &unknown))
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
            sender: None,
        };
        let none = HashSet::new();
        let mut keys: Vec<_> = (0..KEPT + 3).map(key).collect();
        assert_eq!(too_many(&mut keys, &none), [key(0), key(1), key(2)]);
        assert_eq!(keys.len(), KEPT);
        assert!(too_many(&mut keys, &none).is_empty());
        // Those of a room of which it is not known who is there count by themselves, and there may be more.
        let spared = HashSet::from([owned_room_id!("!s:x")]);
        let other = Key {
            room: owned_room_id!("!s:x"),
            ..key(0)
        };
        keys.insert(0, other.clone());
        assert!(too_many(&mut keys, &spared).is_empty());
        keys.push(key(KEPT + 3));
        assert_eq!(too_many(&mut keys, &spared), [key(3)]);
        assert_eq!(keys[0], other);
        let more = (0..SPARED).map(|number| Key {
            session: format!("s{number}"),
            ..other.clone()
        });
        keys.extend(more);
        assert_eq!(too_many(&mut keys, &spared), [other]);
        assert_eq!(keys.len(), KEPT + SPARED);
    }
}
