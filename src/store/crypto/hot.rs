//! What nearly every message reads: kept in memory, as the crate's own types, as long as the device is in use.
//!
//! Whatever is about to be written is forgotten here first. Reading it into memory and writing exclude each other
//! ([`State::saving`](super::State)), so nothing old stays. A session that is kept also keeps how far its ratchet was moved;
//! one that is read anew begins where it was received, and moves all the way for each message.

use std::num::NonZeroUsize;

use lru::LruCache;
use matrix_sdk_crypto::{UserIdentityData, olm::InboundGroupSession, store::types::Changes};
use ruma::UserId;

use super::{
    super::{StoreError, seal::Hash},
    Kind, State, lock,
    sessions::inbound,
};

/// Inbound sessions that are kept for a device.
const SESSIONS: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// See the module.
pub(super) struct Hot {
    inbound: LruCache<Hash, InboundGroupSession>,
    /// The device's own user's.
    identity: Option<UserIdentityData>,
}

impl Default for Hot {
    fn default() -> Self {
        Self {
            inbound: LruCache::new(SESSIONS),
            identity: None,
        }
    }
}

impl State {
    pub(super) async fn inbound_session(
        &self,
        room: &[u8],
        session: &str,
    ) -> Result<Option<InboundGroupSession>, StoreError> {
        let name = (room, session.as_bytes());
        let key = self.key(Kind::Inbound, name);
        if let Some(kept) = lock(&self.hot).inbound.get(&key) {
            return Ok(Some(kept.clone()));
        }
        let _saving = self.saving.lock().await;
        let Some(pickle) = self.get(Kind::Inbound, name).await? else {
            return Ok(None);
        };
        let session = inbound(pickle)?;
        lock(&self.hot).inbound.put(key, session.clone());
        Ok(Some(session))
    }

    /// Somebody's identity. Only the device's own user's is kept, once it is verified: what is handed out is shared, and its
    /// becoming verified is something that the crate compares with what is stored.
    pub(super) async fn identity(
        &self,
        user: &UserId,
    ) -> Result<Option<UserIdentityData>, StoreError> {
        let own = lock(&self.account)
            .as_ref()
            .is_some_and(|account| account.user_id == user);
        let name = (user.as_bytes(), b"".as_slice());
        if !own {
            return self.get(Kind::Identity, name).await;
        }
        if let Some(kept) = &lock(&self.hot).identity {
            return Ok(Some(kept.clone()));
        }
        let _saving = self.saving.lock().await;
        let found: Option<UserIdentityData> = self.get(Kind::Identity, name).await?;
        if let Some(UserIdentityData::Own(own)) = &found
            && own.is_verified()
        {
            lock(&self.hot).identity.clone_from(&found);
        }
        Ok(found)
    }

    /// Forgets what is about to be written. To be called with `saving` held.
    pub(super) fn forget(&self, changes: &Changes) {
        self.forget_sessions(&changes.inbound_group_sessions);
        let identities = &changes.identities;
        if !identities.new.is_empty() || !identities.changed.is_empty() {
            lock(&self.hot).identity = None;
        }
    }

    /// The same for one inbound session.
    pub(super) fn forget_session(&self, key: Hash) {
        lock(&self.hot).inbound.pop(&key);
    }

    /// The same for inbound sessions.
    pub(super) fn forget_sessions(&self, sessions: &[InboundGroupSession]) {
        for session in sessions {
            let name = (
                session.room_id().as_bytes(),
                session.session_id().as_bytes(),
            );
            let key = self.key(Kind::Inbound, name);
            lock(&self.hot).inbound.pop(&key);
        }
    }
}
