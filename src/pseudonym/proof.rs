//! Signatures on request (to be written).

use ruma::RoomId;
use serde_json::Value;

use super::SenderKey;

/// Why a proof does not hold.
#[derive(Debug, thiserror::Error)]
#[error("unverified")]
pub struct ProofError;

/// A statement signed with the sender key.
#[must_use]
pub fn prove(_key: &SenderKey, _ghost: &ruma::UserId, _room: &RoomId, _text: &str) -> Value {
    todo!()
}

/// Checks a statement.
pub fn verify_proof(_statement: &Value) -> Result<(), ProofError> {
    todo!()
}
