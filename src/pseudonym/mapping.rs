//! The mapping in a ghost's member event: MSC4014's, reduced to the domain, bound to the room, and signed by
//! the sender key as proof of possession.
//!
//! It tells other servers which homeserver answers for a pseudonym, and nothing about who is behind it.

use ruma::{RoomId, ServerName, UserId};
use serde_json::{Map, Value, json};

use super::{
    Namespace, SenderKey, ServerKey, ServerKeyId,
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

    /// Checks the mapping in the member event of `ghost` in `room`. `server_keys` are the keys that the Vizard
    /// of the ghost's domain publishes.
    pub fn verify(
        mapping: &Value,
        ghost: &UserId,
        room: &RoomId,
        namespace: &Namespace,
        server_keys: &[ServerKeyId],
    ) -> Result<Self, MappingError> {
        let key = namespace.sender_key(ghost).ok_or(MappingError::NotAGhost)?;
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
mod tests {
    use proptest::prelude::*;
    use ruma::{OwnedUserId, room_id, server_name, user_id};

    use super::*;
    use crate::rng::Rng;

    struct Case {
        key: SenderKey,
        server_key: ServerKey,
        namespace: Namespace,
        ghost: OwnedUserId,
        mapping: Value,
    }

    impl Case {
        fn new() -> Self {
            let rng = Rng::seeded(3);
            let key = SenderKey::generate(&rng);
            let server_key = ServerKey::generate(&rng);
            let namespace =
                Namespace::new(server_name!("a.example"), "_vizard_", "vizard").expect("valid");
            let ghost = namespace.ghost(&key.id());
            let mapping = Mapping::sign(
                &key,
                server_name!("a.example"),
                room_id!("!room"),
                &server_key,
            );
            Self {
                key,
                server_key,
                namespace,
                ghost,
                mapping,
            }
        }

        fn verify(&self, mapping: &Value) -> Result<Mapping, MappingError> {
            Mapping::verify(
                mapping,
                &self.ghost,
                room_id!("!room"),
                &self.namespace,
                &[self.server_key.public()],
            )
        }

        /// The mapping with changed fields, signed anew by both: only what it says is wrong.
        fn signed_with(&self, change: impl Fn(&mut Map<String, Value>)) -> Value {
            let mut object = self.mapping.as_object().expect("an object").clone();
            change(&mut object);
            let message = signed::bytes_of(&object).unwrap_or_default();
            let mut by_server = Map::new();
            by_server.insert(
                self.server_key.id(),
                signed::encode(&self.server_key.sign(&message)).into(),
            );
            let mut signatures = Map::new();
            signatures.insert("a.example".into(), by_server.into());
            signatures.insert(
                self.key.id().to_base64(),
                json!({ SENDER_KEY_NAME: signed::encode(&self.key.sign(&message)) }),
            );
            object.insert("signatures".into(), signatures.into());
            Value::Object(object)
        }

        fn with_signatures(&self, change: impl Fn(&mut Map<String, Value>)) -> Value {
            let mut mapping = self.mapping.clone();
            change(mapping["signatures"].as_object_mut().expect("signatures"));
            mapping
        }
    }

    #[test]
    fn has_the_documented_shape() {
        let case = Case::new();
        let key = case.key.id().to_base64();
        assert_eq!(case.mapping["user_room_key"], key);
        assert_eq!(case.mapping["type"], "mxid_mapping");
        assert_eq!(case.mapping["user_id"], "a.example");
        assert_eq!(case.mapping["room_id"], "!room");
        assert!(case.mapping["signatures"][&key]["ed25519:1"].is_string());
        assert!(case.mapping["signatures"]["a.example"][case.server_key.id()].is_string());
        assert_eq!(case.mapping.as_object().map(Map::len), Some(FIELDS.len()));
        assert_eq!(
            case.verify(&case.mapping).map(|mapping| mapping.server_key),
            Ok(case.server_key.public())
        );
    }

    #[test]
    fn every_field_must_be_what_it_is() {
        let case = Case::new();
        let field = |field, fault| MappingError::Field { field, fault };
        for (name, wrong) in [
            ("type", "invite_request"),
            ("user_room_key", "AAAA"),
            ("user_id", "b.example"),
            ("user_id", "@alice:a.example"),
            ("room_id", "!other"),
        ] {
            let name = FIELDS
                .into_iter()
                .find(|field| *field == name)
                .expect("a field");
            let missing = case.signed_with(|object| drop(object.remove(name)));
            assert_eq!(
                case.verify(&missing),
                Err(field(name, FieldFault::Missing)),
                "{name}"
            );
            let number = case.signed_with(|object| drop(object.insert(name.into(), json!(1))));
            assert_eq!(
                case.verify(&number),
                Err(field(name, FieldFault::NotAString)),
                "{name}"
            );
            let differs = case.signed_with(|object| drop(object.insert(name.into(), wrong.into())));
            assert_eq!(
                case.verify(&differs),
                Err(field(name, FieldFault::Differs)),
                "{name}"
            );
        }
        for extra in ["unsigned", "displayname"] {
            let extra = case.signed_with(|object| drop(object.insert(extra.into(), "x".into())));
            assert_eq!(case.verify(&extra), Err(MappingError::ExtraField));
        }
        for nothing in [Value::Null, json!([]), json!("mxid_mapping")] {
            assert_eq!(case.verify(&nothing), Err(MappingError::NotAnObject));
        }
    }

    #[test]
    fn exactly_the_two_signers_sign() {
        let case = Case::new();
        let key = case.key.id().to_base64();
        let name = case.server_key.id();
        let fault = |signer, fault| Err(MappingError::Signature { signer, fault });
        let mut none = case.mapping.clone();
        none.as_object_mut()
            .expect("an object")
            .remove("signatures");
        let good = case.mapping["signatures"][&key]["ed25519:1"].clone();
        for (wrong, expected) in [
            (none, Err(MappingError::Signers(SignersFault::Missing))),
            (
                case.with_signatures(|by| drop(by.insert("c.example".into(), json!({})))),
                Err(MappingError::Signers(SignersFault::TooMany)),
            ),
            (
                case.with_signatures(|by| by[&key]["ed25519:2"] = good.clone()),
                Err(MappingError::Signers(SignersFault::TooMany)),
            ),
            (
                case.with_signatures(|by| drop(by.remove(&key))),
                fault(Signer::SenderKey, SignatureFault::Missing),
            ),
            (
                case.with_signatures(|by| by[&key] = json!({})),
                fault(Signer::SenderKey, SignatureFault::Missing),
            ),
            (
                case.with_signatures(|by| by[&key] = json!("x")),
                fault(Signer::SenderKey, SignatureFault::Missing),
            ),
            (
                case.with_signatures(|by| by[&key] = json!({"ed25519:2": good.clone()})),
                fault(Signer::SenderKey, SignatureFault::UnknownKey),
            ),
            (
                case.with_signatures(|by| by[&key]["ed25519:1"] = json!("not base64!")),
                fault(Signer::SenderKey, SignatureFault::Malformed),
            ),
            (
                case.with_signatures(|by| by[&key]["ed25519:1"] = json!(7)),
                fault(Signer::SenderKey, SignatureFault::Malformed),
            ),
            (
                case.with_signatures(|by| by[&key]["ed25519:1"] = signed::encode(&[7; 64]).into()),
                fault(Signer::SenderKey, SignatureFault::Wrong),
            ),
            (
                case.with_signatures(|by| drop(by.remove("a.example"))),
                fault(Signer::Server, SignatureFault::Missing),
            ),
            (
                case.with_signatures(|by| by["a.example"] = json!({"ed25519:old": good.clone()})),
                fault(Signer::Server, SignatureFault::UnknownKey),
            ),
            (
                case.with_signatures(|by| by["a.example"][&name] = good.clone()),
                fault(Signer::Server, SignatureFault::Wrong),
            ),
        ] {
            assert_eq!(case.verify(&wrong), expected, "{wrong}");
        }
    }

    #[test]
    fn serves_for_one_ghost_and_room_alone() {
        let case = Case::new();
        let keys = [case.server_key.public()];
        let verify = |ghost: &UserId, room: &RoomId, keys: &[ServerKeyId]| {
            Mapping::verify(&case.mapping, ghost, room, &case.namespace, keys)
        };
        let room = room_id!("!room");
        assert!(verify(&case.ghost, room, &keys).is_ok());
        assert_eq!(
            verify(user_id!("@alice:a.example"), room, &keys),
            Err(MappingError::NotAGhost)
        );
        let other = case
            .namespace
            .ghost(&SenderKey::generate(&Rng::seeded(9)).id());
        for (ghost, room, field) in [
            (other, room, "user_room_key"),
            (case.ghost.clone(), room_id!("!b"), "room_id"),
        ] {
            assert_eq!(
                verify(&ghost, room, &keys),
                Err(MappingError::Field {
                    field,
                    fault: FieldFault::Differs
                })
            );
        }
        assert_eq!(
            verify(&case.ghost, room, &[]),
            Err(MappingError::Signature {
                signer: Signer::Server,
                fault: SignatureFault::UnknownKey
            })
        );
    }

    proptest! {
        #[test]
        fn what_is_signed_verifies(key: [u8; 32], server_key: [u8; 32], room in "![a-zA-Z0-9_-]{1,43}(:[a-z]{1,9}\\.example)?") {
            let namespace = Namespace::new(server_name!("a.example:8448"), "_vizard_", "vizard")
                .expect("valid");
            let (key, server_key) = (SenderKey::from_seed(&key), ServerKey::from_seed(&server_key));
            let room = RoomId::parse(&room).expect("a room id");
            let mapping = Mapping::sign(&key, namespace.server(), &room, &server_key);
            let ghost = namespace.ghost(&key.id());
            let found = Mapping::verify(&mapping, &ghost, &room, &namespace, &[server_key.public()]);
            prop_assert_eq!(found.map(|mapping| mapping.server_key), Ok(server_key.public()));
        }

        #[test]
        fn verifying_anything_never_panics(text in ".{0,200}") {
            let case = Case::new();
            let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            prop_assert!(case.verify(&value).is_err());
        }
    }
}
