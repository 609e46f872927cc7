//! Keys of end-to-end encryption: what a crash leaves, what forgetting leaves, and how much room they take.

use std::collections::BTreeMap;

use matrix_sdk_crypto::{
    Account, DeviceData, LocalTrust, Session,
    olm::{OutboundGroupSession, PrivateCrossSigningIdentity, ShareInfo},
    store::{
        CryptoStore as _,
        types::{Changes, DeviceChanges, PendingChanges},
    },
    types::requests::ToDeviceRequest,
    vodozemac::Curve25519PublicKey,
};
use ruma::{
    DeviceId, OwnedUserId, RoomId, TransactionId, events::AnyMessageLikeEventContent, serde::Raw,
    to_device::DeviceIdOrAllDevices,
};
use vizard::store::{CryptoStore, Store, StoreError};

use crate::{backend::Backend, samples::user};

pub const GHOST: &str = "@_vizard_ghost-of-somebody:a.example.org";
const OTHER: &str = "@_vizard_ghost-of-another:a.example.org";
const ROOM: &str = "!room-of-many-xylophones:b.example.org";

fn room() -> &'static RoomId {
    ROOM.try_into().unwrap()
}

/// A new device's keys, with all that is there from the first moment.
pub async fn begin(
    store: &Store,
    ghost: &OwnedUserId,
    device: &DeviceId,
) -> (CryptoStore, Account) {
    let crypto = store.crypto(ghost, device);
    let mut account = Account::with_device_id(ghost, device);
    account.generate_one_time_keys(50);
    account.mark_keys_as_published();
    let changes = PendingChanges {
        account: Some(account.deep_clone()),
    };
    crypto.save_pending_changes(changes).await.unwrap();
    let changes = Changes {
        private_identity: Some(PrivateCrossSigningIdentity::new(ghost.clone())),
        devices: DeviceChanges {
            new: vec![DeviceData::from_account(&account)],
            ..DeviceChanges::default()
        },
        ..Changes::default()
    };
    crypto.save_changes(changes).await.unwrap();
    (crypto, account)
}

/// A device that has been in a room for a while.
pub async fn live(store: &Store, ghost: &OwnedUserId, device: &DeviceId) {
    let (crypto, account) = begin(store, ghost, device).await;
    let devices = meet(&crypto, &account, 2).await;
    share(&crypto, &account, &devices).await;
}

/// Somebody's device, signed by them, and an Olm session with it.
fn device(account: &Account, owner: &OwnedUserId, number: usize) -> (DeviceData, Session) {
    let id = format!("{:010X}", number * 7_919_123);
    let mut theirs = Account::with_device_id(owner, id.as_str().into());
    theirs.generate_one_time_keys(1);
    let one_time_key = *theirs.one_time_keys().values().next().unwrap();
    let their_key = theirs.identity_keys().curve25519;
    let session = account
        .create_outbound_session_helper(
            matrix_sdk_crypto::vodozemac::olm::SessionConfig::version_1(),
            their_key,
            one_time_key,
            false,
            account.device_keys(),
        )
        .unwrap();
    let mut keys = serde_json::to_value(theirs.device_keys()).unwrap();
    let signer = theirs.identity_keys().ed25519.to_base64();
    let signer: String = signer.chars().rev().collect();
    keys["signatures"][owner.as_str()][format!("ed25519:{signer}")] =
        theirs.sign("somebody's signature").to_base64().into();
    let keys = serde_json::from_value(keys).unwrap();
    (DeviceData::new(keys, LocalTrust::Unset), session)
}

