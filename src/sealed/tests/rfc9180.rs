//! The published test vectors of the suite, and that it is used as they say.

use std::convert::Infallible;

use data_encoding::HEXLOWER;
use hpke::{
    Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _,
    aead::ChaCha20Poly1305,
    inout::InOutBuf,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    rand_core::{TryCryptoRng, TryRng},
};
use serde_json::Value;

use super::super::suite;

/// Gives these bytes and no others.
pub(super) struct Given(pub(super) Vec<u8>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        to.copy_from_slice(&self.0.drain(..to.len()).collect::<Vec<_>>());
        Ok(())
    }
}

impl TryCryptoRng for Given {}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER
        .decode(value.as_str().expect("a string").as_bytes())
        .expect("hex")
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().expect("the length")
}

#[test]
fn the_published_vectors_hold() {
    let vector: Value = serde_json::from_str(include_str!("rfc9180.json")).expect("JSON");
    let (private, public) = X25519HkdfSha256::derive_keypair(&hex(&vector["ikmR"]));
    // (The published private key is not clamped, as it may be.)
    let given = suite::private_key(&array(&vector["skRm"]));
    assert!(private == given);
    assert_eq!(public.to_bytes()[..], hex(&vector["pkRm"]));
    let private = suite::private_key(&array(&vector["skRm"]));
    assert_eq!(suite::public_bytes(&private), array(&vector["pkRm"]));

    // What is used: one message, sealed and opened.
    let (info, first) = (hex(&vector["info"]), &vector["encryptions"][0]);
    let (aad, plain, ct) = (hex(&first["aad"]), hex(&vector["pt"]), hex(&first["ct"]));
    let mut text = plain.clone();
    let mut rng = Given(hex(&vector["ikmE"]));
    let (enc, tag) =
        suite::seal(&mut rng, &array(&vector["pkRm"]), &info, &aad, &mut text).expect("sealed");
    assert!(rng.0.is_empty(), "the key is drawn as 32 bytes at once");
    assert_eq!(enc, array(&vector["enc"]));
    assert_eq!([&text[..], &tag].concat(), ct);
    assert!(suite::open(&private, &enc, &info, &aad, &mut text, &tag));
    assert_eq!(text, plain);

    // The rest, which tells that the key schedule is right.
    let enc = <X25519HkdfSha256 as hpke::Kem>::EncappedKey::from_bytes(&enc).expect("a key");
    let mut context = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private,
        &enc,
        &info,
    )
    .expect("a context");
    for export in vector["exports"].as_array().expect("exports") {
        let mut value = [0; 32];
        context
            .export(&hex(&export["context"]), &mut value)
            .expect("exported");
        assert_eq!(value, array(&export["value"]));
    }
    let encryptions = vector["encryptions"].as_array().expect("encryptions");
    let to = <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(&hex(&vector["pkRm"]))
        .expect("a key");
    let (_, mut sender) = hpke::setup_sender_with_rng::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(&OpModeS::Base, &to, &info, &mut Given(hex(&vector["ikmE"])))
    .expect("a context");
    for sequence in 0..=256 {
        let aad = format!("Count-{sequence}");
        let mut text = plain.clone();
        let tag = sender
            .seal_inout_detached(InOutBuf::from(&mut text[..]), aad.as_bytes())
            .expect("sealed");
        if let Some(given) = encryptions.iter().find(|it| it["sequence"] == sequence) {
            assert_eq!(aad.as_bytes(), hex(&given["aad"]));
            assert_eq!([&text[..], &tag.to_bytes()].concat(), hex(&given["ct"]));
        }
        context
            .open_inout_detached(InOutBuf::from(&mut text[..]), aad.as_bytes(), &tag)
            .expect("opened");
        assert_eq!(text, plain);
    }
}
