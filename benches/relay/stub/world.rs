//! The rooms and users that the stub homeserver knows, and the events that changes to them cause.
//!
//! Rooms `!room<n>:b.example` stand for rooms of another homeserver; `!portal<n>:a.example` are what Vizard
//! creates; `!dm<n>:a.example` are direct chats with its bot. Every change of state is pushed to the
//! application service, as Synapse does. Users of a.example accept every invite at once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::{Value, json};
use vizard::clock::Clock;

use crate::{event, push::Queue};

/// The homeserver's name.
pub const HERE: &str = "a.example";
/// The prefix of every user of Vizard's but the bot.
pub const PREFIX: &str = "@_vizard_";
/// The bot.
pub const BOT: &str = "@vizard:a.example";

/// The room of another homeserver with this number.
pub fn room_id(room: usize) -> String {
    format!("!room{room}:b.example")
}

/// The user of this homeserver with this number.
pub fn user_id(user: usize) -> String {
    format!("@u{user}:{HERE}")
}

/// The member of a room of the other homeserver with this number.
pub fn member_id(member: u32) -> String {
    format!("@bob{member}:b.example")
}

/// The direct chat of a user with the bot.
pub fn direct_chat_id(user: usize) -> String {
    format!("!dm{user}:{HERE}")
}

/// A room: the state that was written into it, and its index.
#[derive(Debug, Default)]
pub struct Room {
    pub index: u32,
    pub state: HashMap<(String, String), Value>,
    /// Portal rooms only: the user, and the number of the room that they lead into, once it is known.
    pub portal: Option<(String, Option<usize>)>,
}

/// Everything the stub knows.
#[derive(Debug)]
pub struct World {
    pub rooms: HashMap<String, Room>,
    pub joined: HashMap<String, BTreeSet<String>>,
    /// The ghosts of each room, in the order in which they joined.
    pub ghosts: HashMap<usize, Vec<String>>,
    /// The portal rooms whose user is in and whose target is known.
    pub portals: Vec<String>,
    pub queue: Arc<Queue>,
    clock: Clock,
    events: u64,
    created: u64,
}

impl World {
    pub fn new(queue: Arc<Queue>) -> Self {
        Self {
            rooms: HashMap::new(),
            joined: HashMap::new(),
            ghosts: HashMap::new(),
            portals: Vec::new(),
            queue,
            clock: Clock::system(),
            events: 0,
            created: 0,
        }
    }

    /// A new event id.
    pub fn event_id(&mut self) -> String {
        self.events += 1;
        format!("$bench{:038}", self.events)
    }

    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Makes a room.
    pub fn add_room(&mut self, id: &str) -> &mut Room {
        let index = u32::try_from(self.rooms.len()).unwrap_or(u32::MAX);
        self.rooms.entry(id.to_owned()).or_insert_with(|| Room {
            index,
            ..Room::default()
        })
    }

    /// Makes a public room of the other homeserver, with members 0..`members`.
    pub fn add_remote_room(&mut self, number: usize, members: u32) {
        let room = self.add_room(&room_id(number));
        let mut set = |kind: &str, key: &str, content: Value| {
            room.state
                .insert((kind.to_owned(), key.to_owned()), content);
        };
        set("m.room.create", "", json!({"room_version": "11"}));
        set("m.room.join_rules", "", json!({"join_rule": "public"}));
        set(
            "m.room.name",
            "",
            json!({"name": format!("Bench {number}")}),
        );
        set("m.room.power_levels", "", json!({}));
        for member in 0..members {
            let content = json!({"membership": "join", "displayname": format!("Bob {member}")});
            set("m.room.member", &member_id(member), content);
        }
    }

    /// Says that a room is encrypted; to nobody, for nobody is in it yet.
    pub fn encrypt(&mut self, room: &str) {
        let content = json!({"algorithm": "m.megolm.v1.aes-sha2"});
        let name = ("m.room.encryption".to_owned(), String::new());
        self.add_room(room).state.insert(name, content);
    }

    /// The users of Vizard's in a room.
    pub fn ours_in(&self, room: &str) -> Vec<String> {
        let Some(room) = self.rooms.get(room) else {
            return Vec::new();
        };
        let members = room.state.iter().filter(|((kind, user), content)| {
            kind == "m.room.member"
                && (user.starts_with(PREFIX) || user == BOT)
                && content["membership"] == "join"
        });
        let mut users: Vec<String> = members.map(|((_, user), _)| user.clone()).collect();
        users.sort_unstable();
        users
    }

