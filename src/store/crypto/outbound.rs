//! Outbound group sessions: a ratchet, which moves with every message, and the list of whom it is shared with.
//!
//! The disk runs ahead of the ratchet. What is written is the state some messages later, so those messages need no write,
//! and whoever reads it again, after a crash too, goes on behind all that was used. The more a session is used, the
//! further ahead: what is skipped when a session leaves memory counts as used.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher as _},
    io::{self, Write as _},
    sync::Arc,
};

use matrix_sdk_common::deserialized_responses::WithheldCode;
use matrix_sdk_crypto::{
    EncryptionSettings,
    olm::{OutboundGroupSession, PickledOutboundGroupSession, ShareInfo, StaticAccountData},
    types::requests::ToDeviceRequest,
    vodozemac::megolm::{InboundGroupSession as Ratchet, SessionConfig},
};
use ruma::{OwnedDeviceId, OwnedTransactionId, OwnedUserId, RoomId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    super::{StoreError, group::CryptoRow, seal::Hash, wiped::Wiped},
    CryptoStore, Kind, State, lock,
    rows::json,
    unusable,
};
use crate::clock::UnixMillis;

type Shared = BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, ShareInfo>>;

/// The furthest that the disk runs ahead.
const FURTHEST: u32 = 32;
/// Bytes of an exported session before its ratchet, and in it.
const HEAD: usize = 5;
const RATCHET: usize = 128;

/// Whom an outbound session is shared with, or about to be: large, and changed far less often than the ratchet.
#[derive(Default, Serialize, Deserialize)]
struct Sharing {
    shared_with_set: Shared,
    requests: BTreeMap<OwnedTransactionId, (Arc<ToDeviceRequest>, Shared)>,
}

/// What is on the disk of a session.
#[derive(Clone)]
pub(super) struct OnDisk {
    session: String,
    /// The next index there. Everything before it may have been used.
    next: u32,
    /// How far ahead of the ratchet that was when it was written; none: that was in another life.
    ahead: Option<u32>,
    /// The next index when the session was saved last.
    seen: u32,
    shared: bool,
    invalidated: bool,
    /// A hash of the list; none: it is not known.
    list: Option<u64>,
    /// When the session was made.
    born: UnixMillis,
    /// To whom it is not given.
    withheld: Arc<[NotShared]>,
    /// Messages that it had encrypted when `seen` was `counted.1`.
    counted: (u64, u32),
    /// With which it was made; the room's may be others by now.
    settings: Arc<EncryptionSettings>,
}

/// Devices of one user to which a session is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotShared {
    /// The user.
    pub user: OwnedUserId,
    /// The devices, and why.
    pub devices: Vec<(OwnedDeviceId, WithheldCode)>,
    /// Whether the user has no other device.
    pub all: bool,
}

impl NotShared {
    fn of(shared: &Shared) -> Arc<[Self]> {
        let of_user = |(user, devices): (&OwnedUserId, &BTreeMap<OwnedDeviceId, ShareInfo>)| {
            let kept: Vec<_> = devices
                .iter()
                .filter_map(|(device, share)| match share {
                    ShareInfo::Withheld(code) => Some((device.clone(), code.clone())),
                    ShareInfo::Shared(_) => None,
                })
                .collect();
            (!kept.is_empty()).then(|| Self {
                user: user.clone(),
                all: kept.len() == devices.len(),
                devices: kept,
            })
        };
        shared.iter().filter_map(of_user).collect()
    }
}

impl OnDisk {
    /// Whether the session needs no write, by what can be told without reading it out: nothing but its ratchet moved, by one
    /// message, as far as the disk is already. Whatever else changes a session saves it without moving it.
    fn covers(&self, session: &OutboundGroupSession, index: u32) -> bool {
        self.covers_ratchet(session, index) && index == self.seen + 1
    }

    /// How far ahead to go next: twice as far as the last time. What was not used yet has nothing to run ahead of.
    fn further(&self, index: u32) -> u32 {
        match self.ahead {
            Some(last) if index > 0 => (2 * last).clamp(1, FURTHEST),
            _ => 0,
        }
    }

    fn covers_ratchet(&self, session: &OutboundGroupSession, index: u32) -> bool {
        index <= self.next
            && self.session == session.session_id()
            && self.shared == session.shared()
            && self.invalidated == session.invalidated()
    }
}

