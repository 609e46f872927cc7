//! Rows of a device's keys: what they are called, how they are sealed, read and written.
//!
//! A row's key is the hash of a group (a room, a user, a sender's key; or nothing) followed by the hash of an item within
//! it, so that one item is a look-up and one group a range. Both hashes are of the device too: equal values of two devices
//! look different.

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{
    super::{
        StoreError,
        group::CryptoRow,
        seal::{Cell, Hash, Vault},
        wiped::Wiped,
    },
    State, pack,
};
use crate::crypto::OpenError;

/// Cells are padded here, not by the vault.
pub(in crate::store) const CRYPTO: Cell = Cell::new("crypto", 1);

/// The first byte of a cell: packed JSON follows.
const PACKED: u8 = 1;
/// Bytes as they are follow.
pub(super) const PLAIN: u8 = 2;
/// Lengths of packed JSON are a multiple of this.
const BUCKET: usize = 16;

/// What a row holds. The numbers are in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    /// The Olm account.
    Account = 0,
    /// (Of a user.) One of the user's devices.
    Device = 1,
    /// (Of a user.) The private cross-signing keys.
    PrivateIdentity = 2,
    /// Things of which there is one: group is its name.
    Single = 3,
    /// An Olm session: sender key, session.
    Session = 4,
    /// The hash of a received Olm message: sender key, hash. Holds when it came.
    MessageHash = 5,
    /// An inbound group session: room, session. Found by sender key and trust, too.
    Inbound = 6,
    /// An outbound group session without its list: room.
    Outbound = 7,
    /// Whom an outbound group session is shared with: room.
    Sharing = 8,
    /// Somebody's device: user, device.
    Known = 9,
    /// Somebody's public identity: user.
    Identity = 10,
    /// A user whose devices are tracked: nothing, user.
    Tracked = 11,
    /// A notice that a session is withheld: room, session.
    Withheld = 12,
    /// A request for a secret or a key: nothing, id. Found by what is asked for, too.
    Request = 13,
    /// A secret that came: name, secret.
    Secret = 14,
    /// Room settings: room.
    Room = 15,
    /// A bundle of room keys: room, sender.
    Bundle = 16,
    /// A room whose bundle of keys is awaited: nothing, room.
    Pending = 17,
    /// A room whose keys were all fetched: room.
    Fetched = 18,
    /// Arbitrary values: name.
    Custom = 19,
    /// Which events the steps of an inbound group session encrypted: session, number of the block of steps.
    Heard = 20,
}

/// What names a row: group and item.
pub(super) type Name<'a> = (&'a [u8], &'a [u8]);

const GET: &str = "SELECT sealed FROM crypto WHERE machine = $1 AND kind = $2 AND key = $3";
const RANGE: &str =
    "SELECT key, sealed FROM crypto WHERE machine = $1 AND kind = $2 AND key >= $3 AND key <= $4";
const KEYS: &str = "SELECT key FROM crypto WHERE machine = $1 AND kind = $2";
const FOUND: &str =
    "SELECT key, sealed FROM crypto WHERE machine = $1 AND grp = $2 AND kind = $3 ORDER BY key";

impl State {
    fn vault(&self) -> &Vault {
        &self.store.0.vault
    }

    /// Whose row it is: the device's, or the user's.
    fn owner(&self, kind: Kind) -> Hash {
        match kind {
            Kind::Device | Kind::PrivateIdentity => self.user_hash,
            _ => self.machine,
        }
    }

    pub(super) fn half(&self, label: &str, kind: Kind, parts: [&[u8]; 2]) -> [u8; 8] {
        let owner = self.owner(kind);
        let hash = self
            .vault()
            .hash(label, &[&owner, &[kind as u8], parts[0], parts[1]]);
        let mut half = [0; 8];
        half.copy_from_slice(&hash[..8]);
        half
    }

    pub(super) fn key(&self, kind: Kind, (group, item): Name<'_>) -> Hash {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.half("crypto group", kind, [group, b""]));
        key[8..].copy_from_slice(&self.half("crypto item", kind, [group, item]));
        key
    }

    /// The second way to find a row.
    pub(super) fn grp(&self, kind: Kind, parts: [&[u8]; 2]) -> Hash {
        let owner = self.owner(kind);
        self.vault()
            .hash("crypto grp", &[&owner, &[kind as u8], parts[0], parts[1]])
    }

    /// A row to be written.
    pub(super) fn put<T: Serialize>(
        &self,
        kind: Kind,
        name: Name<'_>,
        value: &T,
    ) -> Result<CryptoRow, StoreError> {
        Ok(self.put_json(kind, name, &json(value)?))
    }

    pub(super) fn put_json(&self, kind: Kind, name: Name<'_>, json: &[u8]) -> CryptoRow {
        self.put_plain(kind, name, PACKED, &pack::pack(json, BUCKET))
    }

    pub(super) fn put_bytes(&self, kind: Kind, name: Name<'_>, value: &[u8]) -> CryptoRow {
        self.put_plain(kind, name, PLAIN, value)
    }

    fn put_plain(&self, kind: Kind, name: Name<'_>, format: u8, value: &[u8]) -> CryptoRow {
        let key = self.key(kind, name);
        let mut plain = Zeroizing::new(Vec::with_capacity(value.len() + 1));
        plain.push(format);
        plain.extend_from_slice(value);
        let row = row_of(self.owner(kind), kind as i64, &key);
        CryptoRow {
            machine: self.owner(kind),
            kind: kind as i64,
            key,
            grp: None,
            sealed: Some(self.vault().seal_bytes(CRYPTO, &row, &plain)),
        }
    }

    /// A row to be deleted.
    pub(super) fn delete(&self, kind: Kind, name: Name<'_>) -> CryptoRow {
        self.delete_key(kind, self.key(kind, name))
    }

