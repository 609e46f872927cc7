//! The account and its sessions, as the crate's own types.
//!
//! Backups of keys on the homeserver are not used by Vizard; as in the crate's own stores on disk, a session only knows
//! whether it is in the backup, not in which.

use std::sync::atomic::Ordering;

use matrix_sdk_crypto::{
    Account,
    olm::{
        InboundGroupSession, PickledInboundGroupSession, PickledSession, SenderDataType, Session,
        StaticAccountData,
    },
    store::{CryptoStore as _, CryptoStoreError},
    vodozemac::Curve25519PublicKey,
};
use ruma::RoomId;

use super::{super::StoreError, CryptoStore, Kind, lock, unusable};

type Result<T> = std::result::Result<T, StoreError>;

pub(super) fn inbound(pickle: PickledInboundGroupSession) -> Result<InboundGroupSession> {
    InboundGroupSession::from_pickle(pickle).map_err(unusable)
}

impl CryptoStore {
    /// The public part of the account, if one was saved or loaded (named as in the crate's own stores).
    #[must_use]
    pub fn get_static_account(&self) -> Option<StaticAccountData> {
        lock(&self.0.account).clone()
    }

    /// Whether Olm sessions were deleted since this was asked last: a machine still has them in memory.
    #[must_use]
    pub fn has_spared_sessions(&self) -> bool {
        self.0.spared.swap(false, Ordering::SeqCst)
    }

    /// Whether there is an account. Opens nothing.
    pub async fn has_account(&self) -> Result<bool> {
        self.0.is_there(Kind::Account, (b"", b"")).await
    }

    /// The public part of the account, which must be there.
    pub(super) async fn account(&self) -> Result<StaticAccountData> {
        if self.get_static_account().is_none() {
            self.load_account().await?;
        }
        self.get_static_account()
            .ok_or_else(|| unusable(CryptoStoreError::AccountUnset))
    }

    pub(super) async fn save_account(&self, account: &Account) -> Result<()> {
        let _saving = self.0.saving.lock().await;
        let row = self.0.put(Kind::Account, (b"", b""), &account.pickle())?;
        self.0.write(vec![row]).await?;
        *lock(&self.0.account) = Some(account.static_data().clone());
        Ok(())
    }

    pub(super) async fn olm_sessions(&self, sender_key: &str) -> Result<Option<Vec<Session>>> {
        let group = Some(sender_key.as_bytes());
        let pickles: Vec<PickledSession> = self.0.all(Kind::Session, group).await?;
        if pickles.is_empty() {
            return Ok(None);
        }
        let own = self.get_own_device().await?.as_device_keys().clone();
        let open = |pickle| {
            Session::from_pickle(own.clone(), pickle)
                .map_err(|_| unusable(CryptoStoreError::UnpicklingError))
        };
        let sessions: Result<_> = pickles.into_iter().map(open).collect();
        sessions.map(Some)
    }

    pub(super) async fn inbound_sessions(
        &self,
        room: Option<&RoomId>,
    ) -> Result<Vec<InboundGroupSession>> {
        let room = room.map(RoomId::as_bytes);
        let pickles = self.0.all(Kind::Inbound, room).await?;
        pickles.into_iter().map(inbound).collect()
    }

    /// Those of one sender whose trust is of one kind, by their ids.
    pub(super) async fn inbound_sessions_of(
        &self,
        sender: &Curve25519PublicKey,
        trust: SenderDataType,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<InboundGroupSession>> {
        let grp = self.0.inbound_grp(sender, trust);
        let pickles = self.0.found(Kind::Inbound, grp).await?;
        let mut sessions: Vec<_> = pickles.into_iter().map(inbound).collect::<Result<_>>()?;
        if let Some(after) = after {
            sessions.retain(|session| session.session_id() > after);
        }
        sessions.sort_by(|one, other| one.session_id().cmp(other.session_id()));
        sessions.truncate(limit);
        Ok(sessions)
    }

    /// Destroys an inbound session, and what is known of its events.
    pub async fn forget_inbound(&self, room: &RoomId, session: &str) -> Result<()> {
        let name = (room.as_bytes(), session.as_bytes());
        let _saving = self.0.saving.lock().await;
        let mut rows = vec![self.0.delete(Kind::Inbound, name)];
        for (key, _) in self.0.rows(Kind::Heard, Some(session.as_bytes())).await? {
            if let Ok(key) = key.as_slice().try_into() {
                rows.push(self.0.delete_key(Kind::Heard, key));
            }
        }
        self.0.forget_session(self.0.key(Kind::Inbound, name));
        self.0.write(rows).await
    }

    pub(super) async fn save_inbound(&self, sessions: &[InboundGroupSession]) -> Result<()> {
        let _saving = self.0.saving.lock().await;
        let mut rows = Vec::with_capacity(sessions.len());
        for session in sessions {
            rows.push(self.0.inbound(session).await?);
        }
        self.0.forget_sessions(sessions);
        self.0.write(rows).await
    }

    pub(super) async fn mark_backed_up(&self, ids: &[(&RoomId, &str)]) -> Result<()> {
        let mut sessions = Vec::with_capacity(ids.len());
        for (room, session) in ids {
            sessions.extend(self.0.inbound_session(room.as_bytes(), session).await?);
        }
        for session in &sessions {
            session.mark_as_backed_up();
        }
        self.save_inbound(&sessions).await
    }

    pub(super) async fn mark_not_backed_up(&self) -> Result<()> {
        let mut sessions = self.inbound_sessions(None).await?;
        sessions.retain(InboundGroupSession::backed_up);
        for session in &sessions {
            session.reset_backup_state();
        }
        self.save_inbound(&sessions).await
    }
}
