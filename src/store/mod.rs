//! Everything Vizard remembers: all SQL is here, and only here.
//!
//! One SQL text serves SQLite and PostgreSQL. Every value that links, names or says something is sealed
//! (`crypto::Sealer`, bound to table, row and column) and every look-up goes by keyed hash, so that the
//! database without the master key shows neither who is behind a ghost, nor that two ghosts are one
//! person, nor any message. A user's pseudonyms are listed in one sealed record per user.
//!
//! One connection writes, a few read. The calls of the hot path ([`Store::push_inbox`], [`Store::commit`] and
//! what saves keys, [`CryptoStore`]) go through a task that gathers what waits into one durable transaction
//! (`writer`); all other writes take their turns on the same connection. What a call acknowledges is on
//! the disk.
//!
//! Called by `e2ee`, `portal`, `relay`, `bot`, `worker` and `app`. Never calls the network.

mod chunks;
mod crypto;
mod db;
mod examine;
mod forget;
mod group;
mod held;
mod inbox;
mod invites;
mod jobs;
mod keyring;
mod links;
mod log;
mod marks;
mod migrations;
mod mirrors;
mod notes;
mod portals;
mod records;
mod rotate;
mod routes;
mod seal;
mod tasks;
mod traffic;
mod users;
mod wiped;
mod writer;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

use data_encoding::HEXLOWER;
use ruma::UserId;
use sqlx::Connection as _;

pub use crypto::{BLOCK, Block, CryptoStore, NotShared};
pub use examine::Schema;
pub use invites::*;
pub use links::{Committing, Source};
pub use marks::*;
pub use notes::Note;
pub use records::*;
pub use tasks::*;
pub use traffic::*;

use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, crypto::MasterKey, rng::Rng};

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database URL is not one of ours.
    #[error("database URL: {0}")]
    Url(String),
    /// The database's file could not be made.
    #[error("cannot create the database {path}: {source}")]
    Create {
        /// Its path.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The database refused or is away.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The commit that this call shared with others failed; nothing of it was acknowledged.
    #[error("database commit: {0}")]
    Commit(Arc<sqlx::Error>),
    /// A migration failed.
    #[error("database migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The master key is not the one under which this database was made (or last rotated).
    #[error(
        "this master key does not open this database (is it another installation's, or from before a rotation?)"
    )]
    WrongMasterKey,
    /// The database has no key yet: nobody ever used it.
    #[error("the database is empty")]
    Empty,
    /// Another process has the database open (a running Vizard, or a rotation of the master key).
    #[error("the database is in use by another process; stop it first")]
    InUse,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Stored keys of end-to-end encryption cannot be used.
    #[error("stored keys: {0}")]
    Keys(#[source] Box<matrix_sdk_crypto::store::CryptoStoreError>),
    /// A sealed value did not open.
    #[error(transparent)]
    Open(#[from] crate::crypto::OpenError),
    /// Stored links have a shape this version does not know.
    #[error("stored links cannot be read")]
    Links,
    /// A record has a shape this version does not know.
    #[error("a stored record cannot be read: {0}")]
    Record(#[from] serde_json::Error),
}

/// The open database. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Arc<db::Database>,
    vault: Arc<seal::Vault>,
    /// The newest links.
    tail: links::tail::Shared,
    writer: writer::Writer,
    /// Cancelled when the writing task broke off.
    broken: CancellationToken,
    /// The inbox's next position.
    next_seq: tokio::sync::Mutex<i64>,
    /// The devices whose keys are in use.
    crypto: crypto::InUse,
    /// Rises with every change of a user's record.
    users_epoch: AtomicU64,
    clock: Clock,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store")
            .field(&self.0.database.engine)
            .finish()
    }
}