impl CryptoStore {
    /// How many messages a room's outbound session has encrypted, and when and with what settings it was made; none: it is not
    /// known before it is loaded or saved.
    #[must_use]
    pub fn outbound_use(
        &self,
        room: &RoomId,
    ) -> Option<(u64, UnixMillis, Arc<EncryptionSettings>)> {
        self.0.outbound_use(room.as_bytes())
    }

    /// To whom a room's outbound session is not given, as far as it is known (see [`CryptoStore::outbound_use`]).
    #[must_use]
    pub fn outbound_withheld(&self, room: &RoomId) -> Vec<NotShared> {
        let key = self.0.key(Kind::Sharing, (room.as_bytes(), b""));
        let outbound = lock(&self.0.outbound);
        outbound
            .get(&key)
            .map_or_else(Vec::new, |known| known.withheld.to_vec())
    }
}

impl State {
    /// The rows of a session that must be written, and what the disk has of it when they are. The list only when it is another
    /// than that on the disk.
    pub(super) async fn outbound(
        &self,
        session: &OutboundGroupSession,
        rows: &mut Vec<CryptoRow>,
    ) -> Result<(Hash, OnDisk), StoreError> {
        let name = (session.room_id().as_bytes(), b"".as_slice());
        let key = self.key(Kind::Sharing, name);
        let index = session.message_index().await;
        let known = lock(&self.outbound).get(&key).cloned();
        if let Some(mut known) = known.clone().filter(|known| known.covers(session, index)) {
            known.seen = index;
            return Ok((key, known));
        }
        let mut pickle = session.pickle().await;
        let list = Sharing {
            shared_with_set: std::mem::take(&mut pickle.shared_with_set),
            requests: std::mem::take(&mut pickle.requests),
        };
        let hash = self.hash_of(&list)?;
        if known.as_ref().and_then(|known| known.list) != Some(hash) {
            rows.push(self.put(Kind::Sharing, name, &list)?);
        }
        let same = known.filter(|known| known.session == session.session_id());
        let mut now = OnDisk {
            session: session.session_id().to_owned(),
            next: index,
            ahead: Some(0),
            seen: index,
            shared: pickle.shared,
            invalidated: pickle.invalidated,
            list: Some(hash),
            born: creation_time(&pickle),
            withheld: NotShared::of(&list.shared_with_set),
            counted: (pickle.message_count, index),
            settings: Arc::clone(&pickle.settings),
        };
        match same {
            Some(known) if known.covers_ratchet(session, index) => {
                (now.next, now.ahead) = (known.next, known.ahead);
            }
            same => {
                let most = u32::try_from(pickle.settings.rotation_period_msgs / 4);
                let ahead = same.map_or(0, |known| known.further(index));
                now.ahead = Some(ahead.min(most.unwrap_or(FURTHEST)));
                rows.push(self.row_ahead(session, &mut pickle, &mut now).await?);
            }
        }
        Ok((key, now))
    }

    /// The row of a ratchet, as far ahead as wanted; not ahead at all if the crate writes it in another way than is known here.
    async fn row_ahead(
        &self,
        session: &OutboundGroupSession,
        pickle: &mut PickledOutboundGroupSession,
        wanted: &mut OnDisk,
    ) -> Result<CryptoRow, StoreError> {
        let name = (session.room_id().as_bytes(), b"".as_slice());
        let ahead = wanted.ahead.unwrap_or_default();
        let (count, next) = (pickle.message_count, wanted.next + ahead);
        if ahead > 0
            && let Some((now, later)) = moved(session, wanted.next, next).await
        {
            pickle.message_count = count + u64::from(ahead);
            let json = json(pickle)?;
            if let Some(json) = replaced(&json, &now, &later) {
                wanted.next = next;
                return Ok(self.put_json(Kind::Outbound, name, &json));
            }
        }
        wanted.ahead = Some(0);
        pickle.message_count = count;
        self.put(Kind::Outbound, name, pickle)
    }

