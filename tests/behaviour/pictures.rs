//! Avatars that cannot be had hold up nobody, and files have a limit for each user and day.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    fake::{Keys, faults::Fault},
    steps::{count, handled, wait},
    world::{ALICE, BOB, World},
};

/// Gives Bob this avatar in the room.
fn wears(world: &World, mxc: &str) {
    let content = json!({"membership": "join", "displayname": "Bob", "avatar_url": mxc});
    world
        .fake
        .send_state(BOB, &world.room, "m.room.member", BOB, content)
        .unwrap();
}

/// Bob says something, and it is shown.
fn says(world: &World, body: &str) {
    world.fake.text(BOB, &world.room, body).unwrap();
    wait(world, "Bob is heard", |world| {
        count(world, &world.portal, BOB, body) == 1
    });
}

/// The avatar of Bob's mirror.
fn shown(world: &World) -> Option<String> {
    world.fake.look(|rooms| {
        let room = &rooms.rooms[&world.portal];
        let mut mirrors = room.joined().filter(|user| user.starts_with("@_vizard_m_"));
        let member = room.state("m.room.member", mirrors.next()?)?;
        member["avatar_url"].as_str().map(ToOwned::to_owned)
    })
}

#[test]
fn a_server_that_keeps_avatars_back_is_asked_once() {
    // All servers are left alone for a minute.
    let world = World::at_pace(5, Keys::Unused, |_| {});
    says(&world, "first");
    let asked = || world.fake.count("download");
    let before = asked();
    // 40 seconds of the test's time.
    world.fake.fail_next("download", Fault::Delay(200_000));
    let began = Instant::now();
    for number in 0..5 {
        wears(&world, &format!("mxc://tarpit{number}.example/face"));
    }
    says(&world, "second");
    assert!(
        began.elapsed() < Duration::from_secs(35),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(asked(), before + 1);
    assert_eq!(shown(&world), None);
}

#[test]
fn an_avatar_that_failed_is_left_alone_and_tried_again_later() {
    let world = World::new();
    says(&world, "first");
    let asked = || world.fake.count("download");
    let before = asked();
    let face = "mxc://b.example/face";
    for _ in 0..3 {
        wears(&world, face);
        wears(&world, "mxc://b.example/other");
    }
    handled(&world);
    assert_eq!(
        asked(),
        before + 2,
        "one that is not there is asked for once"
    );
    wears(&world, face);
    handled(&world);
    world.fake.put_media(face, vec![1, 2, 3], "image/png");
    world.ask(world.deps().clock.sleep(Duration::from_secs(3_700)));
    says(&world, "second");
    wait(&world, "his avatar is there", |world| {
        shown(world).is_some()
    });
    let local = shown(&world).unwrap();
    assert!(local.starts_with("mxc://a.example/"), "{local}");
}

#[test]
fn files_have_a_limit_for_each_day() {
    let world = World::with_settings("12", |config| {
        config.access.media_mib_per_day = 1;
        config.media.unknown = vizard::config::UnknownMedia::Send;
    });
    let sends = |number: u32, kib: usize| {
        let mxc = format!("mxc://a.example/file{number}");
        let file = vec![u8::try_from(number).unwrap(); kib * 1024];
        world.fake.put_media(&mxc, file, "application/octet-stream");
        let content = json!({"msgtype": "m.file", "body": "x.bin", "url": mxc});
        world.fake.say(ALICE, &world.portal, content).unwrap()
    };
    let files = |world: &World, room: &str| {
        let events = world.fake.events(room);
        let files = events
            .iter()
            .filter(|event| event["content"]["msgtype"] == "m.file");
        files.count()
    };
    sends(1, 700);
    wait(&world, "the first goes out", |world| {
        files(world, &world.room) == 1
    });
    let over = sends(2, 700);
    let told = world.answer(&world.portal, over.as_str());
    assert_eq!(
        told,
        "Not sent: a file: you have sent 1 MiB of files today, which is all that one may. Send it again tomorrow. It is not tried again by itself."
    );
    sends(3, 200);
    wait(&world, "what still fits goes out", |world| {
        files(world, &world.room) == 2
    });
    // What others send is theirs.
    let before = files(&world, &world.portal);
    for number in 4..7 {
        let mxc = format!("mxc://b.example/file{number}");
        world
            .fake
            .put_media(&mxc, vec![0; 700 * 1024], "application/octet-stream");
        let content = json!({"msgtype": "m.file", "body": "x.bin", "url": mxc});
        world.fake.say(BOB, &world.room, content).unwrap();
    }
    wait(&world, "they are shown", |world| {
        files(world, &world.portal) == before + 3
    });
}
