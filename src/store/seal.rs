//! Sealed cells and keyed hashes: what the other files of this module write instead of plain values.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{PortalId, StoreError, wiped::Wiped};
use crate::{
    crypto::{Column, DataKeys, Lookup, Sealer, Secret},
    rng::Rng,
};

/// The version in which records are written.
const VERSION: u32 = 1;

/// A hashed value, as it stands in the database.
pub(super) type Hash = [u8; 16];

/// A table's sealed column and the size to a multiple of which its records are padded, so that a cell's
/// length tells next to nothing.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    pub(super) column: Column,
    bucket: usize,
}

impl Cell {
    pub(super) const fn new(table: &'static str, bucket: usize) -> Self {
        Self {
            column: Column::new(table, "sealed"),
            bucket,
        }
    }
}

/// The keys in use.
pub(super) struct Vault {
    sealer: Sealer,
    lookup: Lookup,
    sends: Lookup,
    rng: Rng,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

#[derive(Serialize)]
struct Written<'a, T> {
    v: u32,
    r: &'a T,
}

#[derive(Deserialize)]
struct Read<T> {
    #[expect(dead_code, reason = "for the day when there is a second version")]
    v: u32,
    r: T,
}

impl Vault {
    pub(super) fn new(keys: &DataKeys, rng: Rng) -> Self {
        Self {
            sealer: keys.sealer(),
            lookup: keys.lookup(),
            sends: keys.sends(),
            rng,
        }
    }

    /// A record as a sealed cell of the row whose primary key is `row`.
    pub(super) fn seal<T: Serialize>(
        &self,
        cell: Cell,
        row: &[u8],
        record: &T,
    ) -> Result<Vec<u8>, StoreError> {
        let mut plain = Wiped::with_capacity(cell.bucket);
        let written = Written {
            v: VERSION,
            r: record,
        };
        serde_json::to_writer(&mut plain, &written)?;
        // JSON may end in spaces.
        plain.pad(cell.bucket, b' ');
        Ok(self.seal_bytes(cell, row, &plain))
    }

    /// The record in a sealed cell.
    pub(super) fn open<T: DeserializeOwned>(
        &self,
        cell: Cell,
        row: &[u8],
        sealed: &[u8],
    ) -> Result<T, StoreError> {
        let plain = Secret::new(self.open_bytes(cell, row, sealed)?);
        let read: Read<T> = serde_json::from_slice(plain.expose())?;
        Ok(read.r)
    }

    /// Bytes as a sealed cell, made up with zeros.
    pub(super) fn seal_padded(&self, cell: Cell, row: &[u8], plain: Vec<u8>) -> Vec<u8> {
        let mut plain = Wiped::from(plain);
        plain.pad(cell.bucket, 0);
        self.seal_bytes(cell, row, &plain)
    }

    pub(super) fn seal_bytes(&self, cell: Cell, row: &[u8], plain: &[u8]) -> Vec<u8> {
        self.sealer.seal(&self.rng, cell.column, row, plain)
    }

    pub(super) fn open_bytes(
        &self,
        cell: Cell,
        row: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        Ok(self.sealer.open(cell.column, row, sealed)?)
    }

    /// The hash under which something is found. `kind` keeps equal values of different kinds apart.
    pub(super) fn hash(&self, kind: &str, parts: &[&[u8]]) -> Hash {
        self.lookup.hash(kind, parts)
    }

    /// The same for something within a portal: equal values in two portals have different hashes.
    pub(super) fn hash_in(&self, kind: &str, portal: PortalId, value: &str) -> Hash {
        self.hash(kind, &[&portal.0, value.as_bytes()])
    }

    pub(super) fn sends(&self) -> &Lookup {
        &self.sends
    }

    pub(super) fn random_id(&self) -> Hash {
        self.rng.bytes()
    }

    /// A random number of this many bits (1 to 63).
    pub(super) fn random_bits(&self, bits: u32) -> i64 {
        let random = u64::from_be_bytes(self.rng.bytes());
        i64::try_from(random >> (u64::BITS - bits)).unwrap_or(0)
    }
}

/// A row's name for its seal: the primary key's parts, one after the other (each has a fixed length).
pub(super) fn row_of(portal: PortalId, hash: &[u8]) -> Vec<u8> {
    [portal.0.as_slice(), hash].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: Cell = Cell::new("things", 256);

    fn vault() -> Vault {
        let rng = Rng::seeded(1);
        Vault::new(&DataKeys::generate(&rng), rng)
    }

    #[test]
    fn opens_only_where_it_was_sealed() {
        let vault = vault();
        let sealed = vault.seal(CELL, b"row", &"text").unwrap();
        let opened: String = vault.open(CELL, b"row", &sealed).unwrap();
        assert_eq!(opened, "text");
        assert!(vault.open::<String>(CELL, b"other", &sealed).is_err());
        let elsewhere = Cell::new("others", 256);
        assert!(vault.open::<String>(elsewhere, b"row", &sealed).is_err());
    }

    #[test]
    fn length_tells_only_the_bucket() {
        let vault = vault();
        let lengths = ["", "a", &"a".repeat(200)].map(|text| {
            let sealed = vault.seal(CELL, b"row", &text).unwrap();
            sealed.len()
        });
        assert_eq!(lengths, [256 + 40; 3]);
    }

    #[test]
    fn equal_values_hash_differently_by_kind_and_portal() {
        let vault = vault();
        let (one, two) = (PortalId([1; 16]), PortalId([2; 16]));
        let hashes = [
            vault.hash("room", &[b"!a"]),
            vault.hash("portal", &[b"!a"]),
            vault.hash_in("room", one, "!a"),
            vault.hash_in("room", two, "!a"),
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash));
        }
    }
}
