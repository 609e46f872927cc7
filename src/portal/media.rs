//! Copying a file from one side of a portal to the other: downloaded as the actor that is in its room, decrypted,
//! cleaned of metadata, encrypted with a key of its own where asked, and uploaded as the actor that will speak of it.
//!
//! So no `mxc`, key or hash is the same on both sides, or in two rooms. Called by `relay`, which knows what to do about
//! a file that cannot be copied. How many files are copied at once is bounded by [`Transfers`], and how large they are by
//! `media.max_size`; they wait in the [spool](crate::spool), so memory does not depend on their size. A copy that is made
//! twice, after a crash, is two copies of which one is never spoken of.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ruma::{OwnedUserId, UserId, events::room::EncryptedFile};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Deps, PortalError,
    file::{Cleaned, clean, encrypt},
};
use crate::{
    clock::UnixMillis,
    config::Config,
    homeserver::{self, Actor, Class},
    media::{Kind, Why},
    rewrite::{Copied, Location},
    spool::Spooled,
};

const MIB: u64 = 1 << 20;
const DAY: u64 = 24 * 3_600_000;

/// How soon a message asks again for a slot. It does not wait for one, so that text in other portals is not held up.
const SLOT_EVERY: Duration = Duration::from_millis(250);

/// Bounds what is copied: so many files at once, so much for each user and day. Kept in memory: a restart gives
/// everybody a new day.
#[derive(Debug)]
pub struct Transfers {
    slots: Arc<Semaphore>,
    per_day: u64,
    spent: Mutex<HashMap<OwnedUserId, (UnixMillis, u64)>>,
}

impl Transfers {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(config.media.concurrency)),
            per_day: u64::from(config.access.media_mib_per_day) * MIB,
            spent: Mutex::default(),
        }
    }

    /// The right to copy the files of one message.
    pub fn slot(&self) -> Result<OwnedSemaphorePermit, PortalError> {
        let slot = self.slots.clone().try_acquire_owned();
        slot.map_err(|_| PortalError::NotYet(SLOT_EVERY))
    }

    /// Takes from what a user may send today. `false`: it is too much.
    fn spend(&self, user: &UserId, bytes: u64, now: UnixMillis) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let today = now / DAY;
        spent.retain(|_, (day, _)| *day == today);
        let (_, sum) = spent.entry(user.to_owned()).or_insert((today, 0));
        let fits = sum.saturating_add(bytes) <= self.per_day;
        if fits {
            *sum += bytes;
        }
        fits
    }

    /// Gives back what was taken for a copy that came to nothing.
    fn give_back(&self, user: &UserId, bytes: u64) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sum)) = spent.get_mut(user) {
            *sum = sum.saturating_sub(bytes);
        }
    }
}

/// How a file is copied.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// Who fetches it.
    pub reader: &'a Actor,
    /// Whose copy it will be.
    pub owner: &'a Actor,
    /// Whether the copy is encrypted.
    pub encrypted: bool,
    /// Whether a file that cannot be cleaned is copied as it is.
    pub as_it_is: bool,
    /// Whose daily allowance it is taken from.
    pub payer: Option<&'a UserId>,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The server that has the file, or the homeserver, does not answer.
    #[error("the server that has it does not answer")]
    Away(homeserver::Error),
    /// The file is not to be had.
    #[error("the server that should have it does not give it out")]
    Gone,
    /// It is too large.
    #[error("it is larger than {0}")]
    TooLarge(String),
    /// It is encrypted with another key, or was changed on the way.
    #[error("it cannot be decrypted")]
    Unreadable,
    /// It cannot be cleaned.
    #[error("{0}")]
    Unstrippable(Why),
    /// There is no room for it on the disk, or the disk fails.
    #[error("this server has no room for it at the moment")]
    NoRoom(io::ErrorKind),
    /// The user sent too much today.
    #[error("you have sent {0} MiB of files today, which is all that one may")]
    OverAllowance(u64),
    /// Something else failed.
    #[error(transparent)]
    Portal(#[from] PortalError),
}

