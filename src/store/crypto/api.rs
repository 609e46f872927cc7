//! `matrix-sdk-crypto`'s trait, call by call. Called by its `OlmMachine`.

use std::collections::HashMap;

use async_trait::async_trait;
use matrix_sdk_crypto::{
    Account, DeviceData, GossipRequest, SecretInfo, UserIdentityData,
    olm::{
        InboundGroupSession, OlmMessageHash, OutboundGroupSession, PickledAccount,
        PickledCrossSigningIdentity, PrivateCrossSigningIdentity, SenderDataType, Session,
    },
    store::{
        CryptoStore as Trait, CryptoStoreError,
        types::{
            BackupKeys, Changes, DehydratedDeviceKey, PendingChanges, RoomKeyCounts,
            RoomKeyWithheldEntry, RoomPendingKeyBundleDetails, RoomSettings,
            StoredRoomKeyBundleData, TrackedUser,
        },
    },
    vodozemac::Curve25519PublicKey,
};
use ruma::{
    DeviceId, OwnedDeviceId, RoomId, TransactionId, UserId, events::secret::request::SecretName,
};
use zeroize::Zeroizing;

use super::{
    super::StoreError,
    CryptoStore, Kind,
    changes::{BACKUP_KEY, BACKUP_VERSION, DEHYDRATION_KEY, NEXT_BATCH},
    lock, unusable,
};

type Result<T> = std::result::Result<T, StoreError>;

/// A group in which there is one item.
fn one(group: &(impl AsRef<[u8]> + ?Sized)) -> (&[u8], &[u8]) {
    (group.as_ref(), b"")
}

/// An item that is in no group.
fn item(item: &(impl AsRef<[u8]> + ?Sized)) -> (&[u8], &[u8]) {
    (b"", item.as_ref())
}

#[async_trait]
impl Trait for CryptoStore {
    type Error = StoreError;

    async fn load_account(&self) -> Result<Option<Account>> {
        let pickle: Option<PickledAccount> = self.0.get(Kind::Account, one("")).await?;
        let Some(pickle) = pickle else {
            return Ok(None);
        };
        let account = Account::from_pickle(pickle).map_err(unusable)?;
        *lock(&self.0.account) = Some(account.static_data().clone());
        Ok(Some(account))
    }

    async fn load_identity(&self) -> Result<Option<PrivateCrossSigningIdentity>> {
        let pickle: Option<PickledCrossSigningIdentity> =
            self.0.get(Kind::PrivateIdentity, one("")).await?;
        pickle
            .map(PrivateCrossSigningIdentity::from_pickle)
            .transpose()
            .map_err(|_| unusable(CryptoStoreError::UnpicklingError))
    }

    async fn save_changes(&self, changes: Changes) -> Result<()> {
        self.0.save_changes(changes).await
    }

    async fn save_pending_changes(&self, changes: PendingChanges) -> Result<()> {
        match changes.account {
            Some(account) => self.save_account(&account).await,
            None => Ok(()),
        }
    }

    async fn save_inbound_group_sessions(
        &self,
        sessions: Vec<InboundGroupSession>,
        _backed_up_to_version: Option<&str>,
    ) -> Result<()> {
        self.save_inbound(&sessions).await
    }

    async fn get_sessions(&self, sender_key: &str) -> Result<Option<Vec<Session>>> {
        self.olm_sessions(sender_key).await
    }

    async fn get_inbound_group_session(
        &self,
        room_id: &RoomId,
        session_id: &str,
    ) -> Result<Option<InboundGroupSession>> {
        self.0.inbound_session(room_id.as_bytes(), session_id).await
    }

    async fn get_withheld_info(
        &self,
        room_id: &RoomId,
        session_id: &str,
    ) -> Result<Option<RoomKeyWithheldEntry>> {
        let name = (room_id.as_bytes(), session_id.as_bytes());
        self.0.get(Kind::Withheld, name).await
    }

    async fn get_withheld_sessions_by_room_id(
        &self,
        room_id: &RoomId,
    ) -> Result<Vec<RoomKeyWithheldEntry>> {
        self.0.all(Kind::Withheld, Some(room_id.as_bytes())).await
    }

