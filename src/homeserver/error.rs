//! What can go wrong with a request, and what that means for the caller.

use std::time::Duration;

use super::Actor;

/// What the caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may pass: try again later.
    Retry,
    /// It will not pass: give up, and tell the user where a user is concerned.
    GiveUp,
}

/// A request failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The homeserver did not answer, answered 5xx, or asked to wait; tries are used up.
    #[error("the homeserver does not answer ({reason})")]
    Retry {
        /// What it said, or what the network said. Carries no identifier.
        reason: String,
        /// How long it asked to wait.
        after: Option<Duration>,
    },
    /// The homeserver refused (4xx).
    #[error("the homeserver refuses: {status} {errcode}{}", advice(errcode))]
    Refused {
        /// HTTP status.
        status: u16,
        /// Matrix error code, such as `M_FORBIDDEN`; `M_UNKNOWN` when it gave none.
        errcode: String,
        /// Its text. May carry identifiers: not for logs.
        message: String,
    },
    /// The homeserver does not know the device as which the request was made: it was deleted, or never made. It can be made
    /// anew, so nothing is given up.
    #[error("the homeserver does not know the device")]
    UnknownDevice(Box<Actor>),
    /// The answer was not what the specification says.
    #[error("the homeserver's answer makes no sense ({0})")]
    Answer(&'static str),
    /// Media is larger than allowed.
    #[error("larger than {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// Media could not be written away.
    #[error("media cannot be written to the disk ({0})")]
    Disk(std::io::ErrorKind),
}

impl Error {
    /// What the caller does about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Retry { .. } | Self::UnknownDevice(_) => Class::Retry,
            // The admin mends the registration; until then nothing is dropped.
            Self::Refused { errcode, .. }
                if errcode == "M_UNKNOWN_TOKEN" || errcode == "M_MISSING_TOKEN" =>
            {
                Class::Retry
            }
            Self::Refused { .. } | Self::Answer(_) | Self::TooLarge { .. } | Self::Disk(_) => {
                Class::GiveUp
            }
        }
    }

    /// The Matrix error code, if the homeserver refused.
    #[must_use]
    pub fn errcode(&self) -> Option<&str> {
        match self {
            Self::Refused { errcode, .. } => Some(errcode),
            _ => None,
        }
    }

    /// The HTTP status, if the homeserver refused.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What an admin does about a code that is theirs to mend.
fn advice(errcode: &str) -> &'static str {
    match errcode {
        "M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN" => {
            " (it does not know the application service's token: is the registration file in its configuration, with this token, and has it been restarted since?)"
        }
        _ => "",
    }
}
