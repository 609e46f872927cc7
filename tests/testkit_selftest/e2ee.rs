//! Stock end-to-end-encrypting clients on two servers: they read each other, and their verdicts tell a signed
//! device from an unsigned one.

use std::time::Duration;

use serde_json::json;

use crate::testkit::{
    audit::{Needle, audit},
    e2ee::{E2eeClient, Options, Report, Shield},
    synapse::SynapsePair,
};

const SOON: Duration = Duration::from_mins(2);

#[tokio::test]
async fn stock_clients_encrypt_decrypt_and_judge() {
    let pair = SynapsePair::stock().await.unwrap();
    let (alice, bob) = tokio::join!(
        E2eeClient::register(&pair.a, "alice"),
        E2eeClient::register(&pair.b, "bob")
    );
    let (alice, bob) = (alice.unwrap(), bob.unwrap());
    let room = alice.create_encrypted_room(&[bob.id()]).await.unwrap();
    assert_eq!(bob.accept_invite(SOON).await.unwrap(), room);
    bob.await_encryption(&room).await.unwrap();
    alice.await_member(&room, bob.id(), "join").await.unwrap();

    converse(&alice, &bob, &room).await;
    converse(&bob, &alice, &room).await;
    let needles = [Needle::text("a message", "a word in private")];
    let report = audit(&pair.a.evidence(), &needles).await.unwrap();
    report.assert_clean();

    // Each has keys of its own, and sees the other's.
    let mine = alice.keys_of(alice.id()).await.unwrap();
    let theirs = alice.keys_of(bob.id()).await.unwrap();
    assert!(mine.master.is_some() && mine.user_signing.is_some());
    assert!(theirs.master.is_some() && theirs.user_signing.is_none());
    assert_ne!(mine.master, theirs.master);
    assert_eq!(theirs.devices[0].device_id, bob.device());
    assert_ne!(mine.devices[0].curve25519, theirs.devices[0].curve25519);
    let status = alice.user_status(bob.id()).await.unwrap();
    assert!(!status.verified && !status.needs_approval);

    unsigned_devices(&pair, &alice, &bob, &room).await;
    alice.stop().await.unwrap();
}

/// One sends everything, the other reads it without a warning.
async fn converse(from: &E2eeClient, to: &E2eeClient, room: &str) {
    let first = from.say(room, "a word in private").await.unwrap();
    let seen = to.wait_readable(&first, SOON).await.unwrap();
    seen.assert_trusted();
    assert_eq!(
        (seen.body(), seen.sender.as_str(), seen.kind.as_str()),
        ("a word in private", from.id(), "m.room.message")
    );
    assert_eq!(seen.sender_device.as_deref(), Some(from.device()));
    assert_eq!(seen.wire_type, "m.room.encrypted");
    assert!(seen.wire_content.get("body").is_none());
    // The sender's own view of it.
    from.wait_readable(&first, SOON)
        .await
        .unwrap()
        .assert_trusted();

    let edit = from.edit(room, &first, "a better word").await.unwrap();
    let seen = to.wait_readable(&edit, SOON).await.unwrap();
    seen.assert_trusted();
    assert_eq!(
        (seen.body(), seen.relates_to()),
        ("a better word", first.as_str())
    );
    let reply = from.reply(room, &first, "and another").await.unwrap();
    let seen = to
        .wait_body(room, from.id(), "and another", SOON)
        .await
        .unwrap();
    seen.assert_trusted();
    assert_eq!(
        (&seen.event_id, seen.relates_to()),
        (&reply, first.as_str())
    );
    let like = from.react(room, &first, "👍").await.unwrap();
    let seen = to.wait_readable(&like, SOON).await.unwrap();
    assert_eq!(
        (seen.encrypted, seen.shield, seen.relates_to()),
        (false, None, first.as_str())
    );

    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let content =
        json!({"msgtype": "m.file", "body": "a.bin", "info": {"mimetype": "application/x-a"}});
    let file = from.send_file(room, content, &bytes).await.unwrap();
    let seen = to.wait_readable(&file, SOON).await.unwrap();
    seen.assert_trusted();
    assert_eq!(to.file_of(&file).await.unwrap(), bytes);

    let gone = from.redact(room, &reply).await.unwrap();
    let seen = to.wait_readable(&gone, SOON).await.unwrap();
    assert_eq!(seen.redacts.as_ref(), Some(&reply));
    let redacted = |one: &Report| one.event_id == reply && one.redacted;
    to.wait_for("the redacted message", redacted, SOON)
        .await
        .unwrap();
}

/// Mallory's device is signed by nobody: it is read with a warning, or not at all.
async fn unsigned_devices(pair: &SynapsePair, alice: &E2eeClient, bob: &E2eeClient, room: &str) {
    let options = Options {
        unsigned: true,
        ..Options::default()
    };
    let mallory = E2eeClient::register_with(&pair.b, "mallory", options)
        .await
        .unwrap();
    alice.invite(room, mallory.id()).await.unwrap();
    mallory.accept_invite(SOON).await.unwrap();
    mallory.await_encryption(room).await.unwrap();
    bob.only_signed_devices(true).await.unwrap();
    for client in [alice, bob] {
        client
            .await_member(room, mallory.id(), "join")
            .await
            .unwrap();
    }

    let said = mallory.say(room, "trust me").await.unwrap();
    let seen = alice.wait_readable(&said, SOON).await.unwrap();
    assert!(!seen.is_trusted());
    assert_eq!(
        (seen.body(), seen.signed_by_owner),
        ("trust me", Some(false))
    );
    assert!(
        matches!(seen.shield, Some(Shield::Grey | Shield::Red)),
        "{seen:?}"
    );
    assert_eq!(seen.shield_reason.as_deref(), Some("UNSIGNED_DEVICE"));
    let refused = bob.wait_unreadable(&said, SOON).await.unwrap();
    assert_eq!(refused.failure.as_deref(), Some("UNSIGNED_SENDER_DEVICE"));

    // The other way round: who excludes insecure devices does not encrypt to one.
    let said = bob.say(room, "not for mallory").await.unwrap();
    alice
        .wait_readable(&said, SOON)
        .await
        .unwrap()
        .assert_trusted();
    let withheld = mallory.wait_unreadable(&said, SOON).await.unwrap();
    assert!(withheld.failure.is_some());
    // A device that its owner signs meanwhile is trusted.
    mallory.bootstrap_cross_signing().await.unwrap();
    mallory.discard_session(room).await.unwrap();
    let trusted = async {
        loop {
            let said = mallory.say(room, "now signed").await.unwrap();
            if let Ok(seen) = bob.wait_readable(&said, Duration::from_secs(10)).await {
                break seen;
            }
            mallory.discard_session(room).await.unwrap();
        }
    };
    let seen = tokio::time::timeout(SOON, trusted).await.unwrap();
    seen.assert_trusted();
}
