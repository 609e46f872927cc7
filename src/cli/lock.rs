//! One Vizard per database: an advisory lock on a file beside it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::PathBuf,
    time::Duration,
};

use super::failure::Failure;
use crate::config::Loaded;

/// Held while Vizard runs or its master key is replaced; the system lets go of it when the process ends, however it
/// ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Lock {
    /// Takes the lock.
    pub(super) fn take(loaded: &Loaded) -> Result<Self, Failure> {
        let path = path(loaded);
        let failed = |error: io::Error| {
            Failure::usage(
                format!("cannot lock {}: {error}", path.display()),
                "the directory must exist, and Vizard's user must be able to write there",
            )
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        // Somebody may just be looking (`is_held`), for an instant.
        for _ in 0..5 {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        Err(Failure::usage(
            format!(
                "Vizard is running on this database ({} is locked)",
                path.display()
            ),
            "stop it first",
        ))
    }

    /// Whether somebody holds the lock.
    pub(super) fn is_held(loaded: &Loaded) -> bool {
        File::open(path(loaded))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

/// Beside the database's file, or beside the configuration if the database is a server.
fn path(loaded: &Loaded) -> PathBuf {
    let database = loaded.config.database_path();
    let dir = database.as_ref().and_then(|path| path.parent());
    dir.unwrap_or(loaded.dir()).join("vizard.lock")
}

#[cfg(test)]
mod tests {
    use super::{super::registration::tests::example, *};

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let loaded = example(dir.path());
        assert!(!Lock::is_held(&loaded));
        let lock = Lock::take(&loaded).unwrap();
        assert!(Lock::is_held(&loaded));
        assert!(
            Lock::take(&loaded)
                .unwrap_err()
                .to_string()
                .contains("is running")
        );
        drop(lock);
        assert!(!Lock::is_held(&loaded));
        Lock::take(&loaded).unwrap();
    }
}
