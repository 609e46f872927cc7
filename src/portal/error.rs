//! What can go wrong with a portal.

use std::time::Duration;

use crate::{
    e2ee::E2eeError,
    homeserver::{self, Actor, Class},
    store::StoreError,
};

/// A step on a portal failed.
#[derive(Debug, thiserror::Error)]
pub enum PortalError {
    /// The homeserver refused or is away.
    #[error(transparent)]
    Homeserver(#[from] homeserver::Error),
    /// The database refused or is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A step with keys failed.
    #[error(transparent)]
    E2ee(#[from] E2eeError),
    /// The portal is gone (forgotten meanwhile).
    #[error("this portal no longer exists")]
    Gone,
    /// The join is not finished: the portal room is still being made.
    #[error("the portal room is still being made")]
    NotReady,
    /// It is not the time yet: something is awaited, or a delay is wanted.
    #[error("it waits")]
    NotYet(Duration),
    /// The user is at a limit of Vizard's own.
    #[error("it waits for its turn")]
    Limited(Duration),
}

impl PortalError {
    /// Whether trying again later can help. The database is always tried again: nothing may be lost
    /// because a disk was full for a while.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Homeserver(error) => error.class(),
            Self::E2ee(error) => error.class(),
            Self::Store(_) | Self::NotReady | Self::NotYet(_) | Self::Limited(_) => Class::Retry,
            Self::Gone => Class::GiveUp,
        }
    }

    /// Whether it should have been encrypted, and there is no encryption here any more, or none in its room by what its server
    /// says.
    #[must_use]
    pub fn is_unencryptable(&self) -> bool {
        matches!(
            self,
            Self::E2ee(E2eeError::Unavailable(_) | E2eeError::Downgraded)
        )
    }

    /// The device that the homeserver has lost, if that is what is wrong.
    #[must_use]
    pub fn lost_device(&self) -> Option<&Actor> {
        match self {
            Self::Homeserver(homeserver::Error::UnknownDevice(actor))
            | Self::E2ee(E2eeError::Homeserver(homeserver::Error::UnknownDevice(actor))) => {
                Some(actor)
            }
            _ => None,
        }
    }

    /// How long the homeserver asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Homeserver(homeserver::Error::Retry { after, .. })
            | Self::E2ee(E2eeError::Homeserver(homeserver::Error::Retry { after, .. })) => *after,
            _ => None,
        }
    }
}