    /// The outbound session of a room, put together again.
    pub(super) async fn load_outbound(
        &self,
        room: &[u8],
        account: &StaticAccountData,
    ) -> Result<Option<OutboundGroupSession>, StoreError> {
        // Between the two looks nobody writes.
        let _saving = self.saving.lock().await;
        let name = (room, b"".as_slice());
        let pickle: Option<PickledOutboundGroupSession> = self.get(Kind::Outbound, name).await?;
        let Some(mut pickle) = pickle else {
            return Ok(None);
        };
        let list: Sharing = self.get(Kind::Sharing, name).await?.unwrap_or_default();
        let hash = self.hash_of(&list)?;
        let withheld = NotShared::of(&list.shared_with_set);
        pickle.shared_with_set = list.shared_with_set;
        pickle.requests = list.requests;
        let (device, keys) = (
            account.device_id.clone(),
            Arc::clone(&account.identity_keys),
        );
        let (born, count) = (creation_time(&pickle), pickle.message_count);
        let (shared, invalidated) = (pickle.shared, pickle.invalidated);
        let settings = Arc::clone(&pickle.settings);
        let session = OutboundGroupSession::from_pickle(device, keys, pickle).map_err(unusable)?;
        let index = session.message_index().await;
        let on_disk = OnDisk {
            session: session.session_id().to_owned(),
            next: index,
            ahead: None,
            seen: index,
            shared,
            invalidated,
            list: Some(hash),
            born,
            withheld,
            counted: (count, index),
            settings,
        };
        lock(&self.outbound).insert(self.key(Kind::Sharing, name), on_disk);
        Ok(Some(session))
    }

    fn outbound_use(&self, room: &[u8]) -> Option<(u64, UnixMillis, Arc<EncryptionSettings>)> {
        let key = self.key(Kind::Sharing, (room, b""));
        let outbound = lock(&self.outbound);
        let known = outbound.get(&key)?;
        let (count, at) = known.counted;
        let used = count + u64::from(known.seen.saturating_sub(at));
        Some((used, known.born, Arc::clone(&known.settings)))
    }

    /// Begins with a secret, so that nobody can choose two lists with one hash. By hand for what is there for long.
    fn hash_of(&self, list: &Sharing) -> Result<u64, StoreError> {
        let mut hash = Hashing(DefaultHasher::new());
        hash.0.write(&self.machine);
        for (user, devices) in &list.shared_with_set {
            hash.part(user.as_bytes());
            hash.0.write_usize(devices.len());
            for (device, info) in devices {
                hash.part(device.as_bytes());
                match info {
                    ShareInfo::Shared(with) => {
                        hash.part(with.sender_key.as_bytes());
                        hash.0.write_u32(with.message_index);
                        serde_json::to_writer(&mut hash, &with.olm_wedging_index)?;
                    }
                    ShareInfo::Withheld(code) => hash.part(code.as_str().as_bytes()),
                }
            }
        }
        serde_json::to_writer(&mut hash, &list.requests)?;
        Ok(hash.0.finish())
    }
}

fn creation_time(pickle: &PickledOutboundGroupSession) -> UnixMillis {
    u64::from(pickle.creation_time.get()) * 1000
}

/// The ratchet of a session as its pickle has it, and the same later. The crate moves it.
async fn moved(session: &OutboundGroupSession, now: u32, later: u32) -> Option<(Wiped, Wiped)> {
    let mut ratchet = Ratchet::new(&session.session_key().await, SessionConfig::version_1());
    let mut at = |index| {
        let exported = Zeroizing::new(ratchet.export_at(index)?.to_bytes());
        pickled(exported.get(HEAD..HEAD + RATCHET)?, index)
    };
    Some((at(now)?, at(later)?))
}

fn pickled(ratchet: &[u8], index: u32) -> Option<Wiped> {
    let mut json = Wiped::with_capacity(1024);
    json.extend(br#""ratchet":{"inner":"#);
    serde_json::to_writer(&mut json, ratchet).ok()?;
    write!(json, r#","counter":{index}}}"#).ok()?;
    Some(json)
}

/// The JSON with one part, which must be there once, replaced.
fn replaced(json: &[u8], old: &[u8], new: &[u8]) -> Option<Wiped> {
    let mut places = json.windows(old.len()).enumerate();
    let at = places.find_map(|(at, part)| (part == old).then_some(at))?;
    if places.any(|(_, part)| part == old) {
        return None;
    }
    let mut out = Wiped::with_capacity(json.len() + new.len());
    out.extend(&json[..at]);
    out.extend(new);
    out.extend(&json[at + old.len()..]);
    Some(out)
}

struct Hashing(DefaultHasher);

impl Hashing {
    fn part(&mut self, bytes: &[u8]) {
        self.0.write_usize(bytes.len());
        self.0.write(bytes);
    }
}

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_is_replaced_and_two_are_not() {
        let out = |json: &[u8]| replaced(json, b"old", b"newer").map(|out| out.to_vec());
        assert_eq!(out(b"an old one").as_deref(), Some(&b"an newer one"[..]));
        assert_eq!(out(b"none"), None);
        assert_eq!(out(b"old and old"), None);
    }
}
