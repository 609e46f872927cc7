//! `keys`: for admins, and for nobody else.

use ruma::{OwnedServerName, user_id};
use serde_json::Value;
use vizard::{
    config::Anchor,
    pseudonym::ServerKey,
    rng::Rng,
    sealed::{DocumentDraft, HpkeKey, KeyDocument, ListedKey, fingerprint},
};

use crate::{
    steps::{handled, wait},
    world::{ALICE, World},
};

const FIELD: &str = "org.vizard.server_keys";
/// A server that is looked for over TLS in vain, and at once: the address is not public.
const PEER: &str = "127.0.0.9:1";
const DAY: u64 = 24 * 60 * 60 * 1000;

fn admins() -> World {
    World::with_settings("12", |settings| {
        settings.access.admins = vec![ALICE.try_into().unwrap()];
        settings.keys.anchor = Anchor::Federation;
    })
}

/// Says something in the direct chat; all of the answer.
fn ask(world: &World, text: &str) -> String {
    let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
    world.answer(&world.chat, asked.as_str());
    // An answer may have several parts.
    handled(world);
    world.replies(&world.chat, asked.as_str()).join("\n")
}

fn document(world: &World) -> KeyDocument {
    world.deps().keys.document().as_ref().clone()
}

/// What the bot's profile shows.
fn published(world: &World) -> Option<Value> {
    world.fake.look(|rooms| {
        let bot = rooms.users.get("@vizard:a.example")?;
        bot.profile.get(FIELD).cloned()
    })
}

/// A document of the peer, in its bot's profile. The fingerprint of its server key.
fn publish(world: &World, seed: u64, sequence: u64) -> String {
    let rng = Rng::seeded(seed);
    let (key, hpke) = (ServerKey::generate(&rng), HpkeKey::generate(&rng));
    let now = world.deps().clock.now();
    let document = DocumentDraft {
        server: &OwnedServerName::try_from(PEER).unwrap(),
        bot: user_id!("@vizard:127.0.0.9:1"),
        prefix: "_vizard_",
        sequence,
        valid_until_ts: now + 7 * DAY,
        verify_keys: std::slice::from_ref(&key),
        old_verify_keys: &[],
        hpke_keys: &[ListedKey {
            key: hpke.public(),
            expires_ts: now + 30 * DAY,
        }],
    };
    let document = document.sign(now).unwrap();
    let bot = "@vizard:127.0.0.9:1";
    world.fake.set_profile(bot, FIELD, document.json().clone());
    fingerprint(key.public().as_bytes())
}

#[test]
fn who_is_no_admin_does_not_learn_of_it() {
    let world = World::new();
    for text in ["keys", "keys rotate", "help keys", "KEYS"] {
        let answer = ask(&world, text);
        assert!(answer.contains("I do not know “"), "{text}: {answer}");
        assert!(!answer.contains("Did you mean"), "{answer}");
    }
    assert!(!ask(&world, "help").contains("For admins"));
    assert_eq!(document(&world).sequence(), 1);
}

#[test]
fn own_keys_are_shown_and_replaced() {
    let world = admins();
    assert!(ask(&world, "help").contains("For admins"));
    let before = document(&world);
    let key = before.verify_keys()[0];
    let shown = ask(&world, "keys");
    for part in [
        "a.example, document 1, good until",
        &key.name(),
        &key.to_base64(),
        &fingerprint(key.as_bytes()),
        &before.hpke_keys()[0].key.name(),
        "No keys of other servers",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let answer = ask(&world, "keys rotate hpke");
    let second = document(&world);
    assert!(answer.contains("document 2"), "{answer}");
    assert_eq!(second.verify_keys(), before.verify_keys());
    assert_eq!(second.hpke_keys().len(), 2);
    ask(&world, "keys rotate server");
    let third = document(&world);
    assert_ne!(third.verify_keys(), before.verify_keys());
    assert_eq!(third.hpke_keys().len(), 2);
    assert!(third.signers().contains(&key), "the former one vouches");
    ask(&world, "keys rotate");
    let fourth = document(&world);
    assert_eq!((fourth.sequence(), fourth.hpke_keys().len()), (4, 3));
    assert!(ask(&world, "keys").contains("former"));
    wait(&world, "it is published", |world| {
        published(world).as_ref() == Some(fourth.json())
    });
}

#[test]
fn keys_are_signed_anew_on_schedule() {
    let world = admins();
    wait(&world, "it is published", |world| {
        published(world).is_some()
    });
    assert_eq!(published(&world).unwrap()["sequence"], 1);
    // Half of a document's seven days are over; nobody says anything.
    let deps = world.deps();
    deps.clock.advance(std::time::Duration::from_hours(4 * 24));
    wait(&world, "the next one is", |world| {
        published(world).unwrap()["sequence"] == 2
    });
    assert_eq!(published(&world).as_ref(), Some(document(&world).json()));
}

#[test]
fn a_peer_that_was_installed_anew_is_accepted_again() {
    let world = admins();
    let fetch = format!("keys fetch {PEER}");
    let answer = ask(&world, &fetch);
    assert!(
        answer.contains("no key document") && answer.contains("not public"),
        "{answer}"
    );
    let first = publish(&world, 1, 5);
    let answer = ask(&world, &fetch);
    assert!(
        answer.contains("accepted and pinned") && answer.contains(&first),
        "{answer}"
    );
    assert!(answer.contains("NOT ANCHORED"), "{answer}");
    let shown = ask(&world, "keys");
    assert!(
        shown.contains("127.0.0.9:1, document 5") && shown.contains(&first),
        "{shown}"
    );

    let second = publish(&world, 2, 1);
    let answer = ask(&world, &fetch);
    assert!(answer.contains("older keys than before"), "{answer}");
    assert!(ask(&world, "keys").contains(&first));
    let answer = ask(&world, &format!("keys accept {PEER}"));
    assert!(
        answer.contains("is forgotten") && answer.contains(&second),
        "{answer}"
    );
    let shown = ask(&world, "keys");
    assert!(
        shown.contains(&second) && !shown.contains(&first),
        "{shown}"
    );
    for (text, said) in [
        ("keys accept @b:b.example", "not a server name"),
        ("keys fetch A.example", "this server itself"),
        ("keys rotate everything", "Please write"),
    ] {
        let answer = ask(&world, text);
        assert!(answer.contains(said), "{text}: {answer}");
    }
}
