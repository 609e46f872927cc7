//! What can go wrong with keys.

use matrix_sdk_crypto::{CryptoStoreError, MegolmError, OlmError};

use crate::{
    homeserver::{self, Class},
    store::StoreError,
};

/// A step with keys failed.
#[derive(Debug, thiserror::Error)]
pub enum E2eeError {
    /// The homeserver refused or is away.
    #[error(transparent)]
    Homeserver(#[from] homeserver::Error),
    /// The database refused or is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database refused or is away, or what it holds cannot be read.
    #[error("the keys cannot be read or written")]
    Keys(#[from] CryptoStoreError),
    /// There is no encryption here.
    #[error("there is no encryption here: {0}")]
    Unavailable(String),
    /// The actor has no device yet.
    #[error("there is no device yet")]
    NoDevice,
    /// The content cannot be encrypted.
    #[error("it cannot be encrypted")]
    Encrypt,
    /// The room's key grew old while it was given out.
    #[error("the room's key grew old")]
    Spent,
    /// The room was encrypted, and the homeserver says that it is not any more. Nothing is said there in clear.
    #[error(
        "this room was end-to-end encrypted, and its server says that it is not any more; nothing is said there in clear"
    )]
    Downgraded,
    /// The user's keys were destroyed, for good.
    #[error("its keys were destroyed")]
    Destroyed,
}

impl E2eeError {
    /// Whether trying again later can help.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Homeserver(error) => error.class(),
            Self::Store(_) | Self::Keys(_) | Self::NoDevice | Self::Spent => Class::Retry,
            Self::Unavailable(_) | Self::Encrypt | Self::Downgraded | Self::Destroyed => {
                Class::GiveUp
            }
        }
    }
}

impl From<OlmError> for E2eeError {
    fn from(error: OlmError) -> Self {
        match error {
            OlmError::Store(error) => Self::Keys(error),
            _ => Self::Encrypt,
        }
    }
}

impl From<MegolmError> for E2eeError {
    fn from(error: MegolmError) -> Self {
        match error {
            MegolmError::Store(error) => Self::Keys(error),
            _ => Self::Encrypt,
        }
    }
}
