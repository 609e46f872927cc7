//! What others can make a device keep is bounded.

use matrix_sdk_crypto::{
    Account, Session,
    olm::SenderData,
    store::{
        CryptoStore as _,
        types::{Changes, RoomKeyWithheldEntry, StoredRoomKeyBundleData},
    },
    types::events::room_key_bundle::RoomKeyBundleContent,
    vodozemac::{Curve25519PublicKey, olm::SessionConfig},
};
use ruma::{
    SecondsSinceUnixEpoch, UInt,
    events::room::{EncryptedFile, EncryptedFileHashes, V2EncryptedFileInfo},
};
use serde_json::json;

use crate::{
    backend::Backend,
    machine::{begin, room},
    samples::user,
};

const GHOST: &str = "@_vizard_ghost-of-somebody:a.example.org";

/// A new Olm session with a device, at a moment.
fn session(account: &Account, with: Curve25519PublicKey, created: u32, used: u32) -> Session {
    let one_time_key = Account::with_device_id(&user("@any:b.example.org"), "ANY".into());
    let mut session = account
        .create_outbound_session_helper(
            SessionConfig::version_1(),
            with,
            one_time_key.identity_keys().curve25519,
            false,
            account.device_keys(),
        )
        .unwrap();
    session.creation_time = SecondsSinceUnixEpoch(UInt::from(created));
    session.last_use_time = SecondsSinceUnixEpoch(UInt::from(used));
    session
}

/// Of Olm sessions without end, those with one device that were used last are kept, and the one that was made last; those with
/// others too.
pub async fn olm_sessions_are_bounded(backend: Backend) {
    const BATCH: u32 = 10;
    const SESSIONS: u32 = 200;
    const NEWEST: usize = 7;
    const MOST: usize = 64;
    let key = |name: &str| {
        let account = Account::with_device_id(&user(name), "DEVICE".into());
        account.identity_keys().curve25519
    };
    let (flooder, other) = (key("@mallory:b.example.org"), key("@bob:b.example.org"));
    let store = backend.open().await;
    let ghost = user(GHOST);
    let (crypto, account) = begin(&store, &ghost, "DEVICE".into()).await;
    let save = async |sessions: Vec<Session>| {
        let changes = Changes {
            sessions,
            ..Changes::default()
        };
        crypto.save_changes(changes).await.unwrap();
    };
    let loaded = async |key: &Curve25519PublicKey| {
        let sessions = crypto.get_sessions(&key.to_base64()).await.unwrap();
        sessions.unwrap()
    };
    save(vec![session(&account, other, 1, 1)]).await;
    // Old, and still in use.
    let used = session(&account, flooder, 2, 1_000_000);
    let used_id = used.session_id().to_owned();
    save(vec![used]).await;
    let mut ids = Vec::new();
    for first in (0..SESSIONS).step_by(BATCH as usize) {
        let new = first..first + BATCH;
        let new: Vec<_> = new
            .map(|number| session(&account, flooder, 10 + number, 10 + number))
            .collect();
        ids.extend(new.iter().map(|one| one.session_id().to_owned()));
        save(new).await;
        let kept = loaded(&flooder).await;
        assert!(kept.len() <= MOST, "{} sessions", kept.len());
        let has = |id: &str| kept.iter().any(|one| one.session_id() == id);
        for id in ids.iter().rev().take(NEWEST) {
            assert!(has(id), "a new session is gone");
        }
        assert!(has(&used_id), "the one in use is gone");
    }
    assert_eq!(loaded(&other).await.len(), 1);
    assert!(crypto.has_spared_sessions() && !crypto.has_spared_sessions());
    // Made last, and used longest ago: what the crate encrypts with.
    let newest = session(&account, flooder, 2_000_000, 3);
    let newest_id = newest.session_id().to_owned();
    save(vec![newest]).await;
    for _ in 0..10 {
        save(vec![
            session(&account, other, 1, 1),
            session(&account, flooder, 5, 5_000_000),
            session(&account, flooder, 5, 5_000_000),
            session(&account, flooder, 5, 5_000_000),
            session(&account, flooder, 5, 5_000_000),
        ])
        .await;
    }
    let kept = loaded(&flooder).await;
    assert!(kept.iter().any(|one| one.session_id() == newest_id));
    store.close().await;
}

/// Notices that a key is withheld, which anybody may send.
pub async fn notices_are_bounded(backend: Backend) {
    const BATCH: usize = 100;
    const NOTICES: usize = 2_000;
    const MOST: usize = 800;
    let store = backend.open().await;
    let ghost = user(GHOST);
    let (crypto, _) = begin(&store, &ghost, "DEVICE".into()).await;
    for first in (0..NOTICES).step_by(BATCH) {
        let notice = |number: usize| {
            let id = format!("session {number}");
            let entry: RoomKeyWithheldEntry = serde_json::from_value(json!({
                "sender": "@mallory:b.example.org",
                "content": {
                    "algorithm": "m.megolm.v1.aes-sha2", "code": "m.blacklisted", "room_id": room(),
                    "session_id": id, "sender_key": "9n7mdWKOjr9c4NTlG6zV8dbFtNK79q9vZADoh7nMUwA",
                },
            }))
            .unwrap();
            (id, entry)
        };
        let notices = (first..first + BATCH).map(notice).collect();
        let changes = Changes {
            withheld_session_info: [(room().to_owned(), notices)].into(),
            ..Changes::default()
        };
        crypto.save_changes(changes).await.unwrap();
        let newest = format!("session {first}");
        let newest = crypto.get_withheld_info(room(), &newest).await.unwrap();
        assert!(newest.is_some());
        let kept = crypto.get_withheld_sessions_by_room_id(room()).await;
        let kept = kept.unwrap().len();
        assert!(kept <= MOST, "{kept} notices");
    }
    store.close().await;
}

/// Bundles of room keys, which nobody here uses.
pub async fn bundles_are_bounded(backend: Backend) {
    const BATCH: usize = 10;
    let store = backend.open().await;
    let ghost = user(GHOST);
    let (crypto, _) = begin(&store, &ghost, "DEVICE".into()).await;
    let rooms: Vec<_> = (0..5 * BATCH)
        .map(|number| ruma::OwnedRoomId::try_from(format!("!room{number}:x")).unwrap())
        .collect();
    let mallory = user("@mallory:b.example.org");
    for rooms in rooms.chunks(BATCH) {
        let bundle = |room: &ruma::OwnedRoomId| StoredRoomKeyBundleData {
            sender_user: mallory.clone(),
            sender_key: Curve25519PublicKey::from_bytes([0; 32]),
            sender_data: SenderData::unknown(),
            bundle_data: RoomKeyBundleContent {
                room_id: room.clone(),
                file: EncryptedFile::new(
                    "mxc://b.example.org/bundle".into(),
                    V2EncryptedFileInfo::encode([0; 32], [0; 16]).into(),
                    EncryptedFileHashes::default(),
                ),
            },
        };
        let changes = Changes {
            received_room_key_bundles: rooms.iter().map(bundle).collect(),
            ..Changes::default()
        };
        crypto.save_changes(changes).await.unwrap();
    }
    let mut kept = Vec::new();
    for room in &rooms {
        let found = crypto.get_received_room_key_bundle_data(room, &mallory);
        if found.await.unwrap().is_some() {
            kept.push(room.clone());
        }
    }
    assert_eq!(kept, rooms[4 * BATCH..], "those that came last");
    store.close().await;
}
