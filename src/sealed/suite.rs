//! HPKE (RFC 9180), base mode, single shot: `DHKEM(X25519, HKDF-SHA256)`, `HKDF-SHA256`, `ChaCha20Poly1305`.

use std::convert::Infallible;

use hpke::{
    Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _,
    aead::{AeadTag, ChaCha20Poly1305},
    inout::InOutBuf,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    rand_core::{CryptoRng, TryCryptoRng, TryRng},
};

use crate::rng::Rng;

/// The bytes of an encapsulated key, and of a public or private key.
pub(super) const KEY: usize = 32;
/// The bytes by which a ciphertext is longer than its plaintext.
pub(super) const TAG: usize = 16;

pub(super) type PrivateKey = <X25519HkdfSha256 as hpke::Kem>::PrivateKey;
type PublicKey = <X25519HkdfSha256 as hpke::Kem>::PublicKey;
type EncappedKey = <X25519HkdfSha256 as hpke::Kem>::EncappedKey;

/// The crate's randomness, as `hpke` asks for it.
pub(super) struct Draw<'a>(pub(super) &'a Rng);

impl TryRng for Draw<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.0.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.0.bytes()))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        for chunk in to.chunks_mut(KEY) {
            let drawn = zeroize::Zeroizing::new(self.0.bytes::<KEY>());
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Draw<'_> {}

/// The private key of 32 random bytes (clamped as RFC 7748 says).
pub(super) fn private_key(seed: &[u8; KEY]) -> PrivateKey {
    PrivateKey::from_bytes(seed)
        .unwrap_or_else(|_| unreachable!("any 32 bytes are a private key of X25519"))
}

/// The bytes of a private key.
pub(super) fn private_bytes(key: &PrivateKey) -> [u8; KEY] {
    key.to_bytes().into()
}

/// The public half of a private key.
pub(super) fn public_bytes(key: &PrivateKey) -> [u8; KEY] {
    X25519HkdfSha256::sk_to_pk(key).to_bytes().into()
}

/// Encrypts `text` in place; gives the encapsulated key and the tag. `None` when the public key is of small order.
pub(super) fn seal(
    rng: &mut impl CryptoRng,
    to: &[u8; KEY],
    info: &[u8],
    aad: &[u8],
    text: &mut [u8],
) -> Option<([u8; KEY], [u8; TAG])> {
    let to = PublicKey::from_bytes(to).ok()?;
    let (enc, tag) = hpke::single_shot_seal_inout_detached_with_rng::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(&OpModeS::Base, &to, info, InOutBuf::from(text), aad, rng)
    .ok()?;
    Some((enc.to_bytes().into(), tag.to_bytes().into()))
}

/// Decrypts `text` in place. What it holds when this fails means nothing.
#[must_use]
pub(super) fn open(
    key: &PrivateKey,
    enc: &[u8; KEY],
    info: &[u8],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG],
) -> bool {
    let (Ok(enc), Ok(tag)) = (
        EncappedKey::from_bytes(enc),
        AeadTag::<ChaCha20Poly1305>::from_bytes(tag),
    ) else {
        return false;
    };
    hpke::single_shot_open_inout_detached::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        key,
        &enc,
        info,
        InOutBuf::from(text),
        aad,
        &tag,
    )
    .is_ok()
}
