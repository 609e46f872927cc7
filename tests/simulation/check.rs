//! The failure conditions of `main.rs`, read off what the homeserver has.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use serde_json::Value;
use vizard::store::{Portal, PortalState};

use crate::{
    fake::world::World,
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
    for (user, name) in USERS {
        let localpart = user[1..].split_once(':').unwrap().0;
        needles.extend([localpart.to_owned(), name.to_owned()]);
    }
    for (room, _) in portal_rooms(world) {
        needles.extend(events(world, &room).iter().map(|event| event.id.to_owned()));
        needles.push(room);
    }
    for room in known.rooms {
        for event in events(world, room) {
            if !event.sender.starts_with("@_vizard_") {
                continue;
            }
            let content = format!("{} {}", event.sender, event.content);
            // Ids have one length, so that a set would do; a run is small.
            if let Some(needle) = needles.iter().find(|needle| content.contains(*needle)) {
                found.push(Finding::Wrong(format!(
                    "{needle} stands in the room: {content}"
                )));
            }
        }
    }
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

/// One portal, seen from both of its rooms.
struct Side<'a> {
    portal: &'a Portal,
    room: Vec<Seen<'a>>,
    inside: Vec<Seen<'a>>,
    receipts: Vec<&'a str>,
    /// The ghost was removed or muted once, was told to leave, or did not succeed in joining.
    disturbed: bool,
}

impl<'a> Side<'a> {
    fn of(world: &'a World, known: &Known<'_>, portal: &'a Portal) -> Self {
        let room = events(world, portal.room.as_str());
        let portal_room = portal.portal_room.as_ref().map(|room| room.as_str());
        let inside = portal_room.map_or_else(Vec::new, |room| events(world, room));
        let ghost = portal.ghost.id.as_str();
        let removed = room.iter().any(|event| {
            event.event["state_key"] == ghost && event.content["membership"] != "join"
        });
        let muted = room
            .iter()
            .filter(|event| event.kind == "m.room.power_levels")
            .any(|event| event.content["users"].get(ghost).is_some());
        let left = inside.iter().any(|event| event.label == "!vizard leave");
        let told = |event: &Seen<'_>| event.label.contains("does not answer");
        let failed = inside.iter().any(told)
            || known
                .chats
                .iter()
                .any(|chat| events(world, chat).iter().any(told));
        let receipts = world
            .receipts
            .iter()
            .filter(|receipt| {
                Some(receipt.room.as_str()) == portal_room
                    && receipt.user == portal.host.id.as_str()
            })
            .map(|receipt| receipt.event.as_str())
            .collect();
        Self {
            portal,
            room,
            inside,
            receipts,
            disturbed: removed || muted || left || failed,
        }
    }

    fn check(&self, found: &mut Vec<Finding>) {
        if !self.disturbed && self.portal.state != PortalState::Joined {
            found.push(Finding::Missing(format!(
                "{} is {:?}",
                self.portal.ghost.id, self.portal.state
            )));
        }
        let mut own = Vec::new();
        self.outbound(&mut own);
        self.inbound(&mut own);
        self.redactions(&mut own);
        let nick = &self.portal.ghost.nick;
        found.extend(own.into_iter().map(|finding| match finding {
            Finding::Missing(text) => Finding::Missing(format!("{nick}: {text}")),
            Finding::Wrong(text) => Finding::Wrong(format!("{nick}: {text}")),
        }));
    }

