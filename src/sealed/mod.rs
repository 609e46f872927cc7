//! Invites of which only the invitee's own homeserver learns whom they are for: key documents and their acceptance,
//! sealed addresses, the two messages between Vizards, the key of an invited ghost, and what is answered to whom.
//!
//! Pure: no async, no SQL, no HTTP; time is a number that is passed in. Called by `peer`, `invite`, `http`, `bot` and
//! `cli`. Never decides by itself whom to trust: [`accept`] compares what was fetched with what is pinned, and
//! whoever calls it keeps the pins. `docs/protocol.md` specifies what stands here.
//!
//! The way of an invite, from type to type:
//!
//! 1. [`KeyDocument::parse`] each document that was found, [`accept`] one of them;
//! 2. [`seal`] the invitee to its [`KeyDocument::sealing_key`]: a [`SealedAddress`];
//! 3. [`RequestDraft::sign_as_ghost`] or [`RequestDraft::sign_as_bot`]: a [`SignedRequest`], and [`Asked`], to
//!    recognise the answer by;
//! 4. at the other side [`UnverifiedRequest::parse`], [`UnverifiedRequest::verify`], [`open`];
//! 5. [`verdict`] of the facts, [`answer`] whatever the verdict, or [`refuse`] if the request itself is wrong;
//! 6. [`Reply::parse`].

mod accept;
mod address;
mod document;
mod document_parse;
mod fields;
mod ghost;
mod hpke_key;
mod inviter;
mod open;
mod plain;
mod request;
mod request_parse;
mod response;
mod suite;
#[cfg(test)]
mod tests;
mod verdict;

pub use accept::{Accepted, Anchor, Anchored, Change, Found, Pin, Place, Refusal, Trust, accept};
pub use address::{
    AddressError, Kind, MAX_ADDRESS, PAYLOAD, SealError, SealedAddress, Sealing, seal,
};
pub use document::{DocumentDraft, KeyDocument, ListedKey, MAX_DOCUMENT, OldKey};
pub use document_parse::DocumentError;
pub use fields::ShapeFault;
pub use ghost::InviteSecret;
pub use hpke_key::{HpkeKey, HpkeKeys, HpkePublicKey, SUITE, fingerprint};
pub use inviter::{Inviter, InviterKey};
pub use open::{OpenError, Opened, open};
pub use plain::{CONTACT_ID, PLAIN, Target, decode as read_plain};
pub use request::{
    Asked, MAX_MESSAGE, MAX_REQUEST_AHEAD_MS, REQUEST_TYPE, RequestDraft, SignedRequest,
};
pub use request_parse::{InviteRequest, Rejected, ReplyTo, RequestFault, UnverifiedRequest};
pub use response::{Prepared, RESPONSE_TYPE, Reply, ResponseFault, answer, refuse};
pub use verdict::{AddressState, Facts, Reason, Verdict, verdict};
