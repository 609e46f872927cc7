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
}

impl E2eeError {
    /// Whether trying again later can help.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Homeserver(error) => error.class(),
            Self::Store(_) | Self::Keys(_) | Self::NoDevice => Class::Retry,
            Self::Unavailable(_) | Self::Encrypt => Class::GiveUp,
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
