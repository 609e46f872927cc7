//! A room is replaced by another one: nothing that was said in either is lost, and who forgot one has no new mask in the other.

use ruma::OwnedRoomId;
use serde_json::json;
use vizard::store::{Portal, PortalState};

use crate::{
    fake::faults::Fault,
    steps::{command, count, ghosts, handled, wait},
    world::{ALICE, BOB, World},
};

/// A room that says that it replaced another one.
fn replacing(world: &World, old: &str, name: &str) -> OwnedRoomId {
    let body = json!({
        "preset": "public_chat", "name": name,
        "creation_content": {"predecessor": {"room_id": old}},
    });
    world.fake.create_room(BOB, &body).unwrap()
}

/// The same, and the old one says so too.
fn successor(world: &World, name: &str) -> OwnedRoomId {
    let new = replacing(world, &world.room, name);
    let tombstone = json!({"body": "moved", "replacement_room": new});
    world
        .fake
        .send_state(BOB, &world.room, "m.room.tombstone", "", tombstone)
        .unwrap();
    handled(world);
    new
}

fn portal(world: &World) -> Portal {
    let deps = world.deps();
    let id = world.ask(deps.store.portal_ids()).unwrap()[0];
    Portal::clone(&*world.ask(deps.portals.get(id)).unwrap())
}

fn ask(world: &World, text: &str) -> String {
    let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
    world.answer(&world.chat, asked.as_str())
}

/// Waits until the bot or the host says this in a room, at first or later.
fn hears(world: &World, room: &str, part: &str) {
    wait(world, part, |world| {
        let events = world.fake.events(room);
        events.iter().any(|event| {
            let content = &event["content"];
            [&content["body"], &content["m.new_content"]["body"]]
                .iter()
                .any(|body| body.as_str().is_some_and(|body| body.contains(part)))
        })
    });
}

#[test]
fn what_was_said_before_the_move_comes_after_it() {
    let world = World::new();
    let new = successor(&world, "New tearoom").to_string();
    world.fake.fail_next("join", Fault::Delay(100_000));
    // Four seconds of the test's time.
    world.fake.fail_next("leave", Fault::Delay(1_000_000));
    command(&world, "!vizard follow");
    world.fake.hold();
    let say = |text: &str| {
        assert_eq!(ghosts(&world, &world.room).len(), 1);
        world.fake.text(BOB, &world.room, text).unwrap()
    };
    say("before the join");
    wait(&world, "the ghost is in the new room", |world| {
        ghosts(world, &new).len() == 1
    });
    let last = say("before the departure");
    world
        .fake
        .send_state(BOB, &world.room, "m.room.name", "", json!({"name": "Old"}))
        .unwrap();
    wait(&world, "the portal leads there", |world| {
        portal(world).room == new.as_str()
    });
    world.fake.release();
    for text in ["before the join", "before the departure"] {
        wait(&world, text, |world| {
            count(world, &world.portal, BOB, text) == 1
        });
    }
    handled(&world);
    wait(&world, "nothing more comes from there", |world| {
        portal(world).moved.is_none()
    });
    let name = world.fake.state_of(&world.portal, "m.room.name", "");
    assert_eq!(name.unwrap()["name"], "New tearoom");
    // Nobody is there any more, and nothing that comes again is shown again.
    assert!(ghosts(&world, &world.room).is_empty());
    world.fake.duplicate(&last);
    world.fake.text(BOB, &new, "in the new room").unwrap();
    wait(&world, "the new room is heard", |world| {
        count(world, &world.portal, BOB, "in the new room") == 1
    });
    handled(&world);
    assert_eq!(count(&world, &world.portal, BOB, "before the departure"), 1);
}

/// Another user's ghost may still be there.
#[test]
fn who_was_outside_the_old_room_hears_nothing_more_of_it() {
    let world = World::new();
    let new = successor(&world, "New tearoom").to_string();
    let ghost = ghosts(&world, &world.room).remove(0);
    world.fake.kick(BOB, &world.room, &ghost).unwrap();
    handled(&world);
    command(&world, "!vizard follow");
    wait(&world, "it is in the new room", |world| {
        portal(world).room == new.as_str() && portal(world).state == PortalState::Joined
    });
    assert_eq!(portal(&world).moved, None);
}

