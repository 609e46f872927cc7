//! Carrying messages: from the room into the portal (`inbound`), and from the portal into the room (`outbound`).
//!
//! A [`Relay`] belongs to one portal and is driven by that portal's lane, one event at a time, in order:
//!
//! `event → decrypt → rewrite + scrub → encrypt → send (idempotent) → link`
//!
//! A step either ends (its [`Done`] becomes a link, and the event is never handled again) or fails in a way that may
//! pass, and is then run again by the lane. Running a step twice is harmless, because each request it makes has the
//! same transaction id. What will not pass ends too: with a notice in the portal that says what happened.
//! Nothing here knows queues, batches or commands; `worker` does.

mod fate;
pub mod gaps;
mod given_up;
mod guard;
mod held;
mod inbound;
mod links;
mod media;
mod members;
mod outbound;
mod recent;
mod reconcile;
mod reopen;
mod sealed;
mod since;
mod taken_back;
mod unread;
mod voice;
mod watch;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

pub use fate::left_out;
pub use guard::Guards;
use recent::Recent;
pub use reopen::{LOOKS, give_up_key, reopen};
use ruma::{OwnedEventId, OwnedUserId};
pub use sealed::ENCRYPTED;

use crate::{
    clock::UnixMillis,
    event::{Event, Trust},
    portal::{Deps, PortalError},
    store::{Direction, Link, Mirror, PortalId},
};

pub use watch::Watch;

/// What a step came to.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// The event that was sent, if one was.
    pub target: Option<OwnedEventId>,
}

/// A missed redaction of what was not relayed (yet).
#[derive(Debug)]
pub struct Postponed {
    /// On which side.
    pub direction: Direction,
    /// The redaction.
    pub event: Event,
    /// When it was found.
    pub found: UnixMillis,
    /// The last position that the inbox had given out by then.
    pub position: i64,
}

/// The relay of one portal.
#[derive(Debug)]
pub struct Relay {
    portal: PortalId,
    mirrors: Recent<OwnedUserId, Mirror>,
    /// New links, in the order in which they are written.
    links: VecDeque<Link>,
    /// Links that were read from the store, by the end that was asked for.
    read: Recent<OwnedEventId, Arc<Link>>,
    guards: Guards,
    /// The outbound event that may go, whatever the limits say by now.
    let_go: Option<OwnedEventId>,
    words: Option<guard::Words>,
    /// Members whose untrusted devices were explained.
    warned: Recent<(OwnedUserId, Trust), ()>,
    copies: media::Copies,
    /// Whether the portal says already that nothing can be shown in it.
    said_unencryptable: bool,
    since: Option<Box<since::Since>>,
    receipt: Option<(OwnedEventId, UnixMillis)>,
    receipt_at: UnixMillis,
    /// Whether missed events were fetched since this process started.
    pub filled: bool,
    /// Up to which position the inbox is to be handled before missed events are fetched.
    pub backlog: Option<i64>,
    /// Whether that was waited for, since missed events were last fetched.
    pub waited: bool,
    /// Missed redactions of what was not relayed yet, but may be, from a stored transaction.
    pub postponed: Vec<Postponed>,
    /// When missed events are looked for again.
    pub watch: Watch,
    /// The tick of the lanes at which everything that this portal had handled was durable.
    pub durable_at: u64,
}

/// Mirrors that a portal keeps in memory.
const MIRRORS: usize = 128;

/// Members of whom a portal remembers that their untrusted devices were explained.
const WARNED: usize = 256;

/// New links that a portal keeps in memory: all of those that a lane handles before they are written, and some.
const LINKS: usize = 2 * UNWRITTEN + 8;

/// How many events a lane may hand over to be written, and as many again handle until these are durable.
pub const UNWRITTEN: usize = 64;

/// Links from the store that a portal keeps in memory.
const READ: usize = 32;

/// The same of a portal in which nothing goes on, of which there may be many.
const IDLE: usize = 8;

/// The least time between two read receipts of one host, in milliseconds: they are coalesced.
const RECEIPT_EVERY: u64 = 3_000;

