//! The keys of one device: loaded, published once, and fed by the device's own `/sync`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use lru::LruCache;
use matrix_sdk_crypto::{
    DecryptionSettings, EncryptionSyncChanges, OlmMachine, TrustRequirement,
    types::requests::{AnyIncomingResponse, AnyOutgoingRequest},
};
use ruma::{OwnedRoomId, OwnedUserId};

use super::{
    E2eeError, Inner, ask::Asked, encrypt::Shared, mail::Letterbox, replay::Heard, requests,
    rooms::Rooms,
};
use crate::{
    clock::{Clock, UnixMillis},
    homeserver::{Actor, DeviceSync, Homeserver},
    store::CryptoStore,
};

/// Set in a machine's store once its keys are on the homeserver.
pub(super) const PUBLISHED: &str = "published";

/// Keys are taken from whatever device sends them: what is shown of it is decided when a message is opened.
pub(super) const SETTINGS: DecryptionSettings = DecryptionSettings {
    sender_device_trust_requirement: TrustRequirement::Untrusted,
};

/// One device's keys and what is known of it.
pub(super) struct Machine {
    pub(super) olm: OlmMachine,
    pub(super) keys: CryptoStore,
    pub(super) heard: Arc<Heard>,
    mail: Arc<Letterbox>,
    pub(super) homeserver: Homeserver,
    pub(super) clock: Clock,
    actor: Actor,
    /// When its last sync began.
    pub(super) synced: Option<UnixMillis>,
    /// Rises whenever anybody's devices may have changed.
    pub(super) devices: u64,
    pub(super) shared: HashMap<OwnedRoomId, Shared>,
    /// Whose identity was looked at, and what [`Machine::devices`] was then.
    pub(super) identities: HashMap<OwnedUserId, u64>,
    /// Sessions whose keys were asked for.
    pub(super) asked: LruCache<String, Asked>,
    /// Rooms from which events came: its user is there.
    pub(super) rooms: HashSet<OwnedRoomId>,
    /// What all machines know of rooms.
    pub(super) known_rooms: Arc<Rooms>,
}

impl Machine {
    /// Opens a device's keys, makes them where there are none, and sees to it that the homeserver has them.
    pub(super) async fn load(inner: &Inner, actor: &Actor) -> Result<Self, E2eeError> {
        let device = actor.device.as_deref().ok_or(E2eeError::NoDevice)?;
        let keys = inner.store.crypto(&actor.user, device);
        let olm = OlmMachine::with_store(&actor.user, device, keys.clone(), None).await?;
        let mut machine = Self {
            olm,
            keys,
            heard: inner.heard.clone(),
            mail: inner.mail.clone(),
            homeserver: inner.homeserver.clone(),
            clock: inner.clock.clone(),
            actor: actor.clone(),
            synced: None,
            devices: 0,
            shared: HashMap::new(),
            identities: HashMap::new(),
            asked: LruCache::unbounded(),
            rooms: HashSet::new(),
            known_rooms: inner.rooms.clone(),
        };
        machine.publish().await?;
        Ok(machine)
    }

    pub(super) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Uploads device keys, one-time keys and the cross-signing identity that signs the device. Each step may be repeated,
    /// and is, after a crash.
    async fn publish(&mut self) -> Result<(), E2eeError> {
        let store = self.olm.store();
        if store.get_custom_value(PUBLISHED).await?.is_some() {
            return Ok(());
        }
        if let Some(device) = &self.actor.device {
            self.homeserver
                .create_device(&self.actor.user, device)
                .await?;
        }
        let identity = self.olm.bootstrap_cross_signing(false).await?;
        if let Some(request) = identity.upload_keys_req {
            self.request(request.request_id(), request.request())
                .await?;
        }
        let keys = requests::cross_signing(&identity.upload_signing_keys_req)?;
        self.homeserver
            .upload_cross_signing(&self.actor, &keys)
            .await?;
        let done = ruma::api::client::keys::upload_signing_keys::v3::Response::new();
        self.olm
            .mark_request_as_sent(
                &ruma::TransactionId::new(),
                AnyIncomingResponse::SigningKeysUpload(&done),
            )
            .await?;
        self.homeserver
            .upload_signatures(&self.actor, &identity.upload_signatures_req)
            .await?;
        self.outgoing().await?;
        self.olm
            .store()
            .set_custom_value(PUBLISHED, vec![1])
            .await?;
        Ok(())
    }

    /// Fetches what waits for the device, and sends what follows from it.
    pub(super) async fn sync(&mut self) -> Result<(), E2eeError> {
        let began = self.clock.now();
        let since = self.olm.store().next_batch_token().await?;
        let answer = self
            .homeserver
            .sync_device(&self.actor, since.as_deref())
            .await?;
        self.digest(began, since, answer).await
    }

    /// Takes in what somebody else fetched for the device, who asked for what came after `since`.
    pub(super) async fn take_in(
        &mut self,
        began: UnixMillis,
        since: String,
        answer: DeviceSync,
    ) -> Result<(), E2eeError> {
        let since = Some(since);
        if self.olm.store().next_batch_token().await? != since {
            // The device has synced meanwhile.
            return self.sync().await;
        }
        self.digest(began, since, answer).await
    }

    async fn digest(
        &mut self,
        began: UnixMillis,
        since: Option<String>,
        mut answer: DeviceSync,
    ) -> Result<(), E2eeError> {
        if !answer.device_lists.changed.is_empty() || since.is_none() {
            self.devices += 1;
        }
        self.mail.take(&self.actor, &mut answer.to_device.events);
        self.note_withheld(&answer.to_device.events).await?;
        let changes = EncryptionSyncChanges {
            to_device_events: answer.to_device.events,
            changed_devices: &answer.device_lists,
            one_time_keys_counts: &answer.device_one_time_keys_count,
            unused_fallback_keys: answer.device_unused_fallback_key_types.as_deref(),
            next_batch_token: Some(answer.next_batch),
        };
        let (messages, keys) = self.olm.receive_sync_changes(changes, &SETTINGS).await?;
        self.spare_strangers_keys(&messages, keys).await?;
        if since.is_none() {
            // Whatever changed before the first sync is not told.
            self.olm.mark_all_tracked_users_as_dirty().await?;
        }
        self.outgoing().await?;
        self.synced = Some(began);
        Ok(())
    }

    /// Syncs unless the last one began less than `age` milliseconds ago.
    pub(super) async fn sync_if_older(&mut self, age: u64) -> Result<(), E2eeError> {
        let now = self.clock.now();
        match self.synced {
            Some(synced) if now.saturating_sub(synced) < age => Ok(()),
            _ => self.sync().await,
        }
    }

    /// Sends what the machine wants to send.
    pub(super) async fn outgoing(&mut self) -> Result<(), E2eeError> {
        for request in self.olm.outgoing_requests().await? {
            self.request(request.request_id(), request.request())
                .await?;
        }
        Ok(())
    }

    async fn request(
        &mut self,
        id: &ruma::TransactionId,
        request: &AnyOutgoingRequest,
    ) -> Result<(), E2eeError> {
        if matches!(request, AnyOutgoingRequest::KeysQuery(_)) {
            self.devices += 1;
        }
        requests::send(&self.homeserver, &self.actor, &self.olm, id, request).await
    }
}
