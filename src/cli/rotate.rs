//! `vizard rotate-master-key`: a new master key, and everything sealed anew.

use std::{io::Write as _, net::TcpListener};

use super::{
    failure::{Exit, Failure},
    files,
    lock::Lock,
    master_key::{self, Settled},
    print,
};
use crate::{
    clock::Clock,
    config::Loaded,
    crypto::MasterKey,
    rng::Rng,
    store::{Schema, Store, StoreError},
};

pub(super) async fn rotate(loaded: Loaded, dry_run: bool) -> Result<Exit, Failure> {
    let config = &loaded.config;
    let lock = Lock::take(&loaded)?;
    not_served(&loaded)?;
    if !config.database_path().is_none_or(|path| path.exists()) {
        return Err(Failure::usage(
            "there is no database yet, so no key is in use",
            "start Vizard once (`vizard run`), or make a fresh set-up with `vizard init`",
        ));
    }
    if dry_run {
        return rehearse(&loaded).await;
    }
    match master_key::settle(&loaded, &lock).await? {
        Settled::Nothing => {}
        Settled::Finished => {
            print("An earlier rotation was interrupted; it is finished now. Rotating again.\n");
        }
        Settled::Undone => {
            print("An earlier rotation was interrupted; it is undone. Starting over.\n");
        }
    }
    let old = config
        .master_key()
        .map_err(|error| Failure::usage(error.to_string(), "put the present master key there"))?;
    let rng = Rng::os();
    progress("opening the database with the present key…");
    let store = Store::open(config.database_url(), &old, Clock::system(), rng.clone())
        .await
        .map_err(|error| unopened(&error))?;
    store.close().await;

    let new = MasterKey::generate(&rng);
    let new_path = master_key::new_path(config);
    files::create(&new_path, new.to_text().expose(), files::PRIVATE).map_err(|error| {
        Failure::usage(
            format!("cannot write {}: {error}", new_path.display()),
            "Vizard's user must be able to write in the master key's directory for the length of a rotation",
        )
    })?;
    // The key must be findable after a power cut, before anything is sealed under it.
    if let Some(dir) = new_path.parent() {
        files::sync_dir(dir).map_err(|error| {
            Failure::internal(format!("cannot write {}: {error}", dir.display()))
        })?;
    }
    progress(
        "sealing everything anew (one database transaction; can be interrupted without harm)…",
    );
    let cells = match Store::rotate_master_key(config.database_url(), &old, &new, &rng).await {
        Ok(cells) => cells,
        Err(error) => {
            // The error may have come after the commit: ask the database which key holds.
            let failure = match error {
                StoreError::InUse => in_use(),
                error => Failure::internal(format!("the rotation failed: {error}")),
            };
            return Err(match master_key::settle(&loaded, &lock).await {
                Ok(Settled::Finished) => failure.help("it was committed nevertheless: the new key is in place"),
                Ok(_) => failure.help("nothing was changed, the old key holds; stop whatever uses the database, and try again"),
                Err(_) => failure.help("both keys are kept; `vizard check` or the next start finds out which one holds"),
            });
        }
    };
    master_key::put_in_place(config)?;
    print(&format!(
        "{cells} values are sealed anew; {} is the new master key. Copy it to its safe place.\n\
         The old key is gone from here. Earlier backups of the database need it: make a new backup.\n",
        config.secrets.master_key_file.display()
    ));
    Ok(Exit::Success)
}

/// Whether a rotation can be done, and what else it would do. Nothing is changed: a database of an earlier version stays one, and a
/// rotation that was interrupted stays so.
async fn rehearse(loaded: &Loaded) -> Result<Exit, Failure> {
    let config = &loaded.config;
    let first = match master_key::unsettled(config).await? {
        Settled::Nothing => {
            let old = config.master_key().map_err(|error| {
                Failure::usage(error.to_string(), "put the present master key there")
            })?;
            match Store::opened_by(config.database_url(), &[&old]).await {
                Ok((Some(_), Schema::Current | Schema::Older)) => {}
                Ok((Some(_), Schema::Newer)) => {
                    return Err(Failure::usage(
                        "the database is a later version's",
                        "rotate with the Vizard that last ran on it",
                    ));
                }
                Ok((None, _)) => return Err(unopened(&StoreError::WrongMasterKey)),
                Err(error) => return Err(unopened(&error)),
            }
            "The present key"
        }
        Settled::Finished => {
            "An earlier rotation was interrupted, and would be finished first. Its new key"
        }
        Settled::Undone => {
            "An earlier rotation was interrupted, and would be undone first. The present key"
        }
    };
    print(&format!(
        "{first} opens the database and Vizard is not running: a rotation can be done. Nothing was changed.\n"
    ));
    Ok(Exit::Success)
}

/// With a database server, Vizard may run without sharing our lock file; then its listener gives it away.
pub(super) fn not_served(loaded: &Loaded) -> Result<(), Failure> {
    let listen = loaded.config.appservice.listen;
    match TcpListener::bind(listen) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(Failure::usage(
            format!("something listens on {listen}: is Vizard running?"),
            "stop it first",
        )),
        _ => Ok(()),
    }
}

fn in_use() -> Failure {
    Failure::usage(
        "somebody has the database open: is Vizard running?",
        "stop it first",
    )
}

pub(super) fn unopened(error: &StoreError) -> Failure {
    match error {
        StoreError::InUse => in_use(),
        StoreError::WrongMasterKey => Failure::usage(
            "the present master key does not open the database",
            "put the master key back that belongs to this database",
        ),
        other => Failure::internal(other.to_string()),
    }
}

fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
