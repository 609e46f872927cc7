//! Rooms made behind a pseudonym.

use ruma::{RoomId, UserId};
use serde_json::Value;
use vizard::{
    pseudonym::Mapping,
    store::{CreateTask, Report, Task},
};

use crate::{
    fake::{Keys, faults::Fault},
    peer::told,
    steps::{ghosts, wait},
    world::{ALICE, World},
};

/// The rooms that have this name and a ghost of ours.
fn rooms(world: &World, name: &str) -> Vec<String> {
    world.fake.look(|rooms| {
        let named = rooms.rooms.iter().filter(|(_, room)| {
            let creator = room.state_event("m.room.create", "").unwrap();
            let creator = creator["sender"].as_str().unwrap();
            creator.starts_with("@_vizard_")
                && !creator.starts_with("@_vizard_p_")
                && room
                    .state("m.room.name", "")
                    .is_some_and(|it| it["name"] == name)
        });
        named.map(|(id, _)| id.clone()).collect()
    })
}

fn created(world: &World, text: &str, name: &str) -> (String, String) {
    let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
    told(
        world,
        &world.chat,
        asked.as_str(),
        &format!("created “{name}” as"),
    );
    let rooms = rooms(world, name);
    assert_eq!(rooms.len(), 1, "{rooms:?}");
    (rooms[0].clone(), asked.to_string())
}

fn state(world: &World, room: &str, kind: &str) -> Value {
    world.fake.state_of(room, kind, "").unwrap_or_default()
}

#[test]
fn a_room_of_ones_own() {
    let world = World::new();
    let (room, _) = created(
        &world,
        "create Knitting circle as Sly Cat",
        "Knitting circle",
    );
    let ghost = ghosts(&world, &room).pop().unwrap();
    let member = world.fake.state_of(&room, "m.room.member", &ghost).unwrap();
    assert_eq!(member["displayname"], "Sly Cat");
    let document = world.deps().keys.document();
    Mapping::verify(
        &member["org.matrix.msc4014.mxid_mapping"],
        &UserId::parse(&ghost).unwrap(),
        &RoomId::parse(&room).unwrap(),
        "_vizard_",
        document.verify_keys(),
    )
    .unwrap();
    assert_eq!(
        state(&world, &room, "m.room.join_rules")["join_rule"],
        "invite"
    );
    let history = state(&world, &room, "m.room.history_visibility");
    assert_eq!(history["history_visibility"], "invited");
    assert_eq!(state(&world, &room, "m.room.encryption"), Value::Null);
    let all = serde_json::to_string(&world.fake.events(&room)).unwrap();
    assert!(!all.contains("alice") && !all.contains("Alice"), "{all}");

    // It is a portal as any other.
    let portal = world.fake.look(|rooms| {
        let mut found = rooms.rooms.iter().filter(|(id, room)| {
            **id != world.portal
                && room.membership(ALICE) == "invite"
                && room.joined().any(|user| user.starts_with("@_vizard_p_"))
        });
        found.next().map(|(id, _)| id.clone()).unwrap()
    });
    world.fake.join(ALICE, &portal).unwrap();
    world.fake.text(ALICE, &portal, "first stitch").unwrap();
    wait(&world, "it is said in the room", |world| {
        let said = world.fake.messages(&room);
        said.contains(&(ghost.clone(), "first stitch".to_owned()))
    });

    let (open, _) = created(&world, "create \"Open house\" --public", "Open house");
    assert_eq!(
        state(&world, &open, "m.room.join_rules")["join_rule"],
        "public"
    );
    let answer = |text: &str| {
        let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
        world.answer(&world.chat, asked.as_str())
    };
    assert!(answer("create Secret --encrypted").contains("cannot encrypt"));
    assert!(answer("create Alice and friends").contains("your own name"));
    assert!(answer("create X as alice").contains("your own name"));
    assert!(answer("create").contains("What shall it be called?"));
    assert!(rooms(&world, "Secret").is_empty());
}

#[test]
fn an_encrypted_one() {
    let world = World::with_keys(Keys::Taken);
    let (room, _) = created(&world, "create Secret --encrypted", "Secret");
    let encryption = state(&world, &room, "m.room.encryption");
    assert_eq!(encryption["algorithm"], "m.megolm.v1.aes-sha2");
}

#[test]
fn whatever_happens_there_is_one_room() {
    let mut world = World::new();
    // Of the room itself, of the mapping, of the portal room: made, and the answer lost.
    for _ in 0..2 {
        world.fake.fail_next("create_room", Fault::ErrorAfter);
    }
    for _ in 0..3 {
        world.fake.fail_next("send_state", Fault::DropAfter);
    }
    let asked = world.fake.text(ALICE, &world.chat, "create Tea").unwrap();
    wait(&world, "there is a room", |world| {
        !rooms(world, "Tea").is_empty()
    });
    world.kill();
    world.start(|_| {});
    told(&world, &world.chat, asked.as_str(), "created “Tea” as");
    assert_eq!(rooms(&world, "Tea").len(), 1);
    world.kill();
    world.start(|_| {});

    // The command is handled once more, as after a crash before that was noted.
    let deps = world.deps();
    let jobs = || world.ask(deps.store.due_jobs(u64::MAX >> 2, 10)).unwrap();
    wait(&world, "the job is over", |_| jobs().is_empty());
    let task = CreateTask {
        user: UserId::parse(ALICE).unwrap(),
        name: "Tea".to_owned(),
        encrypted: false,
        public: false,
        nick: None,
        seed: None,
        room: None,
        report: Report {
            room: RoomId::parse(&world.chat).unwrap(),
            command: asked.clone(),
            portal: None,
            unasked: false,
            silent: false,
            message: None,
        },
    };
    let again = Task::Create(Box::new(task));
    world
        .ask(deps.add_job(asked.as_str(), deps.clock.now(), again))
        .unwrap();
    wait(&world, "that is over too", |_| jobs().is_empty());
    assert_eq!(rooms(&world, "Tea").len(), 1);
    let portals = world.ask(deps.store.portal_ids()).unwrap();
    assert_eq!(portals.len(), 2);
}
