//! The failure conditions of `main.rs`, read off what the homeserver has.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use serde_json::Value;
use vizard::store::Portal;

use crate::{
    fake::world::World,
    side::Side,
    story::{BOT, USERS},
};

/// Something is not as it should be.
#[derive(Clone, Debug)]
pub enum Finding {
    /// It may still come.
    Missing(String),
    /// It will never be right again.
    Wrong(String),
}

impl Finding {
    pub fn missing(text: String) -> Self {
        Self::Missing(text)
    }

    pub fn is_final(&self) -> bool {
        matches!(self, Self::Wrong(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(text) => write!(f, "missing: {text}"),
            Self::Wrong(text) => write!(f, "wrong: {text}"),
        }
    }
}

/// What the world does not say itself.
pub struct Known<'a> {
    pub portals: &'a [Portal],
    pub rooms: &'a [String],
    pub chats: &'a [String],
    /// Events that were never pushed.
    pub lost: &'a BTreeSet<String>,
    pub overlaps: &'a [(String, String)],
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether the name of a user stands in a text.
pub fn names_a_user(text: &str) -> bool {
    localparts().any(|localpart| text.contains(localpart))
}

fn localparts() -> impl Iterator<Item = &'static str> {
    let local = |(user, _): &(&'static str, _)| user[1..].split_once(':').unwrap().0;
    USERS.iter().map(local)
}

/// Portal rooms in a fixed order, with their users.
pub fn portal_rooms(world: &World) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = world
        .rooms
        .iter()
        .filter(|(_, room)| {
            room.state_event("m.room.create", "")
                .is_some_and(|event| text(&event["sender"]).starts_with("@_vizard_p_"))
        })
        .filter_map(|(id, room)| {
            let user = USERS
                .iter()
                .find(|(user, _)| room.members.contains_key(*user))?;
            Some((id.clone(), user.0.to_owned()))
        })
        .collect();
    found.sort();
    found
}

/// One event as the checks see it.
pub struct Seen<'a> {
    pub place: usize,
    pub id: &'a str,
    pub sender: &'a str,
    pub kind: &'a str,
    /// As it was sent, whatever was redacted since.
    pub content: &'a Value,
    pub redacted: bool,
    /// What tells it from all others: its text, or the key of a reaction.
    pub label: &'a str,
    pub event: &'a Value,
}

impl Seen<'_> {
    /// What an edit, reaction, thread or reply refers to.
    pub fn target(&self) -> Option<&str> {
        let relation = &self.content["m.relates_to"];
        let target = match relation.get("rel_type") {
            Some(_) => &relation["event_id"],
            None => &relation["m.in_reply_to"]["event_id"],
        };
        target.as_str()
    }

    /// Whether it makes no sense without what it refers to.
    pub fn depends(&self) -> bool {
        matches!(
            text(&self.content["m.relates_to"]["rel_type"]),
            "m.replace" | "m.annotation"
        )
    }

    /// Whether it decides about the message that it replies to.
    pub fn is_word(&self) -> bool {
        matches!(self.label, "send" | "discard") && self.target().is_some()
    }

    pub fn says(&self) -> bool {
        matches!(self.kind, "m.room.message" | "m.reaction")
            && self.event.get("state_key").is_none()
    }
}

/// All events of a room.
pub fn events<'a>(world: &'a World, room: &str) -> Vec<Seen<'a>> {
    let events: &[Arc<Value>] = world.rooms.get(room).map_or(&[], |room| &room.events);
    events
        .iter()
        .enumerate()
        .map(|(place, event)| {
            let id = text(&event["event_id"]);
            let content = &world.originals[id];
            let label = [
                &content["m.new_content"]["body"],
                &content["m.relates_to"]["key"],
                &content["body"],
            ];
            Seen {
                place,
                id,
                sender: text(&event["sender"]),
                kind: text(&event["type"]),
                content,
                redacted: event["unsigned"].get("redacted_because").is_some(),
                label: label
                    .into_iter()
                    .find_map(Value::as_str)
                    .unwrap_or_default(),
                event,
            }
        })
        .collect()
}