    /// Portal → room.
    fn outbound(&self, found: &mut Vec<Finding>) {
        let (user, ghost) = (self.portal.user.as_str(), self.portal.ghost.id.as_str());
        let host = self.portal.host.id.as_str();
        let mut last = 0;
        let covered = self
            .receipts
            .iter()
            .filter_map(|id| self.inside.iter().find(|event| event.id == *id))
            .map(|event| event.place)
            .max();
        for source in self
            .inside
            .iter()
            .filter(|event| event.sender == user && event.says())
        {
            let label = source.label;
            let replies: Vec<&Seen<'_>> = self
                .inside
                .iter()
                .filter(|event| {
                    event.sender == host
                        && event.content["m.relates_to"]["m.in_reply_to"]["event_id"] == source.id
                })
                .collect();
            if label.starts_with("!vizard") {
                if replies.is_empty() {
                    found.push(Finding::Missing(format!("an answer to {label}")));
                }
                continue;
            }
            let sent: Vec<&Seen<'_>> = self
                .room
                .iter()
                .filter(|event| event.label == label && event.says())
                .collect();
            let refused = replies
                .iter()
                .any(|event| event.label.starts_with("Not sent:"));
            match sent[..] {
                [] if refused => {
                    if !self.disturbed && !self.excused(source, &replies) {
                        found.push(Finding::Wrong(format!(
                            "{label} was refused: {}",
                            replies[0].label
                        )));
                    }
                }
                [] if source.redacted => {}
                [] => found.push(Finding::Missing(format!("{label} in the room"))),
                [one] => {
                    if one.sender != ghost {
                        found.push(Finding::Wrong(format!("{label} said by {}", one.sender)));
                    }
                    // What was redacted meanwhile is no longer looked for when a crash left open whether it was sent.
                    let gone = source.redacted
                        || source
                            .target()
                            .is_some_and(|target| self.is_redacted(target));
                    if refused && !gone {
                        let why: Vec<String> = replies
                            .iter()
                            .map(|event| {
                                format!("{} {}", event.event["origin_server_ts"], event.label)
                            })
                            .collect();
                        found.push(Finding::Wrong(format!(
                            "{label} was sent {} and refused: {why:?}",
                            one.event["origin_server_ts"]
                        )));
                    }
                    // What was redacted before it was handled has no content to be said in time.
                    if one.place < last && !source.redacted {
                        found.push(Finding::Wrong(format!("{label} overtook (outbound)")));
                    }
                    if !source.redacted {
                        last = one.place;
                    }
                    self.relation(source, one, &self.inside, &self.room, found);
                }
                _ => found.push(Finding::Wrong(format!(
                    "{label} was said {} times",
                    sent.len()
                ))),
            }
            if sent.is_empty() && !source.redacted && self.receipts.contains(&source.id) {
                found.push(Finding::Wrong(format!(
                    "a receipt for {label}, which was not sent"
                )));
            }
            let fate = refused || source.redacted || covered.is_some_and(|at| at >= source.place);
            if !fate {
                found.push(Finding::Missing(format!("the fate of {label}")));
            }
        }
        for event in self.room.iter().filter(|event| event.sender == ghost) {
            let says = event.says() && !event.label.starts_with("out");
            if says {
                found.push(Finding::Wrong(format!("the ghost says {}", event.label)));
            }
            let left = event.kind == "m.room.member" && event.content["membership"] == "leave";
            let wanted = self
                .inside
                .iter()
                .any(|event| event.sender == user && event.content["body"] == "!vizard leave");
            if left && !wanted {
                found.push(Finding::Wrong(format!("{ghost} left by itself")));
            }
        }
    }

    fn is_redacted(&self, id: &str) -> bool {
        self.inside
            .iter()
            .any(|event| event.id == id && event.redacted)
    }

