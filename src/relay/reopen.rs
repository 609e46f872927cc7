//! When the key of a message comes late: what it says takes the place of its placeholder. A job, because it may take days.

use ruma::{EventId, OwnedEventId, RoomId};
use serde::{Deserialize, Serialize};

use super::{
    Relay, gaps,
    inbound::{UNREAD, is_redacted},
    reconcile,
    sealed::{NEVER_CAME, UNREADABLE},
};
use crate::{
    clock::UnixMillis,
    event::{Event, Trust},
    homeserver::{Actor, Class},
    portal::{Deps, Outcome, PortalError},
    rewrite::{self, Rewritten, Scrubbed},
    store::{Direction, Link, Portal, PortalState, ReopenTask},
};

/// Looks for a late key, over about two weeks.
pub const LOOKS: u32 = 520;

/// As many more for a message that is never handled, which would be a bug.
const UNKNOWN: u32 = 100;

/// A device that synced so lately does not sync again for an event that waits, in milliseconds: an eighth of the wait between
/// two looks, with which it grows, so that one sync serves many events.
const RECENT: u64 = 125;
/// Doublings after which it grows no more: a minute.
const DOUBLINGS: u32 = 9;

/// What replaces a placeholder when the search panics again and again.
const BROKE_OFF: &str = "🔒 an encrypted message that cannot be shown: Vizard broke off at it, which is a bug. Please tell its administrator.";

#[derive(Serialize, Deserialize)]
struct Stored {
    event_id: String,
    room_id: String,
    sender: String,
    #[serde(rename = "type")]
    kind: String,
    origin_server_ts: UnixMillis,
    content: Box<serde_json::value::RawValue>,
}

/// An event as a job keeps it.
pub(super) fn kept(event: &Event) -> String {
    let stored = Stored {
        event_id: event.event_id.to_string(),
        room_id: event.room_id.to_string(),
        sender: event.sender.to_string(),
        kind: event.kind.clone(),
        origin_server_ts: event.origin_server_ts,
        content: event.content.clone(),
    };
    serde_json::to_string(&stored).unwrap_or_default()
}

fn event_of(task: &ReopenTask) -> Option<Event> {
    let raw = serde_json::value::RawValue::from_string(task.event.clone());
    raw.ok().and_then(|raw| Event::decode(&raw))
}

/// Looks once more for the key of an event that a placeholder stands for.
pub async fn reopen(deps: &Deps, task: &ReopenTask, attempts: u32) -> Result<Outcome, PortalError> {
    let portal = deps.portals.get(task.portal).await?;
    let Some(event) = event_of(task) else {
        return Ok(Outcome::Done);
    };
    let Some(room) = &portal.portal_room else {
        return Ok(Outcome::Done);
    };
    // Whoever returns goes on waiting.
    if deps.e2ee.unavailable().is_some() || portal.state == PortalState::Joining {
        return Ok(Outcome::Later);
    }
    let ghost = deps.ghost(&portal);
    let shown = match settled(deps, &portal, room, &event, task.shown.as_ref()).await? {
        Settled::Stands(shown) => shown,
        Settled::Unknown if attempts < LOOKS + UNKNOWN => return Ok(Outcome::Later),
        Settled::Unknown => {
            deps.e2ee.waits_no_more(&ghost, &event.event_id).await?;
            return Ok(Outcome::Done);
        }
        Settled::Gone(link) => {
            deps.e2ee.waits_no_more(&ghost, &event.event_id).await?;
            // Whoever took it away may not have come to say so.
            return Ok(match link.target {
                Some(_) => Outcome::Linked(portal.id, link),
                None => Outcome::Done,
            });
        }
    };
    let recent = RECENT << attempts.min(DOUBLINGS);
    let opened = deps.e2ee.decrypt_late(&ghost, &event, recent).await?;
    let waits = portal.state == PortalState::Joined && attempts < LOOKS;
    let lost = match opened.trust {
        trust if trust.lacks_key() && waits => return Ok(Outcome::Later),
        trust if trust.lacks_key() => Some(NEVER_CAME),
        trust if trust.is_void() || trust == Trust::Broken => Some(UNREADABLE),
        _ => None,
    };
    deps.e2ee.waits_no_more(&ghost, &event.event_id).await?;
    if is_redacted(deps, &ghost, &event.room_id, &event.event_id).await? {
        // The placeholder went with it.
        return Ok(Outcome::Done);
    }
    if lost.is_none() {
        deps.e2ee.has_key(&ghost, &event).await?;
    }
    let mirror = deps.ready_mirror(&portal, &event.sender, None).await?;
    let place = Place {
        portal: &portal,
        room,
        event: &event,
        mirror: &deps.mirror(&mirror),
        shown: &shown,
    };
    if let Some(text) = lost {
        return place.end(deps, text).await.map(|()| Outcome::Done);
    }
    let Some(content) = place.content(deps, &opened).await? else {
        return place.remove(deps).await.map(|()| Outcome::Done);
    };
    place.put(deps, content).await
}