/// Looks for everything that is wrong.
pub fn look(world: &World, known: &Known<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for portal in known.portals {
        Side::of(world, known, portal).check(&mut found);
    }
    leaks(world, known, &mut found);
    receipts(world, &mut found);
    overlaps(world, known, &mut found);
    let answered: BTreeSet<&str> = known
        .chats
        .iter()
        .flat_map(|chat| events(world, chat))
        .filter(|event| event.sender == BOT)
        .filter_map(|event| event.content["m.relates_to"]["m.in_reply_to"]["event_id"].as_str())
        .collect();
    for chat in known.chats {
        for event in events(world, chat) {
            let lost = known.lost.contains(event.id);
            if event.sender != BOT && event.says() && !lost && !answered.contains(event.id) {
                found.push(Finding::Missing(format!("an answer to {}", event.label)));
            }
        }
    }
    let known_rooms: BTreeSet<&str> = known
        .portals
        .iter()
        .filter_map(|portal| portal.portal_room.as_ref())
        .map(|room| room.as_str())
        .collect();
    for (room, _) in portal_rooms(world) {
        if !known_rooms.contains(room.as_str()) {
            found.push(Finding::Missing(format!("the portal of {room}")));
        }
    }
    found
}

/// Nothing in a room tells who its pseudonyms are.
fn leaks(world: &World, known: &Known<'_>, found: &mut Vec<Finding>) {
    let mut needles: Vec<String> = ["_vizard_p_", "_vizard_m_"].map(ToOwned::to_owned).to_vec();
    needles.extend(localparts().map(ToOwned::to_owned));
    needles.extend(USERS.map(|(_, name)| name.to_owned()));
    // What its user, asked, wanted to be said all the same.
    let mut meant: BTreeSet<&str> = BTreeSet::new();
    for (room, _) in portal_rooms(world) {
        let inside = events(world, &room);
        needles.extend(inside.iter().map(|event| event.id.to_owned()));
        for word in inside.iter().filter(|event| event.label == "send") {
            let about = inside.iter().find(|event| word.target() == Some(event.id));
            meant.extend(about.map(|event| event.label));
        }
        needles.push(room);
    }
    for room in known.rooms {
        for event in events(world, room) {
            if !event.sender.starts_with("@_vizard_") {
                continue;
            }
            let mut content = format!("{} {}", event.sender, event.content);
            if meant.contains(event.label) {
                content = content.replace(event.label, "");
            }
            // Ids have one length, so that a set would do; a run is small.
            if let Some(needle) = needles.iter().find(|needle| content.contains(*needle)) {
                found.push(Finding::Wrong(format!(
                    "{needle} stands in the room: {content}"
                )));
            }
        }
    }
}

/// Nobody but a host reads anything: a ghost's receipt, even a private one, would tell a room when its user reads.
fn receipts(world: &World, found: &mut Vec<Finding>) {
    let by_others = world
        .receipts
        .iter()
        .filter(|receipt| !receipt.user.starts_with("@_vizard_p_"));
    found.extend(by_others.map(|receipt| {
        Finding::Wrong(format!("a receipt ({}) of {}", receipt.kind, receipt.user))
    }));
}

/// No two sends of one lane overlap.
fn overlaps(world: &World, known: &Known<'_>, found: &mut Vec<Finding>) {
    let mut lanes: HashMap<&str, usize> = HashMap::new();
    for (lane, portal) in known.portals.iter().enumerate() {
        lanes.insert(portal.ghost.id.as_str(), lane);
        let room = portal.portal_room.as_ref().map(|room| room.as_str());
        let room = room.and_then(|room| world.rooms.get(room));
        for member in room.iter().flat_map(|room| room.members.keys()) {
            if member.starts_with("@_vizard_m_") {
                lanes.insert(member, lane);
            }
        }
    }
    for (one, other) in known.overlaps {
        if let (Some(lane), Some(same)) = (lanes.get(one.as_str()), lanes.get(other.as_str()))
            && lane == same
        {
            found.push(Finding::Wrong(format!("{one} and {other} send at once")));
        }
    }
}

/// What stands in every room, for whoever looks for the cause of a finding.
pub fn print(world: &World) {
    let mut rooms: Vec<&String> = world.rooms.keys().collect();
    rooms.sort();
    for room in rooms {
        eprintln!("{room}");
        for event in events(world, room) {
            let short = |id: &str| id.chars().take(16).collect::<String>();
            eprintln!(
                "  {:>3} {} {} {:<16} {} {} {}{}{}",
                event.place,
                text(&event.event["event_id"])
                    .chars()
                    .take(6)
                    .collect::<String>(),
                event.event["origin_server_ts"],
                short(event.sender),
                event.kind,
                event
                    .event
                    .get("state_key")
                    .map_or(String::new(), |key| short(text(key))),
                event.label.lines().next().unwrap_or_default(),
                event.content["membership"].as_str().unwrap_or_default(),
                if event.redacted { " (redacted)" } else { "" },
            );
        }
    }
    for receipt in &world.receipts {
        eprintln!("  read {} {}", receipt.room, &receipt.event[..6]);
    }
}
