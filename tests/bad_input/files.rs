//! Files, good ones and bad ones, through a whole Vizard.

use serde_json::{Value, json};
use vizard::config::UnknownMedia;

use crate::world::{ALICE, BOB, World};

const PLACE: &[u8] = b"52.5200N 13.4050E";

/// A JPEG that says where it was made.
fn picture() -> Vec<u8> {
    let mut file = b"\xff\xd8\xff\xe1\0\x19Exif\0\0".to_vec();
    file.extend_from_slice(PLACE);
    file.extend_from_slice(b"\xff\xda\0\x04ssscan\xff\xd9");
    file
}

fn image(mxc: &str) -> Value {
    json!({"msgtype": "m.image", "body": "IMG_1.jpg", "url": mxc, "info": {"mimetype": "image/jpeg"}})
}

/// The content of the newest message in a room, by somebody else than `not`, that has a file.
fn arrived(world: &World, room: &str, not: &str) -> Value {
    let has = |event: &Value| event["content"]["url"].is_string() && event["sender"] != not;
    world.until("a file arrives", |rooms| {
        rooms.rooms[room]
            .events
            .iter()
            .any(|event| has(&json!(event)))
    });
    let events = world.fake.events(room);
    let event = events.iter().rev().map(|event| json!(event)).find(has);
    event.unwrap_or_default()["content"].clone()
}

fn bytes(world: &World, content: &Value) -> Vec<u8> {
    let mxc = content["url"].as_str().unwrap();
    world.fake.look(|rooms| rooms.media[mxc].clone()).unwrap().0
}

fn has_place(file: &[u8]) -> bool {
    file.windows(PLACE.len()).any(|bytes| bytes == PLACE)
}

#[test]
fn pictures_arrive_without_their_place() {
    assert!(has_place(&picture()));
    let mut world = World::new();
    world
        .fake
        .put_media("mxc://a.example/mine", picture(), "image/jpeg");
    world
        .fake
        .put_media("mxc://b.example/theirs", picture(), "image/jpeg");
    let (room, portal) = (world.room.clone(), world.portal.clone());
    world
        .fake
        .say(ALICE, &portal, image("mxc://a.example/mine"))
        .unwrap();
    world
        .fake
        .say(BOB, &room, image("mxc://b.example/theirs"))
        .unwrap();
    for (room, not, old) in [
        (&room, BOB, "mxc://a.example/mine"),
        (&portal, ALICE, "mxc://b.example/theirs"),
    ] {
        let content = arrived(&world, room, not);
        assert_eq!(content["body"], "image.jpg");
        assert_ne!(content["url"], old);
        let clean = bytes(&world, &content);
        assert!(clean.starts_with(b"\xff\xd8\xff\xfe"));
        assert!(!has_place(&clean), "it says where it was made");
        assert_eq!(content["info"]["size"], clean.len());
    }
    // Whoever says it owns the copy.
    let uploads = world.fake.requests().into_iter();
    let uploads = uploads.filter(|one| one.endpoint == "upload");
    let mut owners: Vec<_> = uploads.map(|one| one.user.unwrap()).collect();
    owners.sort();
    let mut speakers = [&room, &portal].map(|room| {
        let events = world.fake.events(room);
        let event = events.iter().find(|event| {
            let sender = event["sender"].as_str().unwrap_or_default();
            sender.starts_with("@_vizard_") && event["content"]["url"].is_string()
        });
        event.unwrap()["sender"].as_str().unwrap().to_owned()
    });
    assert!(speakers[1].starts_with("@_vizard_m_"), "{speakers:?}");
    speakers.sort();
    assert_eq!(owners, speakers);
    world.goes_on();
}

