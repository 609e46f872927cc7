//! Connections: one that writes, a few that read, and what both engines need to be told.
//!
//! Called by the other files of this module. It knows the engines' differences; nobody else does.

use std::{
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use sqlx::{
    AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _,
    any::{AnyConnectOptions, AnyPoolOptions},
    migrate::Migrator,
    sqlite::SqliteConnectOptions,
};

use super::{StoreError, migrations};

/// How often a transaction is tried again when the engine aborted it for another's sake.
pub(super) const RETRIES: u32 = 5;

/// The engine behind the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    fn of(url: &str) -> Result<Self, StoreError> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            _ => Err(StoreError::Url(
                "expected `sqlite:PATH` or `postgres://…`".to_owned(),
            )),
        }
    }

    pub(super) fn migrations(self) -> &'static Migrator {
        match self {
            Self::Sqlite => &migrations::SQLITE,
            Self::Postgres => &migrations::POSTGRES,
        }
    }

    /// `IMMEDIATE`: SQLite cannot upgrade a reading transaction once somebody else has written.
    pub(super) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    fn readers(self) -> u32 {
        match self {
            Self::Sqlite => 2,
            Self::Postgres => 4,
        }
    }
}

/// What a connection is for; decides its settings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Setup,
    Writer,
    Reader,
    /// The only connection there may be.
    Alone,
}

/// PRAGMAs of every SQLite connection. `FULL`: a commit survives a power cut. `secure_delete`: what is
/// deleted is overwritten. `wal_autocheckpoint` (pages): links go to random places of their portal's part
/// of the table, and a page that changed in many commits is copied back only once. The writing task has the log copied back
/// earlier than this, see [`super::writer`].
const PRAGMAS: &[&str] = &[
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA wal_autocheckpoint = 24000",
];

/// Held (exclusively) by a running Vizard, or by a rotation of the keys: two at once would give out the same positions in
/// the inbox. Whoever sets up asks for it (shared) first, to be told at once. The bytes of "vizard".
const LOCK_SHARED: &str = "SELECT pg_advisory_lock_shared(130195396850276)";
const LOCK: &str = "SELECT pg_advisory_lock(130195396850276)";

/// Readies a fresh connection.
async fn prepare(
    connection: &mut AnyConnection,
    engine: Engine,
    role: Role,
) -> Result<(), StoreError> {
    match engine {
        Engine::Sqlite => prepare_sqlite(connection, role).await,
        Engine::Postgres => prepare_postgres(connection, role).await,
    }
}

/// Asks a server whether anybody is at work on the database, and holds whoever would be off as long as this connection lasts.
pub(super) async fn ask_for_lock(connection: &mut AnyConnection) -> Result<(), StoreError> {
    prepare_postgres(connection, Role::Setup).await
}

async fn prepare_postgres(connection: &mut AnyConnection, role: Role) -> Result<(), StoreError> {
    let lock = match role {
        Role::Reader => return Ok(()),
        Role::Setup => LOCK_SHARED,
        Role::Writer | Role::Alone => LOCK,
    };
    // Somebody who has just closed their connection may hold it for another moment.
    connection.execute("SET lock_timeout = '2s'").await?;
    connection.execute(lock).await.map_err(|error| {
        // lock_not_available
        if code_is(&error, &["55P03"]) {
            StoreError::InUse
        } else {
            error.into()
        }
    })?;
    connection.execute("RESET lock_timeout").await?;
    Ok(())
}

async fn prepare_sqlite(connection: &mut AnyConnection, role: Role) -> Result<(), StoreError> {
    if role == Role::Alone {
        // Refused below, at the first statement that reads, while any other connection is open.
        connection
            .execute("PRAGMA locking_mode = EXCLUSIVE")
            .await?;
    }
    let patience = match role {
        Role::Alone => "PRAGMA busy_timeout = 1000",
        _ => "PRAGMA busy_timeout = 10000",
    };
    connection.execute(patience).await?;
    for pragma in PRAGMAS {
        connection.execute(*pragma).await?;
    }
    // Negative: KiB. Small, because the operating system caches the file anyway.
    let cache = match role {
        Role::Writer => "PRAGMA cache_size = -2048",
        _ => "PRAGMA cache_size = -512",
    };
    connection.execute(cache).await?;
    if role == Role::Reader {
        connection.execute("PRAGMA query_only = ON").await?;
    }
    Ok(())
}

/// `write_tx!(database, "name", |tx| future)`: runs the future in one transaction on the writing
/// connection, and again if the engine aborted it in favour of another. The name is for the log.
///
/// A macro because the future of a function that takes an async closure cannot be shown to be `Send`.
macro_rules! write_tx {
    ($database:expr, $name:literal, |$tx:ident| $work:expr) => {{
        let database = &$database;
        let mut attempt = 0;
        loop {
            let mut connection = database.writer.acquire().await?;
            let outcome = async {
                let begin = database.engine.begin();
                let mut transaction =
                    ::sqlx::Connection::begin_with(&mut *connection, begin).await?;
                let $tx: &mut ::sqlx::AnyConnection = &mut transaction;
                let value = $work.await?;
                transaction.commit().await?;
                Ok::<_, $crate::store::StoreError>(value)
            }
            .await;
            if outcome.is_err() {
                // The engine may have rolled back by itself (a full disk), which the driver does not
                // notice: a fresh connection knows where it stands.
                connection.close_on_drop();
            }
            drop(connection);
            match outcome {
                Err($crate::store::StoreError::Database(error))
                    if attempt < $crate::store::db::RETRIES
                        && $crate::store::db::aborted(&error) =>
                {
                    attempt += 1;
                    ::tracing::debug!(
                        name = $name,
                        attempt,
                        "a database transaction is tried again"
                    );
                }
                other => break other,
            }
        }
    }};
}
pub(super) use write_tx;

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) engine: Engine,
    /// A pool of one connection: whoever holds it is the only writer of this process.
    pub(super) writer: AnyPool,
    /// SQLite's are `query_only`.
    pub(super) readers: AnyPool,
    /// Held by whoever copies SQLite's log back apart from the writer: while one does, nobody else can empty it.
    pub(super) copying: tokio::sync::Mutex<()>,
}

