//! How a command ends.

use std::{fmt, process::ExitCode};

use crate::config::ConfigError;

/// The process's exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, or every check passed.
    Success = 0,
    /// A check failed.
    Check = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Anything else.
    Internal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do its work, printed as `error: …` and `help: …` lines.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    /// What is wrong, and what to do about it.
    lines: Vec<(String, Option<String>)>,
}

impl Failure {
    /// Something the admin can mend.
    pub(super) fn usage(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            lines: vec![(error.into(), Some(help.into()))],
        }
    }

    /// Something unforeseen.
    pub(super) fn internal(error: impl Into<String>) -> Self {
        Self {
            exit: Exit::Internal,
            lines: vec![(error.into(), None)],
        }
    }

    /// The same with advice.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        if let Some((_, line)) = self.lines.last_mut() {
            *line = Some(help.into());
        }
        self
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let line = error.to_string();
        let lines = match error {
            ConfigError::Read { .. } => {
                vec![(
                    line,
                    Some(
                        "name the file with --config FILE, or make one with `vizard init`"
                            .to_owned(),
                    ),
                )]
            }
            ConfigError::Syntax { .. } => {
                vec![(line, Some("the file must be TOML: [section] lines, and below them key = value lines, texts in quotes".to_owned()))]
            }
            ConfigError::Invalid { path, problems } => problems
                .into_iter()
                .map(|problem| {
                    (
                        format!("{}: {problem}", path.display()),
                        Some(problem.instead),
                    )
                })
                .collect(),
        };
        Self {
            exit: Exit::Usage,
            lines,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (error, help) in &self.lines {
            writeln!(f, "error: {error}")?;
            if let Some(help) = help {
                writeln!(f, "help: {help}")?;
            }
        }
        Ok(())
    }
}
