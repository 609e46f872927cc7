//! `seal` and `verify`, with the documents of the test vectors.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use ruma::{OwnedUserId, room_id, server_name, user_id};
use serde_json::{Value, json};
use vizard::{
    pseudonym::{Mapping, Namespace, SenderKey, ServerKey, prove},
    rng::Rng,
    sealed::{self, DocumentDraft, HpkeKey, HpkeKeys, Kind, ListedKey, SealedAddress, Target},
};

use super::Sandbox;

const DAY: u64 = 24 * 60 * 60 * 1000;

/// B, whose key document is in `b.json`, and a ghost of it.
struct World {
    sandbox: Sandbox,
    server_key: ServerKey,
    hpke: HpkeKey,
    sender: SenderKey,
    ghost: OwnedUserId,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the binary asks the machine's clock too"
)]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

impl World {
    fn new() -> Self {
        let rng = Rng::seeded(1);
        let (server_key, hpke) = (ServerKey::generate(&rng), HpkeKey::generate(&rng));
        let sender = SenderKey::generate(&rng);
        let server = server_name!("b.example");
        let namespace = Namespace::new(server, "_vizard_", "vizard").unwrap();
        let document = DocumentDraft {
            server,
            bot: namespace.bot(),
            prefix: "_vizard_",
            sequence: 1,
            valid_until_ts: now() + 7 * DAY,
            verify_keys: std::slice::from_ref(&server_key),
            old_verify_keys: &[],
            hpke_keys: &[ListedKey {
                key: hpke.public(),
                expires_ts: now() + 30 * DAY,
            }],
        };
        let document = document.sign(now()).unwrap();
        let sandbox = Sandbox::new();
        sandbox.write("b.json", &document.json().to_string());
        Self {
            ghost: namespace.ghost(&sender.id()),
            sandbox,
            server_key,
            hpke,
            sender,
        }
    }

    fn opens(&self, text: &str, inviter: &SenderKey) -> Option<sealed::Opened> {
        let address = SealedAddress::parse(text.trim()).unwrap();
        let keys = HpkeKeys::new(vec![self.hpke.clone()]);
        let server = server_name!("b.example");
        let inviter = inviter.id().into();
        sealed::open(
            &address,
            server,
            &keys,
            room_id!("!room:a.example"),
            &inviter,
        )
        .ok()
    }

    fn verify(&self, value: &Value, args: &[&str]) -> (i32, String) {
        self.sandbox.write("given.json", &value.to_string());
        let ran = self
            .sandbox
            .run(&[&["verify", "given.json"], args].concat());
        (ran.status, ran.out + &ran.err)
    }
}

#[test]
fn seals_for_a_room_and_inviter() {
    let world = World::new();
    let inviter = SenderKey::generate(&Rng::seeded(9));
    let ghost = format!("@_vizard_{}:a.example", inviter.id().to_localpart());
    let to_key = inviter.id().to_base64();
    for named in [&ghost, &to_key] {
        let ran = world.sandbox.run(&[
            "seal",
            "@bob:b.example",
            "--keys",
            "b.json",
            "--room",
            "!room:a.example",
            "--inviter",
            named,
        ]);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(ran.out.lines().count(), 1);
        assert!(
            ran.err
                .contains("sealed for b.example, for this room and inviter alone")
        );
        assert!(ran.err.contains(&world.server_key.id()), "{}", ran.err);
        let opened = world.opens(&ran.out, &inviter).unwrap();
        assert_eq!(opened.kind, Kind::Bound);
        assert_eq!(
            opened.target,
            Target::User(user_id!("@bob:b.example").to_owned())
        );
        assert!(opened.expires_ts > now() + 6 * DAY && opened.expires_ts < now() + 8 * DAY);
        assert!(world.opens(&ran.out, &world.sender).is_none());
    }
}

#[test]
fn seals_for_whoever_gets_it() {
    let world = World::new();
    let seal = ["seal", "@bob:b.example", "--keys", "b.json", "--days", "30"];
    let ran = world.sandbox.run(&seal);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.err
            .contains("for whoever gets it; works once, for 30 days")
    );
    let opened = world.opens(&ran.out, &world.sender).unwrap();
    assert_eq!(opened.kind, Kind::Contact);
    assert!(opened.expires_ts > now() + 29 * DAY);
    let again = world.sandbox.run(&seal);
    assert_ne!(again.out, ran.out);
}

#[test]
fn says_what_is_wrong_with_what_was_typed() {
    let world = World::new();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vectors/key-document.json");
    world.sandbox.write("long.json", &" ".repeat(20_000));
    let mut forged: Value = serde_json::from_str(&world.sandbox.read("b.json")).unwrap();
    forged["sequence"] = json!(2);
    world.sandbox.write("forged.json", &forged.to_string());
    let room = ["--room", "!r:a.example", "--inviter"];
    for (args, said) in [
        (
            &["@bob:c.example", "--keys", "b.json"][..],
            "key document of another server",
        ),
        (&["bob", "--keys", "b.json"], "is not a Matrix ID"),
        (
            &["@bob:b.example", "--keys", "none.json"],
            "cannot read none.json",
        ),
        (&["@bob:b.example", "--keys", "long.json"], "longer than"),
        (
            &["@bob:b.example", "--keys", "forged.json"],
            "not by this key over this content",
        ),
        (
            &["@bob:b.example", "--keys", vectors.to_str().unwrap()],
            "does not belong there",
        ),
        (
            &[
                "@bob:b.example",
                "--keys",
                "b.json",
                "--room",
                "!r:a.example",
            ],
            "--inviter",
        ),
        (
            &[
                "@bob:b.example",
                "--keys",
                "b.json",
                room[0],
                "r",
                room[2],
                "x",
            ],
            "not a room ID",
        ),
        (
            &[
                "@bob:b.example",
                "--keys",
                "b.json",
                room[0],
                room[1],
                room[2],
                "@a:a.example",
            ],
            "neither the Matrix ID of a ghost nor a key",
        ),
        (
            &["@bob:b.example", "--keys", "b.json", "--days", "0"],
            "--days",
        ),
    ] {
        let ran = world.sandbox.run(&[&["seal"], args].concat());
        assert_eq!(ran.status, 2, "{args:?}: {ran:?}");
        assert!(ran.err.contains(said), "{said:?} in {}", ran.err);
        assert_eq!(ran.out, "");
    }
}