impl Database {
    /// Opens both pools. The schema must be there ([`set_up`]).
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let (engine, options) = options(url)?;
        let pool = |role: Role, size: u32| {
            AnyPoolOptions::new()
                .max_connections(size)
                .max_lifetime(None)
                .idle_timeout(None)
                // A local file does not hang up; a server may, and then the pool connects anew.
                .test_before_acquire(engine == Engine::Postgres)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        prepare(connection, engine, role)
                            .await
                            .map_err(|error| match error {
                                StoreError::Database(error) => error,
                                other => sqlx::Error::Configuration(Box::new(other)),
                            })
                    })
                })
                .connect_with(options.clone())
        };
        Ok(Self {
            engine,
            writer: pool(Role::Writer, 1).await?,
            readers: pool(Role::Reader, engine.readers()).await?,
            copying: tokio::sync::Mutex::new(()),
        })
    }

    /// Empties SQLite's write-ahead log, which still holds what the database has already overwritten.
    pub(super) async fn empty_log(&self) -> Result<(), StoreError> {
        if self.engine == Engine::Sqlite {
            let _alone = self.copying.lock().await;
            empty_log(&mut *self.writer.acquire().await?).await?;
        }
        Ok(())
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        if let Err(error) = self.empty_log().await {
            tracing::debug!(%error, "the write-ahead log stays until the next start");
        }
        self.writer.close().await;
    }
}

/// See [`Database::empty_log`].
pub(super) async fn empty_log(connection: &mut AnyConnection) -> Result<(), StoreError> {
    connection
        .execute("PRAGMA wal_checkpoint(TRUNCATE)")
        .await?;
    Ok(())
}

/// Connects once, creates the file if there is none, and brings the schema up to date. `alone`: fails
/// with [`StoreError::InUse`] while anybody else has the database open.
pub(super) async fn set_up(url: &str, alone: bool) -> Result<(Engine, AnyConnection), StoreError> {
    let (engine, options) = options(url)?;
    if engine == Engine::Sqlite {
        create_file(&sqlite_path(url)?)?;
    }
    let mut connection = options.connect().await?;
    let role = if alone { Role::Alone } else { Role::Setup };
    let outcome = async {
        prepare(&mut connection, engine, role).await?;
        engine.migrations().run(&mut connection).await?;
        Ok(())
    }
    .await;
    match outcome {
        Ok(()) => Ok((engine, connection)),
        Err(error) => {
            let _ = connection.close().await;
            Err(if alone && locked(&error) {
                StoreError::InUse
            } else {
                error
            })
        }
    }
}

/// A connection that can change nothing, beside whoever has the database open.
pub(super) async fn beside(url: &str) -> Result<AnyConnection, StoreError> {
    let (engine, _) = options(url)?;
    let read_only = match engine {
        Engine::Sqlite if url.contains('?') => format!("{url}&mode=ro"),
        Engine::Sqlite => format!("{url}?mode=ro"),
        Engine::Postgres => url.to_owned(),
    };
    let (_, options) = self::options(&read_only)?;
    Ok(options.connect().await?)
}

pub(super) fn options(url: &str) -> Result<(Engine, AnyConnectOptions), StoreError> {
    sqlx::any::install_default_drivers();
    let engine = Engine::of(url)?;
    let options = AnyConnectOptions::from_str(url)?.disable_statement_logging();
    Ok((engine, options))
}

fn sqlite_path(url: &str) -> Result<PathBuf, StoreError> {
    let path = SqliteConnectOptions::from_str(url)?
        .get_filename()
        .to_path_buf();
    // A database in memory belongs to one connection, and nothing in it is durable.
    if url.contains(":memory:") || url.contains("mode=memory") || path.as_os_str().is_empty() {
        return Err(StoreError::Url("`sqlite:` needs a path".to_owned()));
    }
    Ok(path)
}

/// SQLite gives its side files the mode of the database.
fn create_file(path: &Path) -> Result<(), StoreError> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| StoreError::Create {
            path: path.display().to_string(),
            source,
        })
}

/// Whether the transaction was aborted so that another could go on (serialization failure, deadlock), or
/// did not even begin: nothing was written, and the same again may pass.
pub(super) fn aborted(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::InvalidSavePointStatement) || code_is(error, &["40001", "40P01"])
}

/// `SQLITE_BUSY` in its variants.
fn locked(error: &StoreError) -> bool {
    let codes = &["5", "261", "517"];
    match error {
        StoreError::Database(error)
        | StoreError::Migrate(sqlx::migrate::MigrateError::Execute(error)) => code_is(error, codes),
        _ => false,
    }
}

fn code_is(error: &sqlx::Error, codes: &[&str]) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| codes.contains(&code.as_ref()))
}
