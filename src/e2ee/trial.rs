//! A trial of what every device of ours will need, for `vizard doctor`: with a device that exists for the trial alone, and
//! keys that are in memory alone. Touches no store, and never an identity that is there already.

use std::time::Duration;

use matrix_sdk_crypto::{OlmMachine, types::requests::AnyOutgoingRequest};
use ruma::{OwnedDeviceId, UserId, api::client::keys::upload_keys};
use serde_json::json;

use super::{E2eeError, requests};
use crate::{
    clock::Clock,
    homeserver::{Actor, DeviceSync, Homeserver},
};

/// The type of the message that the device sends to itself.
const MESSAGE: &str = "org.vizard.doctor";
/// How often, and how far apart, the device looks for it.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// A device on trial.
pub struct Trial {
    homeserver: Homeserver,
    actor: Actor,
    olm: OlmMachine,
    /// Where its next sync begins.
    since: Option<String>,
}

/// What a homeserver has of a user's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Devices with keys.
    pub devices: Vec<OwnedDeviceId>,
    /// Whether there is a cross-signing identity.
    pub identity: bool,
}

impl Trial {
    /// Makes keys for the actor's device, in memory.
    pub async fn new(homeserver: Homeserver, actor: Actor) -> Result<Self, E2eeError> {
        let device = actor.device.as_deref().ok_or(E2eeError::NoDevice)?;
        let olm = OlmMachine::new(&actor.user, device).await;
        Ok(Self {
            homeserver,
            actor,
            olm,
            since: None,
        })
    }

    /// Uploads the device's keys. How many one-time keys the homeserver then has.
    pub async fn upload_keys(&self) -> Result<u64, E2eeError> {
        for request in self.olm.outgoing_requests().await? {
            if let AnyOutgoingRequest::KeysUpload(_) = request.request() {
                let (id, request) = (request.request_id(), request.request());
                requests::send(&self.homeserver, &self.actor, &self.olm, id, request).await?;
            }
        }
        one_time_keys(&self.homeserver, &self.actor).await
    }

    /// How many one-time keys the device's own `/sync` counts.
    pub async fn sync(&mut self) -> Result<u64, E2eeError> {
        let answer = self.next().await?;
        Ok(sum(answer.device_one_time_keys_count.into_values()))
    }

    /// Sends a message to the device itself; whether its `/sync` brings it.
    pub async fn message(&mut self, clock: &Clock, txn_id: &str) -> Result<bool, E2eeError> {
        let Some(device) = &self.actor.device else {
            return Err(E2eeError::NoDevice);
        };
        let messages =
            json!({ self.actor.user.as_str(): { device.as_str(): { "txn_id": txn_id } } });
        self.homeserver
            .send_to_device(&self.actor, MESSAGE, txn_id, &messages)
            .await?;
        for _ in 0..LOOKS {
            let answer = self.next().await?;
            let ours = |event: &ruma::serde::Raw<_>| event.json().get().contains(txn_id);
            if answer.to_device.events.iter().any(ours) {
                return Ok(true);
            }
            clock.sleep(PAUSE).await;
        }
        Ok(false)
    }

    /// Each sync goes on where the one before ended: a homeserver may answer the same question the same for minutes.
    async fn next(&mut self) -> Result<DeviceSync, E2eeError> {
        let answer = self
            .homeserver
            .sync_device(&self.actor, self.since.as_deref())
            .await?;
        self.since = Some(answer.next_batch.clone());
        Ok(answer)
    }

    /// Uploads a cross-signing identity, whose private keys nobody keeps, and the device's signature by it. To be called
    /// only where [`published`] found no identity: it would replace one.
    pub async fn upload_identity(&self) -> Result<(), E2eeError> {
        let identity = self.olm.bootstrap_cross_signing(false).await?;
        let keys = requests::cross_signing(&identity.upload_signing_keys_req)?;
        self.homeserver
            .upload_cross_signing(&self.actor, &keys)
            .await?;
        self.homeserver
            .upload_signatures(&self.actor, &identity.upload_signatures_req)
            .await?;
        Ok(())
    }
}

/// What the homeserver has of the actor's own keys. Changes nothing.
pub async fn published(homeserver: &Homeserver, actor: &Actor) -> Result<Published, E2eeError> {
    let own: &UserId = &actor.user;
    let users = [(own.to_owned(), Vec::new())].into();
    let answer = homeserver.query_keys(actor, &users).await?;
    Ok(Published {
        devices: answer
            .device_keys
            .get(own)
            .map(|devices| devices.keys().cloned().collect())
            .unwrap_or_default(),
        identity: answer.master_keys.contains_key(own),
    })
}

/// How many one-time keys the homeserver has for the actor's device: what it answers to an upload of nothing. Changes
/// nothing, and takes nothing that waits for the device.
pub async fn one_time_keys(homeserver: &Homeserver, actor: &Actor) -> Result<u64, E2eeError> {
    let nothing = upload_keys::v3::Request::new();
    let answer = homeserver.upload_keys(actor, &nothing).await?;
    Ok(sum(answer.one_time_key_counts.into_values()))
}

fn sum(counts: impl Iterator<Item = ruma::UInt>) -> u64 {
    counts.map(u64::from).sum()
}
