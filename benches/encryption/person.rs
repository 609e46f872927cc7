//! One person's device: a real `OlmMachine` in memory, signed by a cross-signing identity of its own.

use std::{collections::HashMap, sync::Mutex};

use anyhow::Context as _;
use matrix_sdk_crypto::{
    DecryptionSettings, EncryptionSettings, EncryptionSyncChanges, MegolmError, OlmMachine,
    TrustRequirement,
    types::requests::{AnyIncomingResponse, AnyOutgoingRequest, ToDeviceRequest},
};
use ruma::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedUserId, RoomId, TransactionId, UserId,
    api::{
        IncomingResponse,
        client::{
            keys::{claim_keys, get_keys, upload_keys, upload_signatures, upload_signing_keys},
            sync::sync_events::DeviceLists,
            to_device::send_event_to_device,
        },
    },
    serde::Raw,
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    ledger::Sealed,
    stub::{Stub, keys::Keys},
};

/// A room key is used for this many messages, as by clients.
const MESSAGES: u64 = 100;

const SETTINGS: DecryptionSettings = DecryptionSettings {
    sender_device_trust_requirement: TrustRequirement::Untrusted,
};

/// Where keys are left and found.
pub trait Server {
    /// Lets `work` use them, alone.
    fn keys<T>(&self, work: impl FnOnce(&mut Keys) -> T) -> T;
}

impl Server for Stub {
    fn keys<T>(&self, work: impl FnOnce(&mut Keys) -> T) -> T {
        work(&mut self.state().keys)
    }
}

impl Server for Mutex<Keys> {
    fn keys<T>(&self, work: impl FnOnce(&mut Keys) -> T) -> T {
        let mut keys = self
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        work(&mut keys)
    }
}

/// A device.
#[derive(Debug)]
pub struct Person {
    user: OwnedUserId,
    device: OwnedDeviceId,
    olm: OlmMachine,
    since: u64,
    /// For each room, with whom its key is shared, and for how many messages it was used.
    shared: HashMap<String, (Vec<OwnedUserId>, u64)>,
}

impl Person {
    /// Makes a device, with all its keys on the server.
    pub async fn new(server: &impl Server, user: &str) -> anyhow::Result<Self> {
        let user: OwnedUserId = user.try_into()?;
        let device: OwnedDeviceId = "DEVICE".into();
        let mut person = Self {
            olm: OlmMachine::new(&user, &device).await,
            user,
            device,
            since: 0,
            shared: HashMap::new(),
        };
        let identity = person.olm.bootstrap_cross_signing(false).await?;
        if let Some(request) = identity.upload_keys_req {
            person
                .request(server, request.request_id(), request.request())
                .await?;
        }
        let keys = &identity.upload_signing_keys_req;
        let keys = json!({
            "master_key": keys.master_key,
            "self_signing_key": keys.self_signing_key,
            "user_signing_key": keys.user_signing_key,
        });
        server.keys(|server| server.cross_sign(person.user.as_str(), &keys));
        let done = upload_signing_keys::v3::Response::new();
        let done = AnyIncomingResponse::SigningKeysUpload(&done);
        person
            .olm
            .mark_request_as_sent(&TransactionId::new(), done)
            .await?;
        let signed = json!(identity.upload_signatures_req.signed_keys);
        server.keys(|server| server.sign(&signed));
        person.outgoing(server).await?;
        // As every client does at once: before a sync there is no fallback key, and one-time keys run out.
        person.receive(server).await?;
        Ok(person)
    }

    async fn outgoing(&self, server: &impl Server) -> anyhow::Result<()> {
        for request in self.olm.outgoing_requests().await? {
            self.request(server, request.request_id(), request.request())
                .await?;
        }
        Ok(())
    }

    async fn request(
        &self,
        server: &impl Server,
        id: &TransactionId,
        request: &AnyOutgoingRequest,
    ) -> anyhow::Result<()> {
        let user = self.user.as_str();
        match request {
            AnyOutgoingRequest::KeysUpload(request) => {
                let mut body = json!({
                    "one_time_keys": request.one_time_keys,
                    "fallback_keys": request.fallback_keys,
                });
                if let Some(keys) = &request.device_keys {
                    body["device_keys"] = json!(keys);
                }
                let answer = server.keys(|keys| keys.upload(user, self.device.as_str(), &body));
                let answer: upload_keys::v3::Response = response(&answer)?;
                self.olm.mark_request_as_sent(id, &answer).await?;
            }
            AnyOutgoingRequest::KeysQuery(request) => {
                let body = json!({"device_keys": request.device_keys});
                let answer = server.keys(|keys| keys.query(user, &body));
                let answer: get_keys::v3::Response = response(&answer)?;
                self.olm.mark_request_as_sent(id, &answer).await?;
            }
            AnyOutgoingRequest::SignatureUpload(request) => {
                server.keys(|keys| keys.sign(&json!(request.signed_keys)));
                let answer: upload_signatures::v3::Response = response(&json!({"failures": {}}))?;
                self.olm.mark_request_as_sent(id, &answer).await?;
            }
            AnyOutgoingRequest::ToDeviceRequest(request) => {
                self.to_device(server, request).await?;
            }
            AnyOutgoingRequest::KeysClaim(_) | AnyOutgoingRequest::RoomMessage(_) => {}
        }
        Ok(())
    }

