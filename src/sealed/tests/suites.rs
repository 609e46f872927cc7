//! What is sealed by another suite than the one there is.

use hpke::{
    Deserializable as _, Kem, OpModeS, Serializable as _,
    aead::ChaCha20Poly1305,
    inout::InOutBuf,
    kdf::{HkdfSha256, HkdfSha512, Kdf},
    kem::X25519HkdfSha256,
};

use super::*;
use crate::sealed::{address::info, plain, suite::Draw};

/// An address for Bob, put together as `seal` does it, but with this hash where keys are derived.
fn sealed<K: Kdf>(alice: &Alice) -> SealedAddress {
    let (b, rng) = (b(), Rng::seeded(8));
    let sample = alice.seals();
    let aad = sample.aad(room(), &alice.inviter()).expect("short");
    let target = Target::User(bob().to_owned());
    let mut text = plain::encode(&target, NOW + DAY, &[9; 16]).expect("it fits");
    let to = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(b.hpke.public().as_bytes());
    let (enc, tag) =
        hpke::single_shot_seal_inout_detached_with_rng::<ChaCha20Poly1305, K, X25519HkdfSha256>(
            &OpModeS::Base,
            &to.expect("a key"),
            &info(&b.server),
            InOutBuf::from(&mut text[..]),
            &aad,
            &mut Draw(&rng),
        )
        .expect("sealed");
    let head = &sample.payload()[..6];
    let payload = [head, &enc.to_bytes(), &text[..], &tag.to_bytes()].concat();
    let text = data_encoding::BASE64URL_NOPAD.encode(&payload);
    SealedAddress::parse(&format!("vz1:b.example:{text}")).expect("an address")
}

/// Sealed to the right key, for the right room and inviter, by another suite: with another hash where the key is derived.
#[test]
fn an_address_of_another_suite_does_not_open() {
    let alice = Alice::new();
    let open = |address| {
        let (b, inviter) = (b(), alice.inviter());
        open(&address, &b.server, &b.keys(), room(), &inviter)
    };
    // Put together in the same way with the right suite, it opens.
    assert!(open(sealed::<HkdfSha256>(&alice)).is_ok());
    assert_eq!(open(sealed::<HkdfSha512>(&alice)), Err(OpenError));
}
