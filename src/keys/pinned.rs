//! What is kept of another Vizard's keys.

use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};

use crate::{
    clock::UnixMillis,
    sealed::{KeyDocument, Place},
    store::{Note, Store, StoreError},
};

/// The key document of another Vizard, as it was last accepted. Found by server name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedPeer {
    /// The server.
    pub server: OwnedServerName,
    /// Its document, as JSON.
    pub document: String,
    /// When it was first seen.
    pub since: UnixMillis,
    /// When it was last fetched.
    pub fetched: UnixMillis,
    /// Whether it was seen over TLS, or an admin said which place counts; otherwise the homeserver alone vouches for it, unless the
    /// configuration names its key.
    pub anchored: bool,
    /// Whether nobody but that server itself has given cause to look for it so far: then it is not kept forever.
    #[serde(default)]
    pub unasked: bool,
    /// The one place that counts, because an admin said so when the two differed.
    #[serde(default)]
    pub only: Option<Place>,
}

impl PinnedPeer {
    /// The document, whether it is still good or not.
    #[must_use]
    pub fn document(&self) -> Option<KeyDocument> {
        KeyDocument::parse_of_any_time(self.document.as_bytes(), &self.server).ok()
    }

    /// The document, if it is still good.
    #[must_use]
    pub fn valid(&self, now: UnixMillis) -> Option<KeyDocument> {
        KeyDocument::parse(self.document.as_bytes(), &self.server, now).ok()
    }

    /// Forgets what is pinned of a server, so that the next document is taken as the first. Whether anything was.
    pub async fn forget(store: &Store, server: &ServerName) -> Result<bool, StoreError> {
        store.delete_note::<Self>(server.as_bytes()).await
    }
}

impl Note for PinnedPeer {
    const KIND: i64 = 2;
}
