//! Column encryption: XChaCha20-Poly1305, bound to table, row and column.

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};

use super::Secret;
use crate::rng::Rng;

/// The column a value is sealed for; together with the row it is the associated data, so that a value
/// moved to another place in the database does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    table: &'static str,
    column: &'static str,
}

impl Column {
    /// Names a column.
    #[must_use]
    pub const fn new(table: &'static str, column: &'static str) -> Self {
        Self { table, column }
    }
}

/// A sealed value did not open: wrong key, wrong place, or tampered with.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a stored value does not open with this master key (wrong key, or a damaged database)")]
pub struct OpenError;

/// Seals and opens column values. Format: 24 bytes of random nonce, ciphertext, 16 bytes of tag.
#[derive(Clone)]
pub struct Sealer(XChaCha20Poly1305);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    pub(super) fn new(key: &Secret<[u8; 32]>) -> Self {
        Self(XChaCha20Poly1305::new(key.expose().into()))
    }

    /// Encrypts `plain` for one cell.
    #[must_use]
    pub fn seal(&self, rng: &Rng, column: Column, row: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; 24] = rng.bytes();
        let sealed = self
            .0
            .encrypt(
                XNonce::from_slice(&nonce),
                Payload {
                    msg: plain,
                    aad: &aad(column, row),
                },
            )
            .unwrap_or_else(|_| unreachable!("a value in memory is within the cipher's length"));
        let mut out = Vec::with_capacity(24 + sealed.len());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// Decrypts a cell.
    pub fn open(&self, column: Column, row: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (nonce, ciphertext) = sealed.split_at_checked(24).ok_or(OpenError)?;
        self.0
            .decrypt(
                XNonce::from_slice(nonce),
                Payload {
                    msg: ciphertext,
                    aad: &aad(column, row),
                },
            )
            .map_err(|_| OpenError)
    }
}

fn aad(column: Column, row: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(column.table.len() + column.column.len() + 2 + row.len());
    out.extend_from_slice(column.table.as_bytes());
    out.push(0);
    out.extend_from_slice(column.column.as_bytes());
    out.push(0);
    out.extend_from_slice(row);
    out
}
