//! A hole that is larger than `relay.gap_limit` is filled in part, and the portal says so, once.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use ruma::UserId;

use crate::{
    fake::{PATIENCE, faults::Fault},
    secrecy::ours,
    steps::{count, handled, tell_database, wait},
    world::{ALICE, BOB, World},
};

fn told(world: &World) -> Vec<String> {
    let said = world.fake.messages(&world.portal);
    said.into_iter()
        .map(|(_, body)| body)
        .filter(|body| body.contains("relay.gap_limit"))
        .collect()
}

#[test]
fn what_is_not_fetched_is_told_once() {
    let small = |config: &mut vizard::config::Config| config.relay.gap_limit = 60;
    let mut world = World::with_settings("12", small);
    handled(&world);
    world.kill();
    for number in 0..300 {
        world
            .fake
            .text(BOB, &world.room, &format!("missed {number}"))
            .unwrap();
    }
    for number in 0..100 {
        world
            .fake
            .text(ALICE, &world.portal, &format!("unsent {number}"))
            .unwrap();
    }
    world.fake.lose_pushes();
    world.start(small);
    wait(&world, "the newest is shown", |world| {
        count(world, &world.portal, BOB, "missed 299") == 1
    });
    world.goes_on();
    let first = told(&world);
    assert_eq!(first.len(), 2, "{first:?}");
    assert!(
        first
            .iter()
            .any(|text| text.contains("240 older events") && text.contains("of this room")),
        "{first:?}"
    );
    assert!(first.iter().any(|text| text.contains("40 older events") && text.contains("did not go to the room")), "{first:?}");
    assert!(
        first.iter().all(|text| text.contains("At most 60")),
        "{first:?}"
    );

    // No later look fetches what was given up, or tells it again.
    for _ in 0..2 {
        world.kill();
        world.start(|_| {});
        world.goes_on();
    }
    assert_eq!(told(&world), first);
    for number in 0..300 {
        let shown = count(&world, &world.portal, BOB, &format!("missed {number}"));
        assert_eq!(shown, usize::from(number >= 240), "missed {number}");
    }
    for number in 0..100 {
        let sent = count(&world, &world.room, ALICE, &format!("unsent {number}"));
        assert_eq!(sent, usize::from(number >= 40), "unsent {number}");
    }
}

#[test]
fn a_hole_within_the_limit_is_filled_without_a_word() {
    let mut world = World::new();
    handled(&world);
    world.kill();
    for number in 0..150 {
        world
            .fake
            .text(BOB, &world.room, &format!("missed {number}"))
            .unwrap();
    }
    world.fake.lose_pushes();
    world.start(|_| {});
    for number in 0..150 {
        wait(&world, "all are shown", |world| {
            count(world, &world.portal, BOB, &format!("missed {number}")) == 1
        });
    }
    world.goes_on();
    assert!(told(&world).is_empty());
}

/// Looking takes a while, in which somebody always says something.
#[test]
fn a_room_in_which_all_talk_is_told_too() {
    let small = |config: &mut vizard::config::Config| config.relay.gap_limit = 60;
    let mut world = World::with_settings("12", small);
    handled(&world);
    world.kill();
    for number in 0..300 {
        let text = format!("missed {number}");
        world.fake.text(BOB, &world.room, &text).unwrap();
    }
    world.fake.lose_pushes();
    for _ in 0..2_000 {
        world.fake.fail_next("messages", Fault::Delay(25_000));
    }
    world.start(small);
    let began = Instant::now();
    let mut said = 0;
    while told(&world).is_empty() {
        assert!(began.elapsed() < PATIENCE, "it looks and looks");
        let text = format!("talk {said}");
        world.fake.text(BOB, &world.room, &text).unwrap();
        said += 1;
        // Two in each page of a look, and far fewer in a look than are fetched.
        sleep(Duration::from_millis(50));
    }
    world.fake.forget_faults();
    handled(&world);
    for number in 0..said {
        let text = format!("talk {number}");
        wait(&world, "all of the talk is shown", |world| {
            count(world, &world.portal, BOB, &text) == 1
        });
    }
    assert_eq!(told(&world).len(), 1);
}

