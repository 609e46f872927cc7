//! End-to-end encryption: the two places in the pipeline where it happens.
//!
//! Every message passes [`decrypt`] before it is rewritten and [`encrypt`] before it is sent. This version relays
//! unencrypted rooms alone, so both hand on what they get, and what is encrypted stays so (an encrypted event is
//! named in the portal; an encrypted room is not joined). Nothing else in the crate looks at ciphertext.

use std::borrow::Cow;

use crate::{event::Event, rewrite::Scrubbed};

/// The event as its sender wrote it.
#[must_use]
pub fn decrypt(event: &Event) -> Cow<'_, Event> {
    Cow::Borrowed(event)
}

/// The content as it goes into the room.
#[must_use]
pub fn encrypt(content: Scrubbed) -> Scrubbed {
    content
}
