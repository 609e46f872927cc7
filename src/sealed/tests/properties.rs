//! For any user, room and inviter: what was sealed opens to the same, and to nobody else. And the seeds of the fuzz
//! targets.

use std::{fs, path::Path};

use proptest::prelude::*;
use ruma::{OwnedRoomId, OwnedUserId};

use super::*;
use crate::rng::Rng;

fn localpart() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9._=/+-]{1,200}",
        // What old Matrix IDs may contain.
        "[!-9;-~]{1,60}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn open_of_seal_is_the_same(
        localpart in localpart(), room in "[A-Za-z0-9:.]{1,200}", inviter: [u8; 32], seed: u64, expires_ts in 0_u64..1 << 53,
    ) {
        let b = b();
        let rng = Rng::seeded(seed);
        let user = OwnedUserId::try_from(format!("@{localpart}:b.example")).expect("a user");
        let room = OwnedRoomId::try_from(format!("!{room}")).expect("a room");
        let inviter: InviterKey = SenderKey::from_seed(&inviter).id().into();
        let key = b.hpke.public();
        for sealing in [
            Sealing::Bound { user: &user, room: &room, inviter },
            Sealing::Contact { user: &user },
        ] {
            let sealed = seal(&rng, &key, sealing, expires_ts).expect("sealed");
            let sealed = SealedAddress::parse(&sealed.to_string()).expect("an address");
            let opened = open(&sealed, &b.server, &b.keys(), &room, &inviter).expect("opened");
            prop_assert_eq!(opened.target, Target::User(user.clone()));
            prop_assert_eq!(opened.expires_ts, expires_ts);
            // Nobody else.
            let others = HpkeKeys::new(vec![HpkeKey::generate(&rng)]);
            prop_assert!(open(&sealed, &b.server, &others, &room, &inviter).is_err());
        }
    }

    #[test]
    fn nothing_else_opens(at in 0..PAYLOAD, flip in 1..=255_u8, bytes in proptest::collection::vec(any::<u8>(), PAYLOAD)) {
        let (b, alice) = (b(), Alice::new());
        let mut changed = *alice.seals().payload();
        changed[at] ^= flip;
        for payload in [changed.to_vec(), bytes] {
            let text = data_encoding::BASE64URL_NOPAD.encode(&payload);
            if let Ok(address) = SealedAddress::parse(&format!("vz1:b.example:{text}")) {
                let opened = open(&address, &b.server, &b.keys(), room(), &alice.inviter());
                prop_assert_eq!(opened, Err(OpenError));
            }
        }
    }

    #[test]
    fn anything_is_read_without_a_panic(text: String, bytes: Vec<u8>) {
        checks::address(&text);
        checks::document(&bytes);
        checks::message(&bytes);
        checks::reply(&bytes);
        checks::reply(text.as_bytes());
        checks::inside(&bytes);
    }
}

/// The seeds of a fuzz target, and how many of them are good ones.
fn corpus(target: &str, check: impl Fn(&[u8]) -> bool) -> usize {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    fs::read_dir(directory)
        .expect("the corpus is committed")
        .filter(|entry| {
            check(&fs::read(entry.as_ref().expect("an entry").path()).expect("readable"))
        })
        .count()
}

#[test]
fn the_fuzz_corpus_passes() {
    let text = |bytes: &[u8]| checks::address(std::str::from_utf8(bytes).unwrap_or_default());
    assert!(corpus("sealed_address", text) >= 2);
    assert!(corpus("key_document", checks::document) >= 2);
    assert!(corpus("to_device", checks::message) >= 1);
    assert!(corpus("to_device", checks::reply) >= 2);
}

#[test]
fn what_is_inside_an_address_is_read_or_not() {
    let mut plain = [0; PLAIN];
    assert!(!checks::inside(&plain));
    plain[1..6].copy_from_slice(b"\x04bob.");
    assert!(checks::inside(&plain));
    // The padding.
    plain[20] = 1;
    assert!(!checks::inside(&plain));
    plain = [0; PLAIN];
    plain[..2].copy_from_slice(&[1, 16]);
    assert!(checks::inside(&plain));
}
