//! The mapping in a ghost's member event: MSC4014's, reduced to the domain, bound to the room, and signed by
//! the sender key as proof of possession.
//!
//! It tells other servers which homeserver answers for a pseudonym, and nothing about who is behind it.

use ruma::{RoomId, ServerName, UserId};
use serde_json::{Map, Value, json};

use super::{
    SenderKey, SenderKeyId, ServerKey, ServerKeyId,
    signed::{self, FieldFault, SENDER_KEY_NAME, SignatureFault, SignersFault},
};

/// The `type` that the signed object names, so that the signature serves for nothing else.
const TYPE: &str = "mxid_mapping";

/// The fields of a mapping. One that has others is refused: they would be signed, but nobody knows for what.
const FIELDS: [&str; 5] = ["user_room_key", "type", "user_id", "room_id", "signatures"];

/// Whose signature it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The Vizard of the ghost's homeserver.
    Server,
    /// The sender key.
    SenderKey,
}

impl std::fmt::Display for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::SenderKey => "sender key",
        })
    }
}

/// Why a mapping is unverified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// The member's Matrix ID is no ghost's.
    #[error("the member's Matrix ID is not a sender key")]
    NotAGhost,
    /// It is not a JSON object with a canonical form.
    #[error("it is not a JSON object that can be signed")]
    NotAnObject,
    /// It has a field that mappings do not have.
    #[error("it has a field that does not belong there")]
    ExtraField,
    /// A field is not what it must be.
    #[error("{field}: {fault}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        fault: FieldFault,
    },
    /// Others than the expected signers signed it.
    #[error("signatures: {0}")]
    Signers(SignersFault),
    /// A signature does not hold.
    #[error("signature of the {signer}: {fault}")]
    Signature {
        /// Whose.
        signer: Signer,
        /// What is wrong with it.
        fault: SignatureFault,
    },
}

/// A verified mapping: the ghost holds its sender key, and the Vizard of its domain vouches for it in this
/// room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The server key that vouches.
    pub server_key: ServerKeyId,
}

impl Mapping {
    /// The signed mapping: the value of `org.matrix.msc4014.mxid_mapping`.
    #[must_use]
    pub fn sign(
        key: &SenderKey,
        server: &ServerName,
        room: &RoomId,
        server_key: &ServerKey,
    ) -> Value {
        let user_room_key = key.id().to_base64();
        let message = signed::bytes_of_strings([
            ("user_room_key", &user_room_key),
            ("type", TYPE),
            ("user_id", server.as_str()),
            ("room_id", room.as_str()),
        ]);
        let mut by_server = Map::new();
        by_server.insert(
            server_key.id(),
            signed::encode(&server_key.sign(&message)).into(),
        );
        let mut signatures = Map::new();
        signatures.insert(server.to_string(), by_server.into());
        signatures.insert(
            user_room_key.clone(),
            json!({ SENDER_KEY_NAME: signed::encode(&key.sign(&message)) }),
        );
        json!({
            "user_room_key": user_room_key,
            "type": TYPE,
            "user_id": server,
            "room_id": room,
            "signatures": signatures,
        })
    }

    /// Checks the mapping in the member event of `ghost` in `room`. `prefix` and `server_keys` are those that the
    /// Vizard of the ghost's domain publishes in its key document. The prefix counts: a mapping names the sender key
    /// and not the localpart, so without it another user of the domain could carry a ghost's mapping.
    pub fn verify(
        mapping: &Value,
        ghost: &UserId,
        room: &RoomId,
        prefix: &str,
        server_keys: &[ServerKeyId],
    ) -> Result<Self, MappingError> {
        let key = ghost
            .localpart()
            .strip_prefix(prefix)
            .and_then(SenderKeyId::from_localpart)
            .ok_or(MappingError::NotAGhost)?;
        let user_room_key = key.to_base64();
        let server = ghost.server_name();
        let object = mapping.as_object().ok_or(MappingError::NotAnObject)?;
        if object.keys().any(|name| !FIELDS.contains(&name.as_str())) {
            return Err(MappingError::ExtraField);
        }
        for (field, expected) in [
            ("type", TYPE),
            ("user_room_key", &user_room_key),
            ("user_id", server.as_str()),
            ("room_id", room.as_str()),
        ] {
            signed::require(object, field, expected)
                .map_err(|fault| MappingError::Field { field, fault })?;
        }
        let message = signed::bytes_of(object).ok_or(MappingError::NotAnObject)?;
        let signatures = signed::signers(object, 2).map_err(MappingError::Signers)?;
        signed::check(
            signatures,
            &user_room_key,
            |name| (name == SENDER_KEY_NAME).then_some(key),
            &message,
        )
        .map_err(|fault| MappingError::Signature {
            signer: Signer::SenderKey,
            fault,
        })?;
        let mut vouching = None;
        signed::check(
            signatures,
            server.as_str(),
            |name| {
                vouching = server_keys.iter().find(|key| key.name() == name).copied();
                vouching.map(ServerKeyId::key)
            },
            &message,
        )
        .map_err(|fault| MappingError::Signature {
            signer: Signer::Server,
            fault,
        })?;
        let server_key = vouching.ok_or(MappingError::Signature {
            signer: Signer::Server,
            fault: SignatureFault::UnknownKey,
        })?;
        Ok(Self { server_key })
    }
}

#[cfg(test)]
mod tests;
