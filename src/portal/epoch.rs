//! Noticing that the database went back in time, as it does when a backup is restored.
//!
//! A ratchet that goes back would encrypt two messages with one key. So a count stands both in the database and in the
//! bot's account data on the homeserver, and rises while messages are encrypted. A database that knows a lower count than
//! the homeserver is an old copy: then every device is left behind for a new one with new keys, signed by the same
//! cross-signing identity, before anything is encrypted. A room key of before a start is not used after it in any case.

use matrix_sdk_crypto::{CryptoStoreError, store::CryptoStore as _};
use serde_json::json;

use super::{Deps, PortalError};
use crate::{e2ee::E2eeError, homeserver::Class, store::CryptoStore};

/// The account data's type.
const TYPE: &str = "org.vizard.epoch";
const COUNT: &str = "count";
const EPOCH: &str = "epoch";

impl Deps {
    /// Where the counts stand: beside the bot's keys, under a device that is none.
    fn book(&self) -> CryptoStore {
        self.store
            .crypto(&self.bot.user, ruma::device_id!("VIZARD-EPOCH"))
    }

    /// Compares the counts; leaves all devices behind if the database is an old copy. Before anything is encrypted.
    /// Returns the epoch, which the bot's device is made of.
    pub async fn check_epoch(&self) -> Result<u64, PortalError> {
        let (count, epoch) = (self.noted(COUNT).await?, self.noted(EPOCH).await?);
        let told = self.told().await?;
        if told <= count {
            return Ok(epoch);
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
        Ok(told)
    }

    /// Raises both counts, if anything was encrypted since.
    pub async fn advance_epoch(&self) -> Result<(), PortalError> {
        if !self.e2ee.was_used() {
            return Ok(());
        }
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
        let value = self.book().get_custom_value(key).await.map_err(keys)?;
        Ok(value
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_be_bytes))
    }

    async fn note(&self, key: &str, value: u64) -> Result<(), PortalError> {
        let bytes = value.to_be_bytes().to_vec();
        Ok(self
            .book()
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
        Ok(())
    }
}

fn keys(error: impl Into<CryptoStoreError>) -> E2eeError {
    E2eeError::Keys(error.into())
}
