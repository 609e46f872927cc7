//! A person's device with real keys, on a homeserver that keeps keys.

use std::{collections::HashMap, sync::Arc};

use matrix_sdk_crypto::{
    DecryptionSettings, EncryptionSettings, EncryptionSyncChanges, OlmMachine, TrustRequirement,
    types::requests::{AnyIncomingResponse, AnyOutgoingRequest, ToDeviceRequest},
};
use ruma::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedEventId, OwnedUserId, RoomId, TransactionId, UserId,
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
use serde_json::{Value, json};

use crate::{fake::Fake, world::World};

const SETTINGS: DecryptionSettings = DecryptionSettings {
    sender_device_trust_requirement: TrustRequirement::Untrusted,
};

/// A device.
pub struct Member {
    user: OwnedUserId,
    device: OwnedDeviceId,
    olm: OlmMachine,
    fake: Fake,
    since: u64,
}

impl Member {
    /// A device that nobody has signed.
    pub fn unsigned(world: &World, user: &str, device: &str) -> Self {
        let user: OwnedUserId = user.try_into().unwrap();
        let device: OwnedDeviceId = device.into();
        let member = Self {
            olm: world.ask(OlmMachine::new(&user, &device)),
            user,
            device,
            fake: world.fake.clone(),
            since: 0,
        };
        world.ask(member.outgoing());
        member
    }

    /// A device, signed by an identity that is new and its owner's from now on.
    pub fn new(world: &World, user: &str, device: &str) -> Self {
        let member = Self::unsigned(world, user, device);
        world.ask(async {
            let identity = member.olm.bootstrap_cross_signing(false).await.unwrap();
            let keys = &identity.upload_signing_keys_req;
            let keys = json!({
                "master_key": keys.master_key,
                "self_signing_key": keys.self_signing_key,
                "user_signing_key": keys.user_signing_key,
            });
            let user = member.user.as_str();
            member.fake.keys(|kept| kept.cross_sign(user, &keys));
            let done = upload_signing_keys::v3::Response::new();
            let done = AnyIncomingResponse::SigningKeysUpload(&done);
            let id = TransactionId::new();
            member.olm.mark_request_as_sent(&id, done).await.unwrap();
            let signed = json!(identity.upload_signatures_req.signed_keys);
            member.fake.keys(|kept| kept.sign(&signed));
            member.outgoing().await;
        });
        member
    }

    async fn outgoing(&self) {
        let user = self.user.as_str();
        for request in self.olm.outgoing_requests().await.unwrap() {
            let id = request.request_id();
            match request.request() {
                AnyOutgoingRequest::KeysUpload(request) => {
                    let mut body = json!({
                        "one_time_keys": request.one_time_keys,
                        "fallback_keys": request.fallback_keys,
                    });
                    if let Some(keys) = &request.device_keys {
                        body["device_keys"] = json!(keys);
                    }
                    let device = self.device.as_str();
                    let answer = self.fake.keys(|kept| kept.upload(user, device, &body));
                    let answer: upload_keys::v3::Response = response(&answer);
                    self.olm.mark_request_as_sent(id, &answer).await.unwrap();
                }
                AnyOutgoingRequest::KeysQuery(request) => {
                    let body = json!({"device_keys": request.device_keys});
                    let answer = self.fake.keys(|kept| kept.query(user, &body));
                    let answer: get_keys::v3::Response = response(&answer);
                    self.olm.mark_request_as_sent(id, &answer).await.unwrap();
                }
                AnyOutgoingRequest::SignatureUpload(request) => {
                    let signed = json!(request.signed_keys);
                    self.fake.keys(|kept| kept.sign(&signed));
                    let answer: upload_signatures::v3::Response =
                        response(&json!({"failures": {}}));
                    self.olm.mark_request_as_sent(id, &answer).await.unwrap();
                }
                AnyOutgoingRequest::ToDeviceRequest(request) => self.to_device(request).await,
                AnyOutgoingRequest::KeysClaim(_) | AnyOutgoingRequest::RoomMessage(_) => {}
            }
        }
    }

    async fn to_device(&self, request: &ToDeviceRequest) {
        let (kind, messages) = (request.event_type.to_string(), json!(request.messages));
        let user = self.user.as_str();
        self.fake.keys(|kept| kept.send(user, &kind, &messages));
        let done = send_event_to_device::v3::Response::new();
        let id = &request.txn_id;
        self.olm.mark_request_as_sent(id, &done).await.unwrap();
    }

    /// Gives the key of a room to those of ours who are in `with`, and has a new one if `anew`.
    pub fn gives_key(&self, world: &World, room: &str, with: &str, anew: bool) {
        let keys = self.wraps_key(world, room, with, anew);
        self.hands_over(world, &keys);
    }

