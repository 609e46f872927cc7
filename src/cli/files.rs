//! Files that hold secrets: made with mode 0600, whole or not at all, never over another.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::rng::Rng;

/// For the owner alone.
pub(super) const PRIVATE: u32 = 0o600;
/// For everybody to read.
pub(super) const PUBLIC: u32 = 0o644;

/// Writes a new file and waits until it is on the disk; fails if there is one.
pub(super) fn create(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = file
        .write_all(content.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// Waits until a directory's entries are on the disk.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Who beside the owner may do something with this file, as its mode, if anybody may.
pub(super) fn open_mode(path: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// A directory of files that are put in place together. What was not put in place is removed on drop, and so is a
/// destination that this made.
#[derive(Debug)]
pub(super) struct Staged {
    staging: PathBuf,
    target: PathBuf,
    names: Vec<&'static str>,
    made_target: bool,
    done: bool,
}

impl Staged {
    /// Begins a set of files for `target`, which is made (mode 0700) if it is not there.
    pub(super) fn begin(target: &Path, rng: &Rng) -> io::Result<Self> {
        let target = std::path::absolute(target)?;
        let made_target = match DirBuilder::new().mode(0o700).create(&target) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists && target.is_dir() => false,
            Err(error) => return Err(error),
        };
        let staging = target.join(format!(
            ".vizard-init-{:016x}",
            u64::from_be_bytes(rng.bytes())
        ));
        let staged = Self {
            staging,
            target,
            names: Vec::new(),
            made_target,
            done: false,
        };
        DirBuilder::new().mode(0o700).create(&staged.staging)?;
        Ok(staged)
    }

    /// Where the files are until they are put in place.
    pub(super) fn staging(&self) -> &Path {
        &self.staging
    }

    /// Writes one more file of the set.
    pub(super) fn add(&mut self, name: &'static str, content: &str, mode: u32) -> io::Result<()> {
        create(&self.staging.join(name), content, mode)?;
        self.names.push(name);
        Ok(())
    }

    /// Puts all files in place, or none.
    pub(super) fn finish(mut self) -> io::Result<()> {
        for (index, name) in self.names.iter().enumerate() {
            if let Err(error) = self.place(name) {
                for placed in &self.names[..index] {
                    let _ = fs::remove_file(self.target.join(placed));
                }
                return Err(error);
            }
        }
        self.done = true;
        sync_dir(&self.target)
    }

    /// A hard link appears whole and never replaces anything, unlike a rename.
    fn place(&self, name: &str) -> io::Result<()> {
        let (from, to) = (self.staging.join(name), self.target.join(name));
        match fs::hard_link(&from, &to) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                // Some file systems have no hard links.
                let mode = fs::metadata(&from)?.permissions().mode();
                create(&to, &fs::read_to_string(&from)?, mode)
            }
            other => other,
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.staging);
        if self.made_target && !self.done {
            let _ = fs::remove_dir(&self.target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_set_is_placed_whole_with_its_modes() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("new");
        let mut staged = Staged::begin(&target, &Rng::seeded(1)).unwrap();
        staged.add("a", "secret", PRIVATE).unwrap();
        staged.add("b", "shared", PUBLIC).unwrap();
        assert!(!target.join("a").exists());
        staged.finish().unwrap();
        assert_eq!(names(&target), ["a", "b"]);
        assert_eq!(open_mode(&target.join("a")).unwrap(), None);
        assert_eq!(open_mode(&target.join("b")).unwrap(), Some(0o644));
    }

    #[test]
    fn a_failure_in_the_middle_leaves_nothing_and_overwrites_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "mine").unwrap();
        let mut staged = Staged::begin(dir.path(), &Rng::seeded(1)).unwrap();
        for name in ["a", "b", "c"] {
            staged.add(name, "new", PRIVATE).unwrap();
        }
        let error = staged.finish().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(names(dir.path()), ["b"]);
        assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "mine");
    }

    #[test]
    fn a_directory_made_in_vain_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("new");
        let mut staged = Staged::begin(&target, &Rng::seeded(1)).unwrap();
        staged.add("a", "x", PRIVATE).unwrap();
        drop(staged);
        assert!(!target.exists());
    }
}
