//! Rooms in which a user had a pseudonym until it went along to the room that replaced them. There is never a second one in such a
//! room: nobody is to see two of one user.

use std::fmt;

use ruma::{RoomId, UserId};
use serde::{Deserialize, Serialize};

use super::{Deps, PortalError};
use crate::store::{Note, PortalId};

/// A pseudonym was in a room and has moved on. Found by user and room, and kept for ever.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasHere {
    /// The portal that moved, whether it is still there or not.
    pub portal: PortalId,
}

impl fmt::Debug for WasHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WasHere(…)")
    }
}

impl Note for WasHere {
    const KIND: i64 = 13;
}

impl WasHere {
    /// Whether a pseudonym of this user was in this room and has moved on.
    pub async fn of(
        deps: &Deps,
        user: &UserId,
        room: &RoomId,
    ) -> Result<Option<Self>, PortalError> {
        Ok(deps.store.note(&key(user, room)).await?)
    }

    /// Writes it down.
    pub(super) async fn note(
        deps: &Deps,
        user: &UserId,
        room: &RoomId,
        portal: PortalId,
    ) -> Result<(), PortalError> {
        let here = Self { portal };
        deps.store.set_note(&key(user, room), None, &here).await?;
        Ok(())
    }
}

fn key(user: &UserId, room: &RoomId) -> Vec<u8> {
    [user.as_bytes(), b" ", room.as_bytes()].concat()
}
