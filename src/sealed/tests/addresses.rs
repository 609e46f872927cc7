//! What opens, and that nothing else does.

use ruma::{OwnedUserId, server_name};

use super::*;

fn opened(address: &SealedAddress, room: &RoomId, inviter: InviterKey) -> Option<Opened> {
    let b = b();
    open(address, &b.server, &b.keys(), room, &inviter).ok()
}

fn user(len: usize) -> OwnedUserId {
    OwnedUserId::try_from(format!("@{}:b", "x".repeat(len))).expect("a user")
}

#[test]
fn a_bound_address_opens_for_its_room_and_inviter_alone() {
    let alice = Alice::new();
    let address = alice.seals();
    assert_eq!(address.kind(), Kind::Bound);
    assert_eq!(address.key_name(), b().hpke.public().name());
    let found = opened(&address, room(), alice.inviter()).expect("opened");
    assert_eq!(found.target, Target::User(bob().to_owned()));
    assert_eq!(found.expires_ts, NOW + DAY);
    assert!(found.is_single_use());
    // In another room, by another inviter, and by a Vizard in the place of one.
    assert_eq!(
        opened(&address, room_id!("!other:a.example"), alice.inviter()),
        None
    );
    assert_eq!(opened(&address, room(), Alice::of(9).inviter()), None);
    assert_eq!(
        opened(&address, room(), a().server_key.public().into()),
        None
    );
    // A room id and an inviter that are the same bytes when they are put together another way.
    assert_eq!(
        opened(&address, room_id!("!room:a.exampl"), alice.inviter()),
        None
    );
}

#[test]
fn a_contact_address_opens_for_any() {
    let b = b();
    let rng = Rng::seeded(7);
    let by_hand = seal(
        &rng,
        &b.hpke.public(),
        Sealing::Contact { user: bob() },
        NOW + DAY,
    );
    let made = Sealing::Address {
        server: &b.server,
        id: [7; CONTACT_ID],
    };
    let made = seal(&rng, &b.hpke.public(), made, NOW + DAY).expect("sealed");
    let by_hand = by_hand.expect("sealed");
    for (room, inviter) in [
        (room(), Alice::new().inviter()),
        (room_id!("!other"), Alice::of(9).inviter()),
    ] {
        let found = opened(&by_hand, room, inviter).expect("opened");
        assert_eq!(found.target, Target::User(bob().to_owned()));
        assert!(found.is_single_use());
        let found = opened(&made, room, inviter).expect("opened");
        assert_eq!(found.target, Target::Contact([7; CONTACT_ID]));
        assert!(!found.is_single_use());
    }
}

#[test]
fn other_keys_and_servers_open_nothing() {
    let alice = Alice::new();
    let address = alice.seals();
    let b = b();
    let try_with = |server, keys: Vec<HpkeKey>| {
        let inviter = alice.inviter();
        open(&address, server, &HpkeKeys::new(keys), room(), &inviter)
    };
    let others = HpkeKey::generate(&Rng::seeded(77));
    assert_eq!(try_with(&b.server, vec![]), Err(OpenError));
    assert_eq!(try_with(&b.server, vec![others.clone()]), Err(OpenError));
    assert_eq!(
        try_with(server_name!("c.example"), vec![b.hpke.clone()]),
        Err(OpenError)
    );
    assert!(try_with(&b.server, vec![others, b.hpke.clone()]).is_ok());
    // Sealed to the very key that stands in for an unknown one.
    let stand_in = HpkeKey::from_seed(&[0x5a; 32]);
    let sealing = Sealing::Contact { user: bob() };
    let address = seal(&Rng::seeded(1), &stand_in.public(), sealing, NOW + DAY).expect("sealed");
    assert_eq!(
        open(&address, &b.server, &b.keys(), room(), &alice.inviter()),
        Err(OpenError)
    );
}

#[test]
fn a_kind_cannot_be_changed() {
    let alice = Alice::new();
    // A contact address of a contact address, bound by somebody who knows the id: not a thing that exists.
    let address = alice.seals().to_string();
    let (head, payload) = address.rsplit_once(':').expect("parts");
    let mut bytes = data_encoding::BASE64URL_NOPAD
        .decode(payload.as_bytes())
        .expect("base64");
    bytes[0] = 0x02;
    let changed = format!("{head}:{}", data_encoding::BASE64URL_NOPAD.encode(&bytes));
    let changed = SealedAddress::parse(&changed).expect("an address");
    assert_eq!(opened(&changed, room(), alice.inviter()), None);
    bytes[0] = 0x03;
    let unknown = format!("{head}:{}", data_encoding::BASE64URL_NOPAD.encode(&bytes));
    assert_eq!(
        SealedAddress::parse(&unknown),
        Err(AddressError::UnknownKind)
    );
}

