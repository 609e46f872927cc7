//! A homeserver that cannot give a ghost a device, or one with keys, or a `/sync`: encrypted rooms are refused with the reason,
//! and the others work.

use serde_json::{Value, json};

use crate::{
    fake::{Keys, faults::Fault},
    world::{ALICE, BOB, World},
};

const WHY: &str = "cannot encrypt: its homeserver gives application services no device";

impl World {
    /// Lets the user ask for an encrypted room, which is refused. Who of ours was in it.
    fn refused(&self, said: &str) -> usize {
        let body = json!({
            "preset": "public_chat", "name": said,
            "initial_state": [{
                "type": "m.room.encryption", "state_key": "",
                "content": {"algorithm": "m.megolm.v1.aes-sha2"},
            }],
        });
        let room = self.fake.create_room(BOB, &body).unwrap().to_string();
        let command = format!("join {room} b.example");
        self.fake.text(ALICE, &self.chat, &command).unwrap();
        self.until("the refusal", |rooms| {
            rooms.rooms[&self.chat].events.iter().any(|event| {
                let body = event["content"]["body"].as_str().unwrap_or_default();
                body.contains(WHY) && body.contains(said)
            })
        });
        let ours = |event: &&Value| {
            let user = event["state_key"].as_str().unwrap_or_default();
            user.starts_with("@_vizard_") && event["content"]["membership"] == "join"
        };
        self.fake.events(&room).iter().filter(ours).count()
    }
}

fn encrypted_rooms_are_refused(keys: Keys) {
    // Joins a room that is not encrypted, and talks there.
    let mut world = World::with_keys(keys);
    assert_eq!(world.refused("It was not entered"), 0);
    // Where nobody tells beforehand, the ghost finds out.
    world.fake.fail_next("summary", Fault::ErrorBefore);
    world.fake.fail_next("summary", Fault::ErrorBefore);
    world.fake.fail_next("summary", Fault::ErrorBefore);
    assert_eq!(world.refused("The ghost left again; nothing was said"), 1);
    world.goes_on();
}

#[test]
fn without_devices() {
    encrypted_rooms_are_refused(Keys::WithoutDevices);
}

/// It is asked for a while: what says so may be a proxy whose homeserver is starting.
#[test]
fn where_a_proxy_knows_no_such_path() {
    encrypted_rooms_are_refused(Keys::Foreign);
}

#[test]
fn where_sync_is_broken_for_ever() {
    encrypted_rooms_are_refused(Keys::BrokenSync);
}

#[test]
fn without_keys() {
    encrypted_rooms_are_refused(Keys::Unknown);
}

#[test]
fn without_sync() {
    encrypted_rooms_are_refused(Keys::WithoutSync);
}
