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

/// How a rotation that was interrupted has to end. Nothing is changed.
pub(super) async fn unsettled(config: &Config) -> Result<Settled, Failure> {
    let new_path = new_path(config);
    if !new_path.exists() {
        return Ok(Settled::Nothing);
    }
    // Without a database nothing was sealed anew, and opening one would make it.
    let is_there = config.database_path().is_none_or(|path| path.exists());
    if !is_there || opens(config, &config.secrets.master_key_file).await? {
        return Ok(Settled::Undone);
    }
    if opens(config, &new_path).await? {
        return Ok(Settled::Finished);
    }
    Err(Failure::usage(
        format!(
            "neither {} nor {} opens the database",
            config.secrets.master_key_file.display(),
            new_path.display()
        ),
        "put the master key back that belongs to this database",
    ))
}

/// Renames the new key over the old one.
pub(super) fn put_in_place(config: &Config) -> Result<(), Failure> {
    let path = &config.secrets.master_key_file;
    fs::rename(new_path(config), path)
        .and_then(|()| files::sync_dir(path.parent().unwrap_or(Path::new("/"))))
        .map_err(|error| trouble(path, &error))
}

/// Whether the key in this file opens the database's keyring, which stays as it is, of an earlier version or not. A file that is no
/// key opens nothing.
async fn opens(config: &Config, path: &Path) -> Result<bool, Failure> {
    let Ok(key) = MasterKey::read(path) else {
        return Ok(false);
    };
    match Store::examine(config.database_url(), &key).await {
        Ok(_) => Ok(true),
        Err(StoreError::WrongMasterKey) => Ok(false),
        Err(error) => Err(Failure::internal(error.to_string())
            .help("the database must answer before the interrupted key rotation can be settled")),
    }
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
