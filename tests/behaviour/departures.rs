//! Ghosts whose user leaves several portals at once do not leave at once, whatever happens to Vizard in between.

use std::{thread::sleep, time::Duration};

use serde_json::json;
use vizard::{config::Config, store::Task};

use crate::{
    fake::{Keys, faults::Fault},
    steps::{command, count, ghosts, handled, join, wait},
    world::{ALICE, BOB, World},
};

#[test]
fn a_restart_does_not_forget_that_the_first_ghost_left() {
    // Portals that are left more than ten minutes after one another are not left together.
    let mut world = World::at_pace(5, Keys::Unused, days);
    let other = world.fake.public_room(BOB, "Library").to_string();
    let second = join(&world, ALICE, &world.chat, &other);
    wait(&world, "a ghost is in the library", |world| {
        ghosts(world, &other).len() == 1
    });
    handled(&world);

    world.fake.leave(ALICE, &world.portal).unwrap();
    wait(&world, "the first ghost left", |world| {
        ghosts(world, &world.room).is_empty()
    });
    handled(&world);
    world.kill();
    world.start(days);
    world.fake.leave(ALICE, &second).unwrap();
    handled(&world);

    let deps = world.deps();
    let jobs = world.ask(deps.store.due_jobs(u64::MAX >> 2, 10)).unwrap();
    let now = deps.clock.now();
    let waiting: Vec<_> = jobs
        .iter()
        .filter(|job| matches!(job.task, Task::Leave { .. }))
        .map(|job| job.due.saturating_sub(now) / 1000)
        .collect();
    // Some time within the next days: that it is within these seconds has no chance.
    assert!(
        matches!(waiting[..], [seconds] if seconds > 5),
        "{waiting:?}"
    );
    assert_eq!(ghosts(&world, &other).len(), 1);

    // Whoever has changed their mind is back at once: the ghost never left.
    let ask = |text: &str| ask(&world, text);
    ask("rejoin Library");
    wait(&world, "she is invited to the portal again", |world| {
        world.fake.membership(&second, ALICE).as_deref() == Some("invite")
    });
    world.fake.join(ALICE, &second).unwrap();
    let went_on = world.fake.text(ALICE, &second, "I am still here");
    went_on.unwrap();
    wait(&world, "the ghost speaks", |world| {
        count(world, &other, ALICE, "I am still here") == 1
    });
    let entries = world.fake.events(&other);
    let ghost = ghosts(&world, &other).remove(0);
    let entries = entries
        .iter()
        .filter(|event| event["state_key"] == ghost.as_str());
    assert_eq!(entries.count(), 1, "it joined, and that was all");
    ask("leave Library");
    wait(&world, "it left", |world| ghosts(world, &other).is_empty());
    wait(&world, "it is on record", |world| {
        let said = world.fake.events(&world.chat);
        said.iter().any(|event| {
            let now = event["content"]["m.new_content"]["body"].as_str();
            now.is_some_and(|text| text.contains("`rejoin` brings you back"))
        })
    });
    ask("rejoin Library");
    wait(&world, "it is back", |world| {
        ghosts(world, &other).len() == 1
    });
}

/// The departure is not called off before the way back to the portal is stored.
#[test]
fn who_stays_is_invited_although_the_first_word_of_it_fails() {
    let world = World::with_settings("12", days);
    let other = world.fake.public_room(BOB, "Library").to_string();
    let second = join(&world, ALICE, &world.chat, &other);
    wait(&world, "a ghost is in the library", |world| {
        ghosts(world, &other).len() == 1
    });
    handled(&world);
    world.rests();
    // The ghost of one of them leaves at once, and the other at its time.
    for portal in [&world.portal, &second] {
        world.fake.leave(ALICE, portal).unwrap();
    }
    wait(&world, "one ghost left", |world| {
        ghosts(world, &world.room).len() + ghosts(world, &other).len() == 1
    });
    handled(&world);
    wait(&world, "the other is to leave", |world| {
        dues(world).len() == 1
    });
    let (name, room, portal) = if ghosts(&world, &other).is_empty() {
        ("Tearoom", &world.room, &world.portal)
    } else {
        ("Library", &other, &second)
    };
    // All tries of one attempt.
    for _ in 0..3 {
        world.fake.fail_next("send", Fault::ErrorBefore);
    }
    let answer = ask(&world, &format!("rejoin {name}"));
    assert!(answer.starts_with("Asking"), "{answer}");
    wait(&world, "she is invited to the portal again", |world| {
        world.fake.membership(portal, ALICE).as_deref() == Some("invite")
    });
    assert_eq!(ghosts(&world, room).len(), 1);
}

fn ask(world: &World, text: &str) -> String {
    let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
    world.answer(&world.chat, asked.as_str())
}

/// When the ghosts leave that are to leave, in milliseconds from now; negative: it is past.
pub fn dues(world: &World) -> Vec<i64> {
    let deps = world.deps();
    let jobs = world.ask(deps.store.due_jobs(u64::MAX >> 2, 10)).unwrap();
    let now = deps.clock.now();
    jobs.iter()
        .filter(|job| matches!(job.task, Task::Leave { .. }))
        .map(|job| job.due.cast_signed() - now.cast_signed())
        .collect()
}

/// Two departures that are to come, each at its time.
fn are_spread(dues: &[i64]) -> bool {
    // That they are within these seconds, or so near to each other, has no chance.
    matches!(dues, [one, other] if *one > 60_000 && (one - other).abs() > 1_000)
}

/// Far more time than a busy machine takes for a test.
pub fn days(config: &mut Config) {
    config.privacy.spread_hours = 24_000;
}

