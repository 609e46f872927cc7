//! Devices that the homeserver lost are made anew; nothing is lost, and nothing is said twice.

use std::time::Duration;

use crate::{
    fake::{Fake, faults::Fault},
    steps::{command, count, handled, wait},
    world::{ALICE, BOB, World},
};

#[test]
fn all_devices_are_lost_and_all_goes_on() {
    let mut world = World::new();
    for _ in 0..2 {
        // Ghost, host, mirror and bot.
        assert!(world.fake.prune_devices("@_vizard_") >= 3);
        assert_eq!(world.fake.prune_devices("@vizard:"), 1);
        world.goes_on();
        assert!(command(&world, "!vizard whoami").contains("@_vizard_"));
        let asked = world.fake.text(ALICE, &world.chat, "list").unwrap();
        assert!(
            world
                .answer(&world.chat, asked.as_str())
                .contains("in the room")
        );
    }
    let lost = world.fake.messages(&world.portal);
    assert!(
        !lost.iter().any(|(_, body)| body.contains("Not sent")),
        "{lost:?}"
    );
    let receipts = || world.fake.receipts().len();
    let before = receipts();
    world.fake.prune_devices("@_vizard_p_");
    world.fake.text(ALICE, &world.portal, "read me").unwrap();
    wait(&world, "the host reads it", |_| receipts() > before);
}

#[test]
fn a_ghost_without_a_device_leaves_all_the_same() {
    let world = World::new();
    world.fake.prune_devices("@_vizard_");
    let answer = command(&world, "!vizard leave");
    assert!(answer.contains("is leaving"), "{answer}");
    wait(&world, "the ghost left", |world| {
        crate::steps::ghosts(world, &world.room).is_empty()
    });
}

#[test]
fn what_a_lost_device_had_said_is_not_said_again() {
    is_not_said_again(Duration::ZERO, |fake| {
        fake.prune_devices("@_vizard_");
        fake.restart();
    });
}

#[test]
fn what_was_said_a_day_ago_is_not_said_again() {
    is_not_said_again(Duration::from_hours(24), Fake::forget_transactions);
}

/// The message is in the room, Vizard does not know it, and the homeserver has forgotten its transaction id.
fn is_not_said_again(after: Duration, forget: impl Fn(&Fake)) {
    let mut world = World::new();
    for (sender, from, to, body) in [
        (ALICE, world.portal.clone(), world.room.clone(), "once out"),
        (BOB, world.room.clone(), world.portal.clone(), "once in"),
    ] {
        for _ in 0..500 {
            world.fake.fail_next("send", Fault::ErrorAfter);
        }
        world.fake.text(sender, &from, body).unwrap();
        wait(&world, "it is sent", |world| {
            count(world, &to, sender, body) == 1
        });
        let clock = world.deps().clock;
        world.kill();
        world.fake.forget_faults();
        forget(&world.fake);
        clock.advance(after);
        world.start(|_| {});
        world.goes_on();
        handled(&world);
        assert_eq!(count(&world, &to, sender, body), 1, "{body}");
    }
}
