//! The two backends: where a database is, and what a thief would find of it.

use std::{path::PathBuf, sync::OnceLock};

use sqlx::{
    AnyConnection, Column as _, Connection as _, Executor as _, Row as _, ValueRef as _,
    any::AnyRow,
};
use vizard::{
    clock::Clock,
    crypto::MasterKey,
    rng::Rng,
    store::{Store, StoreError},
};

use crate::postgres::Postgres;

/// One server for the whole process; it ends with it.
static SERVER: OnceLock<Postgres> = OnceLock::new();

/// Every table, so that a new one is not overlooked by the tests that read them all.
pub const TABLES: [&str; 16] = [
    "crypto",
    "escrow",
    "forgotten",
    "held",
    "inbox",
    "jobs",
    "keyring",
    "link_ends",
    "link_packs",
    "link_segments",
    "links",
    "mirrors",
    "notes",
    "portals",
    "routes",
    "users",
];

/// A row of a table: the table, and each cell that is not null by its column.
pub type Row = (&'static str, Vec<(String, Vec<u8>)>);

/// A fresh database and the key to it.
pub struct Backend {
    pub url: String,
    pub master: MasterKey,
    pub clock: Clock,
    pub rng: Rng,
    /// SQLite's directory.
    dir: Option<tempfile::TempDir>,
}

impl Backend {
    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("vizard.db").display());
        Self::new(url, Some(dir))
    }

    pub async fn postgres() -> Self {
        let server = tokio::task::spawn_blocking(|| {
            SERVER.get_or_init(|| Postgres::start().expect("a PostgreSQL for the tests"))
        })
        .await
        .unwrap();
        Self::new(server.create_database().await.unwrap(), None)
    }

    fn new(url: String, dir: Option<tempfile::TempDir>) -> Self {
        sqlx::any::install_default_drivers();
        let rng = Rng::os();
        Self {
            url,
            master: MasterKey::generate(&rng),
            clock: Clock::mock(1_700_000_000_000),
            rng,
            dir,
        }
    }

    pub fn is_sqlite(&self) -> bool {
        self.dir.is_some()
    }

    pub async fn open(&self) -> Store {
        self.open_with(&self.master).await.unwrap()
    }

    pub async fn open_with(&self, master: &MasterKey) -> Result<Store, StoreError> {
        Store::open(&self.url, master, self.clock.clone(), self.rng.clone()).await
    }

    /// SQLite's files as they are at this moment, elsewhere: what is left when the machine stops now. (A PostgreSQL is
    /// another machine's affair.)
    pub async fn stopped(&self) -> Option<Self> {
        self.dir.as_ref()?;
        let mut copy = Self::sqlite();
        copy.master = self.master.clone();
        for (path, bytes) in self.files().await {
            let dir = copy.dir.as_ref().unwrap().path();
            std::fs::write(dir.join(path.file_name().unwrap()), bytes).unwrap();
        }
        Some(copy)
    }

    /// A connection past the store.
    pub async fn raw(&self) -> AnyConnection {
        AnyConnection::connect(&self.url).await.unwrap()
    }

    pub async fn execute(&self, sql: &'static str) {
        let mut raw = self.raw().await;
        raw.execute(sql).await.unwrap();
        raw.close().await.unwrap();
    }

    /// Every cell of every table; numbers as eight bytes.
    pub async fn cells(&self) -> Vec<Row> {
        let mut raw = self.raw().await;
        let mut all = Vec::new();
        assert_eq!(self.tables(&mut raw).await, TABLES);
        for table in TABLES {
            let select = sqlx::AssertSqlSafe(format!("SELECT * FROM {table}"));
            for row in raw.fetch_all(select).await.unwrap() {
                all.push((table, cells_of(&row)));
            }
        }
        raw.close().await.unwrap();
        all
    }

    async fn tables(&self, raw: &mut AnyConnection) -> Vec<String> {
        let sql = if self.is_sqlite() {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> '_sqlx_migrations' \
             ORDER BY name"
        } else {
            "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = 'public' \
             AND tablename <> '_sqlx_migrations' ORDER BY tablename"
        };
        sqlx::query_scalar(sql).fetch_all(raw).await.unwrap()
    }

    /// The files that hold the database, byte for byte.
    pub async fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let dirs = if let Some(dir) = &self.dir {
            vec![dir.path().to_owned()]
        } else {
            let mut raw = self.raw().await;
            raw.execute("CHECKPOINT").await.unwrap();
            let oid: i64 = sqlx::query_scalar(
                "SELECT CAST(oid AS BIGINT) FROM pg_database WHERE datname = current_database()",
            )
            .fetch_one(&mut raw)
            .await
            .unwrap();
            raw.close().await.unwrap();
            let data = SERVER.get().unwrap().data_dir();
            vec![data.join(format!("base/{oid}")), data.join("pg_wal")]
        };
        dirs.iter()
            .flat_map(|dir| std::fs::read_dir(dir).unwrap())
            .map(|entry| entry.unwrap().path())
            // The server may remove a file meanwhile.
            .filter_map(|path| std::fs::read(&path).ok().map(|bytes| (path, bytes)))
            .collect()
    }
}

fn cells_of(row: &AnyRow) -> Vec<(String, Vec<u8>)> {
    row.columns()
        .iter()
        .filter(|column| !row.try_get_raw(column.ordinal()).unwrap().is_null())
        .map(|column| {
            let at = column.ordinal();
            let bytes = row
                .try_get::<Vec<u8>, _>(at)
                .or_else(|_| row.try_get::<i64, _>(at).map(|n| n.to_be_bytes().to_vec()))
                .unwrap();
            (column.name().to_owned(), bytes)
        })
        .collect()
}
