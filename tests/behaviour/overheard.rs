//! Somebody else is in a user's chat with the bot: what nobody asked for is not said there.

use serde_json::json;

use crate::{
    fake::{Keys, faults::Fault},
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

/// A room into which Alice has knocked, and her ghost.
fn knocked(world: &World) -> (String, String) {
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
    wait(world, "it knocks", |world| knocking(world).is_some());
    let ghost = knocking(world).unwrap();
    (parlour, ghost)
}

/// She is in the room all the same.
#[test]
fn that_a_knock_was_answered() {
    let world = World::new();
    let (parlour, ghost) = knocked(&world);
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

/// But where she is alone with the bot by then she hears of it, and that need not be where she knocked.
#[test]
fn what_she_hears_in_the_chat_that_she_has_by_then() {
    for was_told in [false, true] {
        let world = World::at_pace(20, Keys::Unused, |_| {});
        let (parlour, ghost) = knocked(&world);
        listens(&world);
        if was_told {
            world.fake.leave(CAROL, &world.chat).unwrap();
            handled(&world);
            // All tries of one attempt, so that it is said that there is no answer.
            for _ in 0..3 {
                world.fake.fail_next("join", Fault::ErrorBefore);
            }
        }
        for _ in 0..10_000 {
            world.fake.fail_next("state", Fault::ErrorBefore);
        }
        let (before, quiet) = (world.fake.count("state"), said(&world));
        world.fake.invite(BOB, &parlour, &ghost).unwrap();
        wait(&world, "it is tried", |world| {
            world.fake.count("state") > before
        });
        let told = said(&world);
        assert_eq!(told > quiet, was_told);
        let bot = "@vizard:a.example";
        let body = json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [bot]});
        let chat = world.fake.create_room(ALICE, &body).unwrap().to_string();
        wait(&world, "the bot is there", |world| {
            world.fake.membership(&chat, bot).as_deref() == Some("join")
        });
        let asked = world.fake.text(ALICE, &chat, "version").unwrap();
        world.answer(&chat, asked.as_str());
        world.fake.forget_faults();
        wait(&world, &format!("she hears of it, {was_told}"), |world| {
            let said = world.fake.messages(&chat);
            said.iter().any(|(_, text)| text.starts_with("joined as"))
        });
        world.rests();
        assert_eq!(ghosts(&world, &parlour), [ghost]);
        assert_eq!(said(&world), told);
    }
}
