//! A directory for one server's data: removed at the end, kept when that helps.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result};

/// A temporary directory. It is kept, and its path printed, when the test panics, when [`Scratch::keep`]
/// was called, or when `VIZARD_TESTKIT_KEEP=1`.
#[derive(Debug)]
pub struct Scratch {
    label: String,
    directory: Option<tempfile::TempDir>,
    path: PathBuf,
    keep: AtomicBool,
}

impl Scratch {
    /// Makes one.
    pub fn new(label: &str) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("vizard-{label}-"))
            .tempdir()
            .context("cannot make a temporary directory")?;
        Ok(Self {
            label: label.to_owned(),
            path: directory.path().to_owned(),
            directory: Some(directory),
            keep: AtomicBool::new(false),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps it beyond the end.
    pub fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let wanted = std::env::var("VIZARD_TESTKIT_KEEP").is_ok_and(|value| value == "1");
        if (wanted || self.keep.load(Ordering::Relaxed) || std::thread::panicking())
            && let Some(directory) = self.directory.take()
        {
            eprintln!(
                "kept the data of {}: {}",
                self.label,
                directory.keep().display()
            );
        }
    }
}
