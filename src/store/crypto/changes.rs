//! What the crate wants saved, as rows.

use matrix_sdk_crypto::{
    olm::{InboundGroupSession, PickledInboundGroupSession, SenderDataType, Session},
    store::types::Changes,
    vodozemac::Curve25519PublicKey,
};

use super::{
    super::{StoreError, group::CryptoRow, seal::Hash},
    Kind, State, lock,
    rows::Name,
};

impl State {
    /// Reads the changes out of their sessions and writes them, all or none.
    pub(super) async fn save_changes(&self, changes: Changes) -> Result<(), StoreError> {
        let _saving = self.saving.lock().await;
        // First, so that one that comes once more stays.
        let mut rows = self.old_hashes(changes.message_hashes.len()).await?;
        rows.extend(self.spare_sessions(changes.sessions.len()).await?);
        let notices = changes.withheld_session_info.values();
        let notices = notices.map(std::collections::BTreeMap::len).sum();
        rows.extend(self.spare_notices(notices).await?);
        let bundles = changes.received_room_key_bundles.len();
        rows.extend(self.spare_bundles(bundles).await?);
        let mut outbound = Vec::new();
        for session in &changes.outbound_group_sessions {
            outbound.push(self.outbound(session, &mut rows).await?);
        }
        for session in &changes.sessions {
            rows.push(self.session(session).await?);
        }
        for session in &changes.inbound_group_sessions {
            rows.push(self.inbound(session).await?);
        }
        if let Some(identity) = &changes.private_identity {
            let pickle = identity.pickle().await;
            rows.push(self.put(Kind::PrivateIdentity, (b"", b""), &pickle)?);
        }
        self.singles(&changes, &mut rows)?;
        self.people(&changes, &mut rows)?;
        self.rooms(&changes, &mut rows)?;
        self.forget(&changes);
        self.write(rows).await?;
        lock(&self.outbound).extend(outbound);
        Ok(())
    }

    fn singles(&self, changes: &Changes, rows: &mut Vec<CryptoRow>) -> Result<(), StoreError> {
        if let Some(version) = &changes.backup_version {
            rows.push(self.put(Kind::Single, BACKUP_VERSION, version)?);
        }
        if let Some(key) = &changes.backup_decryption_key {
            rows.push(self.put(Kind::Single, BACKUP_KEY, key)?);
        }
        if let Some(key) = &changes.dehydrated_device_pickle_key {
            rows.push(self.put(Kind::Single, DEHYDRATION_KEY, key)?);
        }
        if let Some(token) = &changes.next_batch_token {
            rows.push(self.put(Kind::Single, NEXT_BATCH, token)?);
        }
        Ok(())
    }

    fn people(&self, changes: &Changes, rows: &mut Vec<CryptoRow>) -> Result<(), StoreError> {
        for device in changes.devices.new.iter().chain(&changes.devices.changed) {
            let name = (device.user_id().as_bytes(), device.device_id().as_bytes());
            rows.push(self.put(Kind::Known, name, device)?);
        }
        for device in &changes.devices.deleted {
            let name = (device.user_id().as_bytes(), device.device_id().as_bytes());
            rows.push(self.delete(Kind::Known, name));
        }
        let identities = &changes.identities;
        for identity in identities.new.iter().chain(&identities.changed) {
            let name = (identity.user_id().as_bytes(), b"".as_slice());
            rows.push(self.put(Kind::Identity, name, identity)?);
        }
        for hash in &changes.message_hashes {
            let name = (hash.sender_key.as_bytes(), hash.hash.as_bytes());
            rows.push(self.put_bytes(Kind::MessageHash, name, &self.now()));
        }
        for request in &changes.key_requests {
            let row = self.put(Kind::Request, (b"", request.request_id.as_bytes()), request)?;
            rows.push(CryptoRow {
                grp: Some(self.request_grp(&request.info.as_key())),
                ..row
            });
        }
        for secret in &changes.secrets {
            let name = (
                secret.secret_name.as_str().as_bytes(),
                secret.secret.as_bytes(),
            );
            rows.push(self.put_bytes(Kind::Secret, name, secret.secret.as_bytes()));
        }
        Ok(())
    }

    fn rooms(&self, changes: &Changes, rows: &mut Vec<CryptoRow>) -> Result<(), StoreError> {
        for (room, sessions) in &changes.withheld_session_info {
            for (session, entry) in sessions {
                let name = (room.as_bytes(), session.as_bytes());
                rows.push(self.put(Kind::Withheld, name, entry)?);
            }
        }
        for (room, settings) in &changes.room_settings {
            rows.push(self.put(Kind::Room, (room.as_bytes(), b""), settings)?);
        }
        for bundle in &changes.received_room_key_bundles {
            let room = bundle.bundle_data.room_id.as_bytes();
            let name = (room, bundle.sender_user.as_bytes());
            rows.push(self.put(Kind::Bundle, name, bundle)?);
        }
        for room in &changes.room_key_backups_fully_downloaded {
            rows.push(self.put_bytes(Kind::Fetched, (room.as_bytes(), b""), b""));
        }
        for (room, details) in &changes.rooms_pending_key_bundle {
            let name = (b"".as_slice(), room.as_bytes());
            rows.push(match details {
                Some(details) => self.put(Kind::Pending, name, details)?,
                None => self.delete(Kind::Pending, name),
            });
        }
        Ok(())
    }

    async fn session(&self, session: &Session) -> Result<CryptoRow, StoreError> {
        let sender_key = session.sender_key().to_base64();
        let name = (sender_key.as_bytes(), session.session_id().as_bytes());
        self.put(Kind::Session, name, &session.pickle().await)
    }

    pub(super) async fn inbound(
        &self,
        session: &InboundGroupSession,
    ) -> Result<CryptoRow, StoreError> {
        let pickle: PickledInboundGroupSession = session.pickle().await;
        let name = (
            session.room_id().as_bytes(),
            session.session_id().as_bytes(),
        );
        let row = self.put(Kind::Inbound, name, &pickle)?;
        let grp = self.inbound_grp(&session.sender_key(), session.sender_data_type());
        Ok(CryptoRow {
            grp: Some(grp),
            ..row
        })
    }

    pub(super) fn inbound_grp(&self, sender: &Curve25519PublicKey, trust: SenderDataType) -> Hash {
        self.grp(Kind::Inbound, [sender.as_bytes(), &[trust as u8]])
    }

    pub(super) fn request_grp(&self, info: &str) -> Hash {
        self.grp(Kind::Request, [info.as_bytes(), b""])
    }
}

pub(super) const BACKUP_VERSION: Name<'static> = (b"backup version", b"");
pub(super) const BACKUP_KEY: Name<'static> = (b"backup key", b"");
pub(super) const DEHYDRATION_KEY: Name<'static> = (b"dehydration key", b"");
pub(super) const NEXT_BATCH: Name<'static> = (b"next batch", b"");
