//! The mapping in a ghost's member event (to be written).
//!
//! Written by the bot helper: see `docs/design` for the exact JSON.

use ed25519_dalek::SigningKey;
use ruma::{RoomId, ServerName};
use serde_json::Value;

use super::SenderKey;

/// The Vizard's server key: signs mappings for the homeserver's domain.
#[derive(Clone)]
pub struct ServerKey(SigningKey);

impl ServerKey {
    /// The key of a stored seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }
}

impl std::fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerKey(…)")
    }
}

/// Why a mapping is unverified.
#[derive(Debug, thiserror::Error)]
#[error("unverified")]
pub struct MappingError;

/// A verified mapping.
#[derive(Debug)]
pub struct Mapping;

impl Mapping {
    /// The signed mapping: the value of `org.matrix.msc4014.mxid_mapping`.
    #[must_use]
    pub fn sign(
        _key: &SenderKey,
        _server: &ServerName,
        _room: &RoomId,
        _server_key: &ServerKey,
    ) -> Value {
        todo!()
    }
}
