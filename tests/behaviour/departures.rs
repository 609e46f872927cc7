//! Ghosts whose user leaves several portals at once do not leave at once, whatever happens to Vizard in between.

use vizard::store::Task;

use crate::{
    steps::{ghosts, handled, join, wait},
    world::{ALICE, BOB, World},
};

#[test]
fn a_restart_does_not_forget_that_the_first_ghost_left() {
    let mut world = World::new();
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
    world.start(|_| {});
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
    // Some time within the next hours: that it is within these seconds has no chance.
    assert!(
        matches!(waiting[..], [seconds] if seconds > 5),
        "{waiting:?}"
    );
    assert_eq!(ghosts(&world, &other).len(), 1);

    // Whoever has changed their mind need not wait.
    let ask = |text: &str| {
        let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
        world.answer(&world.chat, asked.as_str())
    };
    let answer = ask("rejoin Library");
    assert!(answer.contains("up to 12 hours"), "{answer}");
    assert!(answer.contains("`leave` lets it leave at once"), "{answer}");
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
