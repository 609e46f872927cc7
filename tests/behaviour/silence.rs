//! A homeserver that could not reach Vizard waits longer and longer; a ping ends that.

use std::{thread::sleep, time::Duration};

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
    // A pause that lasts until something ends it.
    world.fake.set_retry(Retry::Manual);
    world.fake.lead_to("http://127.0.0.1:1");
    world.fake.text(BOB, &world.room, "unheard").unwrap();
    sleep(Duration::from_secs(1));
    world.fake.lead_to(&url);
    wait(&world, "it is heard", |world| {
        count(world, &world.portal, BOB, "unheard") == 1
    });
}
