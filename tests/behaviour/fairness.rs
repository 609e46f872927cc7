//! One user's many slow joins hold up nobody else's.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    fake::faults::Fault,
    steps::{enter, wait},
    world::{ALICE, BOB, World},
};

const CAROL: &str = "@carol:a.example";

#[test]
fn one_users_slow_joins_hold_up_nobody_else() {
    let world = World::new();
    world.fake.user(CAROL, "Carol");
    let room = world
        .fake
        .create_room(BOB, &json!({"preset": "public_chat", "name": "Quick"}))
        .unwrap()
        .to_string();
    // 24 seconds of the test's time each.
    for number in 0..80 {
        world
            .fake
            .fail_next("resolve_alias", Fault::Delay(6_000_000));
        if number < 40 {
            let join = format!("join #slow{number}:b.example");
            world.fake.text(ALICE, &world.chat, &join).unwrap();
        }
    }
    wait(&world, "some are under way", |world| {
        world.fake.count("resolve_alias") >= 4
    });
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    enter(&world, CAROL, &room);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert!(
        world.fake.count("resolve_alias") < 40,
        "the slow ones were not slow"
    );
}