#[test]
fn no_byte_can_be_changed() {
    let alice = Alice::new();
    for sealed in [
        alice.seals(),
        seal(
            &Rng::seeded(6),
            &b().hpke.public(),
            Sealing::Contact { user: bob() },
            NOW + DAY,
        )
        .expect("sealed"),
    ] {
        // Each bit of the payload.
        for at in 0..PAYLOAD {
            for bit in 0..8 {
                let mut bytes = *sealed.payload();
                bytes[at] ^= 1 << bit;
                let text = data_encoding::BASE64URL_NOPAD.encode(&bytes);
                let Ok(changed) = SealedAddress::parse(&format!("vz1:b.example:{text}")) else {
                    continue;
                };
                assert_eq!(opened(&changed, room(), alice.inviter()), None, "{at}");
            }
        }
        // Each character of the text.
        let text = sealed.to_string();
        for at in 0..text.len() {
            for put in ['A', 'b', ':', '=', ' ', '\u{e9}'] {
                if text[at..].starts_with(put) {
                    continue;
                }
                let changed = format!("{}{put}{}", &text[..at], &text[at + 1..]);
                let Ok(changed) = SealedAddress::parse(&changed) else {
                    continue;
                };
                assert_eq!(
                    opened(&changed, room(), alice.inviter()),
                    None,
                    "{at} {put}"
                );
            }
        }
    }
}

#[test]
fn only_whole_addresses_are_read() {
    let text = Alice::new().seals().to_string();
    assert!(SealedAddress::parse(&text).is_ok());
    for len in 0..text.len() {
        assert!(SealedAddress::parse(&text[..len]).is_err(), "{len}");
    }
    let payload = text.rsplit(':').next().expect("a payload").to_owned();
    let long_server = "b".repeat(400);
    for (wrong, error) in [
        (String::new(), AddressError::NotSealed),
        (text.replace("vz1", "vz2"), AddressError::NotSealed),
        (text.replace("vz1", "VZ1"), AddressError::NotSealed),
        (format!(" {text}"), AddressError::NotSealed),
        (format!("{text} "), AddressError::Damaged),
        (format!("{text}A"), AddressError::Damaged),
        (format!("{text}AAAA"), AddressError::Damaged),
        (format!("{text}="), AddressError::Damaged),
        (format!("vz1:{payload}"), AddressError::Damaged),
        (format!("vz1::{payload}"), AddressError::NoServer),
        (format!("vz1:b example:{payload}"), AddressError::NoServer),
        (
            format!("vz1:{long_server}:{payload}"),
            AddressError::Damaged,
        ),
        ("vz1:b.example:".to_owned(), AddressError::Damaged),
        (
            format!("vz1:b.example:{}", "A".repeat(10_000)),
            AddressError::Damaged,
        ),
    ] {
        assert_eq!(SealedAddress::parse(&wrong), Err(error), "{wrong}");
    }
    // Server names with ports and literals.
    for server in [
        "b.example:8448",
        "127.0.0.2:8448",
        "[::1]:8448",
        "[2001:db8::1]",
    ] {
        let user = OwnedUserId::try_from(format!("@bob:{server}")).expect("a user");
        let sealing = Sealing::Contact { user: &user };
        let sealed = seal(&Rng::seeded(1), &b().hpke.public(), sealing, NOW + DAY).expect("sealed");
        let read = SealedAddress::parse(&sealed.to_string()).expect("an address");
        assert_eq!(read, sealed);
        assert_eq!(read.server(), server);
        let keys = b().keys();
        let found = open(
            &read,
            user.server_name(),
            &keys,
            room(),
            &Alice::new().inviter(),
        );
        assert_eq!(found.expect("opened").target, Target::User(user));
    }
}

