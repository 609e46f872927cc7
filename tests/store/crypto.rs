//! Keys of end-to-end encryption: what a crash leaves, what forgetting leaves, and how much room they take.

use matrix_sdk_crypto::{
    OlmMachine,
    olm::{OlmMessageHash, PrivateCrossSigningIdentity, SenderData},
    store::{CryptoStore as _, types::Changes},
    vodozemac::Curve25519PublicKey,
};
use vizard::store::{BLOCK, Batch, Store, StoreError};

use crate::{
    backend::Backend,
    machine::{begin, encrypt, index, live, meet, room, save, share},
    samples::user,
};

const GHOST: &str = "@_vizard_ghost-of-somebody:a.example.org";
const OTHER: &str = "@_vizard_ghost-of-another:a.example.org";

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
    let stopped = backend.stopped().await;
    drop((crypto, store));

    let store = stopped.as_ref().unwrap_or(&backend).open().await;
    let crypto = store.crypto(&ghost, "DEVICE".into());
    assert_eq!(crypto.load_account().await.unwrap(), Some(account));
    assert!(crypto.load_identity().await.unwrap().is_some());
    let loaded = crypto
        .get_outbound_group_session(room())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(loaded.session_id(), session.session_id());
    // Behind all that was used, and otherwise the same.
    let behind = loaded.message_index().await;
    assert!((40..=40 + 32).contains(&behind));
    for _ in 40..behind {
        encrypt(&session).await;
    }
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
    assert_eq!(index(&crypto).await, behind + 1);
    store.close().await;
}

/// The disk runs ahead of a session that is used much. Whenever the process dies, what is read again was never used.
pub async fn no_index_is_read_twice(backend: Backend) {
    const MESSAGES: u32 = 90;
    if !backend.is_sqlite() {
        return; // It opens only once.
    }
    let ghost = user(GHOST);
    let store = backend.open().await;
    let (crypto, account) = begin(&store, &ghost, "DEVICE".into()).await;
    let devices = meet(&crypto, &account, 1).await;
    let session = share(&crypto, &account, &devices).await;
    let (mut written, mut last) = (0, 0);
    for used in 1..=MESSAGES {
        encrypt(&session).await;
        save(&crypto, &session).await.unwrap();
        assert_eq!(crypto.outbound_use(room()).unwrap().0, u64::from(used));
        // Another handle of the store, as after a crash, has nothing in memory.
        let other = backend.open().await;
        let crypto = other.crypto(&ghost, "DEVICE".into());
        let found = index(&crypto).await;
        assert!(found >= used, "{found} was read after {used} messages");
        assert!(found <= used + 32, "{found} was read after {used} messages");
        written += u32::from(found != last);
        last = found;
        // Its messages count as encrypted.
        assert_eq!(crypto.outbound_use(room()).unwrap().0, u64::from(found));
        other.close().await;
    }
    assert!(written <= 9, "{written} writes for {MESSAGES} messages");
    // A session that ends is another on the disk at once.
    session.invalidate_session();
    save(&crypto, &session).await.unwrap();
    let found = crypto.get_outbound_group_session(room()).await.unwrap();
    assert!(found.unwrap().invalidated());
    store.close().await;
}

/// What is kept in memory is what is on the disk: a session whose sender becomes known is read so.
pub async fn kept_sessions_are_forgotten_when_they_change(backend: Backend) {
    let store = backend.open().await;
    let (crypto, account) = begin(&store, &user(GHOST), "DEVICE".into()).await;
    let (_, inbound) = account
        .create_group_session_pair_with_defaults(room())
        .await;
    let read = async || {
        let id = inbound.session_id();
        let found = crypto.get_inbound_group_session(room(), id).await;
        found.unwrap().map(|session| session.sender_data)
    };
    assert!(read().await.is_none());
    crypto
        .save_inbound_group_sessions(vec![inbound.clone()], None)
        .await
        .unwrap();
    assert_eq!(read().await.unwrap(), inbound.sender_data);
    let mut changed = inbound.clone();
    let key = account.identity_keys().ed25519;
    changed.sender_data = SenderData::sender_verified(account.user_id(), "DEVICE".into(), key);
    assert_ne!(changed.sender_data, inbound.sender_data);
    let saved = Changes {
        inbound_group_sessions: vec![changed.clone()],
        ..Changes::default()
    };
    crypto.save_changes(saved).await.unwrap();
    assert_eq!(read().await.unwrap(), changed.sender_data);
    crypto
        .save_inbound_group_sessions(vec![inbound.clone()], None)
        .await
        .unwrap();
    assert_eq!(read().await.unwrap(), inbound.sender_data);
    store.destroy_crypto(&user(GHOST)).await.unwrap();
    assert!(read().await.is_none());
    store.close().await;
}

