//! What is pinned, and what of it counts: the configuration may say otherwise since. Nobody is asked here.

use std::{sync::PoisonError, time::Duration};

use ruma::ServerName;

use super::{Peers, PinnedPeer};
use crate::{
    config::Anchor, keys::places::is_signed_by, pseudonym::ServerKeyId, sealed::KeyDocument,
    store::StoreError,
};

/// For a fetch that is under way.
const SOON: Duration = Duration::from_secs(10);

impl Peers {
    /// What is pinned of a server, whether it counts or not ([`Peers::vouching`]).
    pub async fn pinned(&self, server: &ServerName) -> Result<Option<PinnedPeer>, StoreError> {
        self.0.store.note(server.as_bytes()).await
    }

    /// What is pinned, of whatever time, as far as it counts by the configuration as it is now: where the admin wrote a key, what
    /// that key signed, and else what is anchored as `keys.anchor` demands.
    #[must_use]
    pub fn counting(&self, pinned: &PinnedPeer) -> Option<KeyDocument> {
        let by_hand = self.by_hand(&pinned.server);
        let relies = self.0.config.keys.anchor == Anchor::Federation || self.is_anchored(pinned);
        let document = pinned.document().filter(|_| relies);
        document.filter(|document| is_signed_by(document, by_hand))
    }

    /// Whether more than homeservers vouches for what is pinned: it was seen over TLS, or the admin wrote or chose it.
    #[must_use]
    pub fn is_anchored(&self, pinned: &PinnedPeer) -> bool {
        pinned.anchored || self.by_hand(&pinned.server).is_some()
    }

    /// The document by whose keys pseudonyms of a server, and its bot, are known: what is pinned and counts ([`Peers::counting`]).
    /// Nobody is asked.
    pub async fn vouching(&self, server: &ServerName) -> Result<Option<KeyDocument>, StoreError> {
        let pinned = self.pinned(server).await?;
        Ok(pinned.and_then(|peer| self.counting(&peer)))
    }

    /// The same; if its keys are being fetched just now, that is waited for a moment.
    pub async fn vouching_soon(
        &self,
        server: &ServerName,
    ) -> Result<Option<KeyDocument>, StoreError> {
        let asking = {
            let asking = self.0.asking.lock().unwrap_or_else(PoisonError::into_inner);
            asking.get(server).cloned()
        };
        if let Some(asking) = asking {
            let _ = tokio::time::timeout(SOON, asking.lock()).await;
        }
        self.vouching(server).await
    }

    /// The server key that the admin wrote into the configuration.
    pub(super) fn by_hand(&self, server: &ServerName) -> Option<ServerKeyId> {
        let known = self.0.config.peers.get(server)?;
        ServerKeyId::from_base64(known.server_key.as_deref()?)
    }

    /// Whether the admin named a server in the configuration.
    #[must_use]
    pub fn is_named(&self, server: &ServerName) -> bool {
        self.0.config.peers.contains_key(server)
    }

    /// All that is pinned.
    pub async fn all(&self) -> Result<Vec<PinnedPeer>, StoreError> {
        self.0.store.notes().await
    }
}
