//! The master key's file, and a rotation that was interrupted.
//!
//! A rotation writes the new key to `FILE.new`, seals the database anew in one transaction, and renames. Whatever instant
//! it was interrupted at, one of the two files opens the keyring: [`settle`] finds out which, and keeps that one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{failure::Failure, files, lock::Lock, report::Row};
use crate::{
    config::{Config, Loaded},
    crypto::MasterKey,
    store::{Store, StoreError},
};

/// What became of an interrupted rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// There was none.
    Nothing,
    /// The database had been sealed anew: the new key is in place now.
    Finished,
    /// The database is as it was: the new key is removed.
    Undone,
}

/// Where a rotation keeps the new key until it is in force.
pub(super) fn new_path(config: &Config) -> PathBuf {
    let mut path = config.secrets.master_key_file.clone().into_os_string();
    path.push(".new");
    path.into()
}

/// Ends a rotation that was interrupted.
pub(super) async fn settle(loaded: &Loaded, _lock: &Lock) -> Result<Settled, Failure> {
    let config = &loaded.config;
    let new_path = new_path(config);
    let settled = unsettled(config).await?;
    match settled {
        Settled::Nothing => {}
        Settled::Undone => {
            fs::remove_file(&new_path).map_err(|error| trouble(&new_path, &error))?;
        }
        Settled::Finished => put_in_place(config)?,
    }
    Ok(settled)
}

/// How a rotation that was interrupted has to end. Nothing is changed. The unused key may only go when it is certain which one that
/// is: nobody is at work on the database, and it is one.
pub(super) async fn unsettled(config: &Config) -> Result<Settled, Failure> {
    let (path, new_path) = (&config.secrets.master_key_file, new_path(config));
    if !new_path.exists() {
        return Ok(Settled::Nothing);
    }
    // Opening a file that is not there would make it.
    if config.database_path().is_some_and(|path| !path.exists()) {
        return Err(no_database(&new_path));
    }
    // A file that is no key opens nothing.
    let candidates = [(path, Settled::Undone), (&new_path, Settled::Finished)];
    let readable = candidates.map(|(path, end)| MasterKey::read(path).ok().map(|key| (key, end)));
    let readable: Vec<_> = readable.into_iter().flatten().collect();
    let keys: Vec<&MasterKey> = readable.iter().map(|(key, _)| key).collect();
    match Store::opened_by(config.database_url(), &keys).await {
        Ok((Some(number), _)) => Ok(readable[number].1),
        Ok((None, _)) => Err(Failure::usage(
            format!(
                "neither {} nor {} opens the database",
                path.display(),
                new_path.display()
            ),
            "put the master key back that belongs to this database",
        )),
        Err(StoreError::Empty) => Err(no_database(&new_path)),
        Err(StoreError::InUse) => Err(Failure::usage(
            "a rotation of the master key was interrupted, and somebody still has the database open",
            "wait a moment and try again; if Vizard runs elsewhere on this database, stop it",
        )),
        Err(error) => Err(Failure::internal(error.to_string())
            .help("the database must answer before the interrupted key rotation can be settled")),
    }
}

fn no_database(new_path: &Path) -> Failure {
    Failure::usage(
        format!(
            "a rotation of the master key was interrupted ({} is there), and there is no database to tell which key holds",
            new_path.display()
        ),
        "put the database in its place (see `database` in the configuration); if it is gone for good, remove that file",
    )
}

/// Renames the new key over the old one.
pub(super) fn put_in_place(config: &Config) -> Result<(), Failure> {
    let path = &config.secrets.master_key_file;
    fs::rename(new_path(config), path)
        .and_then(|()| files::sync_dir(path.parent().unwrap_or(Path::new("/"))))
        .map_err(|error| trouble(path, &error))
}

fn trouble(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(
        format!("cannot replace {}: {error}", path.display()),
        "Vizard's user must be able to write in the master key's directory for the length of a rotation",
    )
}

/// Ends an interrupted rotation for a command that only looks, if nobody is at work there, and says so in a row.
pub(super) async fn settled_row(loaded: &Loaded) -> Option<Row> {
    const CHECK: &str = "key rotation";
    if !new_path(&loaded.config).exists() {
        return None;
    }
    if Lock::is_held(loaded) {
        return Some(Row::info(CHECK, "going on now"));
    }
    let settled = match Lock::take(loaded) {
        Ok(lock) => settle(loaded, &lock).await,
        Err(failure) => Err(failure),
    };
    Some(match settled {
        Ok(Settled::Nothing) => return None,
        Ok(Settled::Finished) => Row::ok(
            CHECK,
            "was interrupted; finished now, the new key is in place",
        ),
        Ok(Settled::Undone) => Row::ok(CHECK, "was interrupted; undone, the old key holds"),
        Err(failure) => Row::failed(
            CHECK,
            "was interrupted and cannot be settled",
            failure.to_string().trim().replace('\n', "; "),
        ),
    })
}

/// The state of the key's file.
pub(super) fn file_row(config: &Config) -> Row {
    match config.master_key() {
        Ok(_) => private_row("master key", &config.secrets.master_key_file),
        Err(error) => Row::failed(
            "master key",
            error.to_string(),
            "put the master key of this database there, or set secrets.master_key_file (`vizard init` makes a new one)",
        ),
    }
}

/// Whether a secret's file is its owner's alone.
pub(super) fn private_row(check: &'static str, path: &Path) -> Row {
    let shown = path.display();
    match files::open_mode(path) {
        Ok(None) => Row::ok(check, format!("{shown} is readable for its owner alone")),
        Ok(Some(mode)) => Row::failed(
            check,
            format!("{shown} is open to others (mode {mode:04o})"),
            format!("chmod 600 {shown}"),
        ),
        Err(error) => Row::failed(
            check,
            format!("cannot look at {shown}: {error}"),
            "let Vizard's user read it",
        ),
    }
}
