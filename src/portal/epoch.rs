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
    clock::UnixMillis,
    e2ee::E2eeError,
    homeserver::{Actor, Class},
    store::{CryptoStore, Former, PortalId, Store},
};
use ruma::{DeviceId, OwnedDeviceId, UserId};

/// The account data's type.
const TYPE: &str = "org.vizard.epoch";
const COUNT: &str = "count";
const EPOCH: &str = "epoch";
/// The count for which all devices are made anew, and when that began.
const RENEWING: &str = "renewing";
const BEGAN: &str = "renewal began";
/// The device that the bot had before the present epoch, while something of it may be left.
const FORMER: &str = "former device";
/// 1 once the homeserver has answered a `/sync` of the bot's, with whatever device.
const SYNCED: &str = "synced";

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
        let device = bot_device(&self.store, self.noted(EPOCH).await?);
        if self.bot.device.as_ref() != Some(&device) {
            // It was left behind, and what failed after that is done at the next start.
            return Ok(true);
        }
        self.forget_former(&device).await?;
        let count = self.noted(COUNT).await?;
        let told = self.told().await?;
        if told <= count {
            return Ok(false);
        }
        tracing::warn!(
            "the database is an older copy than the homeserver remembers: all devices are made anew"
        );
        let began = self.renewal(told).await?;
        for id in self.store.portal_ids().await? {
            self.renew(id, began).await?;
        }
        let bot = Actor {
            user: self.bot.user.clone(),
            device: Some(bot_device(&self.store, told)),
        };
        // Last, so that after a crash in between the rest is done.
        if self.bot.device != bot.device {
            if self.e2ee.is_known(&self.bot).await? {
                self.e2ee.inherit(&self.bot, &bot).await?;
            }
            self.note_epoch(told).await?;
        }
        self.note(COUNT, told).await?;
        Ok(true)
    }

    /// An epoch that follows from the present one and that no count ever gives.
    pub(super) async fn begin_epoch(&self) -> Result<u64, PortalError> {
        let epoch = self.noted(EPOCH).await?.to_be_bytes();
        Ok(self.store.derive_number("next epoch", &[&epoch]) | 1 << 63)
    }

    /// From the next start on this is the epoch, and the bot's present device is left behind.
    pub(super) async fn note_epoch(&self, epoch: u64) -> Result<(), PortalError> {
        if let Some(device) = &self.bot.device {
            let device = device.as_bytes().to_vec();
            self.write(FORMER, device).await?;
        }
        self.note(EPOCH, epoch).await
    }

    /// Deletes the device that the bot left behind for the present one, and its keys: nobody has them in memory any more.
    async fn forget_former(&self, present: &DeviceId) -> Result<(), PortalError> {
        let book = book(&self.store, &self.bot.user);
        let former = book.get_custom_value(FORMER).await.map_err(keys)?;
        let former = former.and_then(|name| String::from_utf8(name).ok());
        let Some(former) = former.map(OwnedDeviceId::from) else {
            return Ok(());
        };
        if former == present {
            return Ok(());
        }
        let gone = Actor {
            user: self.bot.user.clone(),
            device: Some(former.clone()),
        };
        let deleted = self.homeserver.delete_device(&gone).await;
        self.e2ee.forget_device(&gone.user, &former).await?;
        if deleted.is_err_and(|error| error.class() == Class::Retry) {
            // A device without keys harms nobody. The next start tries again.
            return Ok(());
        }
        Ok(book.remove_custom_value(FORMER).await.map_err(keys)?)
    }

    /// Whether the homeserver ever answered a `/sync` of the bot's, which shows that it gives devices and keys.
    pub async fn has_synced(&self) -> Result<bool, PortalError> {
        Ok(self.noted(SYNCED).await? == 1 || self.e2ee.has_synced(&self.bot).await?)
    }

    /// Takes note that it did, for whatever device the bot has later.
    pub async fn note_synced(&self) -> Result<(), PortalError> {
        if self.noted(SYNCED).await? == 1 {
            return Ok(());
        }
        self.note(SYNCED, 1).await
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
        self.write(key, value.to_be_bytes().to_vec()).await
    }

    async fn write(&self, key: &str, bytes: Vec<u8>) -> Result<(), PortalError> {
        let book = book(&self.store, &self.bot.user);
        let written = book.set_custom_value(key, bytes).await;
        Ok(written.map_err(keys)?)
    }

    /// When the renewal of all devices began that this count calls for: after a crash in the middle of it, the same.
    async fn renewal(&self, told: u64) -> Result<UnixMillis, PortalError> {
        if self.noted(RENEWING).await? != told {
            self.note(BEGAN, self.clock.now()).await?;
            self.note(RENEWING, told).await?;
        }
        self.noted(BEGAN).await
    }

    /// New devices for a portal's ghost, host and mirrors, unless they have them since `began`; the old ones go.
    async fn renew(&self, id: PortalId, began: UnixMillis) -> Result<(), PortalError> {
        let portal = self.portals.get(id).await?;
        let ghost = (self.ghost(&portal), portal.ghost.former.clone());
        let host = (self.host(&portal), portal.host.former.clone());
        for (actor, former) in [ghost, host] {
            self.leave_behind(id, &actor, former, true, began).await?;
        }
        for mirror in self.store.mirrors(id).await? {
            // Mirrors only speak.
            let (actor, former) = (self.mirror(&mirror), mirror.puppet.former);
            self.leave_behind(id, &actor, former, false, began).await?;
        }
        Ok(())
    }

    /// A new device for one of a portal's users. The old one is remembered, because what it sent after the copy was made is not
    /// to be sent again; what it had received before can still be read.
    async fn leave_behind(
        &self,
        id: PortalId,
        actor: &Actor,
        former: Option<Former>,
        listens: bool,
        began: UnixMillis,
    ) -> Result<(), PortalError> {
        let Some(device) = &actor.device else {
            return Ok(());
        };
        let as_device = |device: OwnedDeviceId| Actor {
            user: actor.user.clone(),
            device: Some(device),
        };
        let (old, new) = match former {
            // It was left behind before a crash.
            Some(former) if former.until >= began => (as_device(former.device), actor.clone()),
            _ => {
                let new = as_device(self.device_id());
                if listens && self.e2ee.is_known(actor).await? {
                    self.e2ee.inherit(actor, &new).await?;
                }
                if let Some(new) = &new.device {
                    self.note_device(id, &actor.user, device, new.clone())
                        .await?;
                }
                (actor.clone(), new)
            }
        };
        // At once: whoever speaks to a device that is not there yet is not heard.
        if listens && (self.e2ee.is_known(&old).await? || self.e2ee.is_known(&new).await?) {
            self.e2ee.settle(&new).await?;
        }
        if let Err(error) = self.homeserver.delete_device(&old).await
            && error.class() == Class::Retry
        {
            return Err(error.into());
        }
        if let Some(old) = &old.device {
            self.e2ee.forget_device(&actor.user, old).await?;
        }
        Ok(())
    }
}

fn keys(error: impl Into<CryptoStoreError>) -> E2eeError {
    E2eeError::Keys(error.into())
}
