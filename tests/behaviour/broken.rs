//! Bugs: whatever panics is left out, or tried again, and all else goes on. The traps are in debug builds alone.

use std::{cell::Cell, thread::sleep, time::Duration};

use serde_json::{Value, json};
use vizard::{portal::source_in, trap};

use crate::{
    fake::Keys,
    late::Late,
    secrecy::reopens,
    steps::{command, count, handled, tell_database, wait},
    world::{ALICE, BOB, World},
};

const MISSING: &str = "Something that came from the room is missing here";
const UNSURE: &str = "This may not have been sent";

/// What the host says of it, once.
fn hears(world: &World, part: &str) {
    let times = |world: &World| {
        let said = world.fake.messages(&world.portal);
        said.iter().filter(|(_, text)| text.contains(part)).count()
    };
    wait(world, part, |world| times(world) > 0);
    assert_eq!(times(world), 1, "{part}");
}

#[test]
fn an_event_that_breaks_its_lane_is_left_out_and_told() {
    let mut world = World::new();
    trap::set("breaks when it comes");
    for (user, room) in [(BOB, &world.room), (ALICE, &world.portal)] {
        let who = user.len();
        let say = |text: &str| world.fake.text(user, room, &format!("{text} {who}"));
        say("before").unwrap();
        let event = say("breaks when it comes");
        say("after").unwrap();
        if user == ALICE {
            let told = world.answer(room, event.unwrap().as_str());
            assert!(told.starts_with(UNSURE), "{told}");
        }
    }
    hears(&world, MISSING);
    world.goes_on();
    for (user, to) in [(BOB, &world.portal), (ALICE, &world.room)] {
        let who = user.len();
        let times = |text: &str| count(&world, to, user, &format!("{text} {who}"));
        let times = ["before", "breaks when it comes", "after"].map(times);
        assert_eq!(times, [1, 0, 1], "{user}");
    }
    // And so it is in the next life.
    world.kill();
    world.start(|_| {});
    world.goes_on();
    hears(&world, MISSING);
}

#[test]
fn so_is_one_that_was_missed() {
    let mut world = World::new();
    handled(&world);
    world.kill();
    trap::set("breaks when it is fetched");
    for number in 0..10 {
        let text = match number {
            5 => "this breaks when it is fetched".to_owned(),
            _ => format!("missed {number}"),
        };
        world.fake.text(BOB, &world.room, &text).unwrap();
    }
    world.fake.lose_pushes();
    world.start(|_| {});
    world.goes_on();
    hears(&world, MISSING);
    for number in (0..10).filter(|number| *number != 5) {
        let text = format!("missed {number}");
        assert_eq!(count(&world, &world.portal, BOB, &text), 1, "{text}");
    }
}

/// How many events are stored because they were fetched.
fn copies(world: &World) -> usize {
    let store = world.deps().store;
    let entries = world.ask(store.inbox_after(0, 10_000)).unwrap();
    let fetched = entries.iter().filter_map(|entry| {
        let fetched: Value = serde_json::from_slice(&entry.body).unwrap();
        fetched[1].as_array().map(Vec::len)
    });
    fetched.sum()
}

#[test]
fn what_was_missed_is_stored_once_however_often_it_breaks_the_lane() {
    const MISSED: usize = 60;
    let mut world = World::new();
    handled(&world);
    world.kill();
    trap::set("breaks the lane again");
    for number in 0..MISSED {
        let text = match number {
            10 | 20 | 30 => format!("{number} breaks the lane again"),
            _ => format!("kept {number}"),
        };
        world.fake.text(BOB, &world.room, &text).unwrap();
    }
    world.fake.lose_pushes();
    world.start(|_| {});
    let most = Cell::new(0);
    wait(&world, "the last one is shown", |world| {
        most.set(most.get().max(copies(world)));
        count(world, &world.portal, BOB, "kept 59") == 1
    });
    assert!((1..=MISSED).contains(&most.get()), "{}", most.get());
    world.goes_on();
}

#[test]
fn a_command_that_breaks_the_chat_is_told() {
    let world = World::new();
    trap::set("breaks the chat");
    let asked = world.fake.text(ALICE, &world.chat, "join #breaks the chat");
    let told = world.answer(&world.chat, asked.unwrap().as_str());
    assert!(told.starts_with("That may not have been done"), "{told}");
    let asked = world.fake.text(ALICE, &world.chat, "list").unwrap();
    let told = world.answer(&world.chat, asked.as_str());
    assert!(told.contains("Tearoom"), "{told}");
    handled(&world);
}

