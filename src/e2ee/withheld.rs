//! Room keys that are kept back: from our device by a sender's (`m.room_key.withheld`), and by ours from a member's.
//!
//! Both are told to the user by `relay`: nobody is to wait for an answer from somebody who cannot read the question.

use matrix_sdk_common::deserialized_responses::WithheldCode;
use ruma::{OwnedDeviceId, OwnedUserId, UserId, events::AnyToDeviceEvent, serde::Raw};
use serde::{Deserialize, Serialize};

use super::{E2ee, E2eeError, lock, machine::Machine};
use crate::{
    clock::UnixMillis,
    event::{Event, Withheld},
    store::NotShared,
};

/// How long the word of a device that it has no secure channel to ours explains its messages, in milliseconds.
const NO_CHANNEL: u64 = 3_600_000;

/// Devices of one member to which a room key was not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFrom {
    /// The member.
    pub user: OwnedUserId,
    /// The devices.
    pub devices: Vec<OwnedDeviceId>,
    /// Whether the member has no other device.
    pub all: bool,
    /// Why, for the first of them.
    pub why: Withheld,
}

impl E2ee {
    /// From whom what a ghost says is kept back since [`E2ee::has_told`] was called last.
    #[must_use]
    pub fn kept_from(&self, ghost: &UserId) -> Vec<KeptFrom> {
        lock(&self.0.kept).get(ghost).cloned().unwrap_or_default()
    }

    /// The user knows it.
    pub fn has_told(&self, ghost: &UserId) {
        lock(&self.0.kept).remove(ghost);
    }
}

/// From whom the key of a session is kept back.
pub(super) fn kept_from(withheld: Vec<NotShared>) -> Vec<KeptFrom> {
    let kept = |not: NotShared| KeptFrom {
        why: not
            .devices
            .first()
            .map_or(Withheld::Other, |(_, code)| reason(code)),
        user: not.user,
        all: not.all,
        devices: not.devices.into_iter().map(|(device, _)| device).collect(),
    };
    withheld.into_iter().map(kept).collect()
}

fn reason(code: &WithheldCode) -> Withheld {
    match code {
        WithheldCode::Blacklisted => Withheld::Blacklisted,
        WithheldCode::Unverified => Withheld::Unverified,
        WithheldCode::Unauthorised => Withheld::Unauthorised,
        WithheldCode::Unavailable => Withheld::Unavailable,
        WithheldCode::NoOlm => Withheld::NoOlm,
        _ => Withheld::Other,
    }
}

/// The parts of an `m.room_key.withheld` message that are read here.
#[derive(Deserialize)]
struct Notice {
    #[serde(rename = "type")]
    kind: String,
    sender: OwnedUserId,
    content: NoticeContent,
}

#[derive(Deserialize)]
struct NoticeContent {
    code: WithheldCode,
    #[serde(default)]
    sender_key: Option<String>,
}

/// A device's word that it has no secure channel to ours, as it is kept.
#[derive(Serialize, Deserialize)]
struct NoChannel {
    at: UnixMillis,
    sender_key: Option<String>,
}

fn no_channel(user: &UserId) -> String {
    format!("no channel:{user}")
}

impl Machine {
    /// Why there is no key for an event: nobody knows, or the sender has said so.
    pub(super) async fn withheld(&self, event: &Event) -> Result<Option<Withheld>, E2eeError> {
        #[derive(Deserialize)]
        struct Content {
            session_id: String,
        }
        let store = self.olm.store();
        if let Ok(Content { session_id }) = serde_json::from_str(event.content.get())
            && let Some(entry) = store.get_withheld_info(&event.room_id, &session_id).await?
            // Anybody may send such a notice; only the sender's counts.
            && entry.sender == event.sender
        {
            return Ok(Some(reason(&entry.content.withheld_code())));
        }
        // That there is no channel is said once, and of no session.
        let said = store.get_custom_value(&no_channel(&event.sender)).await?;
        let said = said.and_then(|said| serde_json::from_slice::<NoChannel>(&said).ok());
        let Some(said) = said else { return Ok(None) };
        let names_it = said
            .sender_key
            .is_none_or(|key| event.content.get().contains(&key));
        let recent = self.clock.now().saturating_sub(said.at) < NO_CHANNEL;
        Ok((names_it && recent).then_some(Withheld::NoOlm))
    }

    /// Takes note of devices that say that they have no secure channel to this one.
    pub(super) async fn note_withheld(
        &self,
        messages: &[Raw<AnyToDeviceEvent>],
    ) -> Result<(), E2eeError> {
        for message in messages {
            let json = message.json().get();
            // Most messages are encrypted and long.
            if !json.contains("m.room_key.withheld") {
                continue;
            }
            let Ok(notice) = serde_json::from_str::<Notice>(json) else {
                continue;
            };
            if notice.kind != "m.room_key.withheld" || notice.content.code != WithheldCode::NoOlm {
                continue;
            }
            let said = NoChannel {
                at: self.clock.now(),
                sender_key: notice.content.sender_key,
            };
            let said = serde_json::to_vec(&said).unwrap_or_default();
            let store = self.olm.store();
            store
                .set_custom_value(&no_channel(&notice.sender), said)
                .await?;
        }
        Ok(())
    }
}
