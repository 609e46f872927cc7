//! Everything Vizard remembers: all SQL is here, and only here.
//!
//! One SQL text serves SQLite and PostgreSQL. Every value that links, names or says something is sealed
//! (`crypto::Sealer`, bound to table, row and column) and every look-up goes by keyed hash, so that the
//! database without the master key shows neither who is behind a ghost, nor that two ghosts are one
//! person, nor any message. A user's pseudonyms are listed in one sealed record per user.
//!
//! Called by `portal`, `relay`, `bot`, `worker` and `app`. Never calls the network.

mod records;

use std::{collections::HashSet, path::Path, sync::Arc};

use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId, UserId};

pub use records::*;

use crate::{
    clock::{Clock, UnixMillis},
    crypto::MasterKey,
    rng::Rng,
};

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or is away.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A migration failed.
    #[error("database migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A sealed value did not open.
    #[error(transparent)]
    Open(#[from] crate::crypto::OpenError),
    /// A record has a shape this version does not know.
    #[error("a stored record cannot be read: {0}")]
    Record(#[from] serde_json::Error),
}

/// What became of an attempt to put a new portal into the store.
#[derive(Debug)]
pub enum Created {
    /// It is there now.
    New,
    /// The user already has a pseudonym in this room.
    AlreadyThere(PortalId),
    /// The user forgot their pseudonym in this room; there is no new one, ever.
    Forgotten,
}

/// The open database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<()>);

impl Store {
    /// Opens (and, the first time, creates) the database at `url` (`sqlite:PATH` or `postgres://…`), runs
    /// migrations and opens the keyring with `master`.
    pub async fn open(
        _url: &str,
        _master: &MasterKey,
        _clock: Clock,
        _rng: Rng,
    ) -> Result<Self, StoreError> {
        todo!()
    }
    /// Waits for the writer to finish and closes the connections.
    pub async fn close(&self) {
        todo!()
    }
    /// A cheap query that proves the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }
    /// Seals everything anew under a new master key, in one database transaction. Returns the number
    /// of cells. Vizard must not be running.
    pub async fn rotate_master_key(
        _url: &str,
        _old: &MasterKey,
        _new: &MasterKey,
        _rng: &Rng,
    ) -> Result<u64, StoreError> {
        todo!()
    }
    /// Derives the transaction id of a send: HMAC(actor, source, leg, part), 32 hex characters. The
    /// same send always has the same id, so that a resend after a crash is the same event.
    pub fn txn_id(&self, _actor: &UserId, _source: &str, _leg: &str, _part: u32) -> String {
        todo!()
    }
    /// 32 bytes derived from the data keys for `purpose`, for ids that must be the same after a crash.
    pub fn derive(&self, _purpose: &str, _parts: &[&[u8]]) -> [u8; 32] {
        todo!()
    }

    // --- inbox: transactions that were acknowledged and are not yet wholly handled ---

    /// Stores a homeserver transaction, sealed and durable, and returns its position. Concurrent calls share one commit.
    pub async fn push_inbox(&self, _body: Vec<u8>) -> Result<i64, StoreError> {
        todo!()
    }
    /// Up to `limit` transactions after position `after`, oldest first.
    pub async fn inbox_after(
        &self,
        _after: i64,
        _limit: u32,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        todo!()
    }
    /// How many transactions wait.
    pub async fn inbox_len(&self) -> Result<u64, StoreError> {
        todo!()
    }

    // --- links: which event became which ---

    /// Writes links and removes finished transactions in one durable commit (shared with concurrent callers).
    /// A link whose source is already there is left as it is.
    pub async fn commit(&self, _batch: Batch) -> Result<(), StoreError> {
        todo!()
    }
    /// Writes a link, in the place of the one with the same source.
    pub async fn replace_link(&self, _portal: PortalId, _link: &Link) -> Result<(), StoreError> {
        todo!()
    }
    /// Which of `sources` were handled already in this portal.
    pub async fn handled(
        &self,
        _portal: PortalId,
        _sources: &[&EventId],
    ) -> Result<HashSet<OwnedEventId>, StoreError> {
        todo!()
    }
    /// The link of which `event` is either end: the event received, or the event sent for it.
    pub async fn link(
        &self,
        _portal: PortalId,
        _event: &EventId,
    ) -> Result<Option<Link>, StoreError> {
        todo!()
    }
    /// Deletes links older than `before` (whole days). Returns how many.
    pub async fn prune_links(&self, _before: UnixMillis) -> Result<u64, StoreError> {
        todo!()
    }

    // --- users ---

    /// The record of a user.
    pub async fn user(&self, _user: &UserId) -> Result<Option<User>, StoreError> {
        todo!()
    }
    /// Reads, changes and writes a user's record in one transaction; a missing one starts as `User::new`.
    /// `change` may run more than once. Returns the new record.
    pub async fn update_user(
        &self,
        _user: &UserId,
        _change: impl Fn(&mut User) + Send + Sync,
    ) -> Result<User, StoreError> {
        todo!()
    }

    /// Rises whenever some user's record changed.
    #[must_use]
    pub fn users_epoch(&self) -> u64 {
        todo!()
    }

    // --- portals ---

    /// Puts a new portal, its routes and its place in the user's record into the store, in one transaction.
    pub async fn create_portal(&self, _portal: &Portal) -> Result<Created, StoreError> {
        todo!()
    }
    /// Writes a portal's record and any route that it gained or lost (its room may change through an upgrade).
    pub async fn save_portal(&self, _portal: &Portal) -> Result<(), StoreError> {
        todo!()
    }
    /// A portal by id.
    pub async fn portal(&self, _id: PortalId) -> Result<Option<Portal>, StoreError> {
        todo!()
    }
    /// Ids of every portal, in no meaningful order.
    pub async fn portal_ids(&self) -> Result<Vec<PortalId>, StoreError> {
        todo!()
    }
    /// Where events of this room go: the one portal whose portal room it is, or every portal into it.
    pub async fn route(&self, _room: &RoomId) -> Result<Route, StoreError> {
        todo!()
    }
    /// The portal to which a ghost belongs.
    pub async fn portal_of_ghost(&self, _ghost: &UserId) -> Result<Option<PortalId>, StoreError> {
        todo!()
    }
    /// Destroys a portal: links, mirrors, held messages, routes, keys, its place in the user's record; leaves
    /// the keyed hash of (user, room) and, until `escrow_until`, a sealed copy of (user, room, ghost) for the operator.
    pub async fn forget_portal(
        &self,
        _portal: &Portal,
        _escrow_until: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Destroys a portal that never led anywhere, leaving no trace.
    pub async fn discard_portal(&self, _portal: &Portal) -> Result<(), StoreError> {
        todo!()
    }
    /// Whether this user forgot their pseudonym in this room.
    pub async fn is_forgotten(&self, _user: &UserId, _room: &RoomId) -> Result<bool, StoreError> {
        todo!()
    }
    /// Carries "forgotten" over to the room that replaces another.
    pub async fn mark_forgotten(&self, _user: &UserId, _room: &RoomId) -> Result<(), StoreError> {
        todo!()
    }
    /// Deletes escrowed copies that are due. Returns how many.
    pub async fn prune_escrow(&self, _now: UnixMillis) -> Result<u64, StoreError> {
        todo!()
    }

    // --- mirrors ---

    /// The mirror of `member` in a portal.
    pub async fn mirror(
        &self,
        _portal: PortalId,
        _member: &UserId,
    ) -> Result<Option<Mirror>, StoreError> {
        todo!()
    }
    /// Every mirror of a portal.
    pub async fn mirrors(&self, _portal: PortalId) -> Result<Vec<Mirror>, StoreError> {
        todo!()
    }
    /// Writes a mirror (new or changed).
    pub async fn save_mirror(&self, _portal: PortalId, _mirror: &Mirror) -> Result<(), StoreError> {
        todo!()
    }

    // --- held messages ---

    /// Keeps a message that waits for the user's decision.
    pub async fn hold(&self, _portal: PortalId, _held: &Held) -> Result<(), StoreError> {
        todo!()
    }
    /// The held message whose own event, or whose question to the user, is `event`.
    pub async fn held(
        &self,
        _portal: PortalId,
        _event: &EventId,
    ) -> Result<Option<Held>, StoreError> {
        todo!()
    }
    /// All held messages of a portal, oldest first.
    pub async fn all_held(&self, _portal: PortalId) -> Result<Vec<Held>, StoreError> {
        todo!()
    }
    /// Removes a held message.
    pub async fn release(&self, _portal: PortalId, _event: &EventId) -> Result<(), StoreError> {
        todo!()
    }

    // --- jobs: durable work that is due later ---

    /// Adds a job (or replaces the one with the same id).
    pub async fn add_job(&self, _job: &Job) -> Result<(), StoreError> {
        todo!()
    }
    /// Jobs due at `now`, oldest first.
    pub async fn due_jobs(&self, _now: UnixMillis, _limit: u32) -> Result<Vec<Job>, StoreError> {
        todo!()
    }
    /// When the next job is due.
    pub async fn next_job(&self) -> Result<Option<UnixMillis>, StoreError> {
        todo!()
    }
    /// Removes a job.
    pub async fn finish_job(&self, _id: [u8; 16]) -> Result<(), StoreError> {
        todo!()
    }
}

/// Where the events of a room go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// It is a portal room.
    Portal(PortalId),
    /// It is a room that these portals lead into (never two of one user).
    Room(Vec<PortalId>),
    /// The store does not know it (a direct chat with the bot, or none of ours).
    Unknown,
}

/// Opens a database path as the URL that [`Store::open`] takes.
#[must_use]
pub fn sqlite_url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// What [`Store::commit`] writes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// New links.
    pub links: Vec<(PortalId, Link)>,
    /// Positions of transactions that are wholly handled.
    pub done: Vec<i64>,
}

/// A room id that some portal leads into.
pub type TargetRoom = OwnedRoomId;
