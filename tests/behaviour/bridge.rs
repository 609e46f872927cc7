//! A portal's bridge information says what is so now.

use serde_json::json;

use crate::{
    fake::faults::Fault,
    steps::{command, ghosts, wait},
    world::{BOB, World},
};

const MAPPING: &str = "org.matrix.msc4014.mxid_mapping";

/// The bridge information of the first portal: the room's and the pseudonym's names, in both of its types.
fn told(world: &World) -> Vec<(String, String)> {
    world.fake.look(|rooms| {
        let room = &rooms.rooms[&world.portal];
        let host = room
            .joined()
            .find(|user| user.starts_with("@_vizard_p_"))
            .unwrap();
        let host = host.trim_start_matches('@').split(':').next().unwrap();
        let key = format!("org.vizard://{host}");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        ["m.bridge", "uk.half-shot.bridge"]
            .iter()
            .filter_map(|kind| room.state(kind, &key))
            .map(|content| {
                (
                    text(&content["channel"]["displayname"]),
                    text(&content["org.vizard.pseudonym"]["displayname"]),
                )
            })
            .collect()
    })
}

#[test]
fn it_follows_the_nick_and_the_name_of_the_room() {
    let world = World::new();
    let ghost = ghosts(&world, &world.room).pop().unwrap();
    let member = || {
        world
            .fake
            .state_of(&world.room, "m.room.member", &ghost)
            .unwrap()
    };
    let (joined, profiles) = (member(), world.fake.count("set_profile"));
    assert!(profiles > 0 && joined[MAPPING].is_object(), "{joined}");
    let before = told(&world);
    assert_eq!(before.len(), 2);
    assert!(
        before.iter().all(|(room, _)| room == "Tearoom"),
        "{before:?}"
    );
    let answer = command(&world, "!vizard nick Sly Cat");
    assert!(answer.contains("now called Sly Cat"), "{answer}");
    let tearoom = || ("Tearoom".to_owned(), "Sly Cat".to_owned());
    assert_eq!(told(&world), [tearoom(), tearoom()]);
    // A new profile would have had the homeserver write the member event anew, without the mapping.
    assert_eq!(world.fake.count("set_profile"), profiles);
    let mut renamed = joined;
    renamed["displayname"] = "Sly Cat".into();
    assert_eq!(member(), renamed);
    let name = json!({"name": "Coffee house"});
    world
        .fake
        .send_state(BOB, &world.room, "m.room.name", "", name)
        .unwrap();
    wait(&world, "the room's new name is told", |world| {
        told(world)
            .iter()
            .all(|(room, nick)| room == "Coffee house" && nick == "Sly Cat")
    });
}

#[test]
fn a_nick_is_not_lost_when_the_homeserver_falters() {
    let mut world = World::new();
    for _ in 0..7 {
        world.fake.fail_next("send_state", Fault::ErrorBefore);
    }
    let answer = command(&world, "!vizard nick Sly Cat");
    assert!(answer.contains("now called Sly Cat"), "{answer}");
    let ghost = ghosts(&world, &world.room).pop().unwrap();
    let member = world
        .fake
        .state_of(&world.room, "m.room.member", &ghost)
        .unwrap();
    assert_eq!(member["displayname"], "Sly Cat");
    assert!(told(&world).iter().all(|(_, nick)| nick == "Sly Cat"));
    world.goes_on();
}