#[test]
fn verifies_mappings() {
    let world = World::new();
    let room = room_id!("!room:a.example");
    let mapping = Mapping::sign(
        &world.sender,
        server_name!("b.example"),
        room,
        &world.server_key,
    );
    let event = json!({
        "type": "m.room.member", "room_id": room, "state_key": world.ghost, "sender": world.ghost,
        "content": { "membership": "join", "org.matrix.msc4014.mxid_mapping": mapping },
    });
    let pinned = format!(
        "{}:{}",
        world.server_key.id(),
        world.server_key.public().to_base64()
    );
    let bare_key = world.server_key.public().to_base64();
    let ghost = world.ghost.as_str();
    let given = ["--room", room.as_str(), "--ghost", ghost];
    for (value, args) in [
        (&event, &["--keys", "b.json"][..]),
        (&event, &["--server-key", &pinned]),
        (&event, &["--server-key", &bare_key]),
        (&mapping, &[&["--keys", "b.json"], &given[..]].concat()),
    ] {
        let (status, said) = world.verify(value, args);
        assert_eq!(status, 0, "{args:?}: {said}");
        assert!(
            said.contains("the Vizard of b.example vouches for it"),
            "{said}"
        );
        assert!(said.contains(&world.server_key.id()), "{said}");
    }
    let (status, said) = world.verify(&event, &[]);
    assert_eq!(status, 0);
    assert!(
        said.contains("Only the ghost's own signature was checked"),
        "{said}"
    );

    // What does not hold.
    let stranger = ServerKey::generate(&Rng::seeded(66));
    let strange = stranger.public().to_base64();
    let mut moved = event.clone();
    moved["room_id"] = json!("!other:a.example");
    let mut other = event.clone();
    other["state_key"] = json!("@bob:b.example");
    let mut impostor = event.clone();
    impostor["state_key"] = json!(ghost.replace("_vizard_", "mask_"));
    let mut unsigned = event.clone();
    unsigned["content"]["org.matrix.msc4014.mxid_mapping"]["signatures"] = json!({});
    for (value, args) in [
        (&event, &["--server-key", &strange][..]),
        (&event, &["--keys", "b.json", "--room", "!other:a.example"]),
        (&moved, &["--keys", "b.json"]),
        (&moved, &[]),
        (&other, &["--keys", "b.json"]),
        (&impostor, &["--keys", "b.json"]),
        (&impostor, &["--server-key", &pinned]),
        (&unsigned, &[]),
        (&event, &["--server-key", &pinned, "--prefix", "mask_"]),
    ] {
        let (status, said) = world.verify(value, args);
        assert_eq!(status, 1, "{args:?}: {said}");
        assert!(said.contains("✗ this mapping does not hold"), "{said}");
    }
    // What cannot be checked.
    let wrong_name = format!("ed25519:aaaaaaaa:{bare_key}");
    for (value, args, said) in [
        (&mapping, &[][..], "give --ghost"),
        (
            &json!({"type": "m.room.member", "content": {}}),
            &[],
            "neither a statement",
        ),
        (&json!([]), &[], "neither a statement"),
        (&event, &["--server-key", "x"], "not a server key"),
        (&event, &["--server-key", &wrong_name], "not a server key"),
        (
            &event,
            &["--keys", "given.json"],
            "not a valid key document",
        ),
    ] {
        let (status, output) = world.verify(value, args);
        assert_eq!(status, 2, "{args:?}: {output}");
        assert!(output.contains(said), "{said:?} in {output}");
    }
}

#[test]
fn verifies_statements() {
    let world = World::new();
    let room = room_id!("!room:a.example");
    let good = prove(&world.sender, &world.ghost, room, "it was me");
    for args in [&[][..], &["--keys", "b.json"]] {
        let (status, said) = world.verify(&good, args);
        assert_eq!(status, 0, "{said}");
        assert!(
            said.contains("says, as a member of !room:a.example:\n  it was me"),
            "{said}"
        );
    }
    let mut changed = good.clone();
    changed["text"] = json!("it was not me");
    let (status, said) = world.verify(&changed, &[]);
    assert_eq!(status, 1);
    assert!(said.contains("✗ this statement does not hold"), "{said}");
    // A user of the same server who put a key at the end of the own name.
    let key = SenderKey::generate(&Rng::seeded(5));
    let name = format!("@mask_{}:b.example", key.id().to_localpart());
    let impostor = prove(
        &key,
        &OwnedUserId::try_from(name).unwrap(),
        room,
        "I am a ghost",
    );
    assert_eq!(world.verify(&impostor, &[]).0, 0);
    let (status, said) = world.verify(&impostor, &["--keys", "b.json"]);
    assert_eq!(status, 1);
    assert!(
        said.contains("not one of the pseudonyms of its server"),
        "{said}"
    );
}