/// A homeserver shows what was redacted empty, so only its copy in the inbox tells what it was.
#[test]
fn what_was_fetched_and_sent_before_a_crash_can_be_redacted() {
    let mut world = World::new();
    handled(&world);
    world.kill();
    let said = world.fake.text(ALICE, &world.portal, "regretted").unwrap();
    world.fake.lose_pushes();
    // It arrives, and Vizard does not hear of it.
    for _ in 0..1_000 {
        world.fake.fail_next("send", Fault::DropAfter);
    }
    world.start(|_| {});
    wait(&world, "it arrives", |world| {
        count(world, &world.room, ALICE, "regretted") == 1
    });
    world.kill();
    world.fake.forget_faults();
    world.fake.redact(ALICE, &world.portal, &said).unwrap();
    world.start(|_| {});
    wait(&world, "it is redacted", |world| {
        count(world, &world.room, ALICE, "regretted") == 0
    });
    world.goes_on();
    let notices = world.fake.messages(&world.portal);
    assert!(
        !notices
            .iter()
            .any(|(_, text)| text.contains("is not known here")),
        "{notices:?}"
    );
    wait(&world, "nothing is left", |world| {
        world.ask(world.deps().store.inbox_len()).unwrap() == 0
    });
}

/// It was taken back in time: not even a redacted message of it is in the room.
#[test]
fn what_was_fetched_and_not_sent_before_it_was_redacted_is_not_sent() {
    let mut world = World::new();
    handled(&world);
    world.kill();
    let slip = world.fake.text(ALICE, &world.portal, "a slip").unwrap();
    world.fake.text(ALICE, &world.portal, "no slip").unwrap();
    world.fake.lose_pushes();
    world.fake.break_rooms(&[&world.room]);
    let before = world.fake.count("send");
    world.start(|_| {});
    wait(&world, "it is stored, and on its way", |world| {
        world.inbox() > 0 && world.fake.count("send") > before
    });
    world.kill();
    world.fake.break_rooms(&[]);
    world.fake.redact(ALICE, &world.portal, &slip).unwrap();
    world.start(|_| {});
    wait(&world, "the other one arrives", |world| {
        count(world, &world.room, ALICE, "no slip") == 1
    });
    world.goes_on();
    let said = ours(&world, &world.room, "m.room.message");
    let said: Vec<_> = said.iter().map(|event| &event["content"]["body"]).collect();
    assert_eq!(said, ["out 1", "no slip", "out 2"]);
    let notices = world.fake.messages(&world.portal);
    let unsent = |(_, text): &(String, String)| text.starts_with("Not sent:");
    assert!(!notices.iter().any(unsent), "{notices:?}");
}

/// Whether Alice's guard is on.
fn is_guarded(world: &World) -> bool {
    let deps = world.deps();
    let alice = UserId::parse(ALICE).unwrap();
    let user = world.ask(deps.store.user(&alice)).unwrap();
    user.is_none_or(|user| user.guard)
}

/// What was held is known to be before anything changes, also if both were fetched.
#[test]
fn what_was_held_is_not_sent_by_the_command_after_it() {
    let mut world = World::new();
    handled(&world);
    world.kill();
    let held = world.fake.text(ALICE, &world.portal, "I am alice").unwrap();
    let command = "!vizard guard off";
    world.fake.text(ALICE, &world.portal, command).unwrap();
    world.fake.lose_pushes();
    // Nothing is known to be handled.
    tell_database(
        &world,
        "CREATE TRIGGER full BEFORE INSERT ON link_segments BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    world.start(|_| {});
    let question = world.answer(&world.portal, held.as_str());
    assert!(question.starts_with("Held back"), "{question}");
    let began = Instant::now();
    while is_guarded(&world) && began.elapsed() < Duration::from_millis(500) {
        sleep(Duration::from_millis(5));
    }
    world.kill();
    tell_database(&world, "DROP TRIGGER full");
    world.start(|_| {});
    wait(&world, "the command is obeyed", |world| !is_guarded(world));
    world.goes_on();
    assert_eq!(count(&world, &world.room, ALICE, "I am alice"), 0);
    let answers = world.replies(&world.portal, held.as_str());
    assert_eq!(answers.len(), 1, "{answers:?}");
}
