//! Display names of ghosts (to be written).

use super::SenderKeyId;

/// The name derived from a sender key: adjective and animal, such as `Quiet Heron`.
#[must_use]
pub fn nick_of(_key: &SenderKeyId) -> String {
    todo!()
}

/// Whether a text will do as a ghost's name.
#[must_use]
pub fn is_plain_name(_text: &str) -> bool {
    todo!()
}