    async fn get_inbound_group_sessions(&self) -> Result<Vec<InboundGroupSession>> {
        self.inbound_sessions(None).await
    }

    async fn inbound_group_session_counts(&self, _version: Option<&str>) -> Result<RoomKeyCounts> {
        let sessions = self.inbound_sessions(None).await?;
        Ok(RoomKeyCounts {
            total: sessions.len(),
            backed_up: sessions
                .iter()
                .filter(|session| session.backed_up())
                .count(),
        })
    }

    async fn get_inbound_group_sessions_by_room_id(
        &self,
        room_id: &RoomId,
    ) -> Result<Vec<InboundGroupSession>> {
        self.inbound_sessions(Some(room_id)).await
    }

    async fn get_inbound_group_sessions_for_device_batch(
        &self,
        curve_key: Curve25519PublicKey,
        sender_data_type: SenderDataType,
        after_session_id: Option<String>,
        limit: usize,
    ) -> Result<Vec<InboundGroupSession>> {
        let after = after_session_id.as_deref();
        self.inbound_sessions_of(&curve_key, sender_data_type, after, limit)
            .await
    }

    async fn inbound_group_sessions_for_backup(
        &self,
        _backup_version: &str,
        limit: usize,
    ) -> Result<Vec<InboundGroupSession>> {
        let mut sessions = self.inbound_sessions(None).await?;
        sessions.retain(|session| !session.backed_up());
        sessions.truncate(limit);
        Ok(sessions)
    }

    async fn mark_inbound_group_sessions_as_backed_up(
        &self,
        _backup_version: &str,
        room_and_session_ids: &[(&RoomId, &str)],
    ) -> Result<()> {
        self.mark_backed_up(room_and_session_ids).await
    }

    async fn reset_backup_state(&self) -> Result<()> {
        self.mark_not_backed_up().await
    }

    async fn load_backup_keys(&self) -> Result<BackupKeys> {
        Ok(BackupKeys {
            decryption_key: self.0.get(Kind::Single, BACKUP_KEY).await?,
            backup_version: self.0.get(Kind::Single, BACKUP_VERSION).await?,
        })
    }

    async fn load_dehydrated_device_pickle_key(&self) -> Result<Option<DehydratedDeviceKey>> {
        self.0.get(Kind::Single, DEHYDRATION_KEY).await
    }

    async fn delete_dehydrated_device_pickle_key(&self) -> Result<()> {
        let row = self.0.delete(Kind::Single, DEHYDRATION_KEY);
        self.0.save(vec![row]).await
    }

    async fn get_outbound_group_session(
        &self,
        room_id: &RoomId,
    ) -> Result<Option<OutboundGroupSession>> {
        let account = self.account().await?;
        self.0.load_outbound(room_id.as_bytes(), &account).await
    }

    async fn load_tracked_users(&self) -> Result<Vec<TrackedUser>> {
        self.0.all(Kind::Tracked, None).await
    }

    async fn save_tracked_users(&self, users: &[(&UserId, bool)]) -> Result<()> {
        let row = |(user, dirty): &(&UserId, bool)| {
            let tracked = TrackedUser {
                user_id: (*user).to_owned(),
                dirty: *dirty,
            };
            self.0.put(Kind::Tracked, item(user.as_bytes()), &tracked)
        };
        let rows = users.iter().map(row).collect::<Result<_>>()?;
        self.0.save(rows).await
    }

    async fn get_device(&self, user: &UserId, device: &DeviceId) -> Result<Option<DeviceData>> {
        let name = (user.as_bytes(), device.as_bytes());
        self.0.get(Kind::Known, name).await
    }

    async fn get_user_devices(&self, user: &UserId) -> Result<HashMap<OwnedDeviceId, DeviceData>> {
        let devices: Vec<DeviceData> = self.0.all(Kind::Known, Some(user.as_bytes())).await?;
        Ok(devices
            .into_iter()
            .map(|device| (device.device_id().to_owned(), device))
            .collect())
    }

    async fn get_own_device(&self) -> Result<DeviceData> {
        let account = self.account().await?;
        self.get_device(&account.user_id, &account.device_id)
            .await?
            .ok_or_else(|| unusable(CryptoStoreError::AccountUnset))
    }