    /// What would give them the key.
    pub fn wraps_key(
        &self,
        world: &World,
        room: &str,
        with: &str,
        anew: bool,
    ) -> Vec<Arc<ToDeviceRequest>> {
        let ours: Vec<OwnedUserId> = world.fake.look(|rooms| {
            let joined = rooms.rooms[with].joined();
            let ours = joined.filter(|user| user.starts_with("@_vizard_"));
            ours.map(|user| user.try_into().unwrap()).collect()
        });
        let room = <&RoomId>::try_from(room).unwrap();
        let names = || ours.iter().map(AsRef::<UserId>::as_ref);
        world.ask(async {
            if anew {
                self.olm.discard_room_key(room).await.unwrap();
            }
            self.olm.update_tracked_users(names()).await.unwrap();
            self.olm.mark_all_tracked_users_as_dirty().await.unwrap();
            self.outgoing().await;
            let missing = self.olm.get_missing_sessions(names()).await.unwrap();
            if let Some((request, claim)) = missing {
                let body = json!({"one_time_keys": claim.one_time_keys});
                let answer = self.fake.keys(|kept| kept.claim(&body));
                let answer: claim_keys::v3::Response = response(&answer);
                let done = self.olm.mark_request_as_sent(&request, &answer);
                done.await.unwrap();
            }
            let settings = EncryptionSettings::default();
            let share = self.olm.share_room_key(room, names(), settings);
            share.await.unwrap()
        })
    }

    /// Lets a key go that was kept until now.
    pub fn hands_over(&self, world: &World, keys: &[Arc<ToDeviceRequest>]) {
        world.ask(async {
            for request in keys {
                self.to_device(request).await;
            }
        });
    }

    /// Says something, encrypted.
    pub fn says(&self, world: &World, room: &str, kind: &str, content: &Value) -> OwnedEventId {
        self.gives_key(world, room, room, false);
        let sealed = self.seals(world, room, kind, content);
        let user = self.user.as_str();
        let sent = world.fake.send(user, room, "m.room.encrypted", sealed);
        sent.unwrap()
    }

    /// What it would say with the key that was given out last.
    pub fn seals(&self, world: &World, room: &str, kind: &str, content: &Value) -> Value {
        let room = <&RoomId>::try_from(room).unwrap();
        let content = Raw::new(content).unwrap().cast_unchecked();
        let sealed = world.ask(self.olm.encrypt_room_event_raw(room, kind, &content));
        serde_json::from_str(sealed.unwrap().content.json().get()).unwrap()
    }

    /// Senders and bodies of what it can read in a room.
    pub fn reads(&mut self, world: &World, room: &str) -> Vec<(String, String)> {
        world.ask(self.receive());
        let id = <&RoomId>::try_from(room).unwrap();
        let mut read = Vec::new();
        for event in world.fake.events(room) {
            if event["type"] != "m.room.encrypted" {
                continue;
            }
            let sender = event["sender"].as_str().unwrap().to_owned();
            let event = Raw::new(&event).unwrap().cast_unchecked();
            let opened = world.ask(self.olm.decrypt_room_event(&event, id, &SETTINGS));
            if let Ok(opened) = opened {
                let opened: Value = serde_json::from_str(opened.event.json().get()).unwrap();
                let body = opened["content"]["body"].as_str().unwrap_or_default();
                read.push((sender, body.to_owned()));
            }
        }
        read
    }

    async fn receive(&mut self) {
        loop {
            let (user, device, since) = (self.user.as_str(), self.device.as_str(), self.since);
            let received = self.fake.keys(|kept| kept.receive(user, device, since));
            self.since = received.upto;
            let nothing = received.events.is_empty();
            let events = received.events.iter();
            let events = events.map(|event| Raw::new(event).unwrap().cast_unchecked());
            let counts = [(
                OneTimeKeyAlgorithm::SignedCurve25519,
                u32::try_from(received.left).unwrap().into(),
            )];
            let unused = [OneTimeKeyAlgorithm::SignedCurve25519];
            let changes = EncryptionSyncChanges {
                to_device_events: events.collect(),
                changed_devices: &DeviceLists::new(),
                one_time_keys_counts: &counts.into(),
                unused_fallback_keys: Some(&unused[..usize::from(received.unused)]),
                next_batch_token: None,
            };
            let received = self.olm.receive_sync_changes(changes, &SETTINGS);
            received.await.unwrap();
            self.outgoing().await;
            if nothing {
                return;
            }
        }
    }
}

fn response<R: IncomingResponse>(body: &Value) -> R {
    let body = body.to_string().into_bytes();
    R::try_from_http_response(http::Response::new(body))
        .ok()
        .unwrap()
}

/// To which devices ours sent room keys, and how many.
pub fn keys_given(world: &World) -> HashMap<(String, String), usize> {
    let mut given = HashMap::new();
    for message in world.fake.posted() {
        if message.kind == "m.room.encrypted" && message.sender.starts_with("@_vizard_") {
            *given.entry((message.to, message.device)).or_default() += 1;
        }
    }
    given
}