impl Relay {
    /// The relay of a portal.
    #[must_use]
    pub fn new(portal: PortalId, guards: Guards) -> Self {
        Self {
            portal,
            mirrors: Recent::new(MIRRORS),
            links: VecDeque::new(),
            read: Recent::new(READ),
            guards,
            words: None,
            warned: Recent::new(WARNED),
            copies: media::Copies::default(),
            said_unencryptable: false,
            let_go: None,
            since: None,
            receipt: None,
            receipt_at: 0,
            filled: false,
            backlog: None,
            waited: false,
            postponed: Vec::new(),
            watch: Watch::default(),
            durable_at: 0,
        }
    }

    /// Keeps little in memory, for a portal in which nothing goes on.
    pub fn rest(&mut self) {
        self.mirrors.trim(IDLE);
        self.read.trim(IDLE);
        self.settle();
        self.words = None;
        self.forget_since();
    }

    /// Everything is durable: new links can be read from the store, and all but the last leave the memory.
    pub fn settle(&mut self) {
        let gone = self.links.len().saturating_sub(IDLE / 2);
        self.links.drain(..gone);
        self.links.shrink_to_fit();
    }

    /// Forgets the mirrors: they have other devices now.
    pub fn forget_mirrors(&mut self) {
        self.mirrors.trim(0);
    }

    /// Handles one event. `received` is when Vizard first had it.
    pub async fn step(
        &mut self,
        deps: &Deps,
        direction: Direction,
        event: &Event,
        received: UnixMillis,
    ) -> Result<Link, PortalError> {
        let done = match direction {
            Direction::Inbound => self.inbound(deps, event, received).await?,
            Direction::Outbound => self.outbound(deps, event, received).await?,
        };
        let link = Link::of(event, direction, done.target);
        self.remember(&link);
        Ok(link)
    }

    /// Notes that an outbound event reached the room, so that the next receipt covers it; a later event's that waits already
    /// does.
    pub(super) fn delivered(&mut self, event: &Event) {
        let later = self
            .receipt
            .as_ref()
            .is_some_and(|(_, ts)| *ts > event.origin_server_ts);
        if !later {
            self.receipt = Some((event.event_id.clone(), event.origin_server_ts));
        }
    }

    /// An event was handled earlier. If it reached the room, the receipt may not have been sent: the next one covers it.
    pub async fn handled_before(&mut self, deps: &Deps, event: &Event) -> Result<(), PortalError> {
        if event.state_key.is_some() || event.kind == "m.room.redaction" {
            return Ok(());
        }
        let link = self.link(deps, &event.event_id).await?;
        let sent = link.is_some_and(|link| {
            link.source == event.event_id
                && link.direction == Direction::Outbound
                && link.target.is_some()
        });
        // A word that let a held message go became no event of its own.
        let sent = sent || deps.is_over(&event.event_id).await?;
        // Of two with the same time this is the older one: it comes for a second time.
        let newer = |(_, ts): &(_, UnixMillis)| event.origin_server_ts > *ts;
        if sent && self.receipt.as_ref().is_none_or(newer) {
            self.delivered(event);
        }
        Ok(())
    }

    /// Whether a receipt waits.
    #[must_use]
    pub fn owes_receipt(&self) -> bool {
        self.receipt.is_some()
    }

    /// Gives a receipt up: the portal room does not take it.
    pub fn drop_receipt(&mut self) {
        self.receipt = None;
    }

    /// Lets a receipt wait for its next time: the homeserver does not take it now.
    pub fn postpone_receipt(&mut self, now: UnixMillis) {
        self.receipt_at = now;
    }

    /// How long until the waiting receipt may be sent, in milliseconds.
    #[must_use]
    pub fn receipt_due_in(&self, now: UnixMillis) -> u64 {
        (self.receipt_at + RECEIPT_EVERY).saturating_sub(now)
    }

    /// Sends the waiting receipt: everything up to it has reached the room.
    pub async fn send_receipt(&mut self, deps: &Deps) -> Result<(), PortalError> {
        let Some((event, _)) = self.receipt.clone() else {
            return Ok(());
        };
        let portal = deps.portals.get(self.portal).await?;
        if let Some(room) = &portal.portal_room {
            deps.homeserver
                .read_receipt(&deps.host(&portal), room, &event)
                .await?;
        }
        self.receipt = None;
        self.receipt_at = deps.clock.now();
        Ok(())
    }
}

/// Mirrors by their own id, for translating what the user writes.
type ByMirror = HashMap<OwnedUserId, Mirror>;
