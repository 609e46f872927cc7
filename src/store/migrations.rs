//! The migrations, embedded: `migrations/ENGINE/NUMBER_name.sql`, by which a database knows them.
//!
//! Named by hand, since the macro that reads a folder would have the whole of sqlx built a second time for the compiler.

use std::sync::LazyLock;

use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

/// A migrator of the files of one engine's folder, which are named the same in each.
macro_rules! embedded {
    ($engine:literal) => {
        embedded!($engine: "0001_foundation" "0002_encryption" "0003_links" "0004_notes")
    };
    ($engine:literal: $($file:literal)*) => {
        LazyLock::new(|| {
            migrator(&[$((
                $file,
                include_str!(concat!("../../migrations/", $engine, "/", $file, ".sql")),
            )),*])
        })
    };
}

pub(super) static SQLITE: LazyLock<Migrator> = embedded!("sqlite");
pub(super) static POSTGRES: LazyLock<Migrator> = embedded!("postgres");

/// Number, description and checksum of each are what sqlx's own macro makes of the file.
fn migrator(files: &[(&'static str, &'static str)]) -> Migrator {
    let one = |&(name, sql): &(&'static str, &'static str)| {
        let (version, description) = name.split_once('_').expect("NUMBER_name");
        Migration::new(
            version.parse().expect("a number"),
            description.replace('_', " ").into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations(files.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sqlx::migrate::Migrator;

    use super::{POSTGRES, SQLITE};

    /// Whoever changes one migration changes the other.
    #[test]
    fn migrations_differ_only_in_the_engines_words() {
        assert_eq!(SQLITE.iter().count(), POSTGRES.iter().count());
        for (sqlite, postgres) in SQLITE.iter().zip(POSTGRES.iter()) {
            let translated = sqlite
                .sql
                .as_str()
                .replace(" STRICT, WITHOUT ROWID;", ";")
                .replace(" STRICT;", ";")
                .replace("BLOB", "BYTEA")
                .replace("INTEGER", "BIGINT");
            assert_eq!(translated, postgres.sql.as_str());
            assert_eq!(sqlite.version, postgres.version);
        }
    }

    /// No file is forgotten here, and sqlx reads the folder as this does.
    #[tokio::test]
    async fn each_file_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        for (ours, folder) in [(&SQLITE, "sqlite"), (&POSTGRES, "postgres")] {
            let read = Migrator::new(root.join(folder)).await.expect("readable");
            assert_eq!(ours.iter().count(), read.iter().count());
            for (one, other) in ours.iter().zip(read.iter()) {
                assert_eq!(one.version, other.version);
                assert_eq!(one.description, other.description);
                assert_eq!(one.migration_type, other.migration_type);
                assert_eq!(one.checksum, other.checksum);
                assert_eq!(one.no_tx, other.no_tx);
            }
        }
    }
}
