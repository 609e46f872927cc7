//! The Vizard's own key: signs mappings for the homeserver's domain.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};

use super::{SenderKey, SenderKeyId};
use crate::rng::Rng;

/// The Vizard's server key.
#[derive(Clone)]
pub struct ServerKey(SenderKey);

impl std::fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerKey(…)")
    }
}

impl ServerKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(rng: &Rng) -> Self {
        Self(SenderKey::generate(rng))
    }

    /// The key of a stored seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SenderKey::from_seed(seed))
    }

    /// The seed, for the store.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.seed()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> ServerKeyId {
        ServerKeyId(self.0.id())
    }

    /// The name under which it signs: `ed25519:` and eight characters.
    #[must_use]
    pub fn id(&self) -> String {
        self.public().name()
    }

    /// Signs bytes (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

/// A Vizard's public server key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerKeyId(SenderKeyId);

impl ServerKeyId {
    /// The name under which the key signs: `ed25519:` and eight characters that follow from the key, so that
    /// two keys do not share a name by accident.
    #[must_use]
    pub fn name(&self) -> String {
        let digest = Sha256::digest(self.0.as_bytes());
        format!(
            "ed25519:{}",
            BASE32_NOPAD.encode(&digest[..5]).to_ascii_lowercase()
        )
    }

    /// Unpadded standard base64, as Matrix writes keys.
    #[must_use]
    pub fn to_base64(&self) -> String {
        self.0.to_base64()
    }

    /// Reads what [`ServerKeyId::to_base64`] wrote; `None` unless it is exactly that form.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        SenderKeyId::from_base64(text).map(Self)
    }

    /// Whether `signature` over `message` is this key's.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify(message, signature)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) fn key(self) -> SenderKeyId {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_follows_from_the_key() {
        let key = ServerKey::generate(&Rng::seeded(1));
        assert_eq!(ServerKey::from_seed(&key.seed()).id(), key.id());
        assert_ne!(ServerKey::generate(&Rng::seeded(2)).id(), key.id());
        let kid = key.id().strip_prefix("ed25519:").map(str::to_owned);
        assert!(kid.is_some_and(
            |kid| kid.len() == 8 && kid.bytes().all(|byte| byte.is_ascii_alphanumeric())
        ));
        assert_eq!(
            ServerKeyId::from_base64(&key.public().to_base64()),
            Some(key.public())
        );
        assert!(key.public().verify(b"x", &key.sign(b"x")));
        assert!(!key.public().verify(b"y", &key.sign(b"x")));
    }
}
