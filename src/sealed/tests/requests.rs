//! Asking: who may, for what, and that nothing of it can be used for something else.

use ruma::server_name;
use serde_json::json;

use super::*;
use crate::pseudonym::{FieldFault, Mapping, SignatureFault, SignersFault, prove};

fn fault(content: &Value, sender: &UserId) -> Option<RequestFault> {
    received(content, sender)
        .err()
        .map(|rejected| rejected.fault)
}

#[test]
fn a_ghost_asks() {
    let alice = Alice::new();
    let sealed = alice.seals();
    let SignedRequest { content, asked } = alice.requests(&sealed);
    assert!(json(&content).len() < 1500);
    let request = received(&content, &alice.ghost).expect("a request");
    assert_eq!(request.sealed, sealed);
    assert_eq!(request.room, room());
    assert_eq!(request.inviter.user(), alice.ghost);
    assert_eq!(request.inviter_key, alice.inviter());
    assert_eq!(request.reply_to.request_id, asked.request_id);
    assert_eq!(request.reply_to.request_hash, asked.request_hash);
    let b = b();
    let opened = open(
        &request.sealed,
        &b.server,
        &b.keys(),
        &request.room,
        &request.inviter_key,
    );
    assert_eq!(
        opened.map(|it| it.target),
        Ok(Target::User(bob().to_owned()))
    );
    // Another prefix than one's own is all the same.
    let elsewhere =
        ruma::OwnedUserId::try_from(format!("@mask-{}:c.example", alice.key.id().to_localpart()))
            .expect("a user");
    let draft = RequestDraft {
        sealed: &sealed,
        room: room(),
        expires_ts: NOW + DAY,
    };
    let content = draft
        .sign_as_ghost(&Rng::seeded(1), &elsewhere, &alice.key)
        .content;
    assert!(received(&content, &elsewhere).is_ok());
}

