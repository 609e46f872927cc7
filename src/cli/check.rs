//! `vizard check`: everything that can be checked without the network.

use std::path::PathBuf;

use super::{
    lock::Lock,
    master_key,
    registration::differences,
    report::{Report, Row},
};
use crate::{
    config::{Config, Loaded},
    rng::Rng,
    spool::Spool,
    store::{Schema, Store, StoreError},
};

pub(super) async fn check(loaded: Loaded, registration: Option<PathBuf>, json: bool) -> Report {
    let mut report = Report::new(json);
    let config = &loaded.config;
    report.add(Row::ok("configuration", loaded.path.display().to_string()));
    if let Some(row) = master_key::settled_row(&loaded).await {
        report.add(row);
    }
    report.add(master_key::file_row(config));
    for row in token_rows(config) {
        report.add(row);
    }
    report.trying("database");
    report.add(database_row(&loaded).await);
    report.add(media_row(config));
    report.add(registration_row(&loaded, registration));
    report.end();
    report
}

/// The files in which tokens and the like are kept, or the configuration itself.
pub(super) fn token_rows(config: &Config) -> Vec<Row> {
    let service = &config.appservice;
    let tokens = [
        ("as_token", &service.as_token_file),
        ("hs_token", &service.hs_token_file),
    ]
    .into_iter()
    .map(|(check, file)| match file {
        Some(path) => master_key::private_row(check, path),
        None => Row::info(
            check,
            "in the configuration or the environment: keep that to yourself",
        ),
    });
    let url = config.database.url_file.iter();
    tokens
        .chain(url.map(|path| master_key::private_row("database.url", path)))
        .collect()
}

async fn database_row(loaded: &Loaded) -> Row {
    const CHECK: &str = "database";
    let config = &loaded.config;
    let Some(path) = config.database_path() else {
        return Row::info(CHECK, "a server: `vizard doctor` tries it");
    };
    let shown = path.display();
    if !path.exists() {
        return match path.parent().filter(|dir| dir.is_dir()) {
            Some(_) => Row::info(CHECK, format!("{shown} is made at the first start")),
            None => Row::failed(
                CHECK,
                format!("the directory of {shown} is not there"),
                "make it, or set database.url",
            ),
        };
    }
    if Lock::is_held(loaded) {
        return Row::info(CHECK, "in use: Vizard is running");
    }
    let Ok(key) = config.master_key() else {
        return Row::info(CHECK, "not tried without the master key");
    };
    match Store::examine(config.database_url(), &key).await {
        Ok(schema) => schema_row(CHECK, schema)
            .unwrap_or_else(|| Row::ok(CHECK, format!("{shown} opens with the master key"))),
        Err(error) => unopened_row(CHECK, &error),
    }
}

/// A database that opens but is of another version.
pub(super) fn schema_row(check: &'static str, schema: Schema) -> Option<Row> {
    match schema {
        Schema::Current => None,
        Schema::Older => Some(Row::info(
            check,
            "of an older version; `vizard run` will upgrade it (make a backup first)",
        )),
        Schema::Newer => Some(Row::failed(
            check,
            "of a newer version than this Vizard",
            "use the version of Vizard that last used it, or a later one",
        )),
    }
}

/// The directory in which files wait.
fn media_row(config: &Config) -> Row {
    const CHECK: &str = "media directory";
    let directory = config.media_directory();
    let shown = directory.display().to_string();
    match Spool::new(directory, Rng::os()).check() {
        Ok(()) => Row::ok(CHECK, shown),
        Err(error) => Row::failed(
            CHECK,
            format!("no files can be made in {shown}: {error}"),
            "let Vizard's user write there, or set media.directory; until then files of more than 256 KiB are not relayed",
        ),
    }
}

/// A database that did not open.
pub(super) fn unopened_row(check: &'static str, error: &StoreError) -> Row {
    match error {
        StoreError::InUse => Row::info(check, "in use: its master key is being replaced"),
        StoreError::WrongMasterKey => Row::failed(
            check,
            "the master key does not open it",
            "put the master key back that belongs to this database, or set database.url to the one that belongs to the key",
        ),
        StoreError::Migrate(error) => Row::failed(
            check,
            format!("its tables do not fit: {error}"),
            "use the version of Vizard that last used it, or a later one",
        ),
        other => Row::failed(
            check,
            other.to_string(),
            "see that the database is there, that database.url is right, and that Vizard's user may read and write it",
        ),
    }
}

fn registration_row(loaded: &Loaded, file: Option<PathBuf>) -> Row {
    const CHECK: &str = "registration";
    let asked_for = file.is_some();
    let path = file.unwrap_or_else(|| loaded.dir().join("registration.yaml"));
    let shown = path.display();
    let print_it = format!(
        "vizard registration --config {} prints the right one; give it to the homeserver and restart the homeserver",
        loaded.path.display()
    );
    let yaml = match std::fs::read_to_string(&path) {
        Ok(yaml) => yaml,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => {
            return Row::info(CHECK, "no registration.yaml here to compare with");
        }
        Err(error) => {
            return Row::failed(CHECK, format!("cannot read {shown}: {error}"), print_it);
        }
    };
    match differences(&loaded.config, &yaml) {
        Ok(keys) if keys.is_empty() => Row::ok(CHECK, format!("{shown} fits the configuration")),
        Ok(keys) => Row::failed(
            CHECK,
            format!(
                "{shown} differs from the configuration in {}",
                keys.join(", ")
            ),
            print_it,
        ),
        Err(error) => Row::failed(CHECK, format!("{shown} cannot be used: {error}"), print_it),
    }
}
