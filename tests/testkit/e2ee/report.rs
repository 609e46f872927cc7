//! What a client makes of an event it received, and its verdict on the sender.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

/// The warning that a client shows beside a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Shield {
    None,
    Grey,
    Red,
}

/// One event of a timeline, as the client sees it after its latest try to decrypt it.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    pub event_id: String,
    pub room: String,
    pub sender: String,
    /// The type after decryption.
    #[serde(rename = "type")]
    pub kind: String,
    /// The type as the server has it.
    pub wire_type: String,
    pub state_key: Option<String>,
    /// The content after decryption. Edits of this event are not applied to it.
    pub content: Value,
    /// The content as the server has it.
    pub wire_content: Value,
    /// The event that this one redacts.
    pub redacts: Option<String>,
    /// Whether the event was redacted, by now.
    pub redacted: bool,
    /// Whether it came encrypted.
    pub encrypted: bool,
    /// Why it could not be decrypted (a `DecryptionFailureCode` of the SDK's).
    pub failure: Option<String>,
    /// The Curve25519 key of the device that the room key came from.
    pub sender_key: Option<String>,
    /// The sender's device of that key, if the client knows it.
    pub sender_device: Option<String>,
    /// Whether that device is signed by its owner's cross-signing identity.
    pub signed_by_owner: Option<bool>,
    /// The warning; `None` if there is no verdict (not encrypted, not decrypted).
    pub shield: Option<Shield>,
    /// Why there is a warning (an `EventShieldReason` of the SDK's).
    pub shield_reason: Option<String>,
    /// When the event came.
    #[serde(skip)]
    pub arrived: Option<Instant>,
    /// How long it was shown as not decryptable before it could be read; `None` if it never was.
    #[serde(skip)]
    pub unreadable_for: Option<Duration>,
}

impl Report {
    /// The text; of an edit, the new one.
    pub fn body(&self) -> &str {
        self.content["m.new_content"]["body"]
            .as_str()
            .or_else(|| self.content["body"].as_str())
            .unwrap_or_default()
    }

    /// The event this one relates to: edited, reacted to, replied to.
    pub fn relates_to(&self) -> &str {
        [&self.content, &self.wire_content]
            .into_iter()
            .map(|content| &content["m.relates_to"])
            .find_map(|relation| {
                relation["event_id"]
                    .as_str()
                    .or_else(|| relation["m.in_reply_to"]["event_id"].as_str())
            })
            .unwrap_or_default()
    }

    /// Whether it came encrypted, was read, and the client knows the sender's device, finds it signed by its
    /// owner and shows no warning.
    pub fn is_trusted(&self) -> bool {
        self.encrypted
            && self.failure.is_none()
            && self.sender_device.is_some()
            && self.signed_by_owner == Some(true)
            && self.shield == Some(Shield::None)
    }

    /// Fails with the whole report unless it [is trusted](Report::is_trusted).
    #[track_caller]
    pub fn assert_trusted(&self) {
        assert!(self.is_trusted(), "not without a warning: {self:#?}");
    }
}
