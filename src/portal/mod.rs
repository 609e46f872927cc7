//! Portals: joining a room behind a fresh pseudonym, the private room in which the user sees it, its host and
//! mirrors, and keeping it in step with the room.
//!
//! [`Deps`] is what everything from here up works with. A portal's record is read and changed through
//! [`Portals`] alone, so that a lane, a command and a job never overwrite each other's changes.
//! This module never looks at message content (that is `relay`) and never answers commands (`bot`).

pub mod access;
mod answers;
mod avatars;
mod behind;
mod beyond;
pub mod chat;
pub mod create;
mod departure;
mod device;
mod epoch;
mod error;
mod file;
mod ghost;
pub mod hidden;
mod invitation;
pub mod invited;
pub mod join;
mod lately;
pub mod leave;
mod limits;
mod media;
mod mirrors;
mod offered;
mod once;
mod outside;
mod portals;
mod refusal;
mod report;
pub mod room;
pub mod sent;
mod state;
mod target;
mod unwelcome;
mod was_here;

use std::sync::Arc;

use data_encoding::HEXLOWER;
use ruma::{MilliSecondsSinceUnixEpoch, OwnedDeviceId, OwnedEventId, RoomId, UserId};
use tokio_util::sync::CancellationToken;

pub use answers::{Answering, Answers};
pub use beyond::{Beyond, Unnoted};
pub use epoch::{bot_device, epoch};
pub use error::PortalError;
pub use join::Outcome;
pub use lately::Lately;
pub use limits::Limits;
pub use media::{CopyError, Transfers, Way};
pub use mirrors::MemberProfile;
pub use offered::{Offered, UsedAddress};
pub use portals::Portals;
pub use state::RoomState;
pub use target::{JoinTarget, ParseTargetError};
pub use unwelcome::slips_out;
pub use was_here::WasHere;

use crate::{
    clock::{Clock, UnixMillis},
    config::Config,
    e2ee::{E2ee, E2eeError},
    homeserver::{self, Actor, Class, Homeserver},
    keys::{OwnKeys, Peers},
    pseudonym::Namespace,
    rewrite::Scrubbed,
    rng::Rng,
    spool::Spool,
    store::{Job, Portal, PortalId, PortalState, Store, Task},
};

/// What the upper modules work with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Settings.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// The homeserver.
    pub homeserver: Homeserver,
    /// The devices' keys.
    pub e2ee: E2ee,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub rng: Rng,
    /// Which users are ours.
    pub namespace: Arc<Namespace>,
    /// This Vizard's own keys.
    pub keys: OwnKeys,
    /// Keys of other Vizards.
    pub peers: Peers,
    /// Rung when own keys were replaced.
    pub rekeyed: Arc<tokio::sync::Notify>,
    /// Who waits for another Vizard's answer.
    pub answers: Answers,
    /// What others were answered with beyond their quotas.
    pub beyond: Beyond,
    /// The bot and its device.
    pub bot: Actor,
    /// Portal records.
    pub portals: Portals,
    /// What each user may send.
    pub limits: Arc<Limits>,
    /// Where files wait while they are copied.
    pub spool: Spool,
    /// How many files are copied, and how much.
    pub transfers: Arc<Transfers>,
    /// When members were heard last, by portal and member.
    pub heard: Arc<Lately>,
    /// Until when avatars are left alone: one by its `mxc`, those of a server or all of them in one portal.
    pub no_avatar_until: Arc<Lately>,
    /// Rung when a job was added, so that the worker looks at once.
    pub jobs: Arc<tokio::sync::Notify>,
    /// Held while the bot's device is made anew.
    pub renewing: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled when the bot has another device, so that everything is to begin anew.
    pub renewed: CancellationToken,
}

/// The source of a job that an event brings about in a portal: others may lead into the same room, each with a job of its own.
#[must_use]
pub fn source_in(portal: PortalId, event: &str) -> String {
    format!("{event} {}", HEXLOWER.encode(&portal.0))
}

impl Deps {
    /// The host of a portal, as an actor.
    #[must_use]
    pub fn host(&self, portal: &Portal) -> Actor {
        Actor {
            user: portal.host.id.clone(),
            device: portal.host.device.clone(),
        }
    }

    /// The ghost of a portal, as an actor.
    #[must_use]
    pub fn ghost(&self, portal: &Portal) -> Actor {
        Actor {
            user: portal.ghost.id.clone(),
            device: portal.ghost.device.clone(),
        }
    }

    /// Sends as `actor` with the transaction id of (`source`, `leg`, `part`): saying it again after a crash
    /// gives the same event.
    pub async fn say(
        &self,
        actor: &Actor,
        room: &RoomId,
        event: &Scrubbed,
        source: &str,
        leg: &str,
        part: u32,
    ) -> Result<OwnedEventId, PortalError> {
        let txn_id = self.store.txn_id(&actor.user, source, leg, part);
        self.send(actor, room, event.clone(), &txn_id, None).await
    }

    /// Whether what `actor` sends into a room is encrypted. Where it should be and cannot, nothing is sent at all.
    pub async fn encrypts(&self, actor: &Actor, room: &RoomId) -> Result<bool, PortalError> {
        let encrypted = self.e2ee.is_encrypted(actor, room).await?;
        match self.e2ee.unavailable() {
            Some(why) if encrypted => Err(E2eeError::Unavailable(why.to_owned()).into()),
            _ => Ok(encrypted),
        }
    }

