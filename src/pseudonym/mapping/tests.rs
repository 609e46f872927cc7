//! Every deviation from a good mapping is named.

use proptest::prelude::*;
use ruma::{OwnedUserId, room_id, server_name, user_id};

use super::*;
use crate::{pseudonym::Namespace, rng::Rng};

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
            "_vizard_",
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
fn nothing_else_than_both_signatures_will_do() {
    let case = Case::new();
    // No signature at all, in each way to have none.
    for none in [json!({}), json!([]), json!(null), json!("")] {
        let mut mapping = case.mapping.clone();
        mapping["signatures"] = none;
        assert!(case.verify(&mapping).is_err(), "{mapping}");
    }
    // Another server's, under its own name and under the one of the ghost's server.
    let other = ServerKey::generate(&Rng::seeded(8));
    let theirs = Mapping::sign(
        &case.key,
        server_name!("c.example"),
        room_id!("!room"),
        &other,
    );
    let for_ours = Mapping::sign(
        &case.key,
        server_name!("a.example"),
        room_id!("!room"),
        &other,
    );
    let replaced = case.with_signatures(|by| {
        by.remove("a.example");
        by.insert(
            "c.example".into(),
            theirs["signatures"]["c.example"].clone(),
        );
    });
    let borrowed = case.with_signatures(|by| {
        by["a.example"] = for_ours["signatures"]["a.example"].clone();
    });
    let renamed = case.with_signatures(|by| {
        let name = case.server_key.id();
        by["a.example"] = json!({ name: for_ours["signatures"]["a.example"][other.id()] });
    });
    for mapping in [theirs, for_ours, replaced, borrowed, renamed] {
        assert!(case.verify(&mapping).is_err(), "{mapping}");
    }
    // A key that is not the Matrix ID's, with a signature that it made.
    let key = SenderKey::generate(&Rng::seeded(9));
    let of_another = Mapping::sign(
        &key,
        server_name!("a.example"),
        room_id!("!room"),
        &case.server_key,
    );
    let fault = FieldFault::Differs;
    let field = "user_room_key";
    assert_eq!(
        case.verify(&of_another),
        Err(MappingError::Field { field, fault })
    );
}

#[test]
fn a_signature_for_something_else_does_not_serve() {
    let case = Case::new();
    let name = case.key.id().to_base64();
    let text = case.mapping.to_string();
    let proof = crate::pseudonym::prove(&case.key, &case.ghost, room_id!("!room"), &text);
    let forged = case.with_signatures(|by| by[&name] = proof["signatures"][&name].clone());
    assert_eq!(
        case.verify(&forged),
        Err(MappingError::Signature {
            signer: Signer::SenderKey,
            fault: SignatureFault::Wrong
        })
    );
    assert!(case.verify(&proof).is_err());
}

#[test]
fn serves_for_one_ghost_and_room_alone() {
    let case = Case::new();
    let keys = [case.server_key.public()];
    let verify = |ghost: &UserId, room: &RoomId, keys: &[ServerKeyId]| {
        Mapping::verify(&case.mapping, ghost, room, "_vizard_", keys)
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
        let found = Mapping::verify(&mapping, &ghost, &room, "_vizard_", &[server_key.public()]);
        prop_assert_eq!(found.map(|mapping| mapping.server_key), Ok(server_key.public()));
    }

    #[test]
    fn verifying_anything_never_panics(text in ".{0,200}") {
        let case = Case::new();
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        prop_assert!(case.verify(&value).is_err());
    }
}
