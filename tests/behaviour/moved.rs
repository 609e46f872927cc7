//! A room is replaced by another one: nothing that was said in either is lost, and who forgot one has no new mask in the other.

use std::time::Duration;

use ruma::{OwnedRoomId, RoomId, UserId};
use serde_json::json;
use vizard::store::{Portal, PortalState};

use crate::{
    departures::{days, dues, pass},
    fake::{Keys, faults::Fault},
    inviter::{self, CAROL, Inviter},
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

#[test]
fn the_old_room_is_left_although_the_homeserver_fails_at_first() {
    let world = World::new();
    let new = successor(&world, "New tearoom").to_string();
    // All tries of one attempt.
    for _ in 0..3 {
        world.fake.fail_next("leave", Fault::ErrorBefore);
    }
    command(&world, "!vizard follow");
    wait(&world, "it is in the new room", |world| {
        portal(world).room == new.as_str() && portal(world).state == PortalState::Joined
    });
    wait(&world, "it is outside the old one", |world| {
        ghosts(world, &world.room).is_empty()
    });
}

/// In the hour in which the old room was remembered it could not be left.
#[test]
fn who_leaves_the_new_room_leaves_the_old_one_too() {
    let world = World::new();
    let new = successor(&world, "New tearoom").to_string();
    for _ in 0..100_000 {
        world.fake.fail_next("leave", Fault::ErrorBefore);
    }
    command(&world, "!vizard follow");
    wait(&world, "it is in the new room", |world| {
        portal(world).room == new.as_str() && portal(world).state == PortalState::Joined
    });
    assert_eq!(ghosts(&world, &world.room).len(), 1);
    let deps = world.deps();
    let forgets = deps
        .portals
        .update(portal(&world).id, |portal| portal.moved = None);
    world.ask(forgets).unwrap();
    world.fake.forget_faults();
    world.rests();
    forget(&world, "1");
    assert!(ghosts(&world, &new).is_empty());
    assert!(ghosts(&world, &world.room).is_empty());
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
    let world = World::with_settings("12", |config| config.privacy.spread_hours = 0);
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
    let words = "This room says that it replaces one in which you forgot your pseudonym";
    hears(&world, &world.chat, words);
    wait(&world, "nobody is there", |world| {
        ghosts(world, &later).is_empty()
    });
    assert!(ghosts(&world, &known).is_empty());
}

/// How often ghosts came into a room.
fn entries(world: &World, room: &str) -> usize {
    let events = world.fake.events(room);
    let entries = events.iter().filter(|event| {
        event["content"]["membership"] == "join"
            && event["state_key"]
                .as_str()
                .is_some_and(|user| user.starts_with("@_vizard_"))
    });
    entries.count()
}

/// Anybody can make a room that says so: by when the ghost leaves they learn nothing.
#[test]
fn whoever_makes_a_room_is_not_told_what_was_forgotten() {
    let world = World::with_settings("12", days);
    forget(&world, "Tearoom");
    let later = replacing(&world, &world.room, "Later tearoom").to_string();
    let rooms = || world.fake.look(|rooms| rooms.rooms.len());
    let before = rooms();
    ask(&world, &format!("join {later} b.example"));
    hears(
        &world,
        &world.chat,
        "leaves it at some time within the next 24000 hours",
    );
    wait(&world, "it is on record", |world| {
        portal(world).state == PortalState::Leaving
    });
    // That it is within these seconds has no chance.
    assert!(matches!(dues(&world)[..], [due] if due > 60_000));
    assert_eq!(ghosts(&world, &later).len(), 1);
    // Nothing is relayed, and there is nothing to which it could be.
    world.fake.text(BOB, &later, "is anybody there").unwrap();
    handled(&world);
    assert_eq!((rooms(), portal(&world).portal_room), (before, None));
    // It is not called off either.
    let answer = ask(&world, "rejoin 1");
    assert!(answer.contains("could tell what you forgot"), "{answer}");
    assert!(!answer.contains("at once."), "{answer}");
    assert_eq!(dues(&world).len(), 1);
    assert_eq!(ghosts(&world, &later).len(), 1);
    pass(&world);
    assert!(ghosts(&world, &later).is_empty());
    assert_eq!(portal(&world).state, PortalState::Left);
    // By now it is known before the room is entered.
    ask(&world, "rejoin 1");
    hears(
        &world,
        &world.chat,
        "You forgot your pseudonym in this room",
    );
    world.rests();
    assert_eq!(entries(&world, &later), 1);
}

/// The same of an invite that was accepted: its private room is there already.
#[test]
fn nor_is_whoever_invites_into_it() {
    let world = World::with_settings("12", days);
    world.fake.user(CAROL, "Carol");
    let mut inviter = Inviter::new(&world, 1);
    let body = json!({
        "preset": "private_chat", "name": "Next",
        "creation_content": {"predecessor": {"room_id": world.room}},
    });
    inviter.room = world.fake.create_room(&inviter.id, &body).unwrap();
    let ghost = inviter.ghost_of(&world, CAROL);
    inviter.invite(&world, &ghost);
    wait(&world, "there is a portal", |world| {
        inviter::portals(world, CAROL).len() == 1
    });
    handled(&world);
    // As if the invite had not said what the room replaces.
    let (deps, carol) = (world.deps(), UserId::parse(CAROL).unwrap());
    let old = <&RoomId>::try_from(world.room.as_str()).unwrap();
    world.ask(deps.store.mark_forgotten(&carol, old)).unwrap();
    let room = inviter::portals(&world, CAROL).into_keys().next().unwrap();
    world.fake.join(CAROL, &room).unwrap();
    hears(
        &world,
        &room,
        "leaves it at some time within the next 24000",
    );
    handled(&world);
    let is_in = |world: &World| {
        let member = world.fake.membership(&inviter.room, &ghost);
        member.as_deref() == Some("join")
    };
    assert!(is_in(&world));
    let there = inviter.room.as_str();
    world.fake.text(&inviter.id, there, "welcome").unwrap();
    let sent = world.fake.text(CAROL, &room, "thank you").unwrap();
    let fate = world.answer(&room, sent.as_str());
    assert!(fate.starts_with("Not sent"), "{fate}");
    handled(&world);
    assert_eq!(count(&world, &room, CAROL, "welcome"), 0);
    assert_eq!(count(&world, there, CAROL, "thank you"), 0);
    assert!(is_in(&world));
    pass(&world);
    assert!(!is_in(&world));
    hears(&world, &room, "does not go back");
}

/// Who may say what a room was replaced by could bar its members from any other. They are asked first.
#[test]
fn the_question_names_the_rooms_that_go_with_it() {
    let world = World::new();
    let popular = world.fake.public_room(BOB, "Popular").to_string();
    let tombstone = json!({"body": "moved", "replacement_room": popular});
    let room = &world.room;
    let set = world
        .fake
        .send_state(BOB, room, "m.room.tombstone", "", tombstone);
    set.unwrap();
    let former = "!former:b.example";
    let annex = replacing(&world, former, "Annex").to_string();
    crate::steps::join(&world, ALICE, &world.chat, &annex);
    wait(&world, "a ghost is in the annex", |world| {
        ghosts(world, &annex).len() == 1
    });
    handled(&world);
    world.rests();
    for (which, named, others) in [
        ("Tearoom", &[popular.as_str()][..], &[former][..]),
        ("Annex", &[former], &[popular.as_str()]),
        ("all", &[popular.as_str(), former], &[]),
    ] {
        let answer = ask(&world, &format!("forget {which}"));
        assert!(answer.contains("Do you want to forget"), "{answer}");
        assert!(named.iter().all(|room| answer.contains(room)), "{answer}");
        assert!(!others.iter().any(|room| answer.contains(room)), "{answer}");
    }
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

/// One was banned in the new room and forgotten. Another one, in the old room, goes along no more: that would be a second one there.
#[test]
fn nor_does_an_old_mask_follow_where_another_was_forgotten() {
    let world = World::new();
    let first = portal(&world).id;
    let new = successor(&world, "New tearoom").to_string();
    crate::steps::join(&world, ALICE, &world.chat, &new);
    wait(&world, "a second ghost is in the new room", |world| {
        ghosts(world, &new).len() == 1
    });
    handled(&world);
    world.rests();
    let second = ghosts(&world, &new).remove(0);
    world.fake.ban(BOB, &new, &second).unwrap();
    handled(&world);
    ask(&world, "forget New tearoom");
    world
        .fake
        .text(ALICE, &world.chat, "forget confirm")
        .unwrap();
    let deps = world.deps();
    wait(&world, "the second is forgotten", |world| {
        world.ask(deps.store.portal_ids()).unwrap() == [first]
    });
    ask(&world, "follow Tearoom");
    hears(
        &world,
        &world.chat,
        "You forgot your pseudonym in this room",
    );
    world.rests();
    let joins = world.fake.events(&new);
    let joined = joins
        .iter()
        .filter(|event| event["content"]["membership"] == "join");
    let ours: std::collections::BTreeSet<_> = joined
        .filter_map(|event| event["state_key"].as_str())
        .filter(|user| user.starts_with("@_vizard_"))
        .collect();
    assert_eq!(ours.into_iter().collect::<Vec<_>>(), [second.as_str()]);
    // It is where it was.
    assert_eq!(portal(&world).room, world.room.as_str());
    assert_eq!(ghosts(&world, &world.room).len(), 1);
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

/// The homeserver keeps what was said there until Vizard is back.
#[test]
fn what_was_said_before_the_move_comes_after_an_outage() {
    let mut world = World::new();
    let new = successor(&world, "New tearoom").to_string();
    world.fake.fail_next("leave", Fault::Delay(500_000));
    command(&world, "!vizard follow");
    wait(&world, "the ghost is in the new room", |world| {
        ghosts(world, &new).len() == 1
    });
    world.fake.hold();
    world.fake.text(BOB, &world.room, "a last word").unwrap();
    wait(&world, "it left the old one", |world| {
        portal(world).room == new.as_str() && ghosts(world, &world.room).is_empty()
    });
    world.rests();
    let clock = world.deps().clock;
    world.kill();
    clock.advance(Duration::from_hours(2));
    world.start(|_| {});
    world.fake.release();
    wait(&world, "it is shown", |world| {
        count(world, &world.portal, BOB, "a last word") == 1
    });
    handled(&world);
    wait(&world, "nothing more comes from there", |world| {
        portal(world).moved.is_none()
    });
}

/// Every request to leave fails, until [`Fake::forget_faults`](crate::fake::Fake::forget_faults).
fn nobody_can_leave(world: &World) {
    for _ in 0..10_000 {
        world.fake.fail_next("leave", Fault::ErrorBefore);
    }
}

/// Slow enough that the tries to leave the old room are not used up, however long the machine stands still.
fn slow() -> World {
    World::at_pace(20, Keys::Unused, |_| {})
}

/// In a new room, and the old one cannot be left.
fn arrived(world: &World) -> String {
    let new = successor(world, "New tearoom").to_string();
    nobody_can_leave(world);
    command(world, "!vizard follow");
    hears(world, &world.portal, "joined as");
    assert_eq!(ghosts(world, &world.room).len(), 1);
    new
}

fn has_jobs(world: &World) -> bool {
    let deps = world.deps();
    let jobs = deps.store.due_jobs(u64::MAX >> 2, 1);
    !world.ask(jobs).unwrap().is_empty()
}

/// All that was put off is done.
fn nothing_waits(world: &World) {
    wait(world, "no job waits", |world| !has_jobs(world));
    world.rests();
}

#[test]
fn who_is_removed_while_the_old_room_cannot_be_left_stays_outside() {
    let world = slow();
    let new = arrived(&world);
    let ghost = ghosts(&world, &new).remove(0);
    world.fake.kick(BOB, &new, &ghost).unwrap();
    wait(&world, "it is outside", |world| {
        portal(world).state == PortalState::Left
    });
    world.fake.forget_faults();
    nothing_waits(&world);
    assert!(ghosts(&world, &world.room).is_empty());
    assert!(ghosts(&world, &new).is_empty());
    assert_eq!(portal(&world).state, PortalState::Left);
}

#[test]
fn who_goes_further_while_the_old_room_cannot_be_left_is_not_taken_back() {
    let world = slow();
    let second = arrived(&world);
    let third = replacing(&world, &second, "Newest tearoom").to_string();
    let tombstone = json!({"body": "moved", "replacement_room": third});
    world
        .fake
        .send_state(BOB, &second, "m.room.tombstone", "", tombstone)
        .unwrap();
    handled(&world);
    command(&world, "!vizard follow");
    hears(&world, &world.portal, "Newest tearoom. ");
    world.fake.forget_faults();
    nothing_waits(&world);
    assert_eq!(portal(&world).room, third.as_str());
    assert_eq!(ghosts(&world, &third).len(), 1);
    assert!(ghosts(&world, &second).is_empty());
    assert!(ghosts(&world, &world.room).is_empty());
}

/// It was said before the room was known as the portal's.
#[test]
fn what_was_said_in_the_new_room_does_not_wait_for_the_old_one() {
    let world = slow();
    let new = successor(&world, "New tearoom").to_string();
    for _ in 0..10_000 {
        world.fake.fail_next("state", Fault::ErrorBefore);
    }
    command(&world, "!vizard follow");
    wait(&world, "the ghost is in the new room", |world| {
        ghosts(world, &new).len() == 1
    });
    world.fake.text(BOB, &new, "welcome").unwrap();
    handled(&world);
    assert_eq!(portal(&world).room, world.room.as_str());
    // Nothing is done in between: each request needs the rooms.
    world.fake.look(|_| {
        world.fake.forget_faults();
        nobody_can_leave(&world);
    });
    hears(&world, &world.portal, "joined as");
    wait(&world, "it is shown", |world| {
        count(world, &world.portal, BOB, "welcome") == 1
    });
    assert_eq!(ghosts(&world, &world.room).len(), 1);
    assert!(has_jobs(&world), "it is still tried");
}

#[test]
fn an_old_room_that_cannot_be_left_keeps_nobody_in_the_new_one() {
    let world = slow();
    let new = successor(&world, "New tearoom").to_string();
    command(&world, "!vizard follow");
    hears(&world, &world.portal, "joined as");
    let ghost = ghosts(&world, &new).remove(0);
    nothing_waits(&world);
    // As if it had never left.
    world.fake.join(&ghost, &world.room).unwrap();
    handled(&world);
    world.fake.fail_next("leave", Fault::Delay(0));
    nobody_can_leave(&world);
    command(&world, "!vizard leave");
    hears(&world, &world.portal, "`rejoin` brings you back");
    assert_eq!(portal(&world).state, PortalState::Left);
    assert!(ghosts(&world, &new).is_empty());
    command(&world, "!vizard rejoin");
    wait(&world, "it is back", |world| {
        portal(world).state == PortalState::Joined && ghosts(world, &new).len() == 1
    });
    assert_eq!(ghosts(&world, &world.room).len(), 1);
    // It is not given up for that.
    world.fake.forget_faults();
    nothing_waits(&world);
    assert!(ghosts(&world, &world.room).is_empty());
    assert_eq!(ghosts(&world, &new).len(), 1);
    assert_eq!(portal(&world).state, PortalState::Joined);
}
