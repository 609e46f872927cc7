//! Key documents: what is signed, and what is refused.

use ruma::server_name;
use serde_json::json;

use super::*;
use crate::pseudonym::{FieldFault, Mapping, SignatureFault};

fn parse(value: &Value) -> Result<KeyDocument, DocumentError> {
    KeyDocument::parse(&json(value), server_name!("b.example"), NOW)
}

fn shape(field: &'static str, fault: FieldFault) -> DocumentError {
    ShapeFault::Field { field, fault }.into()
}

#[test]
fn a_document_says_what_it_was_made_of() {
    let b = b();
    let read = parse(b.document.json()).expect("valid");
    assert_eq!(read, b.document);
    assert_eq!(read.server(), b.server);
    assert_eq!(read.bot(), "@vizard:b.example");
    assert_eq!(read.prefix(), "_vizard_");
    assert_eq!((read.sequence(), read.valid_until_ts()), (1, NOW + 7 * DAY));
    assert_eq!(read.verify_keys(), [b.server_key.public()]);
    assert_eq!(read.signers(), [b.server_key.public()]);
    assert_eq!(read.sealing_key(NOW), Some(b.hpke.public()));
    assert!(json(read.json()).len() < 1024);
    assert_eq!(format!("{read:?}"), "KeyDocument(b.example, #1)");
}

#[test]
fn it_is_sealed_to_the_key_that_is_listed_longest() {
    let b = b();
    let keys: Vec<_> = (10..13)
        .map(|seed| HpkeKey::generate(&Rng::seeded(seed)))
        .collect();
    let listed: Vec<_> = keys
        .iter()
        .zip([2, 9, 5])
        .map(|(key, days)| listed(key, NOW + days * DAY))
        .collect();
    let document = draft(
        &b.namespace,
        std::slice::from_ref(&b.server_key),
        &listed,
        1,
    )
    .sign(NOW)
    .expect("valid");
    let key = |now| document.sealing_key(now);
    assert_eq!(key(NOW), Some(keys[1].public()));
    assert_eq!(key(NOW + 9 * DAY), None);
    let late = document.clone().at(NOW + 6 * DAY);
    assert!(late.is_ok());
}

