//! Commands that fail halfway and are done again: they count once.

use std::{thread::sleep, time::Duration};

use crate::{
    fake::{Keys, faults::Fault},
    peer::{settings, told},
    world::{ALICE, World},
};

/// A world in which there is one message a minute, and there is one just now. (A minute is a quarter of a second.)
fn slow() -> World {
    let world = World::with_all(Keys::Unused, |config| {
        settings(config, 60);
        config.access.messages_per_minute = 1;
    });
    sleep(Duration::from_millis(400));
    world
}

#[test]
fn a_name_that_was_changed_halfway_is_changed() {
    let world = slow();
    for _ in 0..TRIES {
        world.fake.fail_next("state", Fault::ErrorBefore);
    }
    let asked = world
        .fake
        .text(ALICE, &world.portal, "!vizard nick Sly Cat");
    let answer = world.answer(&world.portal, asked.unwrap().as_str());
    assert!(answer.contains("now called Sly Cat"), "{answer}");
}

#[test]
fn an_invite_that_is_under_way_is_not_too_fast() {
    let world = slow();
    let said = |world: &World, part: &str| {
        let said = world.fake.messages(&world.portal);
        said.iter().any(|(_, text)| text.contains(part))
    };
    for _ in 0..TRIES {
        world.fake.fail_next("send", Fault::ErrorBefore);
    }
    let asked = world
        .fake
        .text(ALICE, &world.portal, "!vizard invite @dora:127.0.0.1:1")
        .unwrap();
    told(&world, &world.portal, asked.as_str(), "no keys of");
    crate::steps::wait(&world, "it is said who can read it", |world| {
        said(world, "can read whom")
    });
    assert!(!said(&world, "too fast"));
}

/// More than a request is tried at once.
const TRIES: usize = 8;