/// The search for a key is given up from outside, because of a bug (`broke`) or otherwise: the placeholder says so.
pub async fn give_up_key(deps: &Deps, task: &ReopenTask, broke: bool) -> Result<(), PortalError> {
    let portal = deps.portals.get(task.portal).await?;
    let (Some(event), Some(room)) = (event_of(task), &portal.portal_room) else {
        return Ok(());
    };
    let ghost = deps.ghost(&portal);
    deps.e2ee.waits_no_more(&ghost, &event.event_id).await?;
    let settled = settled(deps, &portal, room, &event, task.shown.as_ref()).await?;
    let Settled::Stands(shown) = settled else {
        return Ok(());
    };
    if is_redacted(deps, &ghost, &event.room_id, &event.event_id).await? {
        return Ok(());
    }
    let mirror = deps.ready_mirror(&portal, &event.sender, None).await?;
    let place = Place {
        portal: &portal,
        room,
        event: &event,
        mirror: &deps.mirror(&mirror),
        shown: &shown,
    };
    let text = if broke { BROKE_OFF } else { UNREADABLE };
    place.end(deps, text).await
}

/// What became of a placeholder.
enum Settled {
    /// It stands for its message.
    Stands(OwnedEventId),
    /// There is none, or none any more; its message stands for itself, or for nothing.
    Gone(Box<Link>),
    /// Its message is being handled.
    Unknown,
}

/// Finds out whether a placeholder stands for its message. It may have been cut off after it was sent (`known`: and noted), and
/// handled again when the key was there: then the message stands for itself, and the placeholder goes.
async fn settled(
    deps: &Deps,
    portal: &Portal,
    room: &RoomId,
    event: &Event,
    known: Option<&OwnedEventId>,
) -> Result<Settled, PortalError> {
    let link = deps.store.link(portal.id, &event.event_id).await?;
    let Some(link) = link else {
        // It is handled once more; or its link was forgotten long since.
        let forgotten = known.filter(|_| event.origin_server_ts < gaps::oldest(deps));
        return Ok(match forgotten {
            Some(shown) => Settled::Stands(shown.clone()),
            None => Settled::Unknown,
        });
    };
    if let Some(shown) = known.filter(|shown| link.target.as_ref() == Some(*shown)) {
        return Ok(Settled::Stands(shown.clone()));
    }
    let ready = deps.ready_mirror(portal, &event.sender, None).await?;
    let (mirror, former) = (&deps.mirror(&ready), ready.puppet.former.as_ref());
    let mut sent = known.cloned();
    if sent.is_none() {
        let (source, at) = (event.event_id.as_str(), event.origin_server_ts);
        let txn_id = deps.store.txn_id(&mirror.user, source, UNREAD, 0);
        sent = reconcile::find(deps, mirror, former, room, &txn_id, at).await?;
    }
    let Some(shown) = sent else {
        return Ok(Settled::Gone(Box::new(link)));
    };
    if link.target.as_ref() == Some(&shown) {
        return Ok(Settled::Stands(shown));
    }
    let place = Place {
        portal,
        room,
        event,
        mirror,
        shown: &shown,
    };
    place.remove(deps).await?;
    Ok(Settled::Gone(Box::new(link)))
}

