//! More members than mirrors may stand in a portal.

use crate::{
    steps::{count, wait},
    world::{BOB, World},
};

#[test]
fn whoever_was_heard_longest_ago_leaves_first() {
    let world = World::with_settings("12", |config| config.portal.max_mirrors = 2);
    let (erin, frank) = ("@erin:b.example", "@frank:b.example");
    for (user, name) in [(erin, "Erin"), (frank, "Frank")] {
        world.fake.user(user, name);
        world.fake.join(user, &world.room).unwrap();
    }
    // Within the hour: what the database knows of them is older.
    let order = [BOB, erin, BOB, frank, BOB, erin, BOB];
    for (number, user) in order.into_iter().enumerate() {
        let body = format!("word {number}");
        world.fake.text(user, &world.room, &body).unwrap();
        wait(&world, "it is heard", |world| {
            count(world, &world.portal, user, &body) == 1
        });
        let mut names = world.mirrors();
        names.sort();
        let expected: &[&str] = match number {
            0 => &["Bob"],
            3 | 4 => &["Bob", "Frank"],
            _ => &["Bob", "Erin"],
        };
        assert_eq!(names, expected, "after {body}");
    }
}
