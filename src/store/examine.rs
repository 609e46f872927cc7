//! Looking at a database without changing it: whether the master key opens it, and whether it is of this version.

use sqlx::{AnyConnection, ConnectOptions as _, Connection as _, Executor as _};

use super::{Store, StoreError, db, db::Engine, keyring};
use crate::crypto::MasterKey;

/// How a database's tables stand to this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// They are this version's.
    Current,
    /// They are an earlier version's, or not there yet: the next start brings them up to date.
    Older,
    /// They are a later version's.
    Newer,
}

impl Store {
    /// Looks at the database at `url`, which is there. Nothing is written and nothing is brought up to date.
    pub async fn examine(url: &str, master: &MasterKey) -> Result<Schema, StoreError> {
        let (mut connection, tables, ours) = unchanged(url, false).await?;
        let seen = examine(&mut connection, &[master], tables, &ours).await;
        connection.close().await?;
        match seen? {
            (None, _) => Err(StoreError::WrongMasterKey),
            (_, schema) => Ok(schema),
        }
    }

    /// Which of these keys opens the database at `url`, which is there: the first one's number, and how its tables stand. Nothing is
    /// written. Fails with [`StoreError::InUse`] while a server's database is in use, also by whoever died a moment ago and whose last
    /// commit may still come; for SQLite's, nobody outlives their process, whose lock is the caller's to take. A database without any key
    /// fails with [`StoreError::Empty`]: nothing can be told by it.
    pub async fn opened_by(
        url: &str,
        keys: &[&MasterKey],
    ) -> Result<(Option<usize>, Schema), StoreError> {
        let (mut connection, tables, ours) = unchanged(url, true).await?;
        let seen = examine(&mut connection, keys, tables, &ours).await;
        connection.close().await?;
        match seen? {
            (Some(Key::NoneYet), _) => Err(StoreError::Empty),
            (Some(Key::Number(number)), schema) => Ok((Some(number), schema)),
            (None, schema) => Ok((None, schema)),
        }
    }
}

/// What opens a database.
enum Key {
    /// Whatever it is sealed with first.
    NoneYet,
    /// One of those that were tried.
    Number(usize),
}

/// A connection that changes nothing, to a database that nobody has open; `alone` makes sure of that. With what lists its tables,
/// and the migrations that this version knows. Apart from [`db::beside`], because SQLite may first have to take in its write-ahead
/// log.
async fn unchanged(
    url: &str,
    alone: bool,
) -> Result<(AnyConnection, &'static str, Vec<i64>), StoreError> {
    let (engine, options) = db::options(url)?;
    let mut connection = options.connect().await?;
    if alone && engine == Engine::Postgres {
        db::ask_for_lock(&mut connection).await?;
    }
    let (only, tables) = match engine {
        Engine::Sqlite => (
            "PRAGMA query_only = ON",
            "SELECT name FROM sqlite_master WHERE type = 'table'",
        ),
        Engine::Postgres => (
            "SET default_transaction_read_only = on",
            "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()",
        ),
    };
    connection.execute(only).await?;
    let ours = engine.migrations().iter().map(|step| step.version);
    Ok((connection, tables, ours.collect()))
}

async fn examine(
    connection: &mut AnyConnection,
    keys: &[&MasterKey],
    tables: &'static str,
    ours: &[i64],
) -> Result<(Option<Key>, Schema), StoreError> {
    let known: Vec<String> = sqlx::query_scalar(tables)
        .fetch_all(&mut *connection)
        .await?;
    let is_there = |table: &str| known.iter().any(|known| known == table);
    if !is_there("_sqlx_migrations") || !is_there("keyring") {
        return Ok((Some(Key::NoneYet), Schema::Older));
    }
    let versions: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations")
        .fetch_all(&mut *connection)
        .await?;
    let key = which(connection, keys).await?;
    let schema = if versions.iter().any(|version| !ours.contains(version)) {
        Schema::Newer
    } else if ours.iter().all(|version| versions.contains(version)) {
        Schema::Current
    } else {
        Schema::Older
    };
    Ok((key, schema))
}

async fn which(
    connection: &mut AnyConnection,
    keys: &[&MasterKey],
) -> Result<Option<Key>, StoreError> {
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM keyring")
        .fetch_one(&mut *connection)
        .await?;
    // A start that was interrupted may have made the tables alone.
    if rows == 0 {
        return Ok(Some(Key::NoneYet));
    }
    for (number, key) in keys.iter().enumerate() {
        match keyring::open(connection, key).await {
            Ok(_) => return Ok(Some(Key::Number(number))),
            Err(StoreError::WrongMasterKey) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, rng::Rng};

    /// Changes what the migrations left a note of.
    async fn change(url: &str, sql: &'static str) {
        let mut connection = AnyConnection::connect(url).await.expect("it opens");
        sqlx::query(sql)
            .execute(&mut connection)
            .await
            .expect("it can be changed");
        connection.close().await.expect("it closes");
    }

    #[tokio::test]
    async fn what_is_written_reaches_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", dir.path().join("db").display());
        let (_, setup) = db::set_up(&url, false).await.expect("it is made");
        setup.close().await.expect("it closes");
        let database = db::Database::open(&url).await.expect("it opens");
        let mut writer = database.writer.acquire().await.expect("the writer");
        let level: i64 = sqlx::query_scalar("PRAGMA synchronous")
            .fetch_one(&mut *writer)
            .await
            .expect("a level");
        assert_eq!(level, 2, "FULL");
    }

    #[tokio::test]
    async fn a_look_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("db");
        let url = format!("sqlite:{}", file.display());
        let (master, other) = (
            MasterKey::generate(&Rng::seeded(1)),
            MasterKey::generate(&Rng::seeded(2)),
        );
        let look = || Store::examine(&url, &master);
        // As an interrupted start leaves it.
        std::fs::write(&file, b"").expect("a file");
        assert_eq!(look().await.expect("it opens"), Schema::Older);
        assert!(matches!(
            Store::opened_by(&url, &[&master]).await,
            Err(StoreError::Empty)
        ));
        assert_eq!(std::fs::read(&file).expect("the file"), b"");

        let store = Store::open(&url, &master, Clock::system(), Rng::seeded(3)).await;
        store.expect("it opens").close().await;
        assert_eq!(look().await.expect("it opens"), Schema::Current);
        assert!(Store::examine(&url, &other).await.is_err());
        for (keys, number) in [
            ([&master, &other], Some(0)),
            ([&other, &master], Some(1)),
            ([&other, &other], None),
        ] {
            let (opened, schema) = Store::opened_by(&url, &keys).await.expect("it opens");
            assert_eq!((opened, schema), (number, Schema::Current));
        }

        change(&url, "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)").await;
        let before = std::fs::read(&file).expect("the file");
        assert_eq!(look().await.expect("it opens"), Schema::Older);
        assert_eq!(std::fs::read(&file).expect("the file"), before);

        change(&url, "UPDATE _sqlx_migrations SET version = 999 WHERE version = (SELECT MIN(version) FROM _sqlx_migrations)").await;
        assert_eq!(look().await.expect("it opens"), Schema::Newer);
    }
}
