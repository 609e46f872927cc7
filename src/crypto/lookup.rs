//! Keyed hashes: values can be looked up by them, and without the key they say nothing.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::Secret;

/// HMAC-SHA256 under a key that the database's thief does not have.
#[derive(Clone, Debug)]
pub struct Lookup(Secret<[u8; 32]>);

impl Lookup {
    pub(super) fn new(key: &Secret<[u8; 32]>) -> Self {
        Self(key.clone())
    }

    /// The first 16 bytes of the HMAC over `label` and `parts`, each preceded by its length, so that no
    /// two different lists collide.
    #[must_use]
    pub fn hash(&self, label: &str, parts: &[&[u8]]) -> [u8; 16] {
        let mut out = [0; 16];
        out.copy_from_slice(&self.full(label, parts)[..16]);
        out
    }

    /// The whole 32 bytes, for deriving secrets.
    #[must_use]
    pub fn full(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose())
            .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
        for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}
