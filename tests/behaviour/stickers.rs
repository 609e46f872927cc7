//! Stickers and sounds, both ways; and files that are larger than the admin allows.

use serde_json::{Value, json};

use crate::{
    steps::{handled, wait},
    world::{ALICE, BOB, World},
};

const MINE: &str = "mxc://a.example/mine";
const THEIRS: &str = "mxc://b.example/theirs";

fn image() -> Vec<u8> {
    b"\xff\xd8\xff\xda\0\x04ssscan\xff\xd9".to_vec()
}

/// Two frames of silence.
fn sound() -> Vec<u8> {
    let mut frame = vec![0xff, 0xfb, 0x90, 0x00];
    frame.resize(417, 0);
    frame.repeat(2)
}

fn put(world: &World, file: &[u8], kind: &str) {
    for mxc in [MINE, THEIRS] {
        world.fake.put_media(mxc, file.to_vec(), kind);
    }
}

/// The contents with files that somebody else than this user sent.
fn files(world: &World, room: &str, not: &str, kind: &str) -> Vec<Value> {
    let mut events = world.fake.events(room);
    events.retain(|event| {
        event["type"] == kind && event["sender"] != not && event["content"]["url"].is_string()
    });
    events
        .into_iter()
        .map(|mut event| event["content"].take())
        .collect()
}

/// Sends it both ways; what came out in the room, and in the portal.
fn both_ways(world: &World, kind: &str, content: impl Fn(&str) -> Value) -> [Value; 2] {
    [
        (ALICE, BOB, &world.portal, &world.room, MINE),
        (BOB, ALICE, &world.room, &world.portal, THEIRS),
    ]
    .map(|(from, not, here, there, mxc)| {
        world.fake.send(from, here, kind, content(mxc)).unwrap();
        wait(world, "it arrives", |world| {
            files(world, there, not, kind).len() == 1
        });
        let content = files(world, there, not, kind).remove(0);
        let copy = content["url"].as_str().unwrap();
        assert!(copy != mxc && copy.starts_with("mxc://a.example/"));
        assert!(world.fake.look(|rooms| rooms.media[copy].is_some()));
        content
    })
}

#[test]
fn stickers_arrive() {
    let mut world = World::new();
    put(&world, &image(), "image/jpeg");
    let arrived = both_ways(
        &world,
        "m.sticker",
        |mxc| json!({"body": "a hatter", "url": mxc, "info": {"mimetype": "image/jpeg", "w": 3}}),
    );
    for content in arrived {
        assert_eq!(content["body"], "a hatter", "{content}");
        assert_eq!(content["info"]["mimetype"], "image/jpeg", "{content}");
        assert_eq!(content["info"]["w"], 3, "{content}");
    }
    world.goes_on();
}

#[test]
fn sounds_arrive() {
    let mut world = World::new();
    put(&world, &sound(), "audio/mpeg");
    let arrived = both_ways(&world, "m.room.message", |mxc| {
        json!({"msgtype": "m.audio", "body": "my voice.mp3", "url": mxc,
            "info": {"mimetype": "audio/mpeg", "duration": 52}})
    });
    for content in arrived {
        assert_eq!(content["msgtype"], "m.audio", "{content}");
        assert_eq!(content["body"], "audio.mp3", "{content}");
        assert_eq!(content["info"]["duration"], 52, "{content}");
    }
    world.goes_on();
}

#[test]
fn what_is_larger_than_allowed_goes_nowhere() {
    let mut world = World::with_settings("12", |settings| settings.media.max_size = 1);
    let mut file = image();
    file.resize(2 << 20, 0);
    put(&world, &file, "image/jpeg");
    let image = |mxc: &str| json!({"msgtype": "m.image", "body": "IMG_1.jpg", "url": mxc});
    let portal = world.portal.clone();
    let event = world.fake.say(ALICE, &portal, image(MINE)).unwrap();
    let answer = world.answer(&portal, event.as_str());
    assert!(
        answer.starts_with("Not sent: an image: it is larger than 1 MiB"),
        "{answer}"
    );
    world.fake.say(BOB, &world.room, image(THEIRS)).unwrap();
    wait(&world, "the portal says so", |world| {
        let said = world.fake.messages(&portal);
        said.iter().any(|(_, body)| {
            body.starts_with("an image that could not be fetched: it is larger than 1 MiB")
        })
    });
    world.goes_on();
    handled(&world);
    let kind = "m.room.message";
    assert!(
        files(&world, &world.room, "", kind).len() == 1,
        "but his own"
    );
    assert!(files(&world, &portal, "", kind).len() == 1, "but hers");
    assert_eq!(world.fake.count("upload"), 0);
}
