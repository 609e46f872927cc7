//! Why there are no keys of another server.

use std::sync::Arc;

use crate::{peer::FetchError, sealed::Refusal, store::StoreError};

/// Why there are no keys of a server.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unknown {
    /// What was found is not to be relied on.
    #[error("{refusal}{}", because(tls.as_ref()))]
    Refused {
        /// Why.
        refusal: Refusal,
        /// Why there was nothing over TLS, if there was not.
        tls: Option<FetchError>,
    },
    /// Too many servers are asked at the moment.
    #[error("too many servers are being asked for their keys; try again in a minute")]
    Busy,
    /// The database.
    #[error("{0}")]
    Store(Arc<StoreError>),
}

fn because(tls: Option<&FetchError>) -> String {
    tls.map_or(String::new(), |error| format!(" (over TLS: {error})"))
}

impl Unknown {
    /// A short name, for counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused { refusal, .. } => refusal.name(),
            Self::Busy => "busy",
            Self::Store(_) => "store",
        }
    }
}

impl From<StoreError> for Unknown {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
