//! What is wrong with a configuration, in words that say what to write instead.

use std::{fmt, path::PathBuf};

/// A configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says; never the line itself, which may hold a token.
        message: String,
    },
    /// Keys or values are wrong: all of them, not only the first.
    #[error("{}: {}", path.display(), Summary(problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Each problem.
        problems: Vec<Problem>,
    },
}

/// One key that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `section.key`.
    pub key: String,
    /// What is wrong with it. Never shows a secret's value.
    pub what: String,
    /// What to write instead.
    pub instead: String,
    /// The environment variable that set it, if not the file.
    pub variable: Option<String>,
}

impl Problem {
    pub(super) fn new(
        key: impl Into<String>,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            what: what.into(),
            instead: instead.into(),
            variable: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)?;
        match &self.variable {
            Some(variable) => write!(f, " (set by {variable})"),
            None => Ok(()),
        }
    }
}

struct Summary<'a>(&'a [Problem]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}: {}", problem.instead)?;
        }
        Ok(())
    }
}
