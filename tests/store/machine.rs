//! Devices with keys, to put into a store.

use std::collections::BTreeMap;

use matrix_sdk_crypto::{
    Account, DeviceData, LocalTrust, Session,
    olm::{OutboundGroupSession, PrivateCrossSigningIdentity, ShareInfo},
    store::caches::SequenceNumber,
    store::{
        CryptoStore as _,
        types::{Changes, DeviceChanges, PendingChanges},
    },
    types::requests::ToDeviceRequest,
};
use ruma::{
    DeviceId, OwnedUserId, RoomId, TransactionId, events::AnyMessageLikeEventContent, serde::Raw,
    to_device::DeviceIdOrAllDevices,
};
use vizard::store::{CryptoStore, Store, StoreError};

use crate::samples::{ROOM_X, user};

pub fn room() -> &'static RoomId {
    ROOM_X.try_into().unwrap()
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
pub async fn meet(crypto: &CryptoStore, account: &Account, users: usize) -> Vec<DeviceData> {
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
pub async fn share(
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
                ShareInfo::new_shared(key, 0, SequenceNumber::default()),
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

pub async fn save(crypto: &CryptoStore, session: &OutboundGroupSession) -> Result<(), StoreError> {
    let changes = Changes {
        outbound_group_sessions: vec![session.clone()],
        ..Changes::default()
    };
    crypto.save_changes(changes).await
}

pub async fn encrypt(session: &OutboundGroupSession) {
    let content: Raw<AnyMessageLikeEventContent> =
        Raw::from_json_string(r#"{"msgtype":"m.text","body":"hello"}"#.to_owned()).unwrap();
    session.encrypt("m.room.message", &content).await;
}

pub async fn index(crypto: &CryptoStore) -> u32 {
    let session = crypto.get_outbound_group_session(room()).await.unwrap();
    session.unwrap().message_index().await
}
