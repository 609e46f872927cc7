//! A homeserver that could not reach Vizard waits longer and longer; a ping ends that.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    fake::push::Retry,
    steps::{count, handled, wait},
    world::{BOB, World},
};

#[test]
fn a_silent_homeserver_is_pinged() {
    let world = World::new();
    handled(&world);
    let url = world.url();
    world.fake.set_retry(Retry::Backoff);
    world.fake.lead_to("http://127.0.0.1:1");
    world.fake.text(BOB, &world.room, "unheard").unwrap();
    // It has tried three times by then, and tries again six and a half seconds later.
    sleep(Duration::from_millis(7500));
    world.fake.lead_to(&url);
    let began = Instant::now();
    wait(&world, "it is heard", |world| {
        count(world, &world.portal, BOB, "unheard") == 1
    });
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}
