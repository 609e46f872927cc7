//! Keys of devices: uploading, querying and claiming them, messages to devices, and what waits for one device.
//!
//! Request bodies are those that `matrix-sdk-crypto` asks for; nothing here looks into a key. What other servers said stands in
//! some answers: see `lenient`.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use ruma::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedUserId, UInt,
    api::{
        IncomingResponse,
        client::{
            keys::{claim_keys, get_keys, upload_keys, upload_signatures},
            sync::sync_events::DeviceLists,
        },
    },
    events::AnyToDeviceEvent,
    serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Actor, Error, Homeserver, lenient, request::Call, target::Target};

/// How long a homeserver may ask others for keys, in milliseconds.
const ASK_OTHERS: u64 = 10_000;

/// No room, no presence, no account data: what is left is the device's own.
const NOTHING_BUT_THE_DEVICE: &str =
    r#"{"room":{"rooms":[]},"presence":{"not_types":["*"]},"account_data":{"not_types":["*"]}}"#;

/// How much longer than it was asked to a homeserver may take.
const SLACK: Duration = Duration::from_secs(15);

/// What waits for one device (`GET /sync` without rooms).
#[derive(Debug, Default, Deserialize)]
pub struct DeviceSync {
    /// Where the next one begins.
    pub next_batch: String,
    /// Messages to the device.
    #[serde(default)]
    pub to_device: ToDevice,
    /// Whose devices changed.
    #[serde(default, deserialize_with = "lenient::device_lists")]
    pub device_lists: DeviceLists,
    /// One-time keys that the homeserver still has.
    #[serde(default)]
    pub device_one_time_keys_count: BTreeMap<OneTimeKeyAlgorithm, UInt>,
    /// Fallback keys that nobody used yet.
    #[serde(default, alias = "org.matrix.msc2732.device_unused_fallback_key_types")]
    pub device_unused_fallback_key_types: Option<Vec<OneTimeKeyAlgorithm>>,
}

/// The `to_device` part of a sync.
#[derive(Debug, Default, Deserialize)]
pub struct ToDevice {
    /// The messages, oldest first.
    #[serde(default)]
    pub events: Vec<Raw<AnyToDeviceEvent>>,
}

impl Homeserver {
    /// Uploads device keys, one-time keys and fallback keys of the actor's device.
    pub async fn upload_keys(
        &self,
        actor: &Actor,
        request: &upload_keys::v3::Request,
    ) -> Result<upload_keys::v3::Response, Error> {
        let mut body = json!({
            "one_time_keys": request.one_time_keys,
            "fallback_keys": request.fallback_keys,
        });
        if let Some(keys) = &request.device_keys {
            body["device_keys"] = json!(keys);
        }
        self.keys(
            "upload_keys",
            "/_matrix/client/v3/keys/upload",
            actor,
            &body,
        )
        .await
    }

    /// Asks for the device keys and cross-signing keys of users (an empty list: all devices).
    pub async fn query_keys(
        &self,
        actor: &Actor,
        users: &BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
    ) -> Result<get_keys::v3::Response, Error> {
        let body = json!({ "device_keys": users, "timeout": ASK_OTHERS });
        let target = self.at("/_matrix/client/v3/keys/query").actor(actor);
        let call = Call::post("query_keys", target, body.to_string());
        let answer: lenient::Queried = self.0.json(call).await?;
        Ok(answer.response(actor.user.server_name()))
    }

    /// Claims one-time keys.
    pub async fn claim_keys(
        &self,
        actor: &Actor,
        request: &claim_keys::v3::Request,
    ) -> Result<claim_keys::v3::Response, Error> {
        let body = json!({ "one_time_keys": request.one_time_keys, "timeout": ASK_OTHERS });
        let target = self.at("/_matrix/client/v3/keys/claim").actor(actor);
        let call = Call::post("claim_keys", target, body.to_string());
        let answer: lenient::Claimed = self.0.json(call).await?;
        Ok(answer.into())
    }

    /// Uploads a cross-signing identity (three public keys). An application service needs no further proof (MSC4190).
    pub async fn upload_cross_signing(&self, actor: &Actor, keys: &Value) -> Result<(), Error> {
        let target = self
            .at("/_matrix/client/v3/keys/device_signing/upload")
            .actor(actor);
        self.0
            .done(Call::post("upload_cross_signing", target, keys.to_string()))
            .await
    }

    /// Uploads signatures of keys.
    pub async fn upload_signatures(
        &self,
        actor: &Actor,
        request: &upload_signatures::v3::Request,
    ) -> Result<upload_signatures::v3::Response, Error> {
        self.keys(
            "upload_signatures",
            "/_matrix/client/v3/keys/signatures/upload",
            actor,
            &json!(request.signed_keys),
        )
        .await
    }

    /// Sends messages to devices. The same `txn_id` again is the same message.
    pub async fn send_to_device(
        &self,
        actor: &Actor,
        event_type: &str,
        txn_id: &str,
        messages: &(impl Serialize + Sync),
    ) -> Result<(), Error> {
        let target = self
            .at("/_matrix/client/v3/sendToDevice")
            .segment(event_type)
            .segment(txn_id)
            .actor(actor);
        let body = json!({ "messages": messages });
        self.0
            .done(Call::put("send_to_device", target, body.to_string()))
            .await
    }

    /// What waits for the actor's device. Asked with the `next_batch` of an earlier answer as `since`, the homeserver
    /// deletes the messages of that answer. Never shows anybody as online.
    pub async fn sync_device(
        &self,
        actor: &Actor,
        since: Option<&str>,
    ) -> Result<DeviceSync, Error> {
        let target = self.sync(actor, since, 0);
        self.0.json(Call::get("sync", target)).await
    }

    /// The same, but when nothing waits the homeserver keeps the answer back until something does, at most so long. Asked once.
    pub async fn wait_for_device(
        &self,
        actor: &Actor,
        since: &str,
        longest: Duration,
    ) -> Result<DeviceSync, Error> {
        let target = self.sync(actor, Some(since), longest.as_millis());
        let call = Call::get("sync_wait", target)
            .timeout(longest + SLACK)
            .tries(1);
        self.0.json(call).await
    }

    fn sync(&self, actor: &Actor, since: Option<&str>, timeout: u128) -> Target {
        let target = self
            .at("/_matrix/client/v3/sync")
            .query("set_presence", "offline")
            .query("timeout", &timeout.to_string())
            .query("filter", NOTHING_BUT_THE_DEVICE);
        let target = match since {
            Some(since) => target.query("since", since),
            None => target,
        };
        target.actor(actor)
    }

    /// What the homeserver itself says of keys that went up.
    async fn keys<R: IncomingResponse>(
        &self,
        endpoint: &'static str,
        path: &'static str,
        actor: &Actor,
        body: &Value,
    ) -> Result<R, Error> {
        let call = Call::post(endpoint, self.at(path).actor(actor), body.to_string());
        let body: Bytes = self.0.call(call).await?.body;
        R::try_from_http_response(http::Response::new(body))
            .map_err(|_| Error::Answer("unexpected JSON"))
    }
}