/// A world with two portals.
fn two() -> (World, String) {
    let world = World::with_settings("12", days);
    let other = world.fake.public_room(BOB, "Library").to_string();
    join(&world, ALICE, &world.chat, &other);
    wait(&world, "a ghost is in the library", |world| {
        ghosts(world, &other).len() == 1
    });
    handled(&world);
    (world, other)
}

fn both_are_there(world: &World, other: &str) -> bool {
    ghosts(world, &world.room).len() + ghosts(world, other).len() == 2
}

/// The days pass, until nobody is to leave any more.
pub fn pass(world: &World) {
    let clock = world.deps().clock;
    wait(world, "all is done", |world| {
        let dues = dues(world);
        if let Some(next) = dues.iter().copied().min().filter(|due| *due > 0) {
            clock.advance(Duration::from_millis(next.unsigned_abs()));
            world.deps().jobs.notify_one();
        }
        dues.is_empty()
    });
}

fn both_are_gone(world: &World, other: &str) -> bool {
    ghosts(world, &world.room).is_empty() && ghosts(world, other).is_empty()
}

#[test]
fn all_leave_each_at_its_time() {
    let (world, other) = two();
    let answer = ask(&world, "leave all");
    assert!(answer.contains("within the next 24000 hours"), "{answer}");
    assert!(are_spread(&dues(&world)), "{:?}", dues(&world));
    assert!(both_are_there(&world, &other));
    pass(&world);
    assert!(both_are_gone(&world, &other));
}

#[test]
fn all_are_forgotten_each_at_its_time() {
    let (world, other) = two();
    ask(&world, "forget all");
    let answer = ask(&world, "forget confirm");
    assert!(answer.contains("within the next 24000 hours"), "{answer}");
    assert!(are_spread(&dues(&world)), "{:?}", dues(&world));
    assert!(both_are_there(&world, &other));
    // That is final, and is said to be.
    for text in ["rejoin Library", "leave Library", "follow Tearoom"] {
        let answer = ask(&world, text);
        let is_final = answer.contains("is being forgotten. That is final");
        assert!(is_final, "{text}: {answer}");
    }
    assert!(ask(&world, "list").contains("being forgotten"));
    let fate = command(&world, "after all");
    assert!(fate.contains("your pseudonym is being forgotten"), "{fate}");
    assert!(both_are_there(&world, &other));
    pass(&world);
    assert!(both_are_gone(&world, &other));
    let answer = ask(&world, "list");
    assert!(answer.contains("no pseudonym"), "{answer}");
}

#[test]
fn who_was_to_leave_and_stays_is_not_forgotten_nor_leaves() {
    let (world, other) = two();
    ask(&world, "leave all");
    assert_eq!(dues(&world).len(), 2);
    let answer = ask(&world, "rejoin Library");
    assert!(answer.starts_with("Asking"), "{answer}");
    pass(&world);
    assert!(ghosts(&world, &world.room).is_empty());
    assert_eq!(ghosts(&world, &other).len(), 1);
}

/// While Vizard is away the times of both pass.
#[test]
fn who_should_have_left_while_it_was_away_leaves_at_another_time() {
    let (mut world, other) = two();
    ask(&world, "leave all");
    let clock = world.deps().clock;
    world.kill();
    clock.advance(Duration::from_hours(24_001));
    world.start(days);
    wait(&world, "both have another time", |world| {
        are_spread(&dues(world))
    });
    sleep(Duration::from_millis(100));
    assert!(both_are_there(&world, &other));
    pass(&world);
    assert!(both_are_gone(&world, &other));
}

/// The first of them cannot leave when its time comes: what it waits for passes for others of its user at the same time.
#[test]
fn who_could_not_leave_leaves_at_another_time() {
    let (world, other) = two();
    ask(&world, "leave all");
    for _ in 0..500 {
        world.fake.fail_next("leave", Fault::ErrorBefore);
    }
    let first = dues(&world).into_iter().min().unwrap().unsigned_abs();
    world.deps().clock.advance(Duration::from_millis(first));
    world.deps().jobs.notify_one();
    wait(&world, "it has another time", |world| {
        are_spread(&dues(world))
    });
    assert!(both_are_there(&world, &other));
    world.fake.forget_faults();
    pass(&world);
    assert!(both_are_gone(&world, &other));
}

/// While it was leaving nobody looked what became of its room.
#[test]
fn who_stays_is_turned_away_from_a_room_that_wants_none_by_now() {
    let (world, other) = two();
    ask(&world, "leave all");
    let policy = json!({"pseudonyms": "deny"});
    let set = world
        .fake
        .send_state(BOB, &other, "org.vizard.policy", "", policy);
    set.unwrap();
    handled(&world);
    assert!(both_are_there(&world, &other));
    ask(&world, "rejoin Library");
    wait(&world, "it left", |world| ghosts(world, &other).is_empty());
    assert_eq!(ghosts(&world, &world.room).len(), 1);
}

#[test]
fn who_cannot_be_told_leaves_all_the_same() {
    let world = World::new();
    handled(&world);
    world.fake.fail_next("send", Fault::Forbidden);
    world
        .fake
        .text(ALICE, &world.chat, "leave Tearoom")
        .unwrap();
    wait(&world, "it left", |world| {
        ghosts(world, &world.room).is_empty()
    });
    wait(&world, "all is done", |world| dues(world).is_empty());
    handled(&world);
    let said = world.fake.messages(&world.chat);
    let wrong = said
        .iter()
        .find(|(_, text)| text.contains("could not be done"));
    assert_eq!(wrong, None, "it was done");
}