/// Tracks so many users with two devices each, and has sessions with all of them.
async fn meet(crypto: &CryptoStore, account: &Account, users: usize) -> Vec<DeviceData> {
    let mut changes = Changes::default();
    let mut tracked = Vec::new();
    let identity =
        serde_json::to_string(&matrix_sdk_crypto::testing::get_other_identity()).unwrap();
    for number in 0..users {
        let owner = user(&format!("@member-{number:04}:b.example.org"));
        for device_number in [2 * number, 2 * number + 1] {
            let (device, session) = device(account, &owner, device_number + 1000);
            changes.devices.new.push(device);
            changes.sessions.push(session);
        }
        let identity = varied(&identity, number).replace("@example2:localhost", owner.as_str());
        let identity: matrix_sdk_crypto::UserIdentityData =
            serde_json::from_str(&format!(r#"{{"Other":{identity}}}"#)).unwrap();
        changes.identities.new.push(identity);
        tracked.push(owner);
    }
    let devices = changes.devices.new.clone();
    crypto.save_changes(changes).await.unwrap();
    let tracked: Vec<_> = tracked.iter().map(|user| (user.as_ref(), false)).collect();
    crypto.save_tracked_users(&tracked).await.unwrap();
    devices
}

/// The same JSON with other keys and signatures in it.
fn varied(json: &str, number: usize) -> String {
    json.split('"')
        .map(|part| {
            let (head, key) = part.split_once(':').unwrap_or(("", part));
            if key.len() != 43 && key.len() != 86 {
                return part.to_owned();
            }
            let mut bytes = data_encoding::BASE64_NOPAD.decode(key.as_bytes()).unwrap();
            if bytes.len() == 64 {
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte ^= u8::try_from((number * 31 + at * 17) % 13).unwrap();
                }
            }
            let key = data_encoding::BASE64_NOPAD.encode(&bytes);
            if head.is_empty() {
                key
            } else {
                format!("{head}:{key}")
            }
        })
        .collect::<Vec<_>>()
        .join("\"")
}

/// Shares an outbound session with these devices.
async fn share(
    crypto: &CryptoStore,
    account: &Account,
    devices: &[DeviceData],
) -> OutboundGroupSession {
    let (session, inbound) = account
        .create_group_session_pair_with_defaults(room())
        .await;
    let mut shared: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for device in devices {
        let key = device.curve25519_key().unwrap();
        shared
            .entry(device.user_id().to_owned())
            .or_default()
            .insert(
                device.device_id().to_owned(),
                ShareInfo::new_shared(key, 0, Default::default()),
            );
    }
    let request = ToDeviceRequest::new(
        account.user_id(),
        DeviceIdOrAllDevices::AllDevices,
        "m.room.encrypted",
        Raw::from_json_string("{}".to_owned()).unwrap(),
    );
    let id = TransactionId::new();
    session.add_request(id.clone(), request.into(), shared);
    save(crypto, &session).await.unwrap();
    session.mark_request_as_sent(&id);
    let changes = Changes {
        outbound_group_sessions: vec![session.clone()],
        inbound_group_sessions: vec![inbound],
        ..Changes::default()
    };
    crypto.save_changes(changes).await.unwrap();
    session
}

async fn save(crypto: &CryptoStore, session: &OutboundGroupSession) -> Result<(), StoreError> {
    let changes = Changes {
        outbound_group_sessions: vec![session.clone()],
        ..Changes::default()
    };
    crypto.save_changes(changes).await
}

async fn encrypt(session: &OutboundGroupSession) {
    let content: Raw<AnyMessageLikeEventContent> =
        Raw::from_json_string(r#"{"msgtype":"m.text","body":"hello"}"#.to_owned()).unwrap();
    session.encrypt("m.room.message", &content).await;
}

async fn index(crypto: &CryptoStore) -> u32 {
    let session = crypto.get_outbound_group_session(room()).await.unwrap();
    session.unwrap().message_index().await
}

pub async fn keys_survive_a_crash(backend: Backend) {
    let ghost = user(GHOST);
    let store = backend.open().await;
    let (crypto, account) = begin(&store, &ghost, "DEVICE".into()).await;
    let devices = meet(&crypto, &account, 3).await;
    let session = share(&crypto, &account, &devices).await;
    let sessions = devices
        .iter()
        .map(|device| device.curve25519_key().unwrap());
    let sender_keys: Vec<Curve25519PublicKey> = sessions.collect();
    // Whoever saves last need not be the one who encrypted last.
    let saving = (0..40).map(|_| {
        let (crypto, session) = (crypto.clone(), session.clone());
        tokio::spawn(async move {
            encrypt(&session).await;
            let used = session.message_index().await;
            save(&crypto, &session).await.unwrap();
            assert!(index(&crypto).await >= used);
        })
    });
    for saving in saving.collect::<Vec<_>>() {
        saving.await.unwrap();
    }
    // Nobody closes anything.
    drop((crypto, store));

    let store = backend.open().await;
    let crypto = store.crypto(&ghost, "DEVICE".into());
    assert_eq!(crypto.load_account().await.unwrap(), Some(account));
    assert!(crypto.load_identity().await.unwrap().is_some());
    let loaded = crypto
        .get_outbound_group_session(room())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(loaded.session_id(), session.session_id());
    assert_eq!(loaded.message_index().await, 40);
    let json = |pickle| serde_json::to_value(&pickle).unwrap();
    assert_eq!(json(loaded.pickle().await), json(session.pickle().await));
    for (key, device) in sender_keys.iter().zip(&devices) {
        let sessions = crypto
            .get_sessions(&key.to_base64())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(sessions.len(), 1);
        let found = crypto.get_user_devices(device.user_id()).await.unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(&found[device.device_id()], device);
    }
    assert_eq!(crypto.load_tracked_users().await.unwrap().len(), 3);
    // What was loaded is not written again, and what is new is.
    encrypt(&loaded).await;
    save(&crypto, &loaded).await.unwrap();
    assert_eq!(index(&crypto).await, 41);
    store.close().await;
}

pub async fn next_device_has_the_same_identity(backend: Backend) {
    let ghost = user(GHOST);
    let store = backend.open().await;
    let (one, _) = begin(&store, &ghost, "ONE".into()).await;
    let next = store.crypto(&ghost, "NEXT".into());
    assert!(next.load_account().await.unwrap().is_none());
    let (own, theirs) = (
        one.load_identity().await.unwrap(),
        next.load_identity().await.unwrap(),
    );
    let key = |identity: Option<PrivateCrossSigningIdentity>| async {
        identity
            .unwrap()
            .master_public_key()
            .await
            .unwrap()
            .get_first_key()
    };
    assert_eq!(key(own).await, key(theirs).await);
    let stranger = store.crypto(&user(OTHER), "ONE".into());
    assert!(stranger.load_identity().await.unwrap().is_none());
    assert!(stranger.load_account().await.unwrap().is_none());
    assert_eq!(store.crypto_machines().await.unwrap(), 1);
    store.close().await;
}

pub async fn destroyed_keys_leave_nothing(backend: Backend) {
    let (ghost, other) = (user(GHOST), user(OTHER));
    let store = backend.open().await;
    let (kept, _) = begin(&store, &other, "DEVICE".into()).await;
    let before = sealed(&backend).await;
    let mut gone = Vec::new();
    for device in ["ONE", "TWO"] {
        let (crypto, account) = begin(&store, &ghost, device.into()).await;
        let devices = meet(&crypto, &account, 2).await;
        share(&crypto, &account, &devices).await;
        gone.push(crypto);
    }
    // One of them is not in use any more.
    gone.remove(0);
    assert_eq!(store.crypto_machines().await.unwrap(), 3);
    let all = sealed(&backend).await;

    store.destroy_crypto(&ghost).await.unwrap();
    assert_eq!(sealed(&backend).await, before);
    assert_eq!(store.crypto_machines().await.unwrap(), 1);
    if backend.is_sqlite() {
        let files = backend.files().await;
        for cell in all.iter().filter(|cell| !before.contains(cell)) {
            let start = &cell[..24];
            let found = |(_, bytes): &(_, Vec<u8>)| bytes.windows(24).any(|at| at == start);
            assert!(
                !files.iter().any(found),
                "a destroyed cell is still in a file"
            );
        }
    }
    // A machine that did not hear of it writes nothing.
    let late = gone[0].set_custom_value("late", vec![1]).await;
    assert!(matches!(late, Err(StoreError::Closed)), "{late:?}");
    assert!(gone[0].load_account().await.unwrap().is_none());
    assert!(kept.load_account().await.unwrap().is_some());
    // Twice is once; and who begins again is new.
    store.destroy_crypto(&ghost).await.unwrap();
    begin(&store, &ghost, "TWO".into()).await;
    assert_eq!(store.crypto_machines().await.unwrap(), 2);
    store.close().await;
}

async fn sealed(backend: &Backend) -> Vec<Vec<u8>> {
    let rows = backend.cells().await;
    let mut cells: Vec<Vec<u8>> = rows
        .into_iter()
        .filter(|(table, _)| *table == "crypto")
        .flat_map(|(_, row)| row)
        .filter(|(column, _)| column == "sealed")
        .map(|(_, value)| value)
        .collect();
    cells.sort();
    cells
}

pub async fn moved_keys_do_not_open(backend: Backend) {
    let store = backend.open().await;
    let (one, _) = begin(&store, &user(GHOST), "DEVICE".into()).await;
    let (other, _) = begin(&store, &user(OTHER), "DEVICE".into()).await;
    backend
        .execute(
            "UPDATE crypto SET sealed = (SELECT sealed FROM crypto WHERE kind = 0 ORDER BY sealed LIMIT 1) \
             WHERE kind = 0",
        )
        .await;
    let answers = [one.load_account().await, other.load_account().await];
    let refused = |answer: &&Result<_, _>| matches!(answer, Err(StoreError::Open(_)));
    assert_eq!(answers.iter().filter(refused).count(), 1);
    store.close().await;
}

/// Room on the disk, and bytes written for a message. Figures are printed (`--nocapture`).
pub async fn keys_take_little_room(backend: Backend) {
    const MACHINES: usize = 20;
    const USERS: usize = 100;
    const MESSAGES: usize = 50;
    let size = async || {
        let store = backend.open().await;
        store.close().await;
        let files = backend.files().await;
        files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    };
    if !backend.is_sqlite() {
        return;
    }
    let empty = size().await;
    let store = backend.open().await;
    for number in 0..MACHINES {
        let ghost = user(&format!("@_vizard_ghost-{number}:a.example.org"));
        live(&store, &ghost, "DEVICE".into()).await;
    }
    store.close().await;
    let small = size().await;
    let store = backend.open().await;
    let (crypto, account) = begin(&store, &user(GHOST), "DEVICE".into()).await;
    let devices = meet(&crypto, &account, USERS).await;
    let session = share(&crypto, &account, &devices).await;
    store.close().await;
    let large = size().await;
    let machine = (small - empty) / MACHINES;
    let device = (large - small - machine) / (2 * USERS - 4);
    println!(
        "on disk: {machine} B per device of ours with 4 tracked, {device} B per further tracked device"
    );

    let store = backend.open().await;
    let crypto = store.crypto(&user(GHOST), "DEVICE".into());
    let naive = serde_json::to_vec(&session.pickle().await).unwrap().len();
    save(&crypto, &session).await.unwrap();
    let before = log_length(&backend).await;
    for _ in 0..MESSAGES {
        encrypt(&session).await;
        save(&crypto, &session).await.unwrap();
    }
    let written = (log_length(&backend).await - before) / MESSAGES;
    println!(
        "written: {written} B per message to {} devices; the session as JSON is {naive} B",
        2 * USERS
    );
    store.close().await;
    assert!(machine <= 64 << 10);
    assert!(device <= 1536);
    assert!(written <= 46 * 1000 / 4);
}

async fn log_length(backend: &Backend) -> usize {
    let files = backend.files().await;
    let log = files
        .iter()
        .find(|(path, _)| path.to_string_lossy().ends_with("-wal"));
    log.unwrap().1.len()
}
