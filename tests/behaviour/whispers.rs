//! What a user hears privately of invites that lead nowhere, because they are or were there already.

use ruma::UserId;
use serde_json::json;
use vizard::{
    invite::whisper,
    store::{Note, PortalState, Task, TellTask, Where},
};

use crate::{
    arriving::invited,
    fake::{Keys, faults::Fault},
    inviter::{CAROL, Inviter, offered, portals, withdrawal},
    quotas::{counted, set},
    steps::{command, ghosts, handled, wait},
    world::{ALICE, World},
};

const DAY: u64 = 24 * 3_600_000;

/// That a user was told, as it is stored.
#[derive(serde::Serialize, serde::Deserialize)]
struct Told {}

impl Note for Told {
    const KIND: i64 = 8;
}

/// What a user is to be told.
pub fn whispers(world: &World) -> Vec<TellTask> {
    let deps = world.deps();
    let jobs = world.ask(deps.store.due_jobs(u64::MAX >> 2, 100)).unwrap();
    let tasks = jobs.into_iter().map(|job| job.task);
    tasks
        .filter_map(|task| match task {
            Task::Tell(task) => Some(task),
            _ => None,
        })
        .collect()
}

/// Waits until the user's first pseudonym is outside its room.
fn left(world: &World, user: &str) {
    wait(world, "the ghost has left", |world| {
        let (deps, user) = (world.deps(), UserId::parse(user).unwrap());
        let user = world.ask(deps.store.user(&user)).unwrap().unwrap();
        let portal = world
            .ask(deps.store.portal(user.pseudonyms[0].portal))
            .unwrap();
        portal.unwrap().state == PortalState::Left
    });
    handled(world);
}

/// What the bot said in a room of invites to where somebody was.
fn told(world: &World, room: &str) -> Vec<String> {
    let said = world.fake.messages(room).into_iter();
    let told = said.filter(|(_, text)| text.contains("has invited you to"));
    told.map(|(_, text)| text).collect()
}

