//! Signatures on request: a statement that anybody can check offline, because the ghost's Matrix ID is the
//! key that signed it.
//!
//! Messages are never signed with the sender key (that would destroy deniability); this is done for one text,
//! when the user asks for it.

use ruma::{RoomId, UserId};
use serde_json::{Value, json};

use super::{
    SenderKey, SenderKeyId,
    signed::{self, FieldFault, SENDER_KEY_NAME, SignatureFault, SignersFault},
};

/// The `type` that the signed object names, so that the signature serves for nothing else.
const TYPE: &str = "org.vizard.proof";

/// The fields of a statement.
const FIELDS: [&str; 6] = [
    "type",
    "sender_key",
    "ghost",
    "room_id",
    "text",
    "signatures",
];

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is not a JSON object with a canonical form.
    #[error("it is not a JSON object that can be signed")]
    NotAnObject,
    /// It has a field that statements do not have.
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
    /// `sender_key` is not an Ed25519 key.
    #[error("sender_key: not an Ed25519 key in unpadded base64")]
    NotAKey,
    /// `ghost` or `room_id` is not an identifier of Matrix.
    #[error("{0}: not a Matrix identifier")]
    NotAnId(&'static str),
    /// The ghost's Matrix ID is not this sender key.
    #[error("the ghost's Matrix ID does not belong to this sender key")]
    OtherGhost,
    /// Others than the sender key signed it.
    #[error("signatures: {0}")]
    Signers(SignersFault),
    /// The signature does not hold.
    #[error("signature: {0}")]
    Signature(SignatureFault),
}

/// A statement signed with the sender key.
#[must_use]
pub fn prove(key: &SenderKey, ghost: &UserId, room: &RoomId, text: &str) -> Value {
    let sender_key = key.id().to_base64();
    let message = signed::bytes_of_strings([
        ("type", TYPE),
        ("sender_key", &sender_key),
        ("ghost", ghost.as_str()),
        ("room_id", room.as_str()),
        ("text", text),
    ]);
    let signature = signed::encode(&key.sign(&message));
    json!({
        "type": TYPE,
        "sender_key": sender_key,
        "ghost": ghost,
        "room_id": room,
        "text": text,
        "signatures": { sender_key.clone(): { SENDER_KEY_NAME: signature } },
    })
}

