//! A key that comes late: what it opens is shown after all, whatever fails on the way.

use std::sync::Arc;

use matrix_sdk_crypto::types::requests::ToDeviceRequest;
use ruma::OwnedEventId;
use serde_json::{Value, json};

use crate::{
    fake::{Keys, faults::Fault},
    member::Member,
    secrecy::reopens,
    steps::{handled, wait},
    world::{BOB, World},
};

/// Something that Bob said, and its key, which he keeps for now.
pub struct Late {
    bob: Member,
    pub event: OwnedEventId,
    key: Vec<Arc<ToDeviceRequest>>,
}

impl Late {
    /// Says it. When this returns, the portal has a placeholder.
    pub fn said(world: &World, content: &Value) -> Self {
        let bob = Member::new(world, BOB, "BOBS");
        let room = &world.room;
        let key = bob.wraps_key(world, room, room, true);
        let sealed = bob.seals(world, room, "m.room.message", content);
        let event = world.fake.send(BOB, room, "m.room.encrypted", sealed);
        wait(world, "there is a placeholder", |world| {
            reopens(world).iter().any(|(task, _)| task.shown.is_some())
        });
        handled(world);
        let event = event.unwrap();
        Self { bob, event, key }
    }

    /// Bob gives the key away.
    pub fn comes(&self, world: &World) {
        self.bob.hands_over(world, &self.key);
    }
}

#[test]
fn a_late_file_can_be_redacted_although_its_placeholder_could_not_be_at_once() {
    let world = World::with_keys(Keys::Kept);
    handled(&world);
    let notes = "mxc://b.example/notes";
    world
        .fake
        .put_media(notes, b"some notes".to_vec(), "text/plain");
    let file = json!({"msgtype": "m.file", "body": "notes.txt", "url": notes});
    let late = Late::said(&world, &file);
    // All tries of one attempt.
    for _ in 0..4 {
        world.fake.fail_next("redact", Fault::ErrorBefore);
    }
    late.comes(&world);
    wait(&world, "nobody looks any more", |world| {
        reopens(world).is_empty()
    });
    handled(&world);
    let files = |world: &World| {
        let mut events = world.fake.events(&world.portal);
        events.retain(|event| event["content"]["url"].is_string());
        events.len()
    };
    assert_eq!(files(&world), 1);
    world.fake.redact(BOB, &world.room, &late.event).unwrap();
    wait(&world, "the file is gone", |world| files(world) == 0);
}
