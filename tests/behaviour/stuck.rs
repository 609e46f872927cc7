//! A portal into which nothing can be sent, however many messages wait for it, keeps nobody else waiting.

use std::{thread::sleep, time::Duration};

use vizard::config::Config;

use crate::{
    steps::{count, handled, join, wait},
    world::{ALICE, BOB, World},
};

/// How many events may be in memory.
const LIMIT: usize = 16;
/// Far more, in many transactions.
const MANY: usize = 300;

fn small(config: &mut Config) {
    config.relay.max_in_memory = LIMIT;
}

/// Many messages for the first portal, into which nothing can be sent; another portal.
fn stuck() -> (World, String, String) {
    let world = World::with_settings("12", small);
    let other = world.fake.public_room(BOB, "Library").to_string();
    let second = join(&world, ALICE, &world.chat, &other);
    handled(&world);
    world.fake.break_rooms(&[&world.portal]);
    for number in 0..MANY {
        say(&world, number);
    }
    (world, other, second)
}

fn say(world: &World, number: usize) {
    let text = format!("stuck {number}");
    world.fake.text(BOB, &world.room, &text).unwrap();
}

/// The other portal and the bot go on.
fn others_go_on(world: &World, other: &str, second: &str, round: usize) {
    for number in 0..LIMIT * 2 {
        let (come, out) = (
            format!("come {round} {number}"),
            format!("out {round} {number}"),
        );
        world.fake.text(BOB, other, &come).unwrap();
        world.fake.text(ALICE, second, &out).unwrap();
        wait(world, "it is in the other portal", |world| {
            count(world, second, BOB, &come) == 1
        });
        wait(world, "it is in the other room", |world| {
            count(world, other, ALICE, &out) == 1
        });
    }
    let asked = world.fake.text(ALICE, &world.chat, "list").unwrap();
    let answer = world.answer(&world.chat, asked.as_str());
    assert!(answer.contains("Library"), "{answer}");
}

/// What came to the first portal, of the numbered messages.
fn came(world: &World) -> Vec<String> {
    let said = world.fake.messages(&world.portal);
    said.into_iter()
        .filter(|(sender, text)| sender != ALICE && text.starts_with("stuck "))
        .map(|(_, text)| text)
        .collect()
}

fn heals(world: &mut World, most: usize) {
    assert_eq!(came(world), Vec::<String>::new());
    world.fake.break_rooms(&[]);
    // Each look copies all that was said, and keeps the homeserver from saying more.
    wait(world, "the last one came", |world| {
        sleep(Duration::from_millis(20));
        came(world).len() >= most
    });
    handled(world);
    world.goes_on();
    let expected: Vec<_> = (0..most).map(|number| format!("stuck {number}")).collect();
    assert_eq!(came(world), expected);
}

#[test]
fn a_portal_that_cannot_be_reached_holds_up_no_other() {
    let (mut world, other, second) = stuck();
    others_go_on(&world, &other, &second, 0);
    for number in MANY..MANY + 50 {
        say(&world, number);
    }
    others_go_on(&world, &other, &second, 1);
    heals(&mut world, MANY + 50);
}

#[test]
fn nor_after_a_restart() {
    let (mut world, other, second) = stuck();
    others_go_on(&world, &other, &second, 0);
    world.kill();
    for number in MANY..MANY + 50 {
        say(&world, number);
    }
    world.start(small);
    others_go_on(&world, &other, &second, 1);
    heals(&mut world, MANY + 50);
}

/// What waits in the inbox is not missing, however much it is.
#[test]
fn nor_is_anything_given_up_that_waits() {
    let (mut world, other, second) = stuck();
    world.kill();
    world.start(|config| {
        small(config);
        config.relay.gap_limit = 5;
    });
    others_go_on(&world, &other, &second, 0);
    heals(&mut world, MANY);
    let said = world.fake.messages(&world.portal);
    let older = said.iter().find(|(_, text)| text.contains("older"));
    assert_eq!(older, None);
}

/// Who is forgotten while much waits leaves nothing behind in the inbox.
#[test]
fn nor_does_what_waits_stay_when_the_portal_is_forgotten() {
    let (world, other, second) = stuck();
    others_go_on(&world, &other, &second, 0);
    for text in ["forget Tearoom", "forget confirm"] {
        let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
        world.answer(&world.chat, asked.as_str());
    }
    world.fake.break_rooms(&[]);
    handled(&world);
    others_go_on(&world, &other, &second, 1);
}
