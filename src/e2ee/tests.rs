//! What devices keep, with real keys and without a homeserver.

use matrix_sdk_common::deserialized_responses::{
    AlgorithmInfo, EncryptionInfo, ProcessedToDeviceEvent, VerificationState,
};
use matrix_sdk_crypto::{
    OlmMachine,
    store::types::RoomKeyInfo,
    types::{EventEncryptionAlgorithm, requests::AnyOutgoingRequest},
    vodozemac::Curve25519PublicKey,
};
use ruma::{
    api::client::keys::get_keys, device_id, owned_room_id, owned_user_id, room_id, serde::Raw,
    user_id,
};
use serde::Serialize;

use super::{machine::PUBLISHED, rooms::tests::e2ee, *};
use crate::event::Withheld;

/// A device whose keys are said to be on the homeserver, which there is not.
async fn published(e2ee: &E2ee, device: &str) -> Actor {
    let actor = Actor {
        user: owned_user_id!("@_vizard_a:x"),
        device: Some(device.into()),
    };
    let store = e2ee.0.store.crypto(&actor.user, device.into());
    store.set_custom_value(PUBLISHED, vec![1]).await.unwrap();
    actor
}

fn raw<T>(key: &impl Serialize) -> Raw<T> {
    Raw::from_json(serde_json::value::to_raw_value(key).unwrap())
}