#[test]
fn every_sealing_is_fresh_and_of_one_length() {
    let b = b();
    let rng = Rng::seeded(8);
    let inviter = Alice::new().inviter();
    let mut seen = std::collections::HashSet::new();
    // 253 is the longest localpart that a Matrix ID can have on a server with one letter.
    for len in (1..=200).chain([252]) {
        let user = user(len);
        let sealings = [
            Sealing::Contact { user: &user },
            Sealing::Bound {
                user: &user,
                room: room(),
                inviter,
            },
        ];
        for sealing in sealings {
            let sealed = seal(&rng, &b.hpke.public(), sealing, NOW + DAY).expect("sealed");
            assert_eq!(sealed.payload().len(), 334);
            assert_eq!(sealed.to_string().len(), "vz1:b:".len() + 446);
            assert!(seen.insert(sealed.payload()[6..38].to_vec()), "a key twice");
            assert!(
                seen.insert(sealed.payload()[38..70].to_vec()),
                "a text twice"
            );
        }
    }
    // Two sealings of one user with the same expiry share nothing but kind and key.
    let one = Alice::new().seals();
    let other = seal(
        &rng,
        &b.hpke.public(),
        Sealing::Bound {
            user: bob(),
            room: room(),
            inviter,
        },
        NOW + DAY,
    )
    .expect("sealed");
    assert_eq!(one.payload()[..6], other.payload()[..6]);
    let same = (6..PAYLOAD)
        .filter(|at| one.payload()[*at] == other.payload()[*at])
        .count();
    // 328 random bytes agree in 1.3 places on the average; in 14 less than once in 10⁹.
    assert!(same < 14, "{same} bytes agree");
}

#[test]
fn what_does_not_fit_is_not_sealed() {
    let b = b();
    let rng = Rng::seeded(8);
    let too_late = seal(
        &rng,
        &b.hpke.public(),
        Sealing::Contact { user: bob() },
        1 << 53,
    );
    assert_eq!(too_late, Err(SealError::DoesNotFit));
    // Points of small order, and a second form of a key.
    assert_eq!(HpkePublicKey::from_bytes(&[0; 32]), None);
    let mut one = [0; 32];
    one[0] = 1;
    assert_eq!(HpkePublicKey::from_bytes(&one), None);
    let mut second = *b.hpke.public().as_bytes();
    second[31] |= 0x80;
    assert_eq!(HpkePublicKey::from_bytes(&second), None);
}

type Change = fn(&mut [u8; 280]);

/// Texts that nobody honest seals, encrypted as they should be.
#[test]
fn a_text_of_another_form_is_refused() {
    use super::super::{address, plain, suite};
    let b = b();
    let inviter = Alice::new().inviter();
    let good = plain::encode(&Target::User(bob().to_owned()), NOW + DAY, &[1; 16]).expect("fits");
    let try_with = |change: Change| {
        let mut text = *good;
        change(&mut text);
        let mut payload = [0; PAYLOAD];
        payload[0] = 0x02;
        payload[1..6].copy_from_slice(&b.hpke.public().id());
        let rng = Rng::seeded(1);
        let info = address::info(&b.server);
        let key = b.hpke.public();
        let aad = payload[..6].to_vec();
        let (enc, tag) = suite::seal(
            &mut suite::Draw(&rng),
            key.as_bytes(),
            &info,
            &aad,
            &mut text,
        )
        .expect("sealed");
        payload[6..38].copy_from_slice(&enc);
        payload[38..318].copy_from_slice(&text);
        payload[318..].copy_from_slice(&tag);
        let text = data_encoding::BASE64URL_NOPAD.encode(&payload);
        let address = SealedAddress::parse(&format!("vz1:b.example:{text}")).expect("an address");
        open(&address, &b.server, &b.keys(), room(), &inviter)
    };
    assert!(try_with(|_| ()).is_ok());
    let changes: [Change; 9] = [
        |text| text[0] = 0x02,
        |text| text[1] = 0,
        |text| text[1] = 255,
        |text| text[1] = 2,
        |text| text[255] = 1,
        |text| text[2] = b':',
        |text| text[2] = 0xff,
        |text| text[256] = 0xff,
        |text| text[0] = 0x01,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        assert_eq!(try_with(change), Err(OpenError), "{at}");
    }
}

#[test]
fn nothing_is_printed_that_names_somebody() {
    let alice = Alice::new();
    let sealed = alice.seals();
    let found = opened(&sealed, room(), alice.inviter()).expect("opened");
    let request = received(&alice.requests(&sealed).content, &alice.ghost).expect("a request");
    let b = b();
    let printed = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        sealed, found, b.hpke, b.secret, request.inviter
    );
    for secret in ["bob", "b.example", "_vizard_", "vz1"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
