//! Room keys of strangers: some are kept, and those of members are not touched.

use matrix_sdk_crypto::store::CryptoStore as _;
use serde_json::json;

use crate::{
    fake::{Keys, faults::Fault},
    member::Member,
    steps::{ghosts, handled},
    world::{BOB, World},
};

const MALLORY: &str = "@mallory:c.example";
/// As many as are kept of strangers, and some.
const KEYS: usize = 70;

/// How many room keys the ghost has of rooms of which it is told, and of others.
fn kept(world: &World) -> (usize, usize) {
    let (ghost, deps) = (ghosts(world, &world.room).remove(0), world.deps());
    world.ask(async {
        let id = deps.store.portal_ids().await.unwrap()[0];
        let portal = deps.portals.get(id).await.unwrap();
        let actor = deps.ghost(&portal);
        assert_eq!(actor.user, ghost);
        deps.e2ee.sync(&actor).await.unwrap();
        let keys = deps.store.crypto(&actor.user, &actor.device.unwrap());
        let keys = keys.get_inbound_group_sessions().await.unwrap();
        let (ours, others): (Vec<_>, Vec<_>) =
            keys.iter().partition(|key| key.room_id() == portal.room);
        (ours.len(), others.len())
    })
}

#[test]
fn members_keys_are_kept_whoever_floods_a_device() {
    let mut world = World::with_keys(Keys::Kept);
    let bob = Member::new(&world, BOB, "BOBS");
    let mallory = Member::new(&world, MALLORY, "MALLORYS");
    let room = world.room.clone();
    // The first ones come before anything of theirs was heard.
    let first = {
        bob.gives_key(&world, &room, &room, true);
        let text = json!({"msgtype": "m.text", "body": "the oldest key"});
        bob.seals(&world, &room, "m.room.message", &text)
    };
    for _ in 1..KEYS {
        bob.gives_key(&world, &room, &room, true);
    }
    // That it is not told who is in the room makes nobody there a stranger.
    world.fake.fail_next("members", Fault::Nonsense);
    assert_eq!(kept(&world), (KEYS, 0), "a member's all stay");
    for number in 0..KEYS {
        let elsewhere = format!("!elsewhere{number}:c.example");
        mallory.gives_key(&world, &elsewhere, &room, true);
    }
    assert_eq!(kept(&world), (KEYS, 64), "a stranger's newest stay");
    for _ in 0..KEYS {
        mallory.gives_key(&world, &room, &room, true);
    }
    assert_eq!(kept(&world).0 + kept(&world).1, KEYS + 64);
    // The oldest of the member's opens what it is for.
    world
        .fake
        .send(BOB, &room, "m.room.encrypted", first)
        .unwrap();
    world.goes_on();
    handled(&world);
    let said = world.fake.messages(&world.portal);
    assert!(said.iter().any(|(_, body)| body == "the oldest key"));
}
