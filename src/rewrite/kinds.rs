//! What kinds of event are called when one is named to a person.

use serde_json::value::RawValue;

use super::{Rewritten, content::is_empty, limits::MAX_SHOWN_TYPE, text::clean_name};

/// What becomes of an event of a type that is not rewritten.
pub(super) fn other(event_type: &str, content: &RawValue) -> Rewritten {
    // What redaction left of it.
    if is_empty(content) || is_invisible(event_type) {
        return Rewritten::Nothing;
    }
    let name = match event_type {
        "m.room.encrypted" => "an encrypted message",
        "m.location" => "a location",
        "m.beacon" | "org.matrix.msc3672.beacon" => "a live location",
        "m.image" => "an image",
        "m.file" => "a file",
        "m.audio" => "an audio file",
        "m.video" => "a video",
        "m.voice" => "a voice message",
        "m.call.invite" | "m.rtc.notification" | "org.matrix.msc4075.rtc.notification" => "a call",
        "m.key.verification.request" => "a verification request",
        "m.poll.start" | "org.matrix.msc3381.poll.start" => "a poll",
        "m.poll.response" | "org.matrix.msc3381.poll.response" => "an answer to a poll",
        "m.poll.end" | "org.matrix.msc3381.poll.end" => "the end of a poll",
        other => return Rewritten::Unsupported(format!("an event of type {}", shown(other))),
    };
    Rewritten::Unsupported(name.to_owned())
}

/// What a message that is neither text nor a file is called.
pub(super) fn message(msgtype: &str) -> String {
    let name = match msgtype {
        "m.location" => "a location",
        "m.gallery" | "dm.filament.gallery" => "a gallery",
        "m.key.verification.request" => "a verification request",
        "m.server_notice" => "a server notice",
        other => return format!("a message of type {}", shown(other)),
    };
    name.to_owned()
}

/// State, what accompanies a call or a verification, and what is never shown in a timeline.
fn is_invisible(event_type: &str) -> bool {
    match event_type {
        "m.room.encrypted" | "m.call.invite" | "m.key.verification.request" | "m.beacon" => false,
        "m.typing" | "m.receipt" | "m.presence" | "m.fully_read" | "m.dummy" | "m.beacon_info" => {
            true
        }
        other => [
            "m.room.",
            "m.space.",
            "m.policy.",
            "m.call.",
            "m.key.verification.",
            "org.matrix.call.",
            "org.matrix.msc3401.call",
            "org.matrix.msc3672.beacon_info",
        ]
        .iter()
        .any(|start| other.starts_with(start)),
    }
}

fn shown(event_type: &str) -> String {
    let clean: String = clean_name(event_type)
        .chars()
        .take(MAX_SHOWN_TYPE)
        .collect();
    if clean.is_empty() {
        "without a name".to_owned()
    } else {
        clean
    }
}
