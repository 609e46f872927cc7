//! Noticing that the database went back in time, as it does when a backup is restored.
//!
//! A ratchet that goes back would encrypt two messages with one key. So a count stands both in the database and in the
//! bot's account data on the homeserver, and rises while messages are encrypted. A database that knows a lower count than
//! the homeserver is an old copy: then every device is left behind for a new one with new keys, signed by the same
//! cross-signing identity, before anything is encrypted. A room key of before a start is not used after it in any case.

use matrix_sdk_crypto::{CryptoStoreError, store::CryptoStore as _};
use serde_json::json;

use super::{Deps, PortalError, device::device_of};
use crate::{
    e2ee::E2eeError,
    homeserver::Class,
    store::{CryptoStore, Store},
};
use ruma::{OwnedDeviceId, UserId};

/// The account data's type.
const TYPE: &str = "org.vizard.epoch";
const COUNT: &str = "count";
const EPOCH: &str = "epoch";

/// Where the counts stand: beside the bot's keys, under a device that is none.
fn book(store: &Store, bot: &UserId) -> CryptoStore {
    store.crypto(bot, ruma::device_id!("VIZARD-EPOCH"))
}

/// The epoch: 0, and after each old copy another. The bot's device is made of it.
pub async fn epoch(store: &Store, bot: &UserId) -> Result<u64, PortalError> {
    noted(&book(store, bot), EPOCH).await
}

/// The bot's device of an epoch.
#[must_use]
pub fn bot_device(store: &Store, epoch: u64) -> OwnedDeviceId {
    let epoch = epoch.to_be_bytes();
    let parts: &[&[u8]] = match epoch {
        [0, 0, 0, 0, 0, 0, 0, 0] => &[],
        _ => &[&epoch],
    };
    device_of(&store.derive("bot-device", parts))
}

async fn noted(book: &CryptoStore, key: &str) -> Result<u64, PortalError> {
    let value = book.get_custom_value(key).await.map_err(keys)?;
    Ok(value
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_be_bytes))
}

impl Deps {
    /// Compares the counts; leaves all devices behind if the database is an old copy, before anything is encrypted.
    /// `true`: the bot has another device now, so everything begins anew.
    pub async fn check_epoch(&self) -> Result<bool, PortalError> {
        if self.e2ee.unavailable().is_some() {
            return Ok(false);
        }
        let count = self.noted(COUNT).await?;
        let told = self.told().await?;
        if told <= count {
            return Ok(false);
        }
        tracing::warn!(
            "the database is an older copy than the homeserver remembers: all devices are made anew"
        );
        for id in self.store.portal_ids().await? {
            self.renew(id).await?;
        }
        // Last, so that a crash in between begins anew.
        self.note(EPOCH, told).await?;
        self.note(COUNT, told).await?;
        self.homeserver.delete_device(&self.bot).await?;
        Ok(true)
    }

    /// An epoch that follows from the present one and that no count ever gives.
    pub(super) async fn begin_epoch(&self) -> Result<u64, PortalError> {
        let epoch = self.noted(EPOCH).await?.to_be_bytes();
        Ok(self.store.derive_number("next epoch", &[&epoch]) | 1 << 63)
    }

    /// From the next start on this is the epoch.
    pub(super) async fn note_epoch(&self, epoch: u64) -> Result<(), PortalError> {
        self.note(EPOCH, epoch).await
    }

    /// Raises both counts, if anything was encrypted since.
    pub async fn advance_epoch(&self) -> Result<(), PortalError> {
        if !self.e2ee.was_used() {
            return Ok(());
        }
        let raised = self.raise_count().await;
        if raised.is_err() {
            self.e2ee.mark_used();
        }
        raised
    }

    async fn raise_count(&self) -> Result<(), PortalError> {
        let count = self.noted(COUNT).await?.max(self.told().await?) + 1;
        self.note(COUNT, count).await?;
        self.homeserver
            .set_account_data(&self.bot, TYPE, &json!({ "count": count }))
            .await?;
        Ok(())
    }

    async fn told(&self) -> Result<u64, PortalError> {
        let told = self.homeserver.account_data(&self.bot, TYPE).await?;
        Ok(told
            .and_then(|content| content["count"].as_u64())
            .unwrap_or(0))
    }

    async fn noted(&self, key: &str) -> Result<u64, PortalError> {
        noted(&book(&self.store, &self.bot.user), key).await
    }

    async fn note(&self, key: &str, value: u64) -> Result<(), PortalError> {
        let bytes = value.to_be_bytes().to_vec();
        Ok(book(&self.store, &self.bot.user)
            .set_custom_value(key, bytes)
            .await
            .map_err(keys)?)
    }

    /// New devices for a portal's ghost, host and mirrors; the old ones go.
    async fn renew(&self, id: crate::store::PortalId) -> Result<(), PortalError> {
        let before = self.portals.get(id).await?;
        let (ghost, host) = (self.device_id(), self.device_id());
        self.portals
            .update(id, |portal| {
                for (device, new) in [
                    (&mut portal.ghost.device, &ghost),
                    (&mut portal.host.device, &host),
                ] {
                    if device.is_some() {
                        *device = Some(new.clone());
                    }
                }
            })
            .await?;
        let mut old = vec![self.ghost(&before), self.host(&before)];
        for mut mirror in self.store.mirrors(id).await? {
            old.push(self.mirror(&mirror));
            mirror.puppet.device = Some(self.device_id());
            self.store.save_mirror(id, &mirror).await?;
        }
        for actor in old {
            if let Err(error) = self.homeserver.delete_device(&actor).await
                && error.class() == Class::Retry
            {
                return Err(error.into());
            }
        }
        // At once: whoever speaks to a device that is not there yet is not heard. Mirrors only speak.
        let now = self.portals.get(id).await?;
        for (device, actor) in [
            (&now.ghost.device, self.ghost(&now)),
            (&now.host.device, self.host(&now)),
        ] {
            if device.is_some() {
                self.e2ee.settle(&actor).await?;
            }
        }
        Ok(())
    }
}

fn keys(error: impl Into<CryptoStoreError>) -> E2eeError {
    E2eeError::Keys(error.into())
}
