//! The master key and the data keys that it wraps.

use std::{fmt::Write as _, path::Path};

use data_encoding::BASE64URL_NOPAD;
use hkdf::Hkdf;
use sha2::Sha256;

use super::{Column, Lookup, OpenError, Sealer, Secret};
use crate::rng::Rng;

const FILE_PREFIX: &str = "vizard-master-key-1:";

/// Why a master key could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file could not be read.
    #[error("cannot read the master key {path}: {source}")]
    Read {
        /// The file's path.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not a master key.
    #[error("{path} is not a Vizard master key (expected one line `{FILE_PREFIX}…`)")]
    Format {
        /// The file's path.
        path: String,
    },
}

/// The admin's key: 32 random bytes, kept in a file outside the database.
#[derive(Clone, Debug)]
pub struct MasterKey(Secret<[u8; 32]>);

impl MasterKey {
    /// A fresh random key.
    #[must_use]
    pub fn generate(rng: &Rng) -> Self {
        Self(Secret::new(rng.bytes()))
    }

    /// Reads a key file.
    pub fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let text = std::fs::read_to_string(path).map_err(|source| MasterKeyError::Read {
            path: path.display().to_string(),
            source,
        })?;
        let text = Secret::new(text);
        Self::parse(text.expose()).ok_or_else(|| MasterKeyError::Format {
            path: path.display().to_string(),
        })
    }

    /// Parses the text form, `vizard-master-key-1:` and 43 characters of unpadded URL-safe base64.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD
            .decode(text.trim().strip_prefix(FILE_PREFIX)?.as_bytes())
            .ok()?;
        Some(Self(Secret::new(bytes.try_into().ok()?)))
    }

    /// The text form, with a final newline, to be written to a file of mode 0600.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        let mut text = String::from(FILE_PREFIX);
        let _ = writeln!(text, "{}", BASE64URL_NOPAD.encode(self.0.expose()));
        Secret::new(text)
    }

    /// The sealer that wraps the data keys in the database's keyring.
    #[must_use]
    pub fn keyring_sealer(&self) -> Sealer {
        Sealer::new(&expand(self.0.expose(), b"keyring"))
    }
}

/// The keys that protect the database's content. They live in the database, wrapped by the
/// [`MasterKey`].
#[derive(Clone, Debug)]
pub struct DataKeys {
    sealing: Secret<[u8; 32]>,
    root: Secret<[u8; 32]>,
}

impl DataKeys {
    /// Fresh random keys.
    #[must_use]
    pub fn generate(rng: &Rng) -> Self {
        Self {
            sealing: Secret::new(rng.bytes()),
            root: Secret::new(rng.bytes()),
        }
    }

    /// The same identity of look-ups and send ids under a new sealing key (for key rotation).
    #[must_use]
    pub fn with_new_sealing_key(&self, rng: &Rng) -> Self {
        Self {
            sealing: Secret::new(rng.bytes()),
            root: self.root.clone(),
        }
    }

    /// The keys, wrapped for the keyring row.
    #[must_use]
    pub fn wrap(&self, master: &MasterKey, rng: &Rng) -> Vec<u8> {
        let mut plain = [0; 64];
        plain[..32].copy_from_slice(self.sealing.expose());
        plain[32..].copy_from_slice(self.root.expose());
        let plain = Secret::new(plain);
        master
            .keyring_sealer()
            .seal(rng, Column::new("keyring", "keys"), b"", plain.expose())
    }

    /// Unwraps the keyring row; fails under any other master key.
    pub fn unwrap(master: &MasterKey, wrapped: &[u8]) -> Result<Self, OpenError> {
        let plain = master
            .keyring_sealer()
            .open(Column::new("keyring", "keys"), b"", wrapped)?;
        let plain: Secret<[u8; 64]> = Secret::new(plain.try_into().map_err(|_| OpenError)?);
        let half = |from: usize| {
            let mut out = [0; 32];
            out.copy_from_slice(&plain.expose()[from..from + 32]);
            Secret::new(out)
        };
        Ok(Self {
            sealing: half(0),
            root: half(32),
        })
    }

    /// Seals and opens columns.
    #[must_use]
    pub fn sealer(&self) -> Sealer {
        Sealer::new(&expand(self.sealing.expose(), b"columns"))
    }

    /// Hashes look-up values.
    #[must_use]
    pub fn lookup(&self) -> Lookup {
        Lookup::new(&expand(self.root.expose(), b"lookup"))
    }

    /// Derives the transaction ids of sends (see `store::Store::txn_id`).
    #[must_use]
    pub fn sends(&self) -> Lookup {
        Lookup::new(&expand(self.root.expose(), b"sends"))
    }
}

fn expand(key: &[u8; 32], label: &[u8]) -> Secret<[u8; 32]> {
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(Some(b"vizard/1"), key)
        .expand(label, &mut out)
        .unwrap_or_else(|_| unreachable!("32 bytes are within HKDF-SHA256's output"));
    Secret::new(out)
}