    /// Whether a message could not be sent although nobody disturbed: it came before the join was over, or refers to
    /// something that never went out.
    fn excused(&self, source: &Seen<'_>, replies: &[&Seen<'_>]) -> bool {
        let early = replies
            .iter()
            .any(|event| event.label.contains("the join is not finished"));
        let unknown = source.depends()
            && source.target().is_none_or(|target| {
                counterpart(&self.inside, &self.room, target).is_none()
                    || self
                        .inside
                        .iter()
                        .any(|event| event.id == target && event.redacted)
            });
        early || unknown
    }

    /// Room → portal.
    fn inbound(&self, found: &mut Vec<Finding>) {
        let ghost = self.portal.ghost.id.as_str();
        let (mut there, mut last) = (false, 0);
        let mut mirrors: BTreeMap<&str, &str> = BTreeMap::new();
        let mut members: BTreeMap<&str, &str> = BTreeMap::new();
        for source in &self.room {
            if source.event["state_key"] == ghost && source.kind == "m.room.member" {
                there = source.content["membership"] == "join";
            }
            if source.sender == ghost || !source.says() {
                continue;
            }
            let label = source.label;
            let shown: Vec<&Seen<'_>> = self
                .inside
                .iter()
                .filter(|event| {
                    event.label == label && event.sender.starts_with("@_vizard_") && event.says()
                })
                .collect();
            let unknown = source.depends()
                && source.target().is_none_or(|target| {
                    counterpart(&self.room, &self.inside, target).is_none()
                        || self
                            .room
                            .iter()
                            .any(|event| event.id == target && event.redacted)
                });
            match shown[..] {
                [] => {
                    if there && !self.disturbed && !source.redacted && !unknown {
                        found.push(Finding::Missing(format!("{label} in the portal")));
                    }
                }
                [one] => {
                    if !one.sender.starts_with("@_vizard_m_") {
                        found.push(Finding::Wrong(format!("{label} said by {}", one.sender)));
                    }
                    let same = *mirrors.entry(source.sender).or_insert(one.sender) == one.sender
                        && *members.entry(one.sender).or_insert(source.sender) == source.sender;
                    if !same {
                        found.push(Finding::Wrong(format!("{label} said by another mirror")));
                    }
                    // What was redacted before it was handled has no content to be said in time.
                    if one.place < last && !source.redacted {
                        found.push(Finding::Wrong(format!("{label} overtook (inbound)")));
                    }
                    if !source.redacted {
                        last = one.place;
                    }
                    self.relation(source, one, &self.room, &self.inside, found);
                }
                _ => found.push(Finding::Wrong(format!(
                    "{label} was shown {} times",
                    shown.len()
                ))),
            }
        }
    }

    /// An edit, a reaction, a reply points to what its source points to.
    fn relation(
        &self,
        source: &Seen<'_>,
        sent: &Seen<'_>,
        here: &[Seen<'_>],
        there: &[Seen<'_>],
        found: &mut Vec<Finding>,
    ) {
        let Some(target) = source.target() else {
            return;
        };
        if here
            .iter()
            .any(|event| event.id == target && event.redacted)
        {
            return;
        }
        let expected = counterpart(here, there, target);
        let points = sent.target();
        if points.is_some() && points != expected {
            found.push(Finding::Wrong(format!(
                "{} refers to another event",
                source.label
            )));
        }
        if points.is_none() && expected.is_some() && !self.disturbed {
            found.push(Finding::Wrong(format!(
                "{} refers to nothing any more",
                source.label
            )));
        }
    }

    /// What was redacted on one side is redacted on the other, and nothing else is.
    fn redactions(&self, found: &mut Vec<Finding>) {
        let (user, ghost) = (self.portal.user.as_str(), self.portal.ghost.id.as_str());
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        for event in redactions(&self.inside).filter(|event| event.sender == user) {
            if let Some(there) = counterpart(&self.inside, &self.room, target_of(event)) {
                wanted.insert(there);
            }
        }
        let mut done: BTreeSet<&str> = BTreeSet::new();
        for event in redactions(&self.room).filter(|event| event.sender == ghost) {
            if !wanted.contains(target_of(event)) || !done.insert(target_of(event)) {
                found.push(Finding::Wrong("a redaction too many in the room".into()));
            }
        }
        if !self.disturbed && done.len() < wanted.len() {
            found.push(Finding::Missing("a redaction in the room".into()));
        }
        for event in redactions(&self.room).filter(|event| event.sender != ghost) {
            if let Some(there) = counterpart(&self.room, &self.inside, target_of(event)) {
                let redacted = self
                    .inside
                    .iter()
                    .any(|event| event.id == there && event.redacted);
                if !redacted && !self.disturbed {
                    found.push(Finding::Missing("a redaction in the portal".into()));
                }
            }
        }
    }
}

fn redactions<'a, 'b>(events: &'b [Seen<'a>]) -> impl Iterator<Item = &'b Seen<'a>> {
    events
        .iter()
        .filter(|event| event.kind == "m.room.redaction")
}

fn target_of<'a>(event: &Seen<'a>) -> &'a str {
    text(&event.event["redacts"])
}

/// The event on the other side that says the same.
fn counterpart<'a>(here: &[Seen<'_>], there: &[Seen<'a>], id: &str) -> Option<&'a str> {
    let label = here.iter().find(|event| event.id == id)?.label;
    there
        .iter()
        .find(|event| event.label == label && event.says())
        .map(|event| event.id)
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