#[test]
fn all_keys_in_use_and_former_ones_sign() {
    let b = b();
    let (new, other) = (
        ServerKey::generate(&Rng::seeded(20)),
        ServerKey::generate(&Rng::seeded(21)),
    );
    let hpke = [listed(&b.hpke, NOW + DAY)];
    let keys = [new.clone(), other.clone()];
    let mut next = draft(&b.namespace, &keys, &hpke, 2);
    let old = [OldKey {
        key: b.server_key.public(),
        expired_ts: NOW,
        signs: Some(b.server_key.clone()),
    }];
    next.old_verify_keys = &old;
    let document = next.sign(NOW).expect("valid");
    for key in [&new, &other, &b.server_key] {
        assert!(document.signers().contains(&key.public()));
        assert!(document.mapping_keys().contains(&key.public()));
    }
    assert!(!document.verify_keys().contains(&b.server_key.public()));
    // Without one of those in use it is nothing; without the former one it says the same.
    for (key, expected) in [(&new, false), (&b.server_key, true)] {
        let mut value = document.json().clone();
        value["signatures"]["b.example"]
            .as_object_mut()
            .expect("signatures")
            .remove(&key.id());
        let read = parse(&value);
        assert_eq!(read.is_ok(), expected, "{read:?}");
        assert!(read.is_err() || read == Ok(document.clone()));
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_deviation_is_told() {
    let b = b();
    let good = b.document.json().clone();
    let sign = |message: &[u8]| b.server_key.sign(message);
    let signed = |field: &str, value: Value| signed_with(&good, field, value, sign);
    let kid = b.server_key.id();
    let hpke = b.hpke.public().name();
    let base64 = b.server_key.public().to_base64();
    let mut wrong_suite = good["hpke_keys"].clone();
    wrong_suite[&hpke]["suite"] = "P-256/HKDF-SHA256/AES-128-GCM".into();
    let mut small = good["hpke_keys"].clone();
    small[&hpke]["key"] = data_encoding::BASE64_NOPAD.encode(&[0; 32]).into();
    let mut extra = good["hpke_keys"].clone();
    extra[&hpke]["note"] = "x".into();
    let renamed = json!({ "x25519:aaaaaaaa": good["hpke_keys"][&hpke] });
    let expired = json!({ &hpke: {
        "suite": SUITE, "key": b.hpke.public().to_base64(), "expires_ts": NOW } });
    let nine: serde_json::Map<_, _> = (0..9)
        .map(|seed| {
            let key = HpkeKey::generate(&Rng::seeded(100 + seed)).public();
            let entry = json!({ "suite": SUITE, "key": key.to_base64(), "expires_ts": NOW + DAY });
            (key.name(), entry)
        })
        .collect();
    let mut without = good.clone();
    without.as_object_mut().expect("an object").remove("bot");
    let stranger = json!({ "ed25519:aaaaaaaa": { "key": base64 } });
    for (value, error) in [
        (json!([]), ShapeFault::NotAnObject.into()),
        (signed("extra", json!(1)), ShapeFault::ExtraField.into()),
        (signed("unsigned", json!({})), ShapeFault::ExtraField.into()),
        (without, shape("bot", FieldFault::Missing)),
        (
            signed("type", json!("mxid_mapping")),
            shape("type", FieldFault::Differs),
        ),
        (
            signed("server_name", json!("c.example")),
            DocumentError::OtherServer,
        ),
        (
            signed("bot", json!("@vizard:c.example")),
            DocumentError::NotOfServer("bot"),
        ),
        (
            signed("bot", json!("vizard")),
            shape("bot", FieldFault::Malformed),
        ),
        (
            signed("prefix", json!("")),
            DocumentError::NotOfServer("prefix"),
        ),
        (
            signed("prefix", json!("a:")),
            DocumentError::NotOfServer("prefix"),
        ),
        (
            signed("prefix", json!("a".repeat(101))),
            DocumentError::NotOfServer("prefix"),
        ),
        (
            signed("sequence", json!(0)),
            shape("sequence", FieldFault::Malformed),
        ),
        (
            signed("sequence", json!(-1)),
            shape("sequence", FieldFault::Malformed),
        ),
        (
            signed("sequence", json!("1")),
            shape("sequence", FieldFault::Malformed),
        ),
        (
            with(&good, "sequence", 1.5),
            shape("sequence", FieldFault::Malformed),
        ),
        (
            with(&good, "sequence", 1_u64 << 53),
            shape("sequence", FieldFault::Malformed),
        ),
        (
            signed("verify_keys", json!({})),
            DocumentError::Count("verify_keys"),
        ),
        (
            signed("verify_keys", stranger),
            DocumentError::Name("verify_keys"),
        ),
        (
            signed(
                "old_verify_keys",
                json!({ &kid: { "key": base64, "expired_ts": NOW } }),
            ),
            DocumentError::Name("old_verify_keys"),
        ),
        (
            signed("old_verify_keys", json!({ &kid: { "key": base64 } })),
            shape("expired_ts", FieldFault::Missing),
        ),
        (
            signed("hpke_keys", json!({})),
            DocumentError::Count("hpke_keys"),
        ),
        (
            signed("hpke_keys", nine.into()),
            DocumentError::Count("hpke_keys"),
        ),
        (
            signed("hpke_keys", renamed),
            DocumentError::Name("hpke_keys"),
        ),
        (
            signed("hpke_keys", wrong_suite),
            shape("suite", FieldFault::Differs),
        ),
        (
            signed("hpke_keys", small),
            shape("key", FieldFault::Malformed),
        ),
        (signed("hpke_keys", extra), ShapeFault::ExtraField.into()),
        (signed("hpke_keys", expired), DocumentError::NoSealingKey),
        (signed("valid_until_ts", json!(NOW)), DocumentError::Expired),
        (
            signed("valid_until_ts", json!(NOW + 31 * DAY)),
            DocumentError::TooLong,
        ),
        (with(&good, "signatures", json!({})), DocumentError::Signers),
        (
            with(
                &good,
                "signatures",
                json!({ "c.example": good["signatures"]["b.example"] }),
            ),
            DocumentError::Signers,
        ),
        (
            with(&good, "signatures", json!({ "b.example": {} })),
            DocumentError::Signature {
                key: kid.clone(),
                fault: SignatureFault::Missing,
            },
        ),
        (
            with(&good, "signatures", json!({ "b.example": { &kid: "AA" } })),
            DocumentError::Signature {
                key: kid.clone(),
                fault: SignatureFault::Malformed,
            },
        ),
        (
            with(
                &good,
                "signatures",
                json!({ "b.example": { "ed25519:aaaaaaaa": "AA" } }),
            ),
            DocumentError::Signers,
        ),
        (
            with(&good, "sequence", 2),
            DocumentError::Signature {
                key: kid.clone(),
                fault: SignatureFault::Wrong,
            },
        ),
    ] {
        assert_eq!(parse(&value), Err(error), "{value}");
    }
    let long = " ".repeat(MAX_DOCUMENT + 1);
    let too_long = KeyDocument::parse(long.as_bytes(), &b.server, NOW);
    assert_eq!(too_long, Err(ShapeFault::TooLong(MAX_DOCUMENT).into()));
    let other = KeyDocument::parse(&json(&good), server_name!("c.example"), NOW);
    assert_eq!(other, Err(DocumentError::OtherServer));
    // One that has expired can still be read to check old signatures.
    let later = NOW + 60 * DAY;
    assert_eq!(
        KeyDocument::parse(&json(&good), &b.server, later),
        Err(DocumentError::Expired)
    );
    assert!(KeyDocument::parse_of_any_time(&json(&good), &b.server).is_ok());
}

#[test]
fn a_signature_for_something_else_does_not_serve() {
    let (b, alice) = (b(), Alice::new());
    // What the server key signs elsewhere: mappings and answers.
    let mapping = Mapping::sign(&alice.key, &b.server, room(), &b.server_key);
    let signature = mapping["signatures"]["b.example"].clone();
    let forged = with(
        b.document.json(),
        "signatures",
        json!({ "b.example": signature }),
    );
    assert!(matches!(
        parse(&forged),
        Err(DocumentError::Signature { .. })
    ));
    assert!(parse(&mapping).is_err());
}

#[test]
fn no_character_of_a_document_can_be_changed() {
    let text = b().document.json().to_string();
    let good = b().document;
    for at in 0..text.len() {
        for put in ["0", "x", "\"", " "] {
            let changed = format!("{}{put}{}", &text[..at], &text[at + 1..]);
            let read = KeyDocument::parse(changed.as_bytes(), &b().server, NOW);
            // White space between tokens says nothing.
            assert!(read.is_err() || read.as_ref() == Ok(&good), "{changed}");
        }
        let cut = KeyDocument::parse(&text.as_bytes()[..at], &b().server, NOW);
        assert_eq!(cut, Err(ShapeFault::NotAnObject.into()));
    }
}

#[test]
fn fingerprints_begin_with_the_name() {
    let key = b().server_key.public();
    let print = fingerprint(key.as_bytes());
    assert_eq!(print.len(), 39);
    let name = format!("ed25519:{}", print[..9].replace(' ', ""));
    assert_eq!(name, key.name());
}