    /// Sends into a room: encrypted where the room is. The only way by which messages leave.
    pub async fn send(
        &self,
        actor: &Actor,
        room: &RoomId,
        event: Scrubbed,
        txn_id: &str,
        ts: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Result<OwnedEventId, PortalError> {
        let event = if event.is_secret() && self.encrypts(actor, room).await? {
            self.e2ee.encrypt(actor, room, event).await?
        } else {
            event
        };
        Ok(self
            .homeserver
            .send_at(actor, room, &event, txn_id, ts)
            .await?)
    }

    /// A random device id, as clients make them: ten capital letters.
    #[must_use]
    pub fn device_id(&self) -> OwnedDeviceId {
        device::device_of(&self.rng.bytes::<10>())
    }

    /// Registers a user of the namespace and gives it a device. Both are idempotent. A device that was lost and has keys is an
    /// error, as if it had been used.
    pub async fn settle(&self, user: &UserId, device: &ruma::DeviceId) -> Result<(), PortalError> {
        self.homeserver.register(user).await?;
        let new = self.homeserver.create_device(user, device).await?;
        let actor = Actor {
            user: user.to_owned(),
            device: Some(device.to_owned()),
        };
        // Some homeservers say of every device that it is new; one that was lost has no keys there any more.
        if new && self.e2ee.is_known(&actor).await? && !self.e2ee.is_published(&actor).await? {
            return Err(homeserver::Error::UnknownDevice(Box::new(actor)).into());
        }
        Ok(())
    }
}

impl Deps {
    /// Lets the devices of a portal that is in use fetch what waits for them. One that was lost is made anew.
    pub async fn refresh_devices(&self, id: PortalId) -> Result<(), PortalError> {
        // Each may be lost: the ghost's, the host's, and those of mirrors.
        let most = 2 + self.store.mirrors(id).await?.len();
        for _ in 0..most {
            match self.try_refresh_devices(id).await {
                Err(error) if self.mend_device(&error, &[id]).await? => {}
                other => return other,
            }
        }
        self.try_refresh_devices(id).await
    }

    async fn try_refresh_devices(&self, id: PortalId) -> Result<(), PortalError> {
        let portal = self.portals.get(id).await?;
        if self.e2ee.unavailable().is_some() || portal.state != PortalState::Joined {
            return Ok(());
        }
        self.e2ee.sync(&self.ghost(&portal)).await?;
        self.e2ee.sync(&self.host(&portal)).await?;
        for mirror in self.store.mirrors(id).await? {
            if mirror.joined && self.e2ee.is_known(&self.mirror(&mirror)).await? {
                self.e2ee.sync(&self.mirror(&mirror)).await?;
            }
        }
        Ok(())
    }

    /// Queues durable work. The id is derived from `source` (the command's event), so that a command that is
    /// handled twice queues one job. What one event brings about in each of several portals has [`source_in`] as its source.
    pub async fn add_job(
        &self,
        source: &str,
        due: UnixMillis,
        task: Task,
    ) -> Result<(), PortalError> {
        self.store
            .add_job(&Job {
                id: self.job_id(source),
                due,
                attempts: 0,
                broken: 0,
                task,
            })
            .await?;
        self.jobs.notify_one();
        Ok(())
    }

    /// Whether the job of this `source` is queued.
    pub async fn has_job(&self, source: &str) -> Result<bool, PortalError> {
        Ok(self.store.job(self.job_id(source)).await?.is_some())
    }

    /// Ends the work that was queued for `source`, without doing it.
    pub async fn drop_job(&self, source: &str) -> Result<(), PortalError> {
        Ok(self.store.finish_job(self.job_id(source)).await?)
    }

    /// Lets the work that was queued for `source` end with its next attempt, at once, as if it were number `attempts`. If it ends
    /// by itself meanwhile, that is all.
    pub async fn hurry_job(&self, source: &str, attempts: u32) -> Result<(), PortalError> {
        let now = self.clock.now();
        let hurry = |job: &mut Job| {
            (job.due, job.attempts) = (now, attempts);
            true
        };
        if self.store.change_job(self.job_id(source), hurry).await? {
            self.jobs.notify_one();
        }
        Ok(())
    }

    fn job_id(&self, source: &str) -> [u8; 16] {
        let mut id = [0; 16];
        id.copy_from_slice(&self.store.derive("job", &[source.as_bytes()])[..16]);
        id
    }

    /// Changes the ghost's display name in its room (the whole member event, with the mapping; the profile is
    /// left alone, because a profile change makes Synapse drop the mapping), in what the portal room shows, and last in the
    /// records: until then, asked once more after a failure, all of it is done again.
    pub async fn rename_ghost(&self, id: PortalId, nick: &str) -> Result<(), PortalError> {
        let mut portal = Portal::clone(&*self.portals.get(id).await?);
        nick.clone_into(&mut portal.ghost.nick);
        if portal.state == PortalState::Joined {
            let member = Scrubbed::ghost_member(nick, &ghost::mapping(self, &portal, &portal.room));
            let ghost = self.ghost(&portal);
            self.homeserver
                .send_state(&ghost, &portal.room, &member, ghost.user.as_str())
                .await?;
            let shown = async {
                let state = RoomState::fetch(self, &ghost, &portal.room).await?;
                room::show(self, &portal, &state).await
            };
            // The room has the new name; that the portal's own state cannot be written is no reason to say that it has not.
            if let Err(error) = shown.await
                && error.class() == Class::Retry
            {
                return Err(error);
            }
        }
        self.portals
            .update(id, |portal| nick.clone_into(&mut portal.ghost.nick))
            .await?;
        Ok(())
    }
}