impl Store {
    /// Opens (and, the first time, creates) the database at `url` (`sqlite:PATH` or `postgres://…`), runs
    /// migrations and opens the keyring with `master`. Starts a task, so it needs a Tokio runtime.
    pub async fn open(
        url: &str,
        master: &MasterKey,
        clock: Clock,
        rng: Rng,
    ) -> Result<Self, StoreError> {
        let (_, mut connection) = db::set_up(url, false).await?;
        let keys = keyring::open_or_create(&mut connection, master, &rng).await;
        let last: Result<Option<i64>, sqlx::Error> =
            sqlx::query_scalar("SELECT seq FROM inbox ORDER BY seq DESC LIMIT 1")
                .fetch_optional(&mut connection)
                .await;
        let opened = match (keys, last) {
            (Ok(keys), Ok(last)) => {
                let vault = Arc::new(seal::Vault::new(&keys, rng));
                let segments = links::segment::load(&mut connection, &vault).await;
                segments.map(|segments| (vault, last, segments))
            }
            (Err(error), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
        };
        connection.close().await?;
        let (vault, last, (tail, next_segment)) = opened?;
        let database = Arc::new(db::Database::open(url).await?);
        links::legacy::move_links(&database, &vault).await?;
        let tail = links::tail::Shared::new(tail);
        let broken = CancellationToken::new();
        let links = links::log::LinkLog::new(vault.clone(), tail.clone(), next_segment);
        Ok(Self(Arc::new(Inner {
            writer: writer::Writer::start(
                Arc::clone(&database),
                clock.clone(),
                links,
                broken.clone(),
            ),
            broken,
            database,
            vault,
            tail,
            next_seq: tokio::sync::Mutex::new(last.unwrap_or(0) + 1),
            crypto: crypto::InUse::default(),
            users_epoch: AtomicU64::new(0),
            clock,
        })))
    }

    /// Waits for the writer to finish and closes the connections.
    pub async fn close(&self) {
        self.0.writer.close().await;
        self.0.database.close().await;
    }

    /// Waits until the writing task broke off, which is a bug: nothing is written any more, and the store is to be opened anew.
    pub async fn broke_off(&self) {
        self.0.broken.cancelled().await;
    }

    /// Lets the writing task break off: for tests.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    pub async fn break_off(&self) {
        self.0.writer.break_off().await;
    }

    /// A cheap query that proves the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT id FROM keyring")
            .execute(&self.0.database.readers)
            .await?;
        Ok(())
    }

    /// How many rows there are of each kind.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        Ok(Counts {
            users: self.count("SELECT COUNT(*) FROM users").await?,
            portals: self.count("SELECT COUNT(*) FROM portals").await?,
            mirrors: self.count("SELECT COUNT(*) FROM mirrors").await?,
            links: self.count_links().await?,
            inbox: self.inbox_len().await?,
            held: self.count("SELECT COUNT(*) FROM held").await?,
            jobs: self.count("SELECT COUNT(*) FROM jobs").await?,
        })
    }

    async fn count(&self, sql: &'static str) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar(sql)
            .fetch_one(&self.0.database.readers)
            .await?;
        Ok(count.try_into().unwrap_or(0))
    }

    /// Seals everything anew under a new master key, in one database transaction. Returns the number
    /// of cells. Fails with [`StoreError::InUse`] while a Vizard has the database open.
    pub async fn rotate_master_key(
        url: &str,
        old: &MasterKey,
        new: &MasterKey,
        rng: &Rng,
    ) -> Result<u64, StoreError> {
        rotate::rotate(url, old, new, rng).await
    }

    /// Derives the transaction id of a send: HMAC(actor, source, leg, part), 32 hex characters. The
    /// same send always has the same id, so that a resend after a crash is the same event.
    pub fn txn_id(&self, actor: &UserId, source: &str, leg: &str, part: u32) -> String {
        let id = self.0.vault.sends().hash(
            "txn",
            &[
                actor.as_bytes(),
                source.as_bytes(),
                leg.as_bytes(),
                &part.to_be_bytes(),
            ],
        );
        HEXLOWER.encode(&id)
    }

    /// A number derived like [`Store::derive`].
    pub fn derive_number(&self, purpose: &str, parts: &[&[u8]]) -> u64 {
        self.derive(purpose, parts)[..8]
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// 32 bytes derived from the data keys for `purpose`, for ids that must be the same after a crash.
    pub fn derive(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut all = vec![purpose.as_bytes()];
        all.extend_from_slice(parts);
        self.0.vault.sends().full("derive", &all)
    }
}