/// What is said in the new room before it is known as the portal's is looked for, whatever fails in between.
#[test]
fn what_was_said_meanwhile_in_the_new_room_is_shown() {
    let world = World::new();
    let new = successor(&world, "New tearoom").to_string();
    world.fake.fail_next("leave", Fault::Delay(100_000));
    command(&world, "!vizard follow");
    wait(&world, "the ghost is in the new room", |world| {
        ghosts(world, &new).len() == 1
    });
    for _ in 0..4 {
        world.fake.fail_next("send_state", Fault::ErrorBefore);
    }
    world.fake.text(BOB, &new, "welcome").unwrap();
    wait(&world, "it is shown", |world| {
        count(world, &world.portal, BOB, "welcome") == 1
    });
}

fn forget(world: &World, which: &str) {
    ask(world, &format!("forget {which}"));
    let asked = world.fake.text(ALICE, &world.chat, "forget confirm");
    asked.unwrap();
    wait(world, "it is forgotten", |world| {
        world
            .ask(world.deps().store.portal_ids())
            .unwrap()
            .is_empty()
    });
}

#[test]
fn who_forgot_a_room_has_no_new_mask_in_what_replaces_it() {
    let world = World::new();
    // Known before, and learnt when somebody asks for it.
    let known = successor(&world, "Known tearoom").to_string();
    forget(&world, "Tearoom");
    ask(&world, &format!("join {known} b.example"));
    hears(
        &world,
        &world.chat,
        "You forgot your pseudonym in this room",
    );
    let later = replacing(&world, &world.room, "Later tearoom").to_string();
    ask(&world, &format!("join {later} b.example"));
    let words = "This room replaces one in which you forgot your pseudonym";
    hears(&world, &world.chat, words);
    wait(&world, "nobody is there", |world| {
        ghosts(world, &later).is_empty()
    });
    assert!(ghosts(&world, &known).is_empty());
}

#[test]
fn nor_in_what_it_replaced() {
    let world = World::new();
    let new = successor(&world, "New tearoom").to_string();
    command(&world, "!vizard follow");
    wait(&world, "it went along", |world| {
        portal(world).room == new.as_str() && ghosts(world, &new).len() == 1
    });
    hears(&world, &world.portal, "joined as");
    forget(&world, "1");
    ask(&world, &format!("join {} b.example", world.room));
    hears(
        &world,
        &world.chat,
        "You forgot your pseudonym in this room",
    );
    assert!(ghosts(&world, &world.room).is_empty());
}

/// Who has been in the new room behind another mask keeps that one.
#[test]
fn an_old_mask_in_the_new_room_is_no_new_one() {
    let world = World::new();
    let new = replacing(&world, &world.room, "Annex").to_string();
    crate::steps::join(&world, ALICE, &world.chat, &new);
    wait(&world, "a ghost is in the annex", |world| {
        ghosts(world, &new).len() == 1
    });
    handled(&world);
    ask(&world, "forget Tearoom");
    world
        .fake
        .text(ALICE, &world.chat, "forget confirm")
        .unwrap();
    wait(&world, "it is forgotten", |world| {
        world.ask(world.deps().store.portal_ids()).unwrap().len() == 1
    });
    ask(&world, "leave Annex");
    wait(&world, "it left the annex", |world| {
        ghosts(world, &new).is_empty()
    });
    hears(&world, &world.chat, "`rejoin` brings you back");
    let joined = || {
        let events = world.fake.events(&world.chat);
        let now = events
            .iter()
            .map(|event| &event["content"]["m.new_content"]["body"]);
        now.filter(|body| {
            body.as_str()
                .is_some_and(|body| body.starts_with("joined as"))
        })
        .count()
    };
    let before = joined();
    ask(&world, "rejoin Annex");
    wait(&world, "it is back", |_| joined() > before);
    assert_eq!(ghosts(&world, &new).len(), 1);
}
