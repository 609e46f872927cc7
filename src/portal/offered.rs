//! What was offered: the ghosts that other Vizards were answered with, and the addresses that were used.
//!
//! A ghost's key follows from the request, so these notes are not needed to answer again; they say what an invite is worth when it
//! comes. Written by `invite` for every answer, whether it leads anywhere or not, and gone soon after the ghost's.

use std::fmt;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use super::{Deps, PortalError};
use crate::{clock::UnixMillis, crypto::Seed, store::Note};

const DAY: UnixMillis = 24 * 60 * 60 * 1000;

/// A ghost that another Vizard was answered with. Found by its Matrix ID.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// Into which room it may be invited.
    pub room: OwnedRoomId,
    /// Who asked.
    pub inviter: OwnedUserId,
    /// Whether that is a pseudonym, which alone may invite; a bot asks for whoever does.
    pub by_ghost: bool,
    /// Whom the request names; somebody made up when it names nobody.
    pub user: OwnedUserId,
    /// The seed of its key.
    pub seed: Seed,
    /// Whether it leads nowhere.
    pub decoy: bool,
    /// The hash of the sealed payload.
    pub payload: [u8; 32],
    /// When the sealed address stops to work, if it works only once.
    #[serde(default)]
    pub single_until: Option<UnixMillis>,
    /// The contact address through which it was asked for: its id and its label.
    #[serde(default)]
    pub address: Option<([u8; 16], String)>,
    /// Until when the invite can be accepted.
    pub expires: UnixMillis,
    /// When the ghost leaves the room, unless its invite was accepted.
    pub leave_at: UnixMillis,
    /// Whether the user has declined.
    #[serde(default)]
    pub declined: bool,
    /// How often an invite of it was shown: one that is taken back may come again.
    #[serde(default)]
    pub shown: u32,
}

impl fmt::Debug for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offered(…)")
    }
}

impl Note for Offered {
    const KIND: i64 = 3;
}

impl Offered {
    /// What was offered of a ghost.
    pub async fn of(deps: &Deps, ghost: &UserId) -> Result<Option<Self>, PortalError> {
        Ok(deps.store.note(ghost.as_bytes()).await?)
    }

    /// Writes it down, unless the same ghost was offered before: that stays. Whether it was written.
    pub async fn note(&self, deps: &Deps, ghost: &UserId) -> Result<bool, PortalError> {
        let due = Some(self.due());
        Ok(deps.store.add_note(ghost.as_bytes(), due, self).await?)
    }

    /// The user declined: whoever invites the same ghost once more asks in vain.
    pub(super) async fn decline(deps: &Deps, ghost: &UserId) -> Result<(), PortalError> {
        Self::change(deps, ghost, |offered| offered.declined = true).await
    }

    /// The user was shown an invite.
    pub(super) async fn show(deps: &Deps, ghost: &UserId) -> Result<(), PortalError> {
        Self::change(deps, ghost, |offered| offered.shown += 1).await
    }

    async fn change(
        deps: &Deps,
        ghost: &UserId,
        change: impl FnOnce(&mut Self) + Send,
    ) -> Result<(), PortalError> {
        let Some(mut offered) = Self::of(deps, ghost).await? else {
            return Ok(());
        };
        change(&mut offered);
        let due = Some(offered.due());
        deps.store.set_note(ghost.as_bytes(), due, &offered).await?;
        Ok(())
    }

    /// Nothing is left to be known of a ghost.
    pub async fn forget(deps: &Deps, ghost: &UserId) -> Result<(), PortalError> {
        deps.store.delete_note::<Self>(ghost.as_bytes()).await?;
        Ok(())
    }

    fn due(&self) -> UnixMillis {
        self.leave_at.saturating_add(DAY)
    }
}

/// A sealed address that works once, and for whom it did. Found by the hash of the sealed payload.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedAddress {
    /// The ghost that was invited. (Notes of earlier versions do not say.)
    #[serde(default)]
    pub ghost: Option<OwnedUserId>,
    /// Into which room.
    #[serde(default)]
    pub room: Option<OwnedRoomId>,
}

impl fmt::Debug for UsedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsedAddress(…)")
    }
}

impl Note for UsedAddress {
    const KIND: i64 = 4;
}

impl UsedAddress {
    /// What used an address.
    pub async fn of(deps: &Deps, payload: &[u8; 32]) -> Result<Option<Self>, PortalError> {
        Ok(deps.store.note(payload).await?)
    }

    /// Notes that an invite of `ghost` into `room` used an address that works until `until`; `false`: another one had.
    pub async fn claim(
        deps: &Deps,
        payload: &[u8; 32],
        until: UnixMillis,
        ghost: &UserId,
        room: &RoomId,
    ) -> Result<bool, PortalError> {
        let used = Self {
            ghost: Some(ghost.to_owned()),
            room: Some(room.to_owned()),
        };
        let due = Some(until.saturating_add(DAY));
        if deps.store.add_note(payload, due, &used).await? {
            return Ok(true);
        }
        // The same invite, handled once more after a crash, or one that was taken back and comes again.
        Ok(Self::of(deps, payload).await? == Some(used))
    }
}