    async fn to_device(
        &self,
        server: &impl Server,
        request: &ToDeviceRequest,
    ) -> anyhow::Result<()> {
        let (kind, messages) = (request.event_type.to_string(), json!(request.messages));
        server.keys(|keys| keys.send(self.user.as_str(), &kind, &messages));
        let done = send_event_to_device::v3::Response::new();
        self.olm
            .mark_request_as_sent(&request.txn_id, &done)
            .await?;
        Ok(())
    }

    /// The content of an encrypted message for `users`.
    pub async fn seal(
        &mut self,
        server: &impl Server,
        room: &str,
        users: Vec<OwnedUserId>,
        content: &str,
    ) -> anyhow::Result<String> {
        let id = <&RoomId>::try_from(room)?;
        let names = || users.iter().map(AsRef::<UserId>::as_ref);
        let known = self.shared.get_mut(room);
        let used = match known {
            Some((known, used)) if *known == users => {
                *used += 1;
                *used - 1
            }
            _ => {
                self.olm.update_tracked_users(names()).await?;
                self.outgoing(server).await?;
                if let Some((request, claim)) = self.olm.get_missing_sessions(names()).await? {
                    let body = json!({"one_time_keys": claim.one_time_keys});
                    let answer = server.keys(|keys| keys.claim(&body));
                    let answer: claim_keys::v3::Response = response(&answer)?;
                    self.olm.mark_request_as_sent(&request, &answer).await?;
                }
                0
            }
        };
        if used % MESSAGES == 0 {
            let settings = EncryptionSettings::default();
            if used == 0 {
                // So that its messages are counted from here.
                self.olm.discard_room_key(id).await?;
            }
            for request in self.olm.share_room_key(id, names(), settings).await? {
                self.to_device(server, &request).await?;
            }
        }
        if used == 0 {
            self.shared.insert(room.to_owned(), (users, 1));
        }
        let content = Raw::from_json(RawValue::from_string(content.to_owned())?);
        let sealed = self
            .olm
            .encrypt_room_event_raw(id, "m.room.message", &content)
            .await?;
        Ok(sealed.content.json().get().to_owned())
    }

    /// What a message says.
    pub async fn open(&mut self, server: &impl Server, sealed: &Sealed) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Plain {
            content: Box<RawValue>,
        }
        let content = RawValue::from_string(sealed.content.clone())?;
        let event = json!({
            "type": "m.room.encrypted", "event_id": sealed.event, "sender": sealed.user,
            "room_id": sealed.room_id, "origin_server_ts": 1, "content": content,
        });
        let event = Raw::new(&event)?.cast_unchecked();
        let room = <&RoomId>::try_from(sealed.room_id.as_str())?;
        let mut opened = self.olm.decrypt_room_event(&event, room, &SETTINGS).await;
        if matches!(opened, Err(MegolmError::MissingRoomKey(_))) {
            self.receive(server).await?;
            opened = self.olm.decrypt_room_event(&event, room, &SETTINGS).await;
        }
        let opened = opened?;
        let plain: Plain = serde_json::from_str(opened.event.json().get())?;
        Ok(plain.content.get().to_owned())
    }

    /// Takes in all that waits for the device.
    pub async fn receive(&mut self, server: &impl Server) -> anyhow::Result<()> {
        loop {
            let (user, device) = (self.user.as_str(), self.device.as_str());
            let received = server.keys(|keys| keys.receive(user, device, self.since));
            self.since = received.upto;
            let nothing = received.events.is_empty();
            let events = received.events.iter().map(Raw::new);
            let events: Vec<_> = events
                .map(|event| event.map(Raw::cast_unchecked))
                .collect::<Result<_, _>>()?;
            let counts = [(
                OneTimeKeyAlgorithm::SignedCurve25519,
                u32::try_from(received.left)?.into(),
            )];
            let unused = [OneTimeKeyAlgorithm::SignedCurve25519];
            let changes = EncryptionSyncChanges {
                to_device_events: events,
                changed_devices: &DeviceLists::new(),
                one_time_keys_counts: &counts.into(),
                unused_fallback_keys: Some(&unused[..usize::from(received.unused)]),
                next_batch_token: None,
            };
            self.olm.receive_sync_changes(changes, &SETTINGS).await?;
            self.outgoing(server).await?;
            if nothing {
                return Ok(());
            }
        }
    }
}

fn response<R: IncomingResponse>(body: &Value) -> anyhow::Result<R> {
    let body = body.to_string().into_bytes();
    R::try_from_http_response(http::Response::new(body))
        .ok()
        .context("the key server's answer")
}
