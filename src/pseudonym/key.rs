//! The sender key: a random Ed25519 key, one per (user, room), never derived from anything about the user.

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use ruma::UserId;

use crate::{crypto::Secret, rng::Rng};

/// A pseudonym's private key.
#[derive(Clone)]
pub struct SenderKey(SigningKey);

impl std::fmt::Debug for SenderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SenderKey(…)")
    }
}

impl SenderKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(rng: &Rng) -> Self {
        let seed: Secret<[u8; 32]> = Secret::new(rng.bytes());
        Self::from_seed(seed.expose())
    }

    /// The key of a stored seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for the store.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn id(&self) -> SenderKeyId {
        SenderKeyId(self.0.verifying_key())
    }

    /// Signs bytes (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// A pseudonym's public key, which is also its ghost's localpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderKeyId(VerifyingKey);

impl SenderKeyId {
    /// The 52 characters of lower-case unpadded base32 that follow the prefix in the ghost's localpart.
    #[must_use]
    pub fn to_localpart(&self) -> String {
        BASE32_NOPAD.encode(self.0.as_bytes()).to_ascii_lowercase()
    }

    /// Reads what [`SenderKeyId::to_localpart`] wrote; `None` unless it is exactly that form.
    #[must_use]
    pub fn from_localpart(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let bytes = BASE32_NOPAD
            .decode(text.to_ascii_uppercase().as_bytes())
            .ok()?;
        Self::from_bytes(&bytes.try_into().ok()?)
    }

    /// The key of a ghost of any server, whatever the prefix there: the last 52 characters of the localpart. So
    /// this does not say that the user *is* a ghost; whoever has to know asks for the prefix.
    #[must_use]
    pub fn of_ghost(user: &UserId) -> Option<Self> {
        let localpart = user.localpart();
        Self::from_localpart(localpart.get(localpart.len().checked_sub(52)?..)?)
    }

    /// Unpadded standard base64, as Matrix writes keys.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64_NOPAD.encode(self.0.as_bytes())
    }

    /// Reads what [`SenderKeyId::to_base64`] wrote; `None` unless it is exactly that form.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = BASE64_NOPAD.decode(text.as_bytes()).ok()?;
        Self::from_bytes(&bytes.try_into().ok()?)
    }

    /// The key of 32 bytes; `None` when they are no key, or one of the weak ones.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(bytes).ok()?;
        (!key.is_weak()).then_some(Self(key))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether `signature` over `message` is this key's (strict: no malleable signatures).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0
            .verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localpart_is_the_key() {
        let key = SenderKey::generate(&Rng::seeded(1));
        let text = key.id().to_localpart();
        assert_eq!(text.len(), 52);
        assert_eq!(SenderKeyId::from_localpart(&text), Some(key.id()));
        assert_eq!(
            SenderKeyId::from_localpart(&text.to_ascii_uppercase()),
            None
        );
        assert_eq!(SenderKeyId::from_localpart(&text[1..]), None);
        assert_eq!(SenderKey::from_seed(&key.seed()).id(), key.id());
        assert_eq!(
            SenderKeyId::from_base64(&key.id().to_base64()),
            Some(key.id())
        );
        assert_eq!(SenderKeyId::from_bytes(&[0; 32]), None);
    }
}
