//! Who gets the keys of what ghosts say, and who gets none any more.

use std::{collections::HashSet, time::Duration};

use ruma::RoomId;
use serde_json::{Value, json};
use vizard::{
    invite::whisper,
    rewrite::Scrubbed,
    store::{TellTask, Where},
};

use crate::{
    fake::Keys,
    member::{Member, keys_given},
    secrecy::{encrypt, ours, say},
    steps::{enter, ghosts, handled, wait},
    world::{ALICE, BOB, World},
};

/// The sessions of what the ghosts said, in order.
fn sessions(world: &World) -> Vec<String> {
    let said = ours(world, &world.room, "m.room.encrypted");
    let session = |event: &Value| event["content"]["session_id"].as_str().unwrap().to_owned();
    said.iter().map(session).collect()
}

fn given(world: &World, device: &str) -> usize {
    let given = keys_given(world);
    given
        .get(&(BOB.to_owned(), device.to_owned()))
        .copied()
        .unwrap_or(0)
}

#[test]
fn a_device_that_was_logged_out_gets_no_later_key() {
    let mut world = World::with_keys(Keys::Kept);
    let (one, two) = ("ONE", "TWO");
    // So that the key is still taken for one that is shared.
    let clock = world.hurry(1);
    let _bob = [one, two].map(|device| Member::unsigned(&world, BOB, device));
    encrypt(&world);
    handled(&world);
    for text in ["first", "second"] {
        say(&world, text).unwrap();
    }
    assert_eq!((given(&world, one), given(&world, two)), (1, 1));
    world.fake.log_out(BOB, two);
    clock.advance(Duration::from_secs(6));
    say(&world, "third").unwrap();
    let sessions = sessions(&world);
    assert_eq!(sessions[0], sessions[1]);
    assert_ne!(sessions[1], sessions[2], "the device reads on");
    assert_eq!((given(&world, one), given(&world, two)), (2, 1));
}

#[test]
fn who_comes_back_with_another_device_reads_with_it() {
    let mut world = World::with_keys(Keys::Kept);
    // What is done here takes less than the time for which a sync is believed.
    world.hurry(1);
    let _old = Member::unsigned(&world, BOB, "OLD");
    encrypt(&world);
    handled(&world);
    say(&world, "first").unwrap();
    assert_eq!(given(&world, "OLD"), 1);
    // While he is away nobody hears of his devices, and his room key is gone or not.
    for (device, said_meanwhile) in [("NEW", true), ("NEWER", false)] {
        world.fake.leave(BOB, &world.room).unwrap();
        handled(&world);
        world.fake.log_out(BOB, "OLD");
        let mut bob = Member::unsigned(&world, BOB, device);
        if said_meanwhile {
            say(&world, "he is away").unwrap();
        }
        let deps = world.deps();
        let id = world.ask(deps.store.portal_ids()).unwrap()[0];
        let portal = world.ask(deps.portals.get(id)).unwrap();
        world.ask(deps.e2ee.sync(&deps.ghost(&portal))).unwrap();
        world.fake.join(BOB, &world.room).unwrap();
        handled(&world);
        say(&world, device).unwrap();
        assert_eq!(given(&world, device), 1, "{device}");
        let read = bob.reads(&world, &world.room);
        assert_eq!(read.len(), 1, "{read:?}");
    }
}

/// The bot has just said something in their chat, so it is known who is there; and their invite is not heard of yet.
#[test]
fn who_is_asked_back_into_the_chat_reads_why() {
    let world = World::with_keys(Keys::Kept);
    let mut alice = Member::unsigned(&world, ALICE, "HERS");
    let algorithm = json!({"algorithm": "m.megolm.v1.aes-sha2"});
    let kind = "m.room.encryption";
    let set = world
        .fake
        .send_state(ALICE, &world.chat, kind, "", algorithm);
    set.unwrap();
    handled(&world);
    world.fake.leave(ALICE, &world.chat).unwrap();
    handled(&world);
    let deps = world.deps();
    let chat = <&RoomId>::try_from(world.chat.as_str()).unwrap();
    let text = Scrubbed::notice("nobody is here");
    let said = deps.say(&deps.bot, chat, &text, "source", "test", 0);
    world.ask(said).unwrap();
    world.fake.hold();
    let task = TellTask {
        portal: world.ask(deps.store.portal_ids()).unwrap()[0],
        inviter: BOB.try_into().unwrap(),
        place: Where::There,
        room: None,
    };
    world.ask(whisper::run(&deps, &task)).unwrap();
    assert_eq!(world.fake.membership(chat, ALICE).unwrap(), "invite");
    let read = alice.reads(&world, &world.chat);
    assert!(
        read.iter()
            .any(|(_, text)| text.contains("has invited you")),
        "{read:?}"
    );
    world.fake.release();
}

#[test]
fn three_ghosts_speak_at_once_with_two_places_in_memory() {
    const EACH: usize = 8;
    let world = World::with_all(Keys::Kept, |settings| settings.encryption.machines = 2);
    for (user, name) in [("@carol:a.example", "Carol"), ("@dave:a.example", "Dave")] {
        world.fake.user(user, name);
        enter(&world, user, &world.room);
    }
    wait(&world, "three ghosts are there", |world| {
        ghosts(world, &world.room).len() == 3
    });
    let mut bob = Member::new(&world, BOB, "BOBS");
    encrypt(&world);
    handled(&world);
    let deps = world.deps();
    world.ask(async {
        let mut all = Vec::new();
        for id in deps.store.portal_ids().await.unwrap() {
            let (portal, deps) = (deps.portals.get(id).await.unwrap(), deps.clone());
            all.push(tokio::spawn(async move {
                let ghost = deps.ghost(&portal);
                for number in 0..EACH {
                    let (text, source) = (format!("{number}"), format!("source {number}"));
                    let text = Scrubbed::notice(&text);
                    deps.say(&ghost, &portal.room, &text, &source, "test", 0)
                        .await
                        .unwrap();
                }
            }));
        }
        for one in all {
            one.await.unwrap();
        }
    });
    let read = bob.reads(&world, &world.room);
    for ghost in ghosts(&world, &world.room) {
        let said = read.iter().filter(|(sender, _)| *sender == ghost);
        let said: Vec<_> = said.map(|(_, body)| body.clone()).collect();
        let expected: Vec<_> = (0..EACH).map(|number| number.to_string()).collect();
        assert_eq!(said, expected);
    }
    // Two messages of one step would begin alike: version, index, ciphertext.
    let said = ours(&world, &world.room, "m.room.encrypted");
    let steps: HashSet<_> = said
        .iter()
        .map(|event| {
            let content = &event["content"];
            let head = content["ciphertext"].as_str().unwrap()[..8].to_owned();
            (content["session_id"].to_string(), head)
        })
        .collect();
    assert_eq!(steps.len(), 3 * EACH);
}