/// Checks a statement: it is signed by the key that is the Matrix ID of its `ghost`, whatever the prefix of
/// that ghost's server.
pub fn verify_proof(statement: &Value) -> Result<(), ProofError> {
    let object = statement.as_object().ok_or(ProofError::NotAnObject)?;
    if object.keys().any(|name| !FIELDS.contains(&name.as_str())) {
        return Err(ProofError::ExtraField);
    }
    let text = |field: &'static str| {
        signed::text(object, field).map_err(|fault| ProofError::Field { field, fault })
    };
    signed::require(object, "type", TYPE).map_err(|fault| ProofError::Field {
        field: "type",
        fault,
    })?;
    text("text")?;
    let sender_key = text("sender_key")?;
    let key = SenderKeyId::from_base64(sender_key).ok_or(ProofError::NotAKey)?;
    let ghost = UserId::parse(text("ghost")?).map_err(|_| ProofError::NotAnId("ghost"))?;
    RoomId::parse(text("room_id")?).map_err(|_| ProofError::NotAnId("room_id"))?;
    if !ghost.localpart().ends_with(&key.to_localpart()) {
        return Err(ProofError::OtherGhost);
    }
    let message = signed::bytes_of(object).ok_or(ProofError::NotAnObject)?;
    let signatures = signed::signers(object, 1).map_err(ProofError::Signers)?;
    signed::check(
        signatures,
        sender_key,
        |name| (name == SENDER_KEY_NAME).then_some(key),
        &message,
    )
    .map_err(ProofError::Signature)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::{OwnedUserId, room_id, server_name};

    use super::*;
    use crate::{
        pseudonym::{Mapping, Namespace, ServerKey},
        rng::Rng,
    };

    fn ghost(key: &SenderKey) -> OwnedUserId {
        Namespace::new(server_name!("a.example"), "_vizard_", "vizard")
            .expect("valid")
            .ghost(&key.id())
    }

    #[test]
    fn every_deviation_is_told() {
        let rng = Rng::seeded(5);
        let key = SenderKey::generate(&rng);
        let stranger = SenderKey::generate(&rng);
        let good = prove(&key, &ghost(&key), room_id!("!room"), "it was me");
        assert_eq!(verify_proof(&good), Ok(()));
        let with = |field: &str, value: Value| {
            let mut statement = good.clone();
            statement[field] = value;
            statement
        };
        let field = |field, fault| ProofError::Field { field, fault };
        let sender_key = key.id().to_base64();
        let theirs = prove(&stranger, &ghost(&key), room_id!("!room"), "it was me");
        let mut two = good.clone();
        two["signatures"]["a.example"] = json!({});
        for (statement, error) in [
            (json!("x"), ProofError::NotAnObject),
            (with("extra", json!(1)), ProofError::ExtraField),
            (
                with("type", json!("mxid_mapping")),
                field("type", FieldFault::Differs),
            ),
            (
                with("text", json!(1)),
                field("text", FieldFault::NotAString),
            ),
            (
                with("text", json!("it was not me")),
                ProofError::Signature(SignatureFault::Wrong),
            ),
            (with("sender_key", json!("AAAA")), ProofError::NotAKey),
            (with("ghost", json!("alice")), ProofError::NotAnId("ghost")),
            (
                with("ghost", json!("@alice:a.example")),
                ProofError::OtherGhost,
            ),
            (with("room_id", json!("x")), ProofError::NotAnId("room_id")),
            (
                with("room_id", json!("!other")),
                ProofError::Signature(SignatureFault::Wrong),
            ),
            (theirs, ProofError::OtherGhost),
            (
                with("signatures", json!(null)),
                ProofError::Signers(SignersFault::Missing),
            ),
            (two, ProofError::Signers(SignersFault::TooMany)),
            (
                with("signatures", json!({})),
                ProofError::Signature(SignatureFault::Missing),
            ),
            (
                with("signatures", json!({ &sender_key: {"ed25519:2": "AA"} })),
                ProofError::Signature(SignatureFault::UnknownKey),
            ),
            (
                with("signatures", json!({ &sender_key: {"ed25519:1": "AA"} })),
                ProofError::Signature(SignatureFault::Malformed),
            ),
        ] {
            assert_eq!(verify_proof(&statement), Err(error), "{statement}");
        }
    }

    #[test]
    fn a_mapping_is_no_proof() {
        let rng = Rng::seeded(6);
        let key = SenderKey::generate(&rng);
        let mapping = Mapping::sign(
            &key,
            server_name!("a.example"),
            room_id!("!room"),
            &ServerKey::generate(&rng),
        );
        assert!(verify_proof(&mapping).is_err());
        // Nor does the sender key's signature of one serve for the other.
        let ghost = ghost(&key);
        let mut proof = prove(&key, &ghost, room_id!("!room"), &mapping.to_string());
        let name = key.id().to_base64();
        proof["signatures"] = json!({ &name: mapping["signatures"][&name] });
        assert_eq!(
            verify_proof(&proof),
            Err(ProofError::Signature(SignatureFault::Wrong))
        );
    }

    proptest! {
        #[test]
        fn any_text_can_be_proven(seed: [u8; 32], text: String) {
            let key = SenderKey::from_seed(&seed);
            let statement = prove(&key, &ghost(&key), room_id!("!room"), &text);
            prop_assert_eq!(verify_proof(&statement), Ok(()));
            let printed = serde_json::to_string_pretty(&statement).expect("JSON");
            let read: Value = serde_json::from_str(&printed).expect("JSON");
            prop_assert_eq!(verify_proof(&read), Ok(()));
        }
    }
}
