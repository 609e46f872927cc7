//! Steps that several stories share.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::json;
use sqlx::Connection as _;

use crate::{
    fake::PATIENCE,
    world::{ALICE, World},
};

/// Lets a user of the homeserver join a room by the bot, and enter the portal. Chat and portal.
pub fn enter(world: &World, user: &str, room: &str) -> (String, String) {
    let bot = "@vizard:a.example";
    let chat = json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [bot]});
    let chat = world.fake.create_room(user, &chat).unwrap().to_string();
    world.until("the bot is in the chat", |rooms| {
        rooms.rooms[&chat].membership(bot) == "join"
    });
    let portal = join(world, user, &chat, room);
    (chat, portal)
}

/// The same in a chat that is there. The portal.
pub fn join(world: &World, user: &str, chat: &str, room: &str) -> String {
    let before = portals(world, user);
    world
        .fake
        .text(user, chat, &format!("join {room} b.example"))
        .unwrap();
    let new = |world: &World| {
        let mut now = portals(world, user);
        now.retain(|portal| !before.contains(portal));
        now.pop()
    };
    wait(world, "there is a portal", |world| new(world).is_some());
    let portal = new(world).unwrap();
    world.fake.join(user, &portal).unwrap();
    portal
}

fn portals(world: &World, user: &str) -> Vec<String> {
    world.fake.look(|rooms| {
        let mut found: Vec<_> = rooms
            .rooms
            .iter()
            .filter(|(_, room)| {
                ["invite", "join"].contains(&room.membership(user))
                    && room.joined().any(|user| user.starts_with("@_vizard_p_"))
            })
            .map(|(id, _)| id.clone())
            .collect();
        found.sort();
        found
    })
}

/// Waits until something is so.
pub fn wait(world: &World, what: &str, so: impl Fn(&World) -> bool) {
    let began = Instant::now();
    while !so(world) {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(2));
    }
}

/// Waits until all that was pushed is handled.
pub fn handled(world: &World) {
    block_on(world.fake.wait_idle());
    wait(world, "the inbox is empty", |world| world.inbox() == 0);
}

/// Says something to the database, past Vizard, which need not run.
pub fn tell_database(world: &World, sql: &'static str) {
    block_on(async {
        let mut database = sqlx::AnyConnection::connect(world.database())
            .await
            .unwrap();
        sqlx::query(sql).execute(&mut database).await.unwrap();
        database.close().await.unwrap();
    });
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let inner = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    inner.block_on(work)
}

/// Gives a command in the first portal; the answer.
pub fn command(world: &World, text: &str) -> String {
    let asked = world.fake.text(ALICE, &world.portal, text).unwrap();
    world.answer(&world.portal, asked.as_str())
}

/// The ghosts in a room.
pub fn ghosts(world: &World, room: &str) -> Vec<String> {
    world.fake.look(|rooms| {
        let joined = rooms.rooms[room].joined();
        joined
            .filter(|user| user.starts_with("@_vizard_"))
            .map(ToString::to_string)
            .collect()
    })
}

/// How often somebody else than this user said something in a room.
pub fn count(world: &World, room: &str, not: &str, body: &str) -> usize {
    let said = world.fake.messages(room);
    said.iter()
        .filter(|(sender, text)| sender != not && text == body)
        .count()
}