#[test]
fn one_picture_twice_is_two_files() {
    let mut world = World::new();
    let (room, portal) = (world.room.clone(), world.portal.clone());
    world
        .fake
        .put_media("mxc://a.example/mine", picture(), "image/jpeg");
    let mut copies = Vec::new();
    for _ in 0..2 {
        world
            .fake
            .say(ALICE, &portal, image("mxc://a.example/mine"))
            .unwrap();
        world.goes_on();
        let content = arrived(&world, &room, BOB);
        copies.push((content["url"].clone(), bytes(&world, &content)));
    }
    assert_ne!(copies[0].0, copies[1].0);
    assert_ne!(copies[0].1, copies[1].1);
}

#[test]
fn what_cannot_be_cleaned_waits_for_a_word() {
    let mut world = World::new();
    let portal = world.portal.clone();
    let text = b"by Alice".to_vec();
    world
        .fake
        .put_media("mxc://a.example/text", text.clone(), "text/plain");
    let content =
        json!({"msgtype": "m.file", "body": "by-alice.txt", "url": "mxc://a.example/text"});
    let event = world.fake.say(ALICE, &portal, content).unwrap();
    assert!(
        world
            .answer(&portal, event.as_str())
            .starts_with("Held back: this file")
    );
    let reply = json!({"msgtype": "m.text", "body": "send",
        "m.relates_to": {"m.in_reply_to": {"event_id": event}}});
    world.fake.say(ALICE, &portal, reply).unwrap();
    let content = arrived(&world, &world.room, BOB);
    assert_eq!(
        (&content["body"], &content["msgtype"]),
        (&json!("file.txt"), &json!("m.file"))
    );
    assert_eq!(bytes(&world, &content), text);
    world.goes_on();
}

/// A text, which nobody can clean, from the portal.
fn says_a_text(unknown: UnknownMedia) -> (World, String) {
    let world = World::with_settings("12", |settings| settings.media.unknown = unknown);
    let file = b"by Alice".to_vec();
    world
        .fake
        .put_media("mxc://a.example/text", file, "text/plain");
    let content =
        json!({"msgtype": "m.file", "body": "by-alice.txt", "url": "mxc://a.example/text"});
    let event = world.fake.say(ALICE, &world.portal, content).unwrap();
    (world, event.to_string())
}

#[test]
fn what_cannot_be_cleaned_goes_as_it_is_where_the_admin_says_so() {
    let (mut world, event) = says_a_text(UnknownMedia::Send);
    let content = arrived(&world, &world.room, BOB);
    assert_eq!(content["body"], "file.txt");
    assert_eq!(bytes(&world, &content), b"by Alice");
    world.goes_on();
    let said = world.replies(&world.portal, &event);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn what_cannot_be_cleaned_stays_where_the_admin_says_so() {
    let (mut world, event) = says_a_text(UnknownMedia::Refuse);
    let answer = world.answer(&world.portal, &event);
    assert!(
        answer.starts_with("Not sent: ")
            && answer.contains("this server sends nothing that it could not clean"),
        "{answer}"
    );
    // No word lets it go.
    let reply = json!({"msgtype": "m.text", "body": "send",
        "m.relates_to": {"m.in_reply_to": {"event_id": event}}});
    world.fake.say(ALICE, &world.portal, reply).unwrap();
    world.goes_on();
    let events = world.fake.events(&world.room);
    let files: Vec<_> = events
        .iter()
        .filter(|event| event["content"]["url"].is_string())
        .collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn a_file_that_is_gone_is_told_of() {
    let mut world = World::new();
    let (room, portal) = (world.room.clone(), world.portal.clone());
    let event = world
        .fake
        .say(ALICE, &portal, image("mxc://a.example/gone"))
        .unwrap();
    let answer = world.answer(&portal, event.as_str());
    assert!(answer.starts_with("Not sent: an image:"), "{answer}");
    world
        .fake
        .say(BOB, &room, image("mxc://b.example/gone"))
        .unwrap();
    world.until("the portal says so", |rooms| {
        rooms.rooms[&portal].events.iter().any(|event| {
            let body = event["content"]["body"].as_str().unwrap_or_default();
            body.starts_with("an image that could not be fetched: ")
        })
    });
    world.goes_on();
}
