//! The X25519 keys to which addresses are sealed.

use curve25519_dalek::MontgomeryPoint;
use data_encoding::{BASE32_NOPAD, BASE64_NOPAD};
use sha2::{Digest as _, Sha256};

use super::suite::{self, KEY, PrivateKey};
use crate::{crypto::Secret, rng::Rng};

/// The suite, as key documents name it.
pub const SUITE: &str = "X25519-HKDF-SHA256/HKDF-SHA256/ChaCha20Poly1305";

/// A private HPKE key; wiped when dropped.
#[derive(Clone)]
pub struct HpkeKey {
    private: PrivateKey,
    public: HpkePublicKey,
}

impl std::fmt::Debug for HpkeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HpkeKey(…)")
    }
}

impl HpkeKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(rng: &Rng) -> Self {
        let seed: Secret<[u8; KEY]> = Secret::new(rng.bytes());
        Self::from_seed(seed.expose())
    }

    /// The key of a stored seed: any 32 bytes, clamped as RFC 7748 says.
    #[must_use]
    pub fn from_seed(seed: &[u8; KEY]) -> Self {
        let private = suite::private_key(seed);
        let public = HpkePublicKey(suite::public_bytes(&private));
        Self { private, public }
    }

    /// The private key's bytes, for the store.
    #[must_use]
    pub fn seed(&self) -> Secret<[u8; KEY]> {
        Secret::new(suite::private_bytes(&self.private))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> HpkePublicKey {
        self.public
    }

    pub(super) fn private(&self) -> &PrivateKey {
        &self.private
    }
}

/// A public HPKE key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpkePublicKey([u8; KEY]);

impl HpkePublicKey {
    /// The key of 32 bytes; `None` when nothing can be sealed to it (points of small order), or when the unused bit is
    /// set, so that one key has one form.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY]) -> Option<Self> {
        let small = MontgomeryPoint(*bytes).mul_clamped([1; KEY]).to_bytes() == [0; KEY];
        (!small && bytes[KEY - 1] & 0x80 == 0).then_some(Self(*bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    /// Unpadded standard base64.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64_NOPAD.encode(&self.0)
    }

    /// Reads what [`HpkePublicKey::to_base64`] wrote; `None` unless it is exactly that form.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = BASE64_NOPAD.decode(text.as_bytes()).ok()?;
        Self::from_bytes(&bytes.try_into().ok()?)
    }

    /// The key's id in a sealed address: the first 5 bytes of its SHA-256.
    #[must_use]
    pub fn id(&self) -> [u8; 5] {
        let digest = Sha256::digest(self.0);
        [digest[0], digest[1], digest[2], digest[3], digest[4]]
    }

    /// The key's name in a key document: `x25519:` and its id in lower-case base32.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(self.id())
    }
}

/// How a key with this id is named.
pub(super) fn name_of(id: [u8; 5]) -> String {
    format!("x25519:{}", BASE32_NOPAD.encode(&id).to_ascii_lowercase())
}

/// What two people read to each other to see that they have the same public key: the first 20 bytes of its SHA-256 in
/// lower-case base32, in groups of four. The first two groups are the key's id.
#[must_use]
pub fn fingerprint(key: &[u8; KEY]) -> String {
    let text = BASE32_NOPAD
        .encode(&Sha256::digest(key)[..20])
        .to_ascii_lowercase();
    let mut grouped = String::with_capacity(40);
    for (at, letter) in text.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            grouped.push(' ');
        }
        grouped.push(letter);
    }
    grouped
}

/// The private keys that can be opened with: those that are listed, and older ones that are kept.
#[derive(Clone, Debug)]
pub struct HpkeKeys {
    keys: Vec<([u8; 5], HpkeKey)>,
    /// Tried when no key has the asked id, so that this takes as long.
    stand_in: HpkeKey,
}

impl HpkeKeys {
    /// These keys.
    #[must_use]
    pub fn new(keys: Vec<HpkeKey>) -> Self {
        Self {
            keys: keys.into_iter().map(|key| (key.public.id(), key)).collect(),
            stand_in: HpkeKey::from_seed(&[0x5a; KEY]),
        }
    }

    /// The key with this id, and whether there is one; if not, the stand-in.
    pub(super) fn find(&self, id: [u8; 5]) -> (&HpkeKey, bool) {
        self.keys
            .iter()
            .find(|(known, _)| *known == id)
            .map_or((&self.stand_in, false), |(_, key)| (key, true))
    }
}
