//! Devices that the homeserver lost: deleted by an admin, or pruned because they were silent. Each is made anew, for its one
//! user alone.
//!
//! A device that has keys gets a successor with another id and other keys, signed by the same cross-signing identity: the
//! homeserver lost the keys with the device, and clients accept no others under its id. The successor inherits the room keys
//! that were received, so that what was encrypted before can still be read. A device without keys is made again as it was.
//!
//! With the device the homeserver forgot which transaction ids it had used. So the device that was lost is remembered
//! ([`Former`]), and what it may have sent is looked for before it is sent again.

use ruma::{OwnedDeviceId, UserId};

use super::{Deps, PortalError};
use crate::{
    homeserver::Actor,
    store::{Former, PortalId},
};

/// Ten capital letters, as clients make device ids.
#[must_use]
pub fn device_of(bytes: &[u8]) -> OwnedDeviceId {
    bytes
        .iter()
        .take(10)
        .map(|byte| char::from(b'A' + byte % 26))
        .collect::<String>()
        .into()
}

/// A user's device as the records have it.
struct Recorded {
    device: Option<OwnedDeviceId>,
    former: Option<Former>,
}

impl Deps {
    /// After an error that says that a device is lost: makes it anew. It belongs to the bot or to one of these portals (to any,
    /// if none is named). `true`: it is there now, and what failed can be tried again.
    pub async fn mend_device(
        &self,
        error: &PortalError,
        portals: &[PortalId],
    ) -> Result<bool, PortalError> {
        let Some(lost) = error.lost_device() else {
            return Ok(false);
        };
        if lost.user == self.bot.user {
            return self.renew_bot(lost).await;
        }
        let all;
        let portals = if portals.is_empty() {
            all = self.store.portal_ids().await?;
            &all
        } else {
            portals
        };
        for id in portals {
            let Some(recorded) = self.recorded(*id, &lost.user).await? else {
                continue;
            };
            // If it is another by now, somebody else was quicker.
            if recorded.device == lost.device {
                self.replace(*id, lost, recorded).await?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// What the records say of one of a portal's users; `None`: it is none of its users.
    async fn recorded(&self, id: PortalId, user: &UserId) -> Result<Option<Recorded>, PortalError> {
        let portal = match self.portals.get(id).await {
            Err(PortalError::Gone) => return Ok(None),
            other => other?,
        };
        let (device, former) = if portal.ghost.id == user {
            (portal.ghost.device.clone(), portal.ghost.former.clone())
        } else if portal.host.id == user {
            (portal.host.device.clone(), portal.host.former.clone())
        } else {
            let mirrors = self.store.mirrors(id).await?;
            match mirrors.into_iter().find(|mirror| mirror.puppet.id == user) {
                Some(mirror) => (mirror.puppet.device, mirror.puppet.former),
                None => return Ok(None),
            }
        };
        Ok(Some(Recorded { device, former }))
    }

    async fn replace(
        &self,
        id: PortalId,
        lost: &Actor,
        recorded: Recorded,
    ) -> Result<(), PortalError> {
        let Some(device) = recorded.device else {
            return Ok(());
        };
        tracing::warn!(portal = %id, "the homeserver lost a device; it is made anew");
        metrics::counter!("vizard_failures_total", "class" => "device").increment(1);
        if !self.e2ee.is_known(lost).await? {
            // Noted first: once the device is there, nothing would show that it was lost.
            self.note_device(id, &lost.user, &device, device.clone())
                .await?;
            self.homeserver.create_device(&lost.user, &device).await?;
            return Ok(());
        }
        let new = self.succeed(lost, self.successor(lost)).await?;
        self.note_device(id, &lost.user, &device, new).await?;
        // Whoever still has the lost one in memory finds its keys, and is told by the homeserver; the one before is long gone.
        if let Some(former) = recorded.former.filter(|former| former.device != device) {
            self.e2ee.forget_device(&lost.user, &former.device).await?;
        }
        Ok(())
    }

    /// The id that follows a device's: the same after a crash.
    fn successor(&self, lost: &Actor) -> OwnedDeviceId {
        let device = lost.device.as_ref().map_or("", |device| device.as_str());
        let parts: [&[u8]; 2] = [lost.user.as_bytes(), device.as_bytes()];
        device_of(&self.store.derive("next device", &parts))
    }

    /// Makes a device that takes over from a lost one. Each step may be repeated.
    async fn succeed(
        &self,
        lost: &Actor,
        new: OwnedDeviceId,
    ) -> Result<OwnedDeviceId, PortalError> {
        let actor = Actor {
            user: lost.user.clone(),
            device: Some(new.clone()),
        };
        self.homeserver.create_device(&actor.user, &new).await?;
        self.e2ee.inherit(lost, &actor).await?;
        self.e2ee.settle(&actor).await?;
        // If it came back meanwhile, it has no keys, and nobody listens as it.
        self.homeserver.delete_device(lost).await?;
        Ok(new)
    }

    /// Writes down which device a portal's user has from now on, and which it had.
    pub(super) async fn note_device(
        &self,
        id: PortalId,
        user: &UserId,
        lost: &OwnedDeviceId,
        new: OwnedDeviceId,
    ) -> Result<(), PortalError> {
        let former = Some(Former {
            device: lost.clone(),
            until: self.clock.now(),
        });
        let portal = self
            .portals
            .update(id, |portal| {
                if portal.ghost.id == user {
                    portal.ghost.device = Some(new.clone());
                    portal.ghost.former.clone_from(&former);
                } else if portal.host.id == user {
                    portal.host.device = Some(new.clone());
                    portal.host.former.clone_from(&former);
                }
            })
            .await?;
        if portal.ghost.id == user || portal.host.id == user {
            return Ok(());
        }
        for mut mirror in self.store.mirrors(id).await? {
            if mirror.puppet.id == user {
                mirror.puppet.device = Some(new.clone());
                mirror.puppet.former.clone_from(&former);
                self.store.save_mirror(id, &mirror).await?;
            }
        }
        Ok(())
    }

    /// The bot's device is named in no record: it follows from the epoch. So there is a new epoch, and Vizard starts again.
    async fn renew_bot(&self, lost: &Actor) -> Result<bool, PortalError> {
        let Some(device) = lost
            .device
            .as_ref()
            .filter(|_| lost.device == self.bot.device)
        else {
            return Ok(true);
        };
        // Several may find it out at once: it is made anew once.
        let _one = self.renewing.lock().await;
        if self.renewed.is_cancelled() {
            return Ok(true);
        }
        tracing::warn!("the homeserver lost the bot's device; it is made anew");
        if !self.e2ee.is_known(lost).await? {
            self.homeserver.create_device(&lost.user, device).await?;
            return Ok(true);
        }
        let epoch = self.begin_epoch().await?;
        self.succeed(lost, super::bot_device(&self.store, epoch))
            .await?;
        self.note_epoch(epoch).await?;
        self.renewed.cancel();
        Ok(true)
    }
}