/// Where a message belongs whose key came late.
struct Place<'a> {
    portal: &'a Portal,
    room: &'a RoomId,
    event: &'a Event,
    mirror: &'a Actor,
    /// The placeholder.
    shown: &'a EventId,
}

/// What comes of it.
enum Late {
    /// It can be shown in the placeholder's place.
    Instead(Scrubbed),
    /// It has to come beside it: no client shows a file in the place of a text, and an edit or a reaction is of another
    /// message.
    Beside(Scrubbed),
}

impl Place<'_> {
    /// What the mirror says now; `None`: nothing that a person would miss.
    async fn content(&self, deps: &Deps, opened: &Event) -> Result<Option<Late>, PortalError> {
        let mut relay = Relay::new(self.portal.id, super::Guards::default());
        let references = rewrite::references(&opened.kind, &opened.content);
        let translations = relay
            .inbound_translations(deps, self.portal, &references)
            .await?;
        let (content, is_file) =
            match rewrite::inbound(&opened.kind, &opened.content, &translations) {
                Rewritten::Send(content) => (content, false),
                Rewritten::Media(attachment) => {
                    let content =
                        relay.attachment_inbound(deps, self.portal, self.room, opened, &attachment);
                    (content.await?, true)
                }
                Rewritten::Unsupported(what) => {
                    let text = format!("{what}: not supported yet");
                    (Scrubbed::notice(&text), false)
                }
                Rewritten::Refused(what) => {
                    let text = format!("{what}: cannot be shown here");
                    (Scrubbed::notice(&text), false)
                }
                Rewritten::Unknown(_) | Rewritten::Nothing => return Ok(None),
            };
        let content = relay.marked(deps, self.portal, opened, content).await?;
        let content = content.content;
        let is_text = content.event_type() == "m.room.message" && !content.is_edit();
        Ok(Some(if is_text && !is_file {
            Late::Instead(content)
        } else {
            Late::Beside(content)
        }))
    }

    /// Says it, once however often this runs.
    async fn put(&self, deps: &Deps, content: Late) -> Result<Outcome, PortalError> {
        let source = self.event.event_id.as_str();
        let txn_id = |leg| deps.store.txn_id(&self.mirror.user, source, leg, 0);
        // Its own time: an edit of it, whose key came first, stays the newest.
        let ts = ruma::UInt::new(self.event.origin_server_ts).map(ruma::MilliSecondsSinceUnixEpoch);
        match content {
            Late::Instead(content) => {
                let content = content.replacing(self.shown);
                deps.send(self.mirror, self.room, content, &txn_id("reopened"), ts)
                    .await?;
                Ok(Outcome::Done)
            }
            Late::Beside(content) => {
                let id = txn_id("reopened beside");
                let sent = deps
                    .send(self.mirror, self.room, content, &id, None)
                    .await?;
                // Only now: there is always something in its place. What answers or redacts the message is about this one.
                let link = Link {
                    source: self.event.event_id.clone(),
                    target: Some(sent),
                    direction: Direction::Inbound,
                    sender: self.event.sender.clone(),
                };
                deps.store.replace_link(self.portal.id, &link).await?;
                self.remove(deps).await?;
                Ok(Outcome::Linked(self.portal.id, Box::new(link)))
            }
        }
    }

    /// Lets the placeholder promise nothing any more.
    async fn end(&self, deps: &Deps, text: &str) -> Result<(), PortalError> {
        let source = self.event.event_id.as_str();
        let txn_id = deps
            .store
            .txn_id(&self.mirror.user, source, "not reopened", 0);
        let content = Scrubbed::notice(text).replacing(self.shown);
        deps.send(self.mirror, self.room, content, &txn_id, None)
            .await
            .map(drop)
    }

    /// Takes the placeholder away.
    async fn remove(&self, deps: &Deps) -> Result<(), PortalError> {
        let source = self.event.event_id.as_str();
        let txn_id = deps
            .store
            .txn_id(&self.mirror.user, source, "reopened instead", 0);
        match deps
            .homeserver
            .redact(self.mirror, self.room, self.shown, &txn_id)
            .await
        {
            Err(error) if error.class() == Class::Retry => Err(error.into()),
            _ => Ok(()),
        }
    }
}
