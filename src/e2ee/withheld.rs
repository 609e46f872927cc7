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

/// A device's word that it has no secure channel to ours, as it is kept: in one list, because anybody may say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NoChannel {
    user: OwnedUserId,
    at: UnixMillis,
    sender_key: Option<String>,
}

/// Where the list stands, and how long it may be.
const NO_CHANNELS: &str = "no channels";
const MOST: usize = 256;
/// A key in base64 is shorter than this.
const LONGEST_KEY: usize = 64;

/// Adds what was said to what is known, and drops what is old, or too much.
fn gathered(mut known: Vec<NoChannel>, said: Vec<NoChannel>, now: UnixMillis) -> Vec<NoChannel> {
    known.retain(|known| {
        let again = said.iter().any(|said| said.user == known.user);
        !again && now.saturating_sub(known.at) < NO_CHANNEL
    });
    known.extend(said);
    known.drain(..known.len().saturating_sub(MOST));
    known
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
        let mut said = self.no_channels().await?;
        said.retain(|said| said.user == event.sender);
        let Some(said) = said.pop() else {
            return Ok(None);
        };
        let names_it = said
            .sender_key
            .is_none_or(|key| event.content.get().contains(&key));
        let recent = self.clock.now().saturating_sub(said.at) < NO_CHANNEL;
        Ok((names_it && recent).then_some(Withheld::NoOlm))
    }

    async fn no_channels(&self) -> Result<Vec<NoChannel>, E2eeError> {
        let known = self.olm.store().get_custom_value(NO_CHANNELS).await?;
        let known = known.and_then(|known| serde_json::from_slice(&known).ok());
        Ok(known.unwrap_or_default())
    }

    /// Takes note of devices that say that they have no secure channel to this one.
    pub(super) async fn note_withheld(
        &self,
        messages: &[Raw<AnyToDeviceEvent>],
    ) -> Result<(), E2eeError> {
        let now = self.clock.now();
        let mut all = Vec::new();
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
            let key = notice.content.sender_key;
            all.push(NoChannel {
                user: notice.sender,
                at: now,
                sender_key: key.filter(|key| key.len() <= LONGEST_KEY),
            });
        }
        if all.is_empty() {
            return Ok(());
        }
        let all = gathered(self.no_channels().await?, all, now);
        let all = serde_json::to_vec(&all).unwrap_or_default();
        let store = self.olm.store();
        Ok(store.set_custom_value(NO_CHANNELS, all).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(number: usize, at: UnixMillis) -> NoChannel {
        NoChannel {
            user: OwnedUserId::try_from(format!("@u{number}:x")).unwrap(),
            at,
            sender_key: None,
        }
    }

    #[test]
    fn strangers_fill_no_list() {
        let now = 10 * NO_CHANNEL;
        let mut known = Vec::new();
        for number in 0..3 * MOST {
            known = gathered(known, vec![said(number, now)], now);
        }
        assert_eq!(known.len(), MOST);
        assert_eq!(known.last(), Some(&said(3 * MOST - 1, now)));
        // One user stands there once, and what is old does not.
        let again = gathered(known, vec![said(3 * MOST - 2, now + 1)], now + 1);
        assert_eq!(again.len(), MOST);
        let later = gathered(again, vec![said(0, now + NO_CHANNEL)], now + NO_CHANNEL);
        assert_eq!(later.len(), 2, "{later:?}");
        let flood: Vec<_> = (0..5 * MOST).map(|number| said(number, now)).collect();
        assert_eq!(gathered(Vec::new(), flood, now).len(), MOST);
    }
}
