//! Encrypted events: opened before anything else looks at them; what cannot be opened is waited for, then said, and said
//! again in clear when its key comes. What is known of the sender's device is passed on, never laundered.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Done, Relay};
use crate::{
    clock::UnixMillis,
    event::{Event, Trust},
    portal::{Deps, Outcome, PortalError},
    rewrite::{self, Rewritten, Scrubbed},
    store::{Direction, Portal, PortalState, ReopenTask, Task},
};

/// The type of an encrypted event.
pub const ENCRYPTED: &str = "m.room.encrypted";

/// How long an event waits for its key before the portal shows that it is there, in milliseconds.
const PATIENCE: u64 = 2_000;
/// The same for what the user wrote, before it is refused.
const USER_PATIENCE: u64 = 10_000;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(300);
/// Looks for a late key, over about two weeks.
const LOOKS: u32 = 40;

const PLACEHOLDER: &str =
    "🔒 an encrypted message whose key has not come yet. It will be shown here when it does.";

impl Relay {
    /// The event as its sender wrote it, if it is encrypted and can be opened; otherwise as it is, with the reason.
    pub async fn open(
        &self,
        deps: &Deps,
        direction: Direction,
        event: &Event,
    ) -> Result<Event, PortalError> {
        let portal = deps.portals.get(self.portal).await?;
        let actor = match direction {
            Direction::Inbound => deps.ghost(&portal),
            Direction::Outbound => deps.host(&portal),
        };
        if event.sender == portal.ghost.id || actor.device.is_none() {
            return Ok(event.clone());
        }
        Ok(deps.e2ee.decrypt(&actor, event).await?)
    }

    /// What a member wrote cannot be read (yet): wait a moment for its key, then say so.
    pub(super) async fn unread_inbound(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Done, PortalError> {
        metrics::counter!("vizard_failures_total", "class" => "undecryptable").increment(1);
        let room = match (portal.state.clone(), &portal.portal_room) {
            (PortalState::Joined, Some(room)) => room.clone(),
            (PortalState::Joined | PortalState::Joining, _) => return Err(PortalError::NotReady),
            _ => return Ok(Done::default()),
        };
        let text = match event.trust {
            trust if trust.is_void() => return Ok(Done::default()),
            trust if trust.lacks_key() => {
                if deps.clock.now().saturating_sub(received) < PATIENCE {
                    return Err(PortalError::NotYet(LOOK));
                }
                PLACEHOLDER
            }
            _ => "🔒 an encrypted message that cannot be read.",
        };
        let done = self
            .send_as_mirror(deps, portal, &room, event, received, Scrubbed::notice(text))
            .await?;
        if let (true, Some(target)) = (event.trust.lacks_key(), &done.target) {
            let task = Task::Reopen(ReopenTask {
                portal: portal.id,
                event: Kept::of(event),
                shown: target.clone(),
            });
            deps.add_job(event.event_id.as_str(), deps.clock.now() + 1_000, task)
                .await?;
        }
        Ok(done)
    }

    /// What the user wrote cannot be read: wait for its key, then say that it was not sent.
    pub(super) async fn unread_outbound(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Done, PortalError> {
        if event.trust.is_void() {
            return Ok(Done::default());
        }
        if event.trust.lacks_key() && deps.clock.now().saturating_sub(received) < USER_PATIENCE
        {
            return Err(PortalError::NotYet(LOOK));
        }
        let why = "it is encrypted, and your client did not give Vizard its key. Send it again";
        self.not_sent(deps, portal, event, why).await
    }

    /// Marks what comes from a device that is not its owner's for sure, or that came unencrypted into an encrypted room.
    pub(super) async fn marked(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        content: Scrubbed,
    ) -> Result<Scrubbed, PortalError> {
        if !portal.shown.encrypted || !content.is_secret() {
            return Ok(content);
        }
        let why = match event.trust {
            Trust::Signed => return Ok(content),
            Trust::Clear => "was sent unencrypted, so the servers could read and change it",
            Trust::UnsignedDevice => {
                "comes from a device that its owner has not verified, so it may be somebody else's"
            }
            Trust::ChangedIdentity => "comes from somebody whose identity has changed",
            _ => "comes from a device that is not known, or not any more",
        };
        if self.warned.insert((event.sender.clone(), event.trust)) {
            let text = format!("⚠ What is marked so here {why}.");
            let leg = format!("trust:{:?}", event.trust);
            let source = event.event_id.clone();
            self.tell(deps, portal, &source, &leg, &text).await?;
        }
        Ok(content.marked("⚠"))
    }
}

/// An event as a job keeps it.
pub struct Kept;

impl Kept {
    fn of(event: &Event) -> String {
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
}

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

/// Looks once more for the key of an event that a placeholder stands for, and shows it in the placeholder's place.
pub async fn reopen(deps: &Deps, task: &ReopenTask, attempts: u32) -> Result<Outcome, PortalError> {
    let portal = deps.portals.get(task.portal).await?;
    let Some(event) = serde_json::value::RawValue::from_string(task.event.clone())
        .ok()
        .and_then(|raw| Event::decode(&raw))
    else {
        return Ok(Outcome::Done);
    };
    let (PortalState::Joined, Some(room)) = (&portal.state, &portal.portal_room) else {
        return Ok(Outcome::Done);
    };
    let opened = deps.e2ee.decrypt(&deps.ghost(&portal), &event).await?;
    match opened.trust {
        trust if trust.lacks_key() && attempts < LOOKS => return Ok(Outcome::Later),
        trust if trust.lacks_key() || trust.is_void() || trust == Trust::Broken => {
            return Ok(Outcome::Done);
        }
        _ => {}
    }
    let mut relay = Relay::new(portal.id, super::Guards::default());
    let references = rewrite::references(&opened.kind, &opened.content);
    let translations = relay
        .inbound_translations(deps, &portal, &references)
        .await?;
    let content = match rewrite::inbound(&opened.kind, &opened.content, &translations) {
        Rewritten::Send(content) => relay.marked(deps, &portal, &opened, content).await?,
        Rewritten::Media(attachment) => {
            // No client shows a file in the place of a text: it comes beside it.
            let content = relay
                .attachment_inbound(deps, &portal, room, &opened, &attachment)
                .await?;
            let mirror = deps.ready_mirror(&portal, &event.sender, None).await?;
            let actor = deps.mirror(&mirror);
            let txn_id =
                deps.store
                    .txn_id(&actor.user, event.event_id.as_str(), "reopened file", 0);
            deps.send(&actor, room, content, &txn_id, None).await?;
            Scrubbed::notice(&format!("🔓 {}, shown below", attachment.name()))
        }
        Rewritten::Unsupported(what) => Scrubbed::notice(&format!("{what}: not supported yet")),
        _ => return Ok(Outcome::Done),
    };
    let mirror = deps.ready_mirror(&portal, &event.sender, None).await?;
    let actor = deps.mirror(&mirror);
    let txn_id = deps
        .store
        .txn_id(&actor.user, event.event_id.as_str(), "reopened", 0);
    deps.send(&actor, room, content.replacing(&task.shown), &txn_id, None)
        .await?;
    Ok(Outcome::Done)
}
