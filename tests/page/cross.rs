//! The page's sealing code and the server's, each against the other.

use std::path::PathBuf;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ruma::{RoomId, ServerName, UserId, room_id, server_name, user_id};
use serde_json::{Value, json};
use vizard::{
    pseudonym::{SenderKey, ServerKey},
    rng::Rng,
    sealed::{
        DocumentDraft, HpkeKey, HpkeKeys, InviterKey, KeyDocument, Kind, ListedKey, Opened,
        PAYLOAD, SealedAddress, Sealing, Target, fingerprint, open, seal,
    },
};

use crate::{
    install,
    testkit::{
        node::{Node, write},
        scratch::Scratch,
    },
};

const NOW: u64 = 1_800_000_000_000;
const DAY: u64 = 24 * 60 * 60 * 1000;

fn room() -> &'static RoomId {
    room_id!("!room:a.example")
}

/// The page's code, to be asked.
struct Page {
    _sources: Scratch,
    script: PathBuf,
}

impl Page {
    fn new() -> Self {
        let sources = install::sources().unwrap();
        write(sources.path(), &[("cross.mjs", include_str!("cross.mjs"))]).unwrap();
        let script = sources.path().join("cross.mjs");
        Self {
            _sources: sources,
            script,
        }
    }

    fn ask(&self, job: &Value) -> Value {
        Node::shared().unwrap().run(&self.script, job).unwrap()
    }

    /// Texts of sealed addresses.
    fn seal(&self, document: &KeyDocument, seals: &[Value]) -> Vec<String> {
        let job = json!({"job": "seal", "document": document.json(), "now": NOW, "seals": seals});
        serde_json::from_value(self.ask(&job)["texts"].take()).unwrap()
    }
}

/// A Vizard of `server`.
struct Vizard {
    server: &'static ServerName,
    key: HpkeKey,
    document: KeyDocument,
}

impl Vizard {
    fn new(server: &'static ServerName) -> Self {
        let rng = Rng::os();
        let (key, sooner) = (HpkeKey::generate(&rng), HpkeKey::generate(&rng));
        let listed = |key: &HpkeKey, days| ListedKey {
            key: key.public(),
            expires_ts: NOW + days * DAY,
        };
        let document = DocumentDraft {
            server,
            bot: &UserId::parse_with_server_name("vizard", server).unwrap(),
            prefix: "_vizard_",
            sequence: 1,
            valid_until_ts: NOW + 7 * DAY,
            verify_keys: &[ServerKey::generate(&rng)],
            old_verify_keys: &[],
            hpke_keys: &[listed(&sooner, 3), listed(&key, 44)],
        }
        .sign(NOW)
        .unwrap();
        Self {
            server,
            key,
            document,
        }
    }

    fn opens(&self, text: &str, room: &RoomId, inviter: &InviterKey) -> Option<Opened> {
        let keys = HpkeKeys::new(vec![self.key.clone()]);
        open(
            &SealedAddress::parse(text).unwrap(),
            self.server,
            &keys,
            room,
            inviter,
        )
        .ok()
    }
}

