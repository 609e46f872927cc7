//! What devices keep, with real keys and without a homeserver.

use std::{collections::BTreeMap, time::Duration};

use matrix_sdk_common::deserialized_responses::{
    AlgorithmInfo, EncryptionInfo, ProcessedToDeviceEvent, VerificationState,
};
use matrix_sdk_crypto::{
    EncryptionSettings, OlmMachine,
    store::types::RoomKeyInfo,
    types::{EventEncryptionAlgorithm, requests::AnyOutgoingRequest},
    vodozemac::Curve25519PublicKey,
};
use ruma::{
    api::client::keys::{get_keys, upload_keys},
    device_id, owned_room_id, owned_user_id, room_id,
    serde::Raw,
    user_id,
};
use serde::Serialize;

use super::{machine::PUBLISHED, rooms::tests::e2ee, *};
use crate::{clock, event::Withheld, rewrite::Scrubbed};

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

/// Whoever is told which events are to wait no longer may stop before they do.
#[tokio::test]
async fn what_is_too_much_is_named_until_it_is_gone() {
    let (_dir, e2ee) = e2ee(false).await;
    let (device, mallory) = (published(&e2ee, "DEVICE").await, user_id!("@mallory:z"));
    let event = |number: usize| ruma::EventId::parse(format!("$late{number}")).unwrap();
    let mut surplus = Vec::new();
    let mut last = event(0);
    for number in 0.. {
        last = event(number);
        surplus = e2ee.waits_for_key(&device, &last, mallory).await.unwrap();
        if !surplus.is_empty() {
            break;
        }
    }
    assert_eq!(surplus, [event(0)]);
    let again = e2ee.waits_for_key(&device, &last, mallory).await.unwrap();
    assert_eq!(again, surplus, "the same once more, as after a crash");
    e2ee.waits_no_more(&device, &surplus[0]).await.unwrap();
    let again = e2ee.waits_for_key(&device, &last, mallory).await.unwrap();
    assert!(again.is_empty());
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

#[tokio::test]
async fn a_key_that_comes_twice_has_its_sender_twice() {
    let (_dir, e2ee) = e2ee(false).await;
    let ghost = published(&e2ee, "DEVICE").await;
    e2ee.knows(room_id!("!r:y"), true);
    let (of_bob, bobs) = room_key(user_id!("@bob:y"), 1);
    let (again, _) = room_key(user_id!("@bob:y"), 1);
    // What a message calls its session says nothing about whose it is.
    let (of_mallory, mut mallorys) = room_key(user_id!("@mallory:z"), 2);
    mallorys.session_id = "another than her message says".to_owned();
    let counted = e2ee.with(&ghost, async |machine| {
        machine.rooms.insert(owned_room_id!("!r:y"));
        let (messages, came) = ([of_bob, again], vec![bobs.clone(), bobs]);
        machine.spare_strangers_keys(&messages, came).await?;
        let members = machine
            .olm
            .store()
            .get_custom_value(strangers::LIST)
            .await?;
        let came = vec![mallorys];
        machine.spare_strangers_keys(&[of_mallory], came).await?;
        let others = machine
            .olm
            .store()
            .get_custom_value(strangers::LIST)
            .await?;
        Ok((members, others))
    });
    let (members, others) = counted.await.unwrap();
    assert_eq!(members, None, "a member's counts");
    let others = String::from_utf8(others.unwrap()).unwrap();
    assert!(others.contains("@mallory:z"), "{others}");
}

/// A ghost that is alone in an encrypted room. The clock is its own; keys are made by the machine's.
struct Alone {
    e2ee: E2ee,
    ghost: Actor,
    _dir: tempfile::TempDir,
}

impl Alone {
    async fn new() -> Self {
        let (dir, e2ee) = e2ee(false).await;
        let ghost = published(&e2ee, "DEVICE").await;
        let alone = Self {
            e2ee,
            ghost,
            _dir: dir,
        };
        alone.at(Clock::system().now() + 1_000);
        alone
    }

    /// What the homeserver would take and answer.
    async fn settle(&self) {
        let settled = self.e2ee.with(&self.ghost, async |machine| {
            machine.synced = Some(machine.clock.now());
            for request in machine.olm.outgoing_requests().await? {
                let (id, user) = (request.request_id(), machine.actor().user.clone());
                let mut uploaded = upload_keys::v3::Response::new(BTreeMap::new());
                let algorithm = ruma::OneTimeKeyAlgorithm::SignedCurve25519;
                let counts = &mut uploaded.one_time_key_counts;
                counts.insert(algorithm, 50_u8.into());
                let mut queried = get_keys::v3::Response::new();
                queried.device_keys.insert(user, BTreeMap::new());
                match request.request() {
                    AnyOutgoingRequest::KeysUpload(_) => {
                        machine.olm.mark_request_as_sent(id, &uploaded).await?;
                    }
                    _ => machine.olm.mark_request_as_sent(id, &queried).await?,
                }
            }
            Ok(())
        });
        settled.await.unwrap();
    }

    fn at(&self, time: clock::UnixMillis) {
        let ahead = time - self.e2ee.0.clock.now();
        self.e2ee.0.clock.advance(Duration::from_millis(ahead));
    }

    /// Says something in the room, which has these settings. The session.
    async fn says(&self, hours: u64, messages: u64) -> Result<String, E2eeError> {
        let settings = EncryptionSettings {
            rotation_period: Duration::from_hours(hours),
            rotation_period_msgs: messages,
            ..EncryptionSettings::default()
        };
        let (room, members) = (room_id!("!r:y"), Vec::new());
        let known = rooms::Room { settings, members };
        self.e2ee.found(room, Some(known));
        self.settle().await;
        self.again().await
    }

    /// Says something more.
    async fn again(&self) -> Result<String, E2eeError> {
        let text = Scrubbed::notice("a secret");
        let sealed = self.e2ee.encrypt(&self.ghost, room_id!("!r:y"), text);
        let sealed = sealed.await?;
        let content: serde_json::Value = serde_json::from_str(sealed.content().get()).unwrap();
        Ok(content["session_id"].as_str().unwrap().to_owned())
    }

    fn born(&self) -> clock::UnixMillis {
        let device = self.ghost.device.as_deref().unwrap();
        let keys = self.e2ee.0.store.crypto(&self.ghost.user, device);
        keys.outbound_use(room_id!("!r:y")).unwrap().1
    }
}

#[tokio::test]
async fn settings_that_grow_let_no_key_live_longer() {
    let alone = Alone::new().await;
    let first = alone.says(1, 2).await.unwrap();
    alone.at(alone.e2ee.0.clock.now() + 31_000);
    assert_eq!(alone.says(168, 100).await.unwrap(), first);
    // The crate would encrypt no third one with it.
    let second = alone.again().await.unwrap();
    assert_ne!(second, first);
    for _ in 0..5 {
        assert_eq!(alone.again().await.unwrap(), second);
    }
    // And settings that shrink hold at once.
    alone.at(alone.e2ee.0.clock.now() + 31_000);
    assert_ne!(alone.says(168, 5).await.unwrap(), second);
}

/// The crate asks the machine's clock, for which no hour passes here.
#[tokio::test]
async fn a_key_that_grew_old_gives_way_to_another() {
    const MINUTE: u64 = 60_000;
    let alone = Alone::new().await;
    let first = alone.says(1, 100).await.unwrap();
    let born = alone.born();
    for (age, what) in [
        (58 * MINUTE, "it is young"),
        (59 * MINUTE - 4_000, "nearly"),
    ] {
        alone.at(born + age);
        assert_eq!(alone.says(1, 100).await.unwrap(), first, "{what}");
    }
    // The next one is made in another second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    alone.at(born + 59 * MINUTE);
    let second = alone.again().await.unwrap();
    assert_ne!(second, first);
    assert!(alone.born() > born);
    // What is made on the way and is old at once is not used.
    alone.at(born + 200 * MINUTE);
    let spent = alone.says(1, 100).await;
    assert!(matches!(spent, Err(E2eeError::Spent)), "{spent:?}");
}

/// Its keys are made in its future: none is good for more than what is said at once.
#[tokio::test]
async fn a_clock_that_runs_behind_makes_no_key_old() {
    let (dir, e2ee) = e2ee(false).await;
    let ghost = published(&e2ee, "DEVICE").await;
    let alone = Alone {
        e2ee,
        ghost,
        _dir: dir,
    };
    alone.at(Clock::system().now() - 2 * 3_600_000);
    let first = alone.says(1, 100).await.unwrap();
    assert_eq!(alone.again().await.unwrap(), first);
    alone.at(alone.born());
    assert_eq!(alone.says(1, 100).await.unwrap(), first);
}
