//! The typed parts of an attachment: what is read, and what is written. See `content`.

use ruma::{OwnedMxcUri, events::room::EncryptedFile};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content::{MentionsOut, Text, lenient, lenient_object};

/// What a message with a file has beside its words.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Attached<'a> {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) url: Option<OwnedMxcUri>,
    #[serde(default, deserialize_with = "lenient_object")]
    pub(super) file: Option<EncryptedFile>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) filename: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient_object")]
    pub(super) info: Option<AttachedInfo<'a>>,
    #[serde(
        rename = "org.matrix.msc1767.audio",
        default,
        deserialize_with = "lenient_object"
    )]
    pub(super) audio: Option<AttachedAudio>,
}

/// `info`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AttachedInfo<'a> {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) w: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) h: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) duration: Option<u32>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(super) mimetype: Option<Text<'a>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) thumbnail_url: Option<OwnedMxcUri>,
    #[serde(default, deserialize_with = "lenient_object")]
    pub(super) thumbnail_file: Option<EncryptedFile>,
    #[serde(default, deserialize_with = "lenient_object")]
    pub(super) thumbnail_info: Option<ThumbnailInfo>,
}

/// `thumbnail_info`. Not another `info`: nothing nests.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct ThumbnailInfo {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) w: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) h: Option<u32>,
}

/// The length and the wave of a voice message (MSC3245, MSC1767).
#[derive(Debug, Default, Deserialize)]
pub(super) struct AttachedAudio {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) duration: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) waveform: Option<Vec<u16>>,
}

/// A whole message with a file that is sent.
#[derive(Debug, Serialize)]
pub(super) struct AttachmentOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) msgtype: Option<&'static str>,
    pub(super) body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) formatted_body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<&'a OwnedMxcUri>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<&'a EncryptedFile>,
    pub(super) info: InfoOut<'a>,
    #[serde(rename = "m.mentions")]
    pub(super) mentions: &'a MentionsOut,
    #[serde(
        rename = "org.matrix.msc3245.voice",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) voice: Option<Empty>,
    #[serde(
        rename = "org.matrix.msc1767.audio",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) audio: Option<AudioOut<'a>>,
    #[serde(rename = "m.relates_to", skip_serializing_if = "Option::is_none")]
    pub(super) relates_to: Option<&'a Value>,
    #[serde(rename = "m.new_content", skip_serializing_if = "Option::is_none")]
    pub(super) new_content: Option<Box<AttachmentOut<'a>>>,
}

/// `info` that is sent.
#[derive(Debug, Default, Serialize)]
pub(super) struct InfoOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) w: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) h: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duration: Option<u32>,
    pub(super) mimetype: &'static str,
    pub(super) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thumbnail_url: Option<&'a OwnedMxcUri>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thumbnail_file: Option<&'a EncryptedFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thumbnail_info: Option<Box<InfoOut<'a>>>,
}

/// The length and the wave of a voice message that is sent.
#[derive(Debug, Serialize)]
pub(super) struct AudioOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duration: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waveform: Option<&'a [u16]>,
}

/// `{}`
#[derive(Debug, Serialize)]
pub(super) struct Empty {}