/// What nobody waits for is on the disk before a link that was handed over later.
pub async fn heard_steps_survive_a_crash(backend: Backend) {
    let ghost = user(GHOST);
    let store = backend.open().await;
    let (crypto, _) = begin(&store, &ghost, "DEVICE".into()).await;
    let event = ruma::event_id!("$one");
    assert_eq!(crypto.heard("session", 0).await.unwrap(), [0; BLOCK]);
    let hash = crypto.heard_as(event);
    assert!(hash != 0 && hash != crypto.heard_as(ruma::event_id!("$two")));
    let mut steps = [0; BLOCK];
    for step in 0..5 {
        steps[step] = hash + step as u64;
        crypto.set_heard("session", 3, &steps).await.unwrap();
    }
    let link = vizard::store::Link {
        source: event.to_owned(),
        target: None,
        direction: vizard::store::Direction::Inbound,
        sender: user("@bob:x"),
    };
    let batch = Batch {
        links: vec![(vizard::store::PortalId([1; 16]), link)],
        done: Vec::new(),
    };
    store.commit(&batch).await.unwrap();
    let stopped = backend.stopped().await;
    drop((crypto, store));

    let store = stopped.as_ref().unwrap_or(&backend).open().await;
    let crypto = store.crypto(&ghost, "DEVICE".into());
    assert_eq!(crypto.heard("session", 3).await.unwrap(), steps);
    assert_eq!(crypto.heard("session", 2).await.unwrap(), [0; BLOCK]);
    assert_eq!(crypto.heard("another", 3).await.unwrap(), [0; BLOCK]);
    assert_eq!(crypto.heard_as(event), hash);
    // Another user calls the event something else.
    let stranger = store.crypto(&user(OTHER), "DEVICE".into());
    assert_ne!(stranger.heard_as(event), hash);
    // Another device of the same user knows nothing, until it takes over.
    let other = store.crypto(&ghost, "OTHER".into());
    assert_eq!(other.heard_as(event), hash);
    assert_eq!(other.heard("session", 3).await.unwrap(), [0; BLOCK]);
    crypto.set_heard("session", 7, &steps).await.unwrap();
    crypto.set_heard("another", 0, &steps).await.unwrap();
    let sessions = ["session".to_owned()];
    other.inherit_heard(&crypto, &sessions).await.unwrap();
    for block in [3, 7] {
        assert_eq!(other.heard("session", block).await.unwrap(), steps);
    }
    assert_eq!(other.heard("another", 0).await.unwrap(), [0; BLOCK]);
    store.close().await;
}

pub async fn machine_comes_back(backend: Backend) {
    let ghost = user(GHOST);
    let machine = async |store: &Store, device: &str| {
        let crypto = store.crypto(&ghost, device.into());
        OlmMachine::with_store(&ghost, device.into(), crypto, None)
            .await
            .unwrap()
    };
    let store = backend.open().await;
    let first = machine(&store, "ONE").await;
    first.bootstrap_cross_signing(false).await.unwrap();
    let keys = first.identity_keys();
    drop((first, store));

    let store = backend.open().await;
    let again = machine(&store, "ONE").await;
    assert_eq!(again.identity_keys(), keys);
    assert!(again.cross_signing_status().await.is_complete());
    let next = machine(&store, "NEXT").await;
    assert_ne!(next.identity_keys(), keys);
    assert!(next.cross_signing_status().await.is_complete());
    assert_eq!(store.crypto_machines().await.unwrap(), 2);
    drop((again, next));
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

/// Device after device of one user leaves nothing but what is the user's.
pub async fn a_destroyed_device_leaves_nothing_of_its_own(backend: Backend) {
    let ghost = user(GHOST);
    let store = backend.open().await;
    let (kept, _) = begin(&store, &ghost, "ONE".into()).await;
    let before = rows(&backend).await;
    for device in ["TWO", "THREE"] {
        live(&store, &ghost, device.into()).await;
        let destroyed = store.destroy_crypto_device(&ghost, device.into());
        destroyed.await.unwrap();
        assert_eq!(rows(&backend).await, before, "{device}");
    }
    assert!(kept.load_account().await.unwrap().is_some());
    assert!(kept.load_identity().await.unwrap().is_some());
    store.destroy_crypto(&ghost).await.unwrap();
    assert_eq!(rows(&backend).await, 0);
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

/// Of messages without end, the newest are known again, and no more are kept than that.
pub async fn hashes_of_messages_are_bounded(backend: Backend) {
    const BATCH: usize = 100;
    const MESSAGES: usize = 4_000;
    const NEWEST: usize = 400;
    const MOST: usize = 1_200;
    let hash = |number: usize| OlmMessageHash {
        sender_key: format!("sender {}", number % 3),
        hash: format!("hash {number}"),
    };
    let mut store = backend.open().await;
    let mut most = 0;
    for first in (0..MESSAGES).step_by(BATCH) {
        let crypto = store.crypto(&user(GHOST), "DEVICE".into());
        let changes = Changes {
            message_hashes: (first..first + BATCH).map(hash).collect(),
            ..Changes::default()
        };
        crypto.save_changes(changes).await.unwrap();
        backend.clock.advance(std::time::Duration::from_secs(1));
        let next = first + BATCH;
        for number in next.saturating_sub(NEWEST)..next {
            assert!(crypto.is_message_known(&hash(number)).await.unwrap());
        }
        most = most.max(rows(&backend).await);
        if first == MESSAGES / 2 {
            drop(crypto);
            store.close().await;
            store = backend.open().await;
        }
    }
    assert!(most <= MOST, "{most} rows");
    store.close().await;
}

async fn rows(backend: &Backend) -> usize {
    let rows = backend.cells().await;
    rows.iter().filter(|(table, _)| *table == "crypto").count()
}

/// Session after session of one room, each shared with all: one ratchet and one list are there, and no request that was
/// sent.
pub async fn sharing_leaves_one_list_without_requests(backend: Backend) {
    let store = backend.open().await;
    let (crypto, account) = begin(&store, &user(GHOST), "DEVICE".into()).await;
    let devices = meet(&crypto, &account, 10).await;
    let mut sizes = Vec::new();
    for _ in 0..5 {
        share(&crypto, &account, &devices).await;
        let cells = sealed(&backend).await;
        let loaded = crypto.get_outbound_group_session(room()).await.unwrap();
        let pickle = loaded.unwrap().pickle().await;
        assert!(pickle.requests.is_empty());
        sizes.push(cells.len());
    }
    // Each inbound session is kept, to read one's own past with.
    let grown: Vec<usize> = sizes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(grown, [1; 4]);
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
