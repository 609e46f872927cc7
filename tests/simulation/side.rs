//! What can be wrong with one portal: the failure conditions that compare its two rooms.

use std::collections::{BTreeMap, BTreeSet};

use vizard::store::{Portal, PortalState};

use crate::{
    check::{Finding, Known, Seen, events, names_a_user, text},
    fake::world::{File, World},
    speech::{PLANTED, mark},
};

/// One portal, seen from both of its rooms.
pub struct Side<'a> {
    portal: &'a Portal,
    room: Vec<Seen<'a>>,
    inside: Vec<Seen<'a>>,
    receipts: Vec<&'a str>,
    media: &'a BTreeMap<String, File>,
    /// The ghost was removed or muted once, was told to leave, or did not succeed in joining.
    disturbed: bool,
}

impl<'a> Side<'a> {
    pub fn of(world: &'a World, known: &Known<'_>, portal: &'a Portal) -> Self {
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
            media: &world.media,
            disturbed: removed || muted || left || failed,
        }
    }

    /// Looks for what is wrong with it.
    pub fn check(&self, found: &mut Vec<Finding>) {
        if !self.disturbed && self.portal.state != PortalState::Joined {
            found.push(Finding::Missing(format!(
                "{} is {:?}",
                self.portal.ghost.id, self.portal.state
            )));
        }
        let mut own = Vec::new();
        self.outbound(&mut own);
        self.unasked(&mut own);
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
            let word = self.word_about(source);
            let replies = self.replies_to(source, word);
            if source.is_word() {
                let fate = !replies.is_empty() || covered.is_some_and(|at| at >= source.place);
                if !fate {
                    found.push(Finding::Missing(format!("the fate of the word {label}")));
                }
                continue;
            }
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
            let asked = asked(source, word, &replies, &sent, found);
            match sent[..] {
                [] if asked && word.is_none_or(|word| word.label != "send") => {}
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
                            .is_some_and(|target| gone(&self.inside, &self.room, target));
                    // Refused, killed before that was noted, and allowed again since: both is the truth.
                    let sent_at = one.event["origin_server_ts"].as_u64();
                    let changed = self.disturbed
                        && replies
                            .iter()
                            .all(|reply| reply.event["origin_server_ts"].as_u64() < sent_at);
                    if refused && !gone && !changed {
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
                    self.file(source, one, found);
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
            let fate =
                refused || asked || source.redacted || covered.is_some_and(|at| at >= source.place);
            if !fate {
                found.push(Finding::Missing(format!("the fate of {label}")));
            }
        }
    }

    /// What the user said about a message that was held.
    fn word_about(&self, source: &Seen<'_>) -> Option<&Seen<'a>> {
        let about = |event: &&Seen<'_>| {
            event.is_word() && event.sender == source.sender && event.target() == Some(source.id)
        };
        self.inside.iter().find(about)
    }

    /// What the host replied to a message, or to the user's word about it.
    fn replies_to(&self, source: &Seen<'_>, word: Option<&Seen<'_>>) -> Vec<&Seen<'a>> {
        let host = self.portal.host.id.as_str();
        let replies = self.inside.iter().filter(|event| {
            let answered = &event.content["m.relates_to"]["m.in_reply_to"]["event_id"];
            event.sender == host
                && (answered == source.id || word.is_some_and(|word| answered == word.id))
        });
        replies.collect()
    }

    /// A picture arrives as another file that shows the same, without what it told besides.
    fn file(&self, source: &Seen<'_>, sent: &Seen<'_>, found: &mut Vec<Finding>) {
        if source.content["msgtype"] != "m.image" {
            return;
        }
        let url = text(&sent.content["url"]);
        let bytes = self.media.get(url).and_then(Option::as_ref);
        let has = |what: &str| {
            bytes.is_some_and(|(bytes, _)| {
                let mut windows = bytes.windows(what.len());
                windows.any(|bytes| bytes == what.as_bytes())
            })
        };
        let same = url == text(&source.content["url"]);
        if same || !has(&mark(source.label)) || has(PLANTED) {
            let text = format!("the file of {} is not a clean copy: {url}", source.label);
            found.push(Finding::Wrong(text));
        }
    }

    /// What the ghost does that nobody asked it for.
    fn unasked(&self, found: &mut Vec<Finding>) {
        let (user, ghost) = (self.portal.user.as_str(), self.portal.ghost.id.as_str());
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

    /// Whether a message could not be sent although nobody disturbed: it came before the join was over, or refers to
    /// something that never went out.
    fn excused(&self, source: &Seen<'_>, replies: &[&Seen<'_>]) -> bool {
        let early = replies
            .iter()
            .any(|event| event.label.contains("the join is not finished"));
        let unknown = source.depends()
            && source.target().is_none_or(|target| {
                counterpart(&self.inside, &self.room, target).is_none()
                    || gone(&self.inside, &self.room, target)
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
                        || gone(&self.room, &self.inside, target)
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
                    self.file(source, one, found);
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
        if gone(here, there, target) {
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

/// Whether the user was asked about a message, as they are about each that names them: once, and it goes only if they
/// said so.
fn asked(
    source: &Seen<'_>,
    word: Option<&Seen<'_>>,
    replies: &[&Seen<'_>],
    sent: &[&Seen<'_>],
    found: &mut Vec<Finding>,
) -> bool {
    let label = source.label;
    let questions = replies
        .iter()
        .filter(|event| event.label.starts_with("Held back:"))
        .count();
    let wanted = word.is_some_and(|word| word.label == "send");
    let telling = names_a_user(label);
    if questions > 1 || (questions == 1 && !telling) {
        let text = format!("{label} was asked about {questions} times");
        found.push(Finding::Wrong(text));
    }
    if telling && !sent.is_empty() && (!wanted || questions == 0) {
        found.push(Finding::Wrong(format!("{label} was sent unasked")));
    }
    questions > 0
}

fn redactions<'a, 'b>(events: &'b [Seen<'a>]) -> impl Iterator<Item = &'b Seen<'a>> {
    events
        .iter()
        .filter(|event| event.kind == "m.room.redaction")
}

fn target_of<'a>(event: &Seen<'a>) -> &'a str {
    text(&event.event["redacts"])
}

/// Whether an event was redacted, on either side. What was, and was not noted as handled when Vizard died, is handled later
/// than what refers to it.
fn gone(here: &[Seen<'_>], there: &[Seen<'_>], id: &str) -> bool {
    let redacted =
        |events: &[Seen<'_>], id: &str| events.iter().any(|event| event.id == id && event.redacted);
    redacted(here, id) || counterpart(here, there, id).is_some_and(|id| redacted(there, id))
}

/// The event on the other side that says the same.
fn counterpart<'a>(here: &[Seen<'_>], there: &[Seen<'a>], id: &str) -> Option<&'a str> {
    let label = here.iter().find(|event| event.id == id)?.label;
    there
        .iter()
        .find(|event| event.label == label && event.says())
        .map(|event| event.id)
}