fn inviter() -> InviterKey {
    SenderKey::generate(&Rng::os()).id().into()
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Localparts of all lengths, with every character that one may have.
fn localparts() -> Vec<String> {
    let letters: Vec<char> = ('\x21'..='\x7e').filter(|letter| *letter != ':').collect();
    (1..=200)
        .map(|length| {
            letters
                .iter()
                .cycle()
                .skip(length * 7)
                .take(length)
                .collect()
        })
        .collect()
}

fn payload(text: &str) -> Vec<u8> {
    BASE64URL_NOPAD
        .decode(text.rsplit_once(':').unwrap().1.as_bytes())
        .unwrap()
}

#[test]
fn what_the_page_seals_the_server_opens() {
    let (page, b, inviter) = (
        Page::new(),
        Vizard::new(server_name!("b.example")),
        inviter(),
    );
    let bound = json!({"room": room(), "inviter": hex(inviter.as_bytes())});
    let names = localparts();
    let seals: Vec<Value> = names
        .iter()
        .flat_map(|name| {
            [Value::Null, bound.clone()]
                .map(|bound| json!({"name": name, "expires": NOW + DAY, "bound": bound}))
        })
        .collect();
    let texts = page.seal(&b.document, &seals);
    let length = texts[0].len();
    assert_eq!(texts.len(), 2 * names.len());
    for (at, text) in texts.iter().enumerate() {
        let kind = [Kind::Contact, Kind::Bound][at % 2];
        let user = UserId::parse(format!("@{}:b.example", names[at / 2])).unwrap();
        let target = Target::User(user);
        let opened = Opened {
            target,
            kind,
            expires_ts: NOW + DAY,
        };
        assert_eq!(b.opens(text, room(), &inviter), Some(opened), "{text}");
        assert_eq!((text.len(), payload(text).len()), (length, PAYLOAD));
        assert_eq!(
            SealedAddress::parse(text).unwrap().key_name(),
            b.key.public().name()
        );
        // Whoever else asks gets nothing of a bound one.
        let elsewhere = b.opens(text, room_id!("!other:a.example"), &inviter);
        let another = b.opens(text, room(), &self::inviter());
        let opens = kind == Kind::Contact;
        assert_eq!((elsewhere.is_some(), another.is_some()), (opens, opens));
    }
}

#[test]
fn what_the_server_seals_the_page_opens() {
    let (page, b, inviter) = (
        Page::new(),
        Vizard::new(server_name!("b.example")),
        inviter(),
    );
    let mut texts = Vec::new();
    for name in localparts() {
        let user = UserId::parse(format!("@{name}:b.example")).unwrap();
        let bound = Sealing::Bound {
            user: &user,
            room: room(),
            inviter,
        };
        for sealing in [Sealing::Contact { user: &user }, bound] {
            let sealed = seal(&Rng::os(), &b.key.public(), sealing, NOW + DAY).unwrap();
            texts.push((sealed.to_string(), name.clone()));
        }
    }
    let job = |room: &str| {
        let one = |(text, _): &(String, String)| {
            json!({
                "text": text, "room": room, "inviter": hex(inviter.as_bytes()), "key": hex(b.key.seed().expose()),
            })
        };
        json!({"job": "open", "texts": texts.iter().map(one).collect::<Vec<_>>()})
    };
    let opened = page.ask(&job(room().as_str()));
    for (at, (_, name)) in texts.iter().enumerate() {
        let one = &opened[at];
        assert_eq!(one["name"], hex(name.as_bytes()));
        assert_eq!(
            (&one["kind"], &one["target"]),
            (&json!(2 - at % 2), &json!(0))
        );
        assert_eq!(
            (&one["padding"], &one["expires_ts"]),
            (&json!(true), &json!(NOW + DAY))
        );
    }
    let elsewhere = page.ask(&job("!other:a.example"));
    for (at, one) in elsewhere.as_array().unwrap().iter().enumerate() {
        assert_eq!(one.is_null(), at % 2 == 1);
    }
}

/// Two sealings of one name share kind and key, and otherwise no more bytes than chance gives.
#[test]
fn no_two_sealings_have_anything_in_common() {
    let (page, b) = (Page::new(), Vizard::new(server_name!("b.example")));
    let one = json!({"name": "bob", "expires": NOW + DAY, "bound": null});
    let texts = page.seal(&b.document, &vec![one; 64]);
    let payloads: Vec<Vec<u8>> = texts.iter().map(|text| payload(text)).collect();
    let mut places = vec![0_u32; PAYLOAD];
    let mut pairs = 0;
    for (at, first) in payloads.iter().enumerate() {
        for second in &payloads[at + 1..] {
            pairs += 1;
            for (place, (x, y)) in first.iter().zip(second).enumerate() {
                places[place] += u32::from(x == y);
            }
        }
    }
    assert!(places[..6].iter().all(|equal| *equal == pairs));
    // 2016 pairs, 1 of 256 equal by chance: 8 expected at each place. The top of the encapsulated key's last byte is always clear.
    assert!(places[6..].iter().all(|equal| *equal < 60), "{places:?}");
    assert!(
        payloads
            .iter()
            .all(|payload| payload[6..38] != payloads[0][6..38] || payload == &payloads[0])
    );
}

#[test]
fn a_server_name_with_colons() {
    let (page, server) = (Page::new(), server_name!("[2001:db8::1]:8448"));
    let b = Vizard::new(server);
    let texts = page.seal(
        &b.document,
        &[json!({"name": "bob", "expires": NOW, "bound": null})],
    );
    let opened = b.opens(&texts[0], room(), &inviter()).unwrap();
    assert_eq!(
        opened.target,
        Target::User(user_id!("@bob:[2001:db8::1]:8448").to_owned())
    );
}

fn vector(name: &str) -> Value {
    let path = format!("{}/docs/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_vectors_hold_in_the_page_too() {
    let page = Page::new();
    let vectors = vector("sealed-addresses.json");
    let addresses = vectors["addresses"].as_array().unwrap();
    let one = |it: &Value| {
        json!({
            "text": it["address"], "room": it["room_id"], "inviter": it["inviter_key"], "key": vectors["hpke_private_key"],
        })
    };
    let texts: Vec<Value> = addresses.iter().map(one).collect();
    let opened = page.ask(&json!({"job": "open", "texts": texts}));
    let again = page.ask(&json!({
        "job": "vectors", "addresses": addresses, "publicKey": vectors["hpke_public_key"],
    }));
    for (at, it) in addresses.iter().enumerate() {
        assert_eq!(opened[at]["plaintext"], it["plaintext"], "{}", it["what"]);
        assert_eq!(again[at], it["payload"], "{}", it["what"]);
    }

    let document = vector("key-document.json");
    let key =
        page.ask(&json!({"job": "key", "document": document["document"], "now": document["now"]}));
    assert_eq!(key["fingerprint"], document["hpke_key_fingerprint"]);
}

/// The page seals to the key that lasts longest, as the server says it; and to none that it cannot rely on.
#[test]
fn the_page_takes_the_key_that_the_server_means() {
    let (page, b) = (Page::new(), Vizard::new(server_name!("b.example")));
    let ask =
        |document: &Value, now| page.ask(&json!({"job": "key", "document": document, "now": now}));
    let found = ask(b.document.json(), NOW);
    assert_eq!(found["name"], b.key.public().name());
    assert_eq!(found["fingerprint"], fingerprint(b.key.public().as_bytes()));

    let without = |change: &dyn Fn(&mut Value)| {
        let mut document = b.document.json().clone();
        change(&mut document);
        ask(&document, NOW)["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let keys = |change: &dyn Fn(&mut Value)| {
        without(&|document| {
            let keys = document["hpke_keys"].as_object_mut().unwrap();
            keys.values_mut().for_each(change);
        })
    };
    let old = ask(b.document.json(), NOW + 7 * DAY);
    assert!(
        old["error"].as_str().unwrap().contains("out of date"),
        "{old}"
    );
    assert!(
        without(&|document| document["type"] = json!("x")).contains("did not answer with its keys")
    );
    for said in [
        without(&|document| document["hpke_keys"] = json!({})),
        keys(&|key| key["suite"] = json!("RSA")),
        keys(&|key| key["expires_ts"] = json!(NOW)),
        // A name that is not the key's.
        keys(&|key| key["key"] = json!("A".repeat(43))),
        keys(&|key| key["key"] = json!("AAAA")),
        keys(&|key| key["key"] = json!("?")),
        keys(&|key| key["key"] = Value::Null),
    ] {
        assert!(said.contains("no key that this page can seal to"), "{said}");
    }
}

#[test]
fn what_people_type() {
    let page = Page::new();
    let longest = "x".repeat(255 - "@:b.example".len());
    let names = [
        ("@bob:b.example", "bob"),
        ("  @bob:b.example\n", "bob"),
        ("bob", "bob"),
        ("@bob", "bob"),
        ("@bob:B.Example", "bob"),
        ("@100%41:b.example", "100%41"),
        ("@a/b=c+d-e_f.g:b.example", "a/b=c+d-e_f.g"),
        ("@Bob!:b.example", "Bob!"),
        ("https://matrix.to/#/@bob:b.example", "bob"),
        (
            "https://matrix.to/#/%40b%2Fb%3Ab.example?via=b.example",
            "b/b",
        ),
        ("matrix:u/bob:b.example?action=chat", "bob"),
        (longest.as_str(), longest.as_str()),
    ];
    let wrong = [
        (
            "@bob:c.example",
            "For c.example, use the page of that server",
        ),
        ("@bob:b.example.c.example", "use the page of that server"),
        ("@bob:b.example:8448", "use the page of that server"),
        ("", "not a Matrix ID"),
        ("@", "not a Matrix ID"),
        ("@:b.example", "not a Matrix ID"),
        ("@bob:", "not a Matrix ID"),
        ("@bob marley:b.example", "not a Matrix ID"),
        ("@b\u{f6}b:b.example", "not a Matrix ID"),
        ("@bob:<b>example", "not a Matrix ID"),
        ("bob@b.example extra", "not a Matrix ID"),
        ("https://matrix.to/#/!room:b.example x", "not a Matrix ID"),
    ];
    let too_long = format!("{longest}x");
    let typed: Vec<&str> = names.iter().map(|(typed, _)| *typed).collect();
    let found = page.ask(&json!({"job": "names", "server": "b.example", "typed": typed}));
    for (at, (typed, name)) in names.iter().enumerate() {
        assert_eq!(found[at], json!({ "name": name }), "{typed}");
    }
    let typed: Vec<&str> = wrong
        .iter()
        .map(|(typed, _)| *typed)
        .chain([too_long.as_str()])
        .collect();
    let found = page.ask(&json!({"job": "names", "server": "b.example", "typed": typed}));
    for (at, (typed, said)) in wrong.iter().chain(&[("too long", "too long")]).enumerate() {
        let error = found[at]["error"].as_str().unwrap_or_default();
        assert!(error.contains(said), "{typed}: {}", found[at]);
    }
}