#[test]
fn who_was_there_is_told_how_to_come_back() {
    let mut world = World::at_pace(5, Keys::Unused, |_| {});
    let mut inviter = Inviter::new(&world, 1);
    inviter.room = world.room.as_str().try_into().unwrap();
    command(&world, "!vizard leave");
    left(&world, ALICE);
    assert!(
        offered(&world, &inviter.ghost_of(&world, ALICE))
            .unwrap()
            .decoy
    );
    let task = whispers(&world).remove(0);
    let deps = world.deps();
    world.ask(whisper::run(&deps, &task)).unwrap();
    let told = told(&world, &world.chat);
    let [text] = &told[..] else {
        panic!("{told:?}");
    };
    for part in [
        "A pseudonym on b.example has invited you to “Tearoom”, where you were as ",
        "`rejoin \"",
        "\"` brings you back. They were not told",
        "nothing for three months",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    command(&world, "!vizard rejoin");
    wait(&world, "the ghost is back", |world| {
        let said = world.fake.messages(&world.portal);
        said.iter()
            .filter(|(_, text)| text.contains("joined as"))
            .count()
            > 0
            && ghosts(world, &world.room).len() == 1
    });
    handled(&world);
    world.goes_on();
}

/// Carol came by an invite, never wrote to the bot, and has left her portal too.
#[test]
fn who_has_no_chat_with_the_bot_gets_one_and_one_alone() {
    let mut world = World::at_pace(5, Keys::Unused, |_| {});
    let (inviter, ghost, portal) = invited(&world);
    world.fake.join(CAROL, &portal).unwrap();
    wait(&world, "it is joined", |world| {
        let said = world.fake.messages(&portal);
        said.iter().any(|(_, text)| text.contains("joined as"))
    });
    world.fake.text(CAROL, &portal, "!vizard leave").unwrap();
    left(&world, CAROL);
    world.fake.leave(CAROL, &portal).unwrap();
    handled(&world);
    let second = inviter.ghost_of(&world, CAROL);
    assert!(second != ghost && offered(&world, &second).unwrap().decoy);
    let mut task = whispers(&world).remove(0);
    let deps = world.deps();
    let notes = |world: &World| world.ask(world.deps().store.count_notes::<Told>()).unwrap();

    // The chat is made, and nobody hears of it.
    world.fake.fail_next("create_room", Fault::ErrorAfter);
    assert!(world.ask(whisper::run(&deps, &task)).is_err());
    assert_eq!(notes(&world), 0, "she was not told");
    for _ in 0..2 {
        world.ask(whisper::run(&deps, &task)).unwrap();
    }
    assert_eq!(notes(&world), 1);
    let bot = deps.bot.user.as_str();
    let chats = |world: &World| -> Vec<String> {
        world.fake.look(|rooms| {
            let both = rooms.rooms.iter().filter(|(_, room)| {
                room.membership(bot) == "join"
                    && ["invite", "join"].contains(&room.membership(CAROL))
            });
            both.map(|(id, _)| id.clone()).collect()
        })
    };
    let found = chats(&world);
    let [chat] = &found[..] else {
        panic!("{found:?}");
    };
    let invite = world.fake.state_of(chat, "m.room.member", CAROL).unwrap();
    assert_eq!(invite["is_direct"], true);
    let said = told(&world, chat);
    assert_eq!(said.len(), 1, "{said:?}");
    for part in ["to “Salon”, where you were as ", "brings you back"] {
        assert!(said[0].contains(part), "{part} is not in: {}", said[0]);
    }
    // It is a chat like any.
    world.fake.join(CAROL, chat).unwrap();
    let asked = world.fake.text(CAROL, chat, "list").unwrap();
    assert!(world.answer(chat, asked.as_str()).contains("Salon"));

    // She leaves it, and is asked in again for the next.
    world.fake.leave(CAROL, chat).unwrap();
    handled(&world);
    task.room = Some(world.room.as_str().try_into().unwrap());
    world.ask(whisper::run(&deps, &task)).unwrap();
    assert_eq!(world.fake.membership(chat, CAROL).unwrap(), "invite");
    assert_eq!(told(&world, chat).len(), 2);
    assert_eq!(chats(&world).len(), 1);
    // Where somebody else listens, nothing is said.
    world.fake.join(CAROL, chat).unwrap();
    world.fake.invite(CAROL, chat, ALICE).unwrap();
    task.room = Some(inviter.room.clone());
    task.place = Where::Successor;
    world.ask(whisper::run(&deps, &task)).unwrap();
    assert_eq!(told(&world, chat).len(), 2);
    assert_eq!(chats(&world).len(), 2);
    world.goes_on();
}

/// Anybody can make rooms that claim to replace hers: of each she is told as of an invite, and what is remembered of it goes.
#[test]
fn whispers_are_counted_and_forgotten() {
    let mut world = World::at_pace(5, Keys::Unused, |_| {});
    let deps = world.deps();
    let invite = |world: &World, seed: u64| {
        let mut inviter = Inviter::new(world, seed);
        let body = json!({
            "preset": "private_chat", "name": "Next",
            "creation_content": {"predecessor": {"room_id": world.room}},
        });
        inviter.room = world.fake.create_room(&inviter.id, &body).unwrap();
        let ghost = inviter.ghost_of(world, ALICE);
        inviter.invite(world, &ghost);
        wait(world, "its end is set", |world| {
            withdrawal(world, &ghost).is_some()
        });
        handled(world);
    };
    for seed in 1..=2 {
        invite(&world, seed);
        assert_eq!(
            counted(&world, "invitee", ALICE),
            u32::try_from(seed).unwrap()
        );
        assert_eq!(whispers(&world).len(), usize::try_from(seed).unwrap());
    }
    // She cannot be reached any more today.
    set(
        &world,
        "invitee",
        ALICE,
        deps.config.invites.per_invitee_day,
    );
    invite(&world, 3);
    assert_eq!(whispers(&world).len(), 2);
    assert_eq!(portals(&world, ALICE).len(), 1);

    for task in whispers(&world) {
        world.ask(whisper::run(&deps, &task)).unwrap();
    }
    assert_eq!(told(&world, &world.chat).len(), 2);
    let notes = || world.ask(deps.store.count_notes::<Told>()).unwrap();
    let now = deps.clock.now();
    world.ask(deps.store.prune_notes(now + 80 * DAY)).unwrap();
    assert_eq!(notes(), 2);
    world.ask(deps.store.prune_notes(now + 100 * DAY)).unwrap();
    assert_eq!(notes(), 0);
    world.goes_on();
}