    /// Makes the room that `host` asked for with this `createRoom` body, and returns its id.
    pub fn create_room(&mut self, host: &str, body: &Value) -> String {
        self.created += 1;
        let id = format!("!portal{}:{HERE}", self.created);
        self.add_room(&id);
        let create = json!({"room_version": "11"});
        self.set_state(&id, host, ("m.room.create", ""), create);
        self.join(&id, host, None);
        let mut levels = json!({"users": {host: 100}});
        if let (Some(levels), Some(given)) = (
            levels.as_object_mut(),
            body["power_level_content_override"].as_object(),
        ) {
            levels.extend(given.clone());
        }
        self.set_state(&id, host, ("m.room.power_levels", ""), levels);
        for event in body["initial_state"].as_array().into_iter().flatten() {
            let kind = event["type"].as_str().unwrap_or_default();
            let key = event["state_key"].as_str().unwrap_or_default();
            self.set_state(&id, host, (kind, key), event["content"].clone());
        }
        for (kind, field) in [("m.room.name", "name"), ("m.room.topic", "topic")] {
            if let Some(value) = body[field].as_str() {
                self.set_state(&id, host, (kind, ""), json!({field: value}));
            }
        }
        for user in body["invite"].as_array().into_iter().flatten() {
            self.invite(&id, host, user.as_str().unwrap_or_default());
        }
        id
    }

    /// Writes state, pushes the event and returns its id.
    pub fn set_state(
        &mut self,
        room: &str,
        sender: &str,
        (kind, key): (&str, &str),
        content: Value,
    ) -> String {
        let id = self.event_id();
        let text = content.to_string();
        let json = event::state(room, sender, &id, self.now(), (kind, key), &text);
        self.queue.add(json);
        self.add_room(room)
            .state
            .insert((kind.to_owned(), key.to_owned()), content);
        if room.starts_with("!portal") {
            self.look_for_target(room, &text);
        }
        id
    }

    /// Joins a user, whose member event carries `extra`.
    pub fn join(&mut self, room: &str, user: &str, extra: Option<&Value>) {
        let mut content = extra
            .filter(|extra| extra.is_object())
            .cloned()
            .unwrap_or_else(|| json!({}));
        content["membership"] = "join".into();
        self.joined
            .entry(user.to_owned())
            .or_default()
            .insert(room.to_owned());
        if let Some(number) = room_number(room) {
            let ghosts = self.ghosts.entry(number).or_default();
            if user.starts_with(PREFIX) && !ghosts.iter().any(|ghost| ghost == user) {
                ghosts.push(user.to_owned());
            }
        }
        self.set_state(room, user, ("m.room.member", user), content);
    }

    /// Takes a user out of a room.
    pub fn leave(&mut self, room: &str, sender: &str, user: &str) {
        if let Some(rooms) = self.joined.get_mut(user) {
            rooms.remove(room);
        }
        let content = json!({"membership": "leave"});
        self.set_state(room, sender, ("m.room.member", user), content);
    }

    /// Invites a user; one of this homeserver's people accepts at once.
    pub fn invite(&mut self, room: &str, sender: &str, user: &str) {
        let content = json!({"membership": "invite"});
        self.set_state(room, sender, ("m.room.member", user), content);
        if user.starts_with("@u") {
            self.join(room, user, None);
            let found = {
                let entry = self.add_room(room);
                let portal = entry.portal.get_or_insert((user.to_owned(), None));
                user.clone_into(&mut portal.0);
                entry
                    .state
                    .values()
                    .find_map(|content| target(&content.to_string()))
            };
            if let Some(number) = found {
                self.set_target(room, number);
            }
        }
    }

    fn look_for_target(&mut self, room: &str, text: &str) {
        if self.rooms[room].portal.is_some()
            && let Some(number) = target(text)
        {
            self.set_target(room, number);
        }
    }

    fn set_target(&mut self, room: &str, number: usize) {
        if let Some((_, known)) = self.add_room(room).portal.as_mut()
            && known.replace(number).is_none()
        {
            self.portals.push(room.to_owned());
        }
    }
}

/// The number in a room id of the other homeserver.
pub fn room_number(id: &str) -> Option<usize> {
    target(id).filter(|number| room_id(*number) == id)
}

/// The first room of the other homeserver that a text names: bridge information names the room a portal shows.
fn target(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("!room")?;
    let (number, _) = rest.split_once(":b.example")?;
    number.parse().ok()
}
