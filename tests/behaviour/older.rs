//! Events that seem older than the ghost's join, and redactions of what came before it.

use std::{thread::sleep, time::Duration};

use crate::{
    steps::{count, handled, wait},
    world::{BOB, World},
};

/// Looks at whether an event came after the join, and not for missed events: those begin with shorter pages.
fn looks(world: &World) -> usize {
    let seen = world.fake.requests();
    seen.iter()
        .filter(|seen| {
            seen.endpoint == "messages"
                && seen.line.contains("limit=100")
                && !seen.line.contains("from=")
        })
        .count()
}

#[test]
fn a_flood_of_old_times_costs_few_looks() {
    let world = World::new();
    handled(&world);
    let before = looks(&world);
    world.fake.hold();
    for number in 0..60 {
        let text = format!("old {number}");
        world.fake.text_at(BOB, &world.room, &text, 0);
    }
    world.fake.release();
    for number in 0..60 {
        let text = format!("old {number}");
        wait(&world, "it is shown", |world| {
            count(world, &world.portal, BOB, &text) == 1
        });
    }
    let looks = looks(&world) - before;
    assert!(looks <= 4, "{looks} looks");
}

#[test]
fn a_redaction_of_what_was_never_relayed_is_found_once() {
    let mut world = World::new();
    let mut before = world.fake.events(&world.room);
    before.retain(|event| event["type"] == "m.room.name");
    let old = before[0]["event_id"].as_str().unwrap().to_owned();
    handled(&world);
    world.kill();
    let redaction = world.fake.redact(BOB, &world.room, &old).unwrap();
    world.fake.lose_pushes();
    world.start(|_| {});
    world.goes_on();
    let deps = world.deps();
    let id = world.ask(deps.store.portal_ids()).unwrap()[0];
    let mut rounds = 0;
    while world
        .ask(deps.store.handled(id, &[&redaction]))
        .unwrap()
        .is_empty()
    {
        rounds += 1;
        assert!(rounds < 30, "it is found again for ever");
        sleep(Duration::from_millis(100));
        world.goes_on();
    }
}
