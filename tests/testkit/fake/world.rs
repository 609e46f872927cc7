//! Everything the fake homeserver knows, and how an event comes to be.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use vizard::clock::Clock;

pub use super::room::Room;
use super::{Config, Keys, Receipt, kept, post::Posted, push::Item};

/// An account.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// The profile's fields.
    pub profile: Map<String, Value>,
    /// Device ids.
    pub devices: BTreeSet<String>,
}

/// A media file; without content while it is reserved only.
pub type File = Option<(Vec<u8>, String)>;

/// Everything.
#[derive(Debug)]
pub struct World {
    /// Accounts by user id, remote ones included.
    pub users: BTreeMap<String, User>,
    /// Rooms by id.
    pub rooms: HashMap<String, Room>,
    /// Room ids by alias.
    pub aliases: BTreeMap<String, String>,
    /// Media by mxc.
    pub media: BTreeMap<String, File>,
    /// Messages from device to device, in order.
    pub posted: Vec<Posted>,
    /// Receipts in order.
    pub receipts: Vec<Receipt>,
    /// Uploads of devices' keys in order: whose, and the body.
    pub uploads: Vec<(String, Value)>,
    /// Keys of devices, under [`Keys::Kept`].
    pub kept: kept::Keys,
    /// Account data by user and type.
    pub account_data: BTreeMap<(String, String), Value>,
    /// Room and place of each event.
    pub by_id: HashMap<String, (String, usize)>,
    /// Content of each event as it was sent, whatever was redacted since.
    pub originals: HashMap<String, Value>,
    /// Synapse's first de-duplication: by path alone, whoever sends; lost in a restart.
    pub(super) sent_by_path: HashMap<String, Value>,
    /// Its second: by room, user, device and transaction id; kept in the database.
    pub(super) sent_by_device: HashMap<[String; 4], String>,
    /// User, device and transaction id of events that were sent with one; kept with the event, whatever becomes of the device.
    pub(super) sent_as: HashMap<String, [String; 3]>,
    /// What the application service must hear of.
    pub(super) news: Vec<Item>,
    pub(super) config: Config,
    clock: Clock,
    ids: u64,
}

/// An event about to be.
pub(super) struct New<'a> {
    pub room: &'a str,
    pub sender: &'a str,
    pub kind: &'a str,
    pub key: Option<&'a str>,
    pub content: Value,
    pub ts: Option<u64>,
    pub redacts: Option<&'a str>,
}

impl World {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            users: BTreeMap::new(),
            rooms: HashMap::new(),
            aliases: BTreeMap::new(),
            media: BTreeMap::new(),
            posted: Vec::new(),
            receipts: Vec::new(),
            uploads: Vec::new(),
            kept: kept::Keys::default(),
            account_data: BTreeMap::new(),
            by_id: HashMap::new(),
            originals: HashMap::new(),
            sent_by_path: HashMap::new(),
            sent_by_device: HashMap::new(),
            sent_as: HashMap::new(),
            news: Vec::new(),
            config: config.clone(),
            clock: config.clock.clone(),
            ids: 0,
        }
    }

    /// Whether a user belongs to the application service.
    #[must_use]
    pub fn in_namespace(&self, user: &str) -> bool {
        user.strip_prefix('@')
            .and_then(|rest| rest.split_once(':'))
            .is_some_and(|(local, server)| {
                server == self.config.server
                    && (local.starts_with(&self.config.prefix) || local == self.config.bot)
            })
    }

    /// Deletes a device, and with it the memory of its transaction ids.
    pub(super) fn delete_device(&mut self, user: &str, device: &str) {
        if let Some(account) = self.users.get_mut(user) {
            account.devices.remove(device);
        }
        self.log_out(user, device);
        self.sent_by_device
            .retain(|[_, sender, by, _], _| sender != user || by != device);
    }

    /// 43 characters that never came before, in the alphabet of event ids.
    pub(super) fn fresh(&mut self) -> String {
        self.ids += 1;
        let seed = format!("{} {} {}", self.config.server, self.config.seed, self.ids);
        BASE64URL_NOPAD.encode(&Sha256::digest(seed))
    }

    /// Appends an event that was found to be allowed; returns its id.
    #[expect(clippy::needless_pass_by_value, reason = "a new event is used up")]
    pub(super) fn append(&mut self, new: New<'_>) -> String {
        let id = format!("${}", self.fresh());
        let mut event = json!({
            "event_id": id,
            "room_id": new.room,
            "sender": new.sender,
            "type": new.kind,
            "content": new.content,
            "origin_server_ts": new.ts.unwrap_or_else(|| self.clock.now()),
            "unsigned": {},
        });
        if let Some(redacts) = new.redacts {
            // At the old place and the new one, as Synapse shows it to clients.
            event["redacts"] = redacts.into();
            event["content"]["redacts"] = redacts.into();
        }
        let member_in_namespace =
            new.kind == "m.room.member" && new.key.is_some_and(|key| self.in_namespace(key));
        let from_namespace = self.in_namespace(new.sender);
        let namespaced: Option<(String, bool)> = new
            .key
            .filter(|_| member_in_namespace)
            .map(|key| (key.to_owned(), new.content["membership"] == "join"));
        let room = self.rooms.get_mut(new.room).expect("a room that exists");
        if let Some(key) = new.key {
            event["state_key"] = key.into();
            if let Some(old) = room.state_event(new.kind, key) {
                event["unsigned"]["prev_content"] = old["content"].clone();
                event["unsigned"]["replaces_state"] = old["event_id"].clone();
            }
            if new.kind == "m.room.member" && new.content["membership"] == "invite" {
                event["unsigned"]["invite_room_state"] = room.stripped(new.sender);
            }
        }
        self.originals.insert(id.clone(), event["content"].clone());
        if let Some(user) = new.key.filter(|_| new.kind == "m.room.member")
            && event["content"]["membership"] == "join"
            && self.config.keys == Keys::Kept
        {
            // Whoever is new in a room is one whose devices nobody there knows.
            self.kept.changed(user);
        }
        let place = room.push(event);
        if let Some((user, joined)) = namespaced {
            if joined {
                room.namespaced.insert(user);
            } else {
                room.namespaced.remove(&user);
            }
        }
        if member_in_namespace || from_namespace || !room.namespaced.is_empty() {
            self.news.push(Item::Event(new.room.to_owned(), place));
        }
        if let Some(redacts) = new.redacts {
            self.empty(redacts, &id);
        }
        self.by_id.insert(id.clone(), (new.room.to_owned(), place));
        id
    }

    /// Empties a redacted event.
    fn empty(&mut self, target: &str, by: &str) {
        let Some((room, place)) = self.by_id.get(target) else {
            return;
        };
        let Some(room) = self.rooms.get_mut(room) else {
            return;
        };
        let event = Arc::make_mut(&mut room.events[*place]);
        let kept = match event["type"].as_str() {
            Some("m.room.member") => json!({"membership": event["content"]["membership"]}),
            _ => json!({}),
        };
        event["content"] = kept;
        event["unsigned"] = json!({"redacted_because": {"event_id": by}, "redacted_by": by});
    }

    /// The profile that a member event gets when it names none.
    pub(super) fn member_profile(&self, user: &str, content: &mut Value) {
        let Some(account) = self.users.get(user) else {
            return;
        };
        for field in ["displayname", "avatar_url"] {
            if content.get(field).is_none()
                && let Some(value) = account.profile.get(field)
            {
                content[field] = value.clone();
            }
        }
    }
}