    pub(super) fn delete_key(&self, kind: Kind, key: Hash) -> CryptoRow {
        CryptoRow {
            machine: self.owner(kind),
            kind: kind as i64,
            key,
            grp: None,
            sealed: None,
        }
    }

    /// A cell's content, which must be of this format.
    pub(super) fn open_plain(
        &self,
        kind: Kind,
        key: &[u8],
        sealed: &[u8],
        format: u8,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let row = row_of(self.owner(kind), kind as i64, key);
        let mut plain = Zeroizing::new(self.vault().open_bytes(CRYPTO, &row, sealed)?);
        if plain.first() != Some(&format) {
            return Err(OpenError.into());
        }
        plain.remove(0);
        Ok(plain)
    }

    pub(super) fn open<T: DeserializeOwned>(
        &self,
        kind: Kind,
        key: &[u8],
        sealed: &[u8],
    ) -> Result<T, StoreError> {
        let packed = self.open_plain(kind, key, sealed, PACKED)?;
        let json = pack::unpack(&packed).ok_or(OpenError)?;
        Ok(serde_json::from_slice(&json)?)
    }

    async fn sealed(&self, kind: Kind, key: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(sqlx::query_scalar(GET)
            .bind(self.owner(kind).to_vec())
            .bind(kind as i64)
            .bind(key.to_vec())
            .fetch_optional(&self.store.0.database.readers)
            .await?)
    }

    pub(super) async fn is_there(&self, kind: Kind, name: Name<'_>) -> Result<bool, StoreError> {
        let key = self.key(kind, name);
        Ok(self.sealed(kind, &key).await?.is_some())
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: Name<'_>,
    ) -> Result<Option<T>, StoreError> {
        let key = self.key(kind, name);
        let sealed = self.sealed(kind, &key).await?;
        sealed
            .map(|sealed| self.open(kind, &key, &sealed))
            .transpose()
    }

    pub(super) async fn get_bytes(
        &self,
        kind: Kind,
        name: Name<'_>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let key = self.key(kind, name);
        let sealed = self.sealed(kind, &key).await?;
        sealed
            .map(|sealed| self.open_plain(kind, &key, &sealed, PLAIN))
            .transpose()
    }

    pub(super) async fn has(&self, kind: Kind, name: Name<'_>) -> Result<bool, StoreError> {
        Ok(self.get_bytes(kind, name).await?.is_some())
    }

    /// All of a kind, or of a group of it.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        kind: Kind,
        group: Option<&[u8]>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(kind, group)
            .await?
            .iter()
            .map(|(key, sealed)| self.open(kind, key, sealed))
            .collect()
    }

    pub(super) async fn rows(
        &self,
        kind: Kind,
        group: Option<&[u8]>,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let half = group.map(|group| self.half("crypto group", kind, [group, b""]));
        self.rows_in(kind, half).await
    }

    /// Those of a kind, or of a group of it by the first half of its keys.
    pub(super) async fn rows_in(
        &self,
        kind: Kind,
        half: Option<[u8; 8]>,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let (mut first, mut last) = ([0; 16], [0xff; 16]);
        if let Some(half) = half {
            first[..8].copy_from_slice(&half);
            last[..8].copy_from_slice(&half);
        }
        Ok(sqlx::query_as(RANGE)
            .bind(self.owner(kind).to_vec())
            .bind(kind as i64)
            .bind(first.to_vec())
            .bind(last.to_vec())
            .fetch_all(&self.store.0.database.readers)
            .await?)
    }

    /// The keys of all rows of a kind.
    pub(super) async fn keys(&self, kind: Kind) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(sqlx::query_scalar(KEYS)
            .bind(self.owner(kind).to_vec())
            .bind(kind as i64)
            .fetch_all(&self.store.0.database.readers)
            .await?)
    }

    /// The secrets of a name.
    pub(super) async fn secrets(&self, name: &str) -> Result<Vec<Zeroizing<String>>, StoreError> {
        let rows = self.rows(Kind::Secret, Some(name.as_bytes())).await?;
        rows.iter()
            .map(|(key, sealed)| {
                let secret = self.open_plain(Kind::Secret, key, sealed, PLAIN)?;
                let secret = std::str::from_utf8(&secret).map_err(|_| OpenError)?;
                Ok(Zeroizing::new(secret.to_owned()))
            })
            .collect()
    }

    /// Those that are found by `grp`.
    pub(super) async fn found<T: DeserializeOwned>(
        &self,
        kind: Kind,
        grp: Hash,
    ) -> Result<Vec<T>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(FOUND)
            .bind(self.owner(kind).to_vec())
            .bind(grp.to_vec())
            .bind(kind as i64)
            .fetch_all(&self.store.0.database.readers)
            .await?;
        rows.iter()
            .map(|(key, sealed)| self.open(kind, key, sealed))
            .collect()
    }
}

/// A value as it is packed.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Wiped, StoreError> {
    let mut json = Wiped::with_capacity(2048);
    serde_json::to_writer(&mut json, value)?;
    Ok(json)
}

/// A row's name for its seal.
pub(in crate::store) fn row_of(machine: impl AsRef<[u8]>, kind: i64, key: &[u8]) -> Vec<u8> {
    [machine.as_ref(), &kind.to_be_bytes(), key].concat()
}

/// The device's row hash in a row of [`Kind::Device`].
pub(in crate::store) fn device_of(
    vault: &Vault,
    user_hash: &Hash,
    key: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let row = row_of(user_hash, Kind::Device as i64, key);
    let plain = vault.open_bytes(CRYPTO, &row, sealed)?;
    Ok(plain.get(1..).unwrap_or_default().to_vec())
}