#[test]
fn so_is_one_that_breaks_the_portal() {
    let mut world = World::new();
    trap::set("breaks the command");
    let told = command(&world, "!vizard whois who breaks the command");
    assert!(told.starts_with("That may not have been done"), "{told}");
    world.goes_on();
}

#[test]
fn a_job_that_breaks_is_given_up_after_a_while() {
    let mut world = World::new();
    // The command names it otherwise than the job.
    trap::set("#breaks-the-job:b.example");
    let asked = "join https://matrix.to/#/%23breaks-the-job%3Ab.example";
    world.fake.text(ALICE, &world.chat, asked).unwrap();
    wait(&world, "it is told", |world| {
        let events = world.fake.events(&world.chat);
        events.iter().any(|event| {
            let now = event["content"]["m.new_content"]["body"].as_str();
            now.is_some_and(|text| text.starts_with("That did not work: Vizard broke off at it"))
        })
    });
    world.goes_on();
    wait(&world, "nothing is left", |world| jobs(world) == 0);
}

#[test]
fn all_is_started_again_when_the_store_breaks() {
    let world = World::new();
    let deps = world.deps();
    assert!(!deps.renewed.is_cancelled());
    world.ask(deps.store.break_off());
    wait(&world, "it is to be started again", |_| {
        deps.renewed.is_cancelled()
    });
    let lost = world.ask(deps.store.push_inbox(b"{}".to_vec()));
    assert!(lost.is_err(), "nothing is acknowledged any more");
}

fn jobs(world: &World) -> usize {
    let store = world.deps().store;
    world.ask(store.due_jobs(u64::MAX >> 2, 99)).unwrap().len()
}

#[test]
fn a_job_whose_end_cannot_be_written_does_not_run_again_and_again() {
    let world = World::new();
    handled(&world);
    tell_database(
        &world,
        "CREATE TRIGGER full BEFORE DELETE ON jobs BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    let leave = world.fake.text(ALICE, &world.chat, "leave Tearoom");
    leave.unwrap();
    wait(&world, "it left", |world| {
        crate::steps::ghosts(world, &world.room).is_empty()
    });
    let before = world.fake.count("send");
    sleep(Duration::from_millis(500));
    let sends = world.fake.count("send") - before;
    assert!(sends < 10, "{sends} sends");
    assert_eq!(jobs(&world), 1);
    tell_database(&world, "DROP TRIGGER full");
    wait(&world, "it is over", |world| jobs(world) == 0);
}

/// What the portal says in the place of something else.
fn says_now(world: &World, part: &str) -> bool {
    let events = world.fake.events(&world.portal);
    events.iter().any(|event| {
        let now = event["content"]["m.new_content"]["body"].as_str();
        now.is_some_and(|body| body.contains(part))
    })
}

/// Bob says something whose key is late, which was looked for often; the world, that, and what only this test's contains.
fn long_looked_for(text: &str) -> (World, Late, String) {
    let world = World::with_keys(Keys::Kept);
    handled(&world);
    let late = Late::said(&world, &json!({"msgtype": "m.text", "body": text}));
    wait(&world, "it was looked for often", |world| {
        reopens(world).iter().all(|(_, looks)| *looks > 6)
    });
    let event: Value = world.fake.event(&late.event).unwrap();
    let session = event["content"]["session_id"].as_str().unwrap().to_owned();
    (world, late, session)
}

#[test]
fn one_bug_ends_no_search_for_a_key() {
    let (world, late, session) = long_looked_for("at long last");
    trap::set_once(&session);
    wait(&world, "it broke off", |_| !trap::is_set(&session));
    late.comes(&world);
    wait(&world, "it is shown", |world| {
        says_now(world, "at long last")
    });
    wait(&world, "nobody looks", |world| reopens(world).is_empty());
}

#[test]
fn a_search_that_breaks_again_and_again_is_said_to() {
    let (world, _late, session) = long_looked_for("never");
    let deps = world.deps();
    let (task, _) = reopens(&world).remove(0);
    let event: Value = serde_json::from_str(&task.event).unwrap();
    let source = source_in(task.portal, event["event_id"].as_str().unwrap());
    trap::set(&session);
    // Its looks are rare by now.
    wait(&world, "the placeholder says so", |world| {
        world.ask(deps.hurry_job(&source, 0)).unwrap();
        says_now(world, "Vizard broke off at it")
    });
    wait(&world, "nobody looks", |world| reopens(world).is_empty());
}