/// Bob has an identity from now on, and another one than before.
async fn resets(e2ee: &E2ee, actor: &Actor) {
    let bob = user_id!("@bob:y");
    let his = OlmMachine::new(bob, device_id!("BOBS")).await;
    let keys = his.bootstrap_cross_signing(false).await.unwrap();
    let keys = keys.upload_signing_keys_req;
    let mut answer = get_keys::v3::Response::new();
    let (master, signing) = (keys.master_key.unwrap(), keys.self_signing_key.unwrap());
    answer.master_keys.insert(bob.to_owned(), raw(&master));
    answer
        .self_signing_keys
        .insert(bob.to_owned(), raw(&signing));
    e2ee.with(actor, async |machine| {
        machine.olm.update_tracked_users([bob]).await?;
        machine.olm.mark_all_tracked_users_as_dirty().await?;
        let requests = machine.olm.outgoing_requests().await?;
        let query = requests
            .iter()
            .find(|one| matches!(one.request(), AnyOutgoingRequest::KeysQuery(_)))
            .unwrap();
        machine
            .olm
            .mark_request_as_sent(query.request_id(), &answer)
            .await?;
        machine.devices += 1;
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn another_identity_is_one_until_that_is_told() {
    let (_dir, e2ee) = e2ee(false).await;
    let (ghost, bob) = (published(&e2ee, "DEVICE").await, user_id!("@bob:y"));
    let has_changed = async || {
        let look = e2ee.with(&ghost, async |machine| machine.has_changed(bob).await);
        look.await.unwrap()
    };
    resets(&e2ee, &ghost).await;
    assert!(!has_changed().await, "the first one");
    for _ in 0..2 {
        resets(&e2ee, &ghost).await;
        // An event may be opened again and again before anybody has read of it.
        assert!(has_changed().await && has_changed().await);
        e2ee.has_told_of_identity(&ghost, bob).await.unwrap();
        assert!(!has_changed().await);
    }
}

#[tokio::test]
async fn who_comes_back_is_another() {
    let (_dir, e2ee) = e2ee(false).await;
    let (ghost, other) = (user_id!("@_vizard_a:x"), user_id!("@_vizard_b:x"));
    for user in [ghost, other] {
        let kept = KeptFrom {
            user: owned_user_id!("@bob:y"),
            devices: Vec::new(),
            all: true,
            why: Withheld::Other,
        };
        lock(&e2ee.0.kept).insert(user.to_owned(), vec![kept]);
        lock(&e2ee.0.started).insert((user.to_owned(), owned_room_id!("!r:y")));
    }
    e2ee.destroy(ghost).await.unwrap();
    e2ee.revive(ghost);
    assert!(e2ee.kept_from(ghost).is_empty());
    assert_eq!(e2ee.kept_from(other).len(), 1);
    let started: Vec<_> = lock(&e2ee.0.started).iter().cloned().collect();
    assert_eq!(started, [(other.to_owned(), owned_room_id!("!r:y"))]);
}

#[tokio::test]
async fn a_successor_inherits_what_is_bounded() {
    let (_dir, e2ee) = e2ee(false).await;
    let (old, new) = (published(&e2ee, "OLD").await, published(&e2ee, "NEW").await);
    let (event, bob) = (ruma::event_id!("$late"), user_id!("@bob:y"));
    e2ee.waits_for_key(&old, event, bob).await.unwrap();
    let store = |actor: &Actor| {
        let device = actor.device.clone().unwrap();
        e2ee.0.store.crypto(&actor.user, &device)
    };
    let list = br#"[{"room":"!r:y","session":"s"}]"#.to_vec();
    let former = store(&old);
    former
        .set_custom_value(strangers::LIST, list)
        .await
        .unwrap();
    for _ in 0..2 {
        e2ee.inherit(&old, &new).await.unwrap();
        for (list, part) in [(ask::WAITING_KEY, "$late"), (strangers::LIST, "!r:y")] {
            let there = store(&new).get_custom_value(list).await.unwrap().unwrap();
            let there = String::from_utf8(there).unwrap();
            assert_eq!(there.matches(part).count(), 1, "{there}");
        }
    }
}

/// A message with a room key of a session, and the key.
fn room_key(sender: &UserId, number: u8) -> (ProcessedToDeviceEvent, RoomKeyInfo) {
    let sender_key = Curve25519PublicKey::from_bytes([number; 32]);
    let session = format!("session {number}");
    let message = serde_json::json!({"type": "m.room_key", "content": {"session_id": session}});
    let message = ProcessedToDeviceEvent::Decrypted {
        raw: raw(&message),
        encryption_info: EncryptionInfo {
            sender: sender.to_owned(),
            sender_device: None,
            forwarder: None,
            algorithm_info: AlgorithmInfo::OlmV1Curve25519AesSha2 {
                curve25519_public_key_base64: sender_key.to_base64(),
            },
            verification_state: VerificationState::Verified,
        },
    };
    let key = RoomKeyInfo {
        algorithm: EventEncryptionAlgorithm::MegolmV1AesSha2,
        room_id: owned_room_id!("!r:y"),
        sender_key,
        session_id: session,
    };
    (message, key)
}

#[tokio::test]
async fn in_ones_own_room_a_stranger_is_a_stranger() {
    let (_dir, e2ee) = e2ee(false).await;
    let ghost = published(&e2ee, "DEVICE").await;
    e2ee.knows(room_id!("!r:y"), true);
    let (of_bob, bobs) = room_key(user_id!("@bob:y"), 1);
    let (of_mallory, mallorys) = room_key(user_id!("@mallory:z"), 2);
    // She names his session as well.
    let (mut claim, _) = room_key(user_id!("@mallory:z"), 3);
    if let ProcessedToDeviceEvent::Decrypted { raw, .. } = &mut claim {
        *raw = of_bob.to_raw();
    }
    let counted = e2ee.with(&ghost, async |machine| {
        machine.rooms.insert(owned_room_id!("!r:y"));
        let messages = [of_bob, of_mallory, claim];
        machine
            .spare_strangers_keys(&messages, vec![bobs, mallorys])
            .await?;
        Ok(machine
            .olm
            .store()
            .get_custom_value(strangers::LIST)
            .await?)
    });
    let counted = String::from_utf8(counted.await.unwrap().unwrap()).unwrap();
    assert!(counted.contains("session 2"), "{counted}");
    assert!(!counted.contains("session 1"), "{counted}");
}

#[tokio::test]
async fn a_member_is_known_by_what_was_fetched() {
    let (_dir, e2ee) = e2ee(false).await;
    let room = room_id!("!r:y");
    let has = |user: &UserId| e2ee.0.rooms.has_member(room, user);
    assert!(!has(user_id!("@bob:y")));
    e2ee.knows(room, true);
    assert!(has(user_id!("@bob:y")) && !has(user_id!("@mallory:z")));
}