    async fn get_user_identity(&self, user: &UserId) -> Result<Option<UserIdentityData>> {
        self.0.identity(user).await
    }

    async fn is_message_known(&self, hash: &OlmMessageHash) -> Result<bool> {
        let name = (hash.sender_key.as_bytes(), hash.hash.as_bytes());
        self.0.has(Kind::MessageHash, name).await
    }

    async fn get_outgoing_secret_requests(
        &self,
        request_id: &TransactionId,
    ) -> Result<Option<GossipRequest>> {
        self.0.get(Kind::Request, item(request_id.as_bytes())).await
    }

    async fn get_secret_request_by_info(
        &self,
        secret_info: &SecretInfo,
    ) -> Result<Option<GossipRequest>> {
        let grp = self.0.request_grp(&secret_info.as_key());
        Ok(self.0.found(Kind::Request, grp).await?.into_iter().next())
    }

    async fn get_unsent_secret_requests(&self) -> Result<Vec<GossipRequest>> {
        let mut requests: Vec<GossipRequest> = self.0.all(Kind::Request, None).await?;
        requests.retain(|request| !request.sent_out);
        Ok(requests)
    }

    async fn delete_outgoing_secret_requests(&self, request_id: &TransactionId) -> Result<()> {
        let row = self.0.delete(Kind::Request, item(request_id.as_bytes()));
        self.0.save(vec![row]).await
    }

    async fn get_secrets_from_inbox(&self, name: &SecretName) -> Result<Vec<Zeroizing<String>>> {
        self.0.secrets(name.as_str()).await
    }

    async fn delete_secrets_from_inbox(&self, name: &SecretName) -> Result<()> {
        self.0.delete_secrets(name.as_str()).await
    }

    async fn get_room_settings(&self, room_id: &RoomId) -> Result<Option<RoomSettings>> {
        self.0.get(Kind::Room, one(room_id.as_bytes())).await
    }

    async fn get_received_room_key_bundle_data(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Option<StoredRoomKeyBundleData>> {
        let name = (room_id.as_bytes(), user_id.as_bytes());
        self.0.get(Kind::Bundle, name).await
    }

    async fn get_pending_key_bundle_details_for_room(
        &self,
        room_id: &RoomId,
    ) -> Result<Option<RoomPendingKeyBundleDetails>> {
        self.0.get(Kind::Pending, item(room_id.as_bytes())).await
    }

    async fn get_all_rooms_pending_key_bundles(&self) -> Result<Vec<RoomPendingKeyBundleDetails>> {
        self.0.all(Kind::Pending, None).await
    }

    async fn has_downloaded_all_room_keys(&self, room_id: &RoomId) -> Result<bool> {
        self.0.has(Kind::Fetched, one(room_id.as_bytes())).await
    }

    async fn get_custom_value(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let value = self.0.get_bytes(Kind::Custom, one(key)).await?;
        Ok(value.map(|value| value.to_vec()))
    }

    async fn set_custom_value(&self, key: &str, value: Vec<u8>) -> Result<()> {
        let value = Zeroizing::new(value);
        let row = self.0.put_bytes(Kind::Custom, one(key), &value);
        self.0.save(vec![row]).await
    }

    async fn remove_custom_value(&self, key: &str) -> Result<()> {
        let row = self.0.delete(Kind::Custom, one(key));
        self.0.save(vec![row]).await
    }

    async fn try_take_leased_lock(
        &self,
        lease_duration_ms: u32,
        key: &str,
        holder: &str,
    ) -> Result<Option<u64>> {
        Ok(self.0.lease(lease_duration_ms, key, holder))
    }

    async fn next_batch_token(&self) -> Result<Option<String>> {
        self.0.get(Kind::Single, NEXT_BATCH).await
    }

    /// The connections are the whole store's.
    async fn close(&self) -> Result<()> {
        Ok(())
    }

    async fn reopen(&self) -> Result<()> {
        Ok(())
    }

    async fn get_size(&self) -> Result<Option<usize>> {
        Ok(None)
    }
}