#[test]
fn a_bot_asks_for_somebody_who_is_no_pseudonym() {
    let (a, b) = (a(), b());
    let inviter = InviterKey::from(a.server_key.public());
    let sealing = Sealing::Bound {
        user: bob(),
        room: room(),
        inviter,
    };
    let sealed = seal(&Rng::seeded(4), &b.hpke.public(), sealing, NOW + DAY).expect("sealed");
    let draft = RequestDraft {
        sealed: &sealed,
        room: room(),
        expires_ts: NOW + DAY,
    };
    let bot = a.namespace.bot();
    let content = draft
        .sign_as_bot(&Rng::seeded(5), bot, &a.server_key)
        .content;
    let parsed = || UnverifiedRequest::parse(&json(&content), bot, &b.server, NOW).expect("shape");
    assert_eq!(parsed().needs_keys_of(), Some(server_name!("a.example")));
    let request = parsed().verify(Some(&a.document)).expect("signed");
    assert_eq!(request.inviter_key, inviter);
    assert!(open(&sealed, &b.server, &b.keys(), room(), &request.inviter_key).is_ok());
    // Without its document, with another's, and with one whose bot is somebody else.
    for document in [None, Some(&b.document)] {
        let rejected = parsed().verify(document).expect_err("unknown");
        assert_eq!(rejected.fault, RequestFault::UnknownInviter);
    }
    let someone = ruma::user_id!("@mallory:a.example");
    let content = draft
        .sign_as_bot(&Rng::seeded(5), someone, &a.server_key)
        .content;
    assert_eq!(fault(&content, someone), Some(RequestFault::UnknownInviter));
    // With a key that the document does not list.
    let content = draft
        .sign_as_bot(&Rng::seeded(5), bot, &b.server_key)
        .content;
    let unknown = RequestFault::Signature(SignatureFault::UnknownKey);
    assert_eq!(fault(&content, bot), Some(unknown));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_deviation_is_told_to_the_admin_alone() {
    let alice = Alice::new();
    let good = alice.requests(&alice.seals()).content;
    let signed =
        |field: &str, value: Value| signed_with(&good, field, value, |m| alice.key.sign(m));
    let field = |field, fault| RequestFault::Shape(ShapeFault::Field { field, fault });
    let signature = |fault| RequestFault::Signature(fault);
    let c_address = {
        let user = ruma::user_id!("@bob:c.example");
        let sealing = Sealing::Contact { user };
        let key = b().hpke.public();
        seal(&Rng::seeded(1), &key, sealing, NOW + DAY)
            .expect("sealed")
            .to_string()
    };
    let mallory = Alice::of(66);
    let name = alice.key.id().to_base64();
    let mut two = good.clone();
    two["signatures"]["a.example"] = json!({});
    let renamed = json!({ &name: { "ed25519:2": good["signatures"][&name]["ed25519:1"] } });
    for (content, expected) in [
        (json!("x"), RequestFault::Shape(ShapeFault::NotAnObject)),
        (
            signed("extra", json!(1)),
            RequestFault::Shape(ShapeFault::ExtraField),
        ),
        (
            signed("type", json!("org.vizard.proof")),
            field("type", FieldFault::Differs),
        ),
        (
            signed("request_id", json!("AAAA")),
            field("request_id", FieldFault::Malformed),
        ),
        (
            signed("sealed", json!("vz1:b.example:AAAA")),
            field("sealed", FieldFault::Malformed),
        ),
        (
            signed("room_id", json!("room")),
            field("room_id", FieldFault::Malformed),
        ),
        (
            signed("expires_ts", json!("soon")),
            field("expires_ts", FieldFault::Malformed),
        ),
        (
            signed("inviter", json!("alice")),
            field("inviter", FieldFault::Malformed),
        ),
        (
            signed("inviter", json!(mallory.ghost)),
            RequestFault::OtherSender,
        ),
        (signed("to", json!("c.example")), RequestFault::OtherServer),
        (
            signed("sealed", json!(c_address)),
            RequestFault::OtherServer,
        ),
        (signed("expires_ts", json!(NOW)), RequestFault::Expired),
        (
            signed("expires_ts", json!(NOW + 8 * DAY)),
            RequestFault::TooLong,
        ),
        // Changed after it was signed: moved to another room, prolonged, with another address.
        (
            with(&good, "room_id", "!other:a.example"),
            signature(SignatureFault::Wrong),
        ),
        (
            with(&good, "expires_ts", NOW + DAY + 1),
            signature(SignatureFault::Wrong),
        ),
        (
            with(&good, "sealed", mallory.seals().to_string()),
            signature(SignatureFault::Wrong),
        ),
        (
            with(&good, "request_id", "AAAAAAAAAAAAAAAAAAAAAA"),
            signature(SignatureFault::Wrong),
        ),
        (
            with(&good, "signatures", json!({})),
            signature(SignatureFault::Missing),
        ),
        (
            with(&good, "signatures", json!(1)),
            field("signatures", FieldFault::Malformed),
        ),
        (
            with(&good, "signatures", json!({ &name: { "ed25519:1": "" } })),
            signature(SignatureFault::Malformed),
        ),
        (
            with(&good, "signatures", renamed),
            signature(SignatureFault::UnknownKey),
        ),
        (two, RequestFault::Signers(SignersFault::TooMany)),
    ] {
        assert_eq!(fault(&content, &alice.ghost), Some(expected), "{content}");
    }
    let long = with(&good, "sealed", "x".repeat(MAX_MESSAGE));
    let too_long = RequestFault::Shape(ShapeFault::TooLong(MAX_MESSAGE));
    assert_eq!(fault(&long, &alice.ghost), Some(too_long));
    // Sent by somebody else.
    assert_eq!(
        fault(&good, &mallory.ghost),
        Some(RequestFault::OtherSender)
    );
    let later = UnverifiedRequest::parse(&json(&good), &alice.ghost, &b().server, NOW + DAY);
    assert_eq!(later.expect_err("expired").fault, RequestFault::Expired);
}

#[test]
fn an_address_serves_one_inviter_and_room_alone() {
    let (alice, mallory, b) = (Alice::new(), Alice::of(66), b());
    let sealed = alice.seals();
    let opens = |request: &InviteRequest| {
        open(
            &request.sealed,
            &b.server,
            &b.keys(),
            &request.room,
            &request.inviter_key,
        )
        .is_ok()
    };
    // Somebody who saw Alice's request asks with her address.
    let stolen = mallory.requests(&sealed).content;
    let request = received(&stolen, &mallory.ghost).expect("well signed");
    assert!(!opens(&request));
    // Alice uses it for another room.
    let draft = RequestDraft {
        sealed: &sealed,
        room: room_id!("!other:a.example"),
        expires_ts: NOW + DAY,
    };
    let moved = draft
        .sign_as_ghost(&Rng::seeded(1), &alice.ghost, &alice.key)
        .content;
    let request = received(&moved, &alice.ghost).expect("well signed");
    assert!(!opens(&request));
}

#[test]
fn a_signature_for_something_else_does_not_serve() {
    let alice = Alice::new();
    let good = alice.requests(&alice.seals()).content;
    let name = alice.key.id().to_base64();
    // What the sender key signs elsewhere.
    let proof = prove(&alice.key, &alice.ghost, room(), &good.to_string());
    let mapping = Mapping::sign(&alice.key, &a().server, room(), &a().server_key);
    for other in [&proof, &mapping] {
        let signature = json!({ &name: other["signatures"][&name] });
        let forged = with(&good, "signatures", signature);
        assert_eq!(
            fault(&forged, &alice.ghost),
            Some(RequestFault::Signature(SignatureFault::Wrong))
        );
        assert!(fault(other, &alice.ghost).is_some());
    }
    // And a request is neither of them.
    let (a, key) = (a(), a().server_key.public());
    assert!(crate::pseudonym::verify_proof(&good).is_err());
    assert!(Mapping::verify(&good, &alice.ghost, room(), "_vizard_", &[key]).is_err());
    assert!(KeyDocument::parse(&json(&good), &a.server, NOW).is_err());
    // Nor does its signature serve for them.
    let by_request = json!({ &name: good["signatures"][&name] });
    assert!(crate::pseudonym::verify_proof(&with(&proof, "signatures", by_request)).is_err());
    let mut forged = mapping.clone();
    forged["signatures"][&name] = good["signatures"][&name].clone();
    let verified = Mapping::verify(&forged, &alice.ghost, room(), "_vizard_", &[key]);
    assert!(matches!(
        verified,
        Err(crate::pseudonym::MappingError::Signature { .. })
    ));
}

#[test]
fn no_character_of_a_request_can_be_changed() {
    let alice = Alice::new();
    let text = alice.requests(&alice.seals()).content.to_string();
    let good: Value = serde_json::from_str(&text).expect("JSON");
    let read = |bytes: &[u8]| {
        let server = server_name!("b.example");
        UnverifiedRequest::parse(bytes, &alice.ghost, server, NOW)
            .and_then(|request| request.verify(None))
    };
    for at in 0..text.len() {
        for put in ["0", "\""] {
            let changed = format!("{}{put}{}", &text[..at], &text[at + 1..]);
            let same = serde_json::from_str::<Value>(&changed).is_ok_and(|it| it == good);
            assert!(same || read(changed.as_bytes()).is_err(), "{changed}");
        }
        assert!(read(&text.as_bytes()[..at]).is_err());
    }
}
