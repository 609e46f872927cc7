//! That a room is encrypted, which never ends: a state that says otherwise is a mistake or a lie, and nothing is said there in
//! clear. Stock clients hold it the same way.

use matrix_sdk_crypto::{CryptoStoreError, store::CryptoStore as _};
use ruma::{RoomId, device_id};

use super::{E2ee, E2eeError};
use crate::store::CryptoStore;

impl E2ee {
    /// Takes note that a room is encrypted, for ever.
    pub async fn saw_encrypted(&self, room: &RoomId) -> Result<(), E2eeError> {
        // It was noted when it was fetched.
        if self.correct(room) {
            self.note_encrypted(room).await?;
        }
        Ok(())
    }

    /// Nobody of ours will be in a room again: that it is encrypted need not be known any more.
    pub async fn unlearn_room(&self, room: &RoomId) -> Result<(), E2eeError> {
        self.forget_room(room);
        let book = self.book();
        book.remove_custom_value(room.as_str())
            .await
            .map_err(CryptoStoreError::from)?;
        Ok(())
    }

    /// Where it stands which rooms are encrypted: beside the bot's keys, under a device that is none.
    fn book(&self) -> CryptoStore {
        let bot = self.0.namespace.bot();
        self.0.store.crypto(bot, device_id!("VIZARD-ROOMS"))
    }

    pub(super) async fn was_encrypted(&self, room: &RoomId) -> Result<bool, E2eeError> {
        let noted = self.book().get_custom_value(room.as_str()).await;
        Ok(noted.map_err(CryptoStoreError::from)?.is_some())
    }

    /// Writes it down.
    pub(super) async fn note_encrypted(&self, room: &RoomId) -> Result<(), E2eeError> {
        if self.was_encrypted(room).await? {
            return Ok(());
        }
        let noted = self.book().set_custom_value(room.as_str(), vec![1]).await;
        Ok(noted.map_err(CryptoStoreError::from)?)
    }
}

#[cfg(test)]
mod tests {
    use ruma::{owned_user_id, room_id};

    use super::super::{E2eeError, rooms::tests::e2ee};
    use crate::homeserver::Actor;

    #[tokio::test]
    async fn who_was_destroyed_gets_no_new_keys() {
        let (_dir, e2ee) = e2ee(false).await;
        let ghost = Actor {
            user: owned_user_id!("@_vizard_a:x"),
            device: Some("DEVICE".into()),
        };
        e2ee.destroy(&ghost.user).await.unwrap();
        let late = e2ee.settle(&ghost).await;
        assert!(matches!(late, Err(E2eeError::Destroyed)), "{late:?}");
        assert!(!e2ee.is_known(&ghost).await.unwrap());
        e2ee.revive(&ghost.user);
        // There is no homeserver that would take them.
        let anew = e2ee.settle(&ghost).await;
        assert!(matches!(anew, Err(E2eeError::Homeserver(_))), "{anew:?}");
    }

    #[tokio::test]
    async fn that_a_room_is_encrypted_is_noted_for_ever() {
        let (_dir, e2ee) = e2ee(false).await;
        let room = room_id!("!a:x");
        e2ee.knows(room, false);
        e2ee.saw_encrypted(room).await.unwrap();
        assert!(!e2ee.remembers(room), "what was known is wrong");
        assert!(e2ee.was_encrypted(room).await.unwrap());
        assert!(!e2ee.was_encrypted(room_id!("!b:x")).await.unwrap());
        e2ee.unlearn_room(room).await.unwrap();
        assert!(!e2ee.was_encrypted(room).await.unwrap());
    }
}
