//! Somebody else is in a user's chat with the bot: what nobody asked for is not said there.

use serde_json::json;

use crate::{
    inviter::{CAROL, Inviter, portals},
    steps::{ghosts, handled, wait},
    world::{ALICE, BOB, World},
};

/// How often the bot said something in the chat.
fn said(world: &World) -> usize {
    let said = world.fake.messages(&world.chat);
    said.iter().filter(|(sender, _)| sender != ALICE).count()
}

/// Alice lets Carol into her chat.
fn listens(world: &World) -> usize {
    handled(world);
    world.rests();
    world.fake.user(CAROL, "Carol");
    world.fake.invite(ALICE, &world.chat, CAROL).unwrap();
    world.fake.join(CAROL, &world.chat).unwrap();
    handled(world);
    said(world)
}

/// Carol may invite in the room too.
#[test]
fn that_a_ghost_is_invited_back() {
    let mut world = World::new();
    let ghost = ghosts(&world, &world.room).remove(0);
    world.fake.leave(ALICE, &world.portal).unwrap();
    wait(&world, "the ghost left", |world| {
        ghosts(world, &world.room).is_empty()
    });
    let before = listens(&world);
    world.fake.invite(BOB, &world.room, &ghost).unwrap();
    handled(&world);
    assert_eq!(said(&world), before);
    // When she is alone again, she is told of the next one.
    world.fake.leave(CAROL, &world.chat).unwrap();
    world.fake.kick(BOB, &world.room, &ghost).unwrap();
    world.fake.invite(BOB, &world.room, &ghost).unwrap();
    wait(&world, "she is told", |world| {
        let said = world.fake.messages(&world.chat);
        said.iter()
            .any(|(_, text)| text.contains("is invited back"))
    });
    world.kill();
}

#[test]
fn that_an_invite_was_taken_back() {
    let world = World::new();
    let inviter = Inviter::new(&world, 1);
    let ghost = inviter.ghost_of(&world, ALICE);
    inviter.invite(&world, &ghost);
    wait(&world, "there is a portal", |world| {
        portals(world, ALICE).len() == 2
    });
    handled(&world);
    world.fake.user(CAROL, "Carol");
    world.fake.invite(ALICE, &world.chat, CAROL).unwrap();
    world.fake.join(CAROL, &world.chat).unwrap();
    handled(&world);
    let before = said(&world);
    world.fake.kick(&inviter.id, &inviter.room, &ghost).unwrap();
    wait(&world, "it is closed", |world| {
        portals(world, ALICE).len() == 1
    });
    handled(&world);
    assert_eq!(said(&world), before);
}

/// She is in the room all the same.
#[test]
fn that_a_knock_was_answered() {
    let world = World::new();
    let body = json!({
        "preset": "private_chat", "name": "Parlour",
        "initial_state": [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}],
    });
    let parlour = world.fake.create_room(BOB, &body).unwrap().to_string();
    let text = format!("knock {parlour} b.example");
    world.fake.text(ALICE, &world.chat, &text).unwrap();
    let knocking = |world: &World| {
        world.fake.look(|rooms| {
            let members = rooms.rooms[&parlour].members.iter();
            let mut knocking = members.filter(|(_, membership)| *membership == "knock");
            knocking.next().map(|(user, _)| user.clone())
        })
    };
    wait(&world, "it knocks", |world| knocking(world).is_some());
    let ghost = knocking(&world).unwrap();
    let before = listens(&world);
    world.fake.invite(BOB, &parlour, &ghost).unwrap();
    wait(&world, "there is a portal", |world| {
        portals(world, ALICE).len() == 2
    });
    handled(&world);
    world.rests();
    assert_eq!(ghosts(&world, &parlour), [ghost]);
    assert_eq!(said(&world), before);
}