impl Deps {
    /// Copies a file. The caller holds a [slot](Transfers::slot).
    pub async fn copy(
        &self,
        way: Way<'_>,
        from: &Location,
        claimed: Kind,
    ) -> Result<Copied, CopyError> {
        let file = self.fetch(way.reader, from).await?;
        let key = match from {
            Location::Plain(_) => None,
            Location::Encrypted(file) => Some(file.clone()),
        };
        let (spool, rng, as_it_is) = (self.spool.clone(), self.rng.clone(), way.as_it_is);
        let Cleaned { file, kind } =
            apart(move || clean(&spool, &rng, &file, key, claimed, as_it_is))
                .await
                .unwrap_or(Err(CopyError::Unstrippable(Why::Malformed)))?;
        let size = file.length();
        let now = self.clock.now();
        if let Some(payer) = way.payer
            && !self.transfers.spend(payer, size, now)
        {
            return Err(CopyError::OverAllowance(self.transfers.per_day / MIB));
        }
        let put = self.put(way, file, kind).await;
        if let (Err(_), Some(payer)) = (&put, way.payer) {
            self.transfers.give_back(payer, size);
        }
        put.map(|location| Copied {
            location,
            kind,
            size,
        })
    }

    async fn fetch(&self, reader: &Actor, from: &Location) -> Result<Spooled, CopyError> {
        let mib = self.config.media.max_size;
        let max = u64::from(mib) * MIB;
        let got = self
            .homeserver
            .download_file(reader, from.mxc(), max, &self.spool);
        match got.await {
            Ok(file) => Ok(file),
            Err(homeserver::Error::TooLarge { .. }) => Err(CopyError::TooLarge(format!(
                "{mib} MiB, the most that is copied here"
            ))),
            Err(homeserver::Error::Disk(kind)) => Err(CopyError::NoRoom(kind)),
            Err(error) if error.class() == Class::Retry => Err(CopyError::Away(error)),
            Err(_) => Err(CopyError::Gone),
        }
    }

    async fn put(&self, way: Way<'_>, file: Spooled, kind: Kind) -> Result<Location, CopyError> {
        let (file, key) = if way.encrypted {
            let spool = self.spool.clone();
            let (file, key) = apart(move || encrypt(&spool, &file))
                .await
                .ok_or(CopyError::Unreadable)??;
            (file, Some(key))
        } else {
            (file, None)
        };
        let mxc = self
            .homeserver
            .reserve_media(way.owner)
            .await
            .map_err(PortalError::from)?;
        let mime = match key {
            Some(_) => "application/octet-stream",
            None => kind.mime(),
        };
        let put = self.homeserver.upload_file(way.owner, &mxc, file, mime);
        match put.await {
            Ok(()) => {}
            Err(error) if error.errcode() == Some("M_TOO_LARGE") => {
                return Err(CopyError::TooLarge("the homeserver takes".to_owned()));
            }
            Err(error) => return Err(PortalError::from(error).into()),
        }
        Ok(match key {
            Some(key) => {
                let file = EncryptedFile::new(mxc, key.encryption_info, key.hashes);
                Location::Encrypted(Box::new(file))
            }
            None => Location::Plain(mxc),
        })
    }
}

/// Runs what takes long where it holds nobody up. `None`: it panicked, which a library might on a hostile file.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        Self::NoRoom(error.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_an_end() {
        let transfers = Transfers {
            slots: Arc::new(Semaphore::new(1)),
            per_day: 10,
            spent: Mutex::default(),
        };
        let user = ruma::user_id!("@a:a.example");
        assert!(transfers.spend(user, 6, 0));
        assert!(!transfers.spend(user, 6, 1));
        assert!(transfers.spend(ruma::user_id!("@b:a.example"), 6, 1));
        transfers.give_back(user, 6);
        assert!(transfers.spend(user, 10, 2));
        assert!(transfers.spend(user, 10, DAY));
        let slot = transfers.slot();
        assert!(matches!(transfers.slot(), Err(PortalError::NotYet(_))));
        drop(slot);
        assert!(transfers.slot().is_ok());
    }
}
