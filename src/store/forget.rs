//! Forgetting: a pseudonym's end, what stays of it, and for how long.
//!
//! SQLite overwrites what it deletes, and its write-ahead log is emptied right after. PostgreSQL keeps
//! dead rows until it vacuums and whatever its own log is archived to; an admin who needs more encrypts
//! the disk and keeps archives short.

use std::collections::BTreeSet;

use ruma::{RoomId, UserId};
use sqlx::{AnyConnection, AnyExecutor};

use super::{
    Escrowed, Portal, Store, StoreError,
    db::write_tx,
    links,
    seal::{Cell, Hash},
};
use crate::clock::UnixMillis;

pub(super) const ESCROW: Cell = Cell::new("escrow", 1024);

/// Copies are due by the hour, so that two that were made together do not show it by the millisecond.
const HOUR: UnixMillis = 60 * 60 * 1000;

/// Everything that a portal owns, besides its routes and links.
const DELETE: [&str; 3] = [
    "DELETE FROM mirrors WHERE portal = $1",
    "DELETE FROM held WHERE portal = $1",
    "DELETE FROM portals WHERE id = $1",
];

impl Store {
    /// Destroys a portal: links, mirrors, held messages, routes, keys, its place in the user's record; leaves
    /// the keyed hashes of (user, room), also of the rooms that it replaced and that replaced it, and, until `escrow_until`, a sealed copy of (user, room, ghost) for the operator.
    pub async fn forget_portal(
        &self,
        portal: &Portal,
        escrow_until: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        // A segment holds links of many portals: first they come to where each portal's are apart.
        self.merge_links().await?;
        write_tx!(self.0.database, "forget_portal", |tx| self
            .forget_portal_in(tx, portal, escrow_until))?;
        self.users_changed();
        self.0.database.empty_log().await
    }

    async fn forget_portal_in(
        &self,
        tx: &mut AnyConnection,
        portal: &Portal,
        escrow_until: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        let stored = self.read_portal(&mut *tx, portal.id).await?;
        for known in [Some(portal), stored.as_ref()].into_iter().flatten() {
            // There is no new mask in what came before the room or after it either.
            let rooms = known.replaced.iter().chain(&known.successor);
            for room in rooms.chain([&known.room]) {
                self.forget_in(tx, &known.user, room).await?;
            }
        }
        if let Some(stored) = &stored {
            // Only now: a second call, after a crash, makes no second copy.
            if let Some(until) = escrow_until {
                self.escrow_in(tx, stored, until).await?;
            }
        }
        self.delete_in(tx, portal, stored.as_ref()).await
    }

    /// Removes a portal whose pseudonym was never in its room, so that nobody has seen it. Nothing stays of it, and the
    /// user may try that room again.
    pub async fn discard_portal(&self, portal: &Portal) -> Result<(), StoreError> {
        self.merge_links().await?;
        write_tx!(self.0.database, "discard_portal", |tx| self
            .discard_portal_in(tx, portal))?;
        self.users_changed();
        self.0.database.empty_log().await
    }

    async fn discard_portal_in(
        &self,
        tx: &mut AnyConnection,
        portal: &Portal,
    ) -> Result<(), StoreError> {
        let stored = self.read_portal(&mut *tx, portal.id).await?;
        self.delete_in(tx, portal, stored.as_ref()).await
    }

    /// Deletes everything that a portal owns, and its place in the user's record.
    async fn delete_in(
        &self,
        tx: &mut AnyConnection,
        portal: &Portal,
        stored: Option<&Portal>,
    ) -> Result<(), StoreError> {
        let mut routes = self.routes_of(portal);
        if let Some(stored) = stored {
            routes.extend(self.routes_of(stored));
        }
        self.change_routes(tx, portal.id, &routes, &BTreeSet::new())
            .await?;
        links::delete_all(&mut *tx, portal.id).await?;
        for delete in DELETE {
            sqlx::query(delete)
                .bind(portal.id.0.as_slice())
                .execute(&mut *tx)
                .await?;
        }
        self.change_user(tx, &portal.user, |user| {
            user.pseudonyms.retain(|line| line.portal != portal.id);
            user.confirm_forget.take_if(|(id, _)| *id == portal.id);
        })
        .await?;
        Ok(())
    }

    /// Whether this user forgot their pseudonym in this room.
    pub async fn is_forgotten(&self, user: &UserId, room: &RoomId) -> Result<bool, StoreError> {
        self.forgotten_in(&self.0.database.readers, user, room)
            .await
    }

    /// Carries "forgotten" over to the room that replaces another.
    pub async fn mark_forgotten(&self, user: &UserId, room: &RoomId) -> Result<(), StoreError> {
        write_tx!(self.0.database, "mark_forgotten", |tx| self
            .forget_in(tx, user, room))
    }

    /// Deletes escrowed copies that are due. Returns how many.
    pub async fn prune_escrow(&self, now: UnixMillis) -> Result<u64, StoreError> {
        let deleted = sqlx::query("DELETE FROM escrow WHERE due <= $1")
            .bind(hour_of(now))
            .execute(&self.0.database.writer)
            .await?
            .rows_affected();
        if deleted > 0 {
            self.0.database.empty_log().await?;
        }
        Ok(deleted)
    }

    /// The escrowed copies that are not yet due, in no meaningful order.
    pub async fn escrowed(&self) -> Result<Vec<Escrowed>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT id, sealed FROM escrow ORDER BY id")
                .fetch_all(&self.0.database.readers)
                .await?;
        rows.iter()
            .map(|(id, sealed)| self.0.vault.open(ESCROW, id, sealed))
            .collect()
    }

    pub(super) async fn forgotten_in<'e>(
        &self,
        executor: impl AnyExecutor<'e>,
        user: &UserId,
        room: &RoomId,
    ) -> Result<bool, StoreError> {
        let found: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT hash FROM forgotten WHERE hash = $1")
                .bind(self.forgotten_hash(user, room).to_vec())
                .fetch_optional(executor)
                .await?;
        Ok(found.is_some())
    }

    async fn forget_in(
        &self,
        tx: &mut AnyConnection,
        user: &UserId,
        room: &RoomId,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO forgotten (hash) VALUES ($1) ON CONFLICT (hash) DO NOTHING")
            .bind(self.forgotten_hash(user, room).to_vec())
            .execute(tx)
            .await?;
        Ok(())
    }

    async fn escrow_in(
        &self,
        tx: &mut AnyConnection,
        portal: &Portal,
        until: UnixMillis,
    ) -> Result<(), StoreError> {
        let id = self.0.vault.random_id();
        let copy = Escrowed {
            user: portal.user.clone(),
            room: portal.room.clone(),
            ghost: portal.ghost.id.clone(),
            until,
        };
        sqlx::query("INSERT INTO escrow (id, due, sealed) VALUES ($1, $2, $3)")
            .bind(id.to_vec())
            .bind(hour_of(until))
            .bind(self.0.vault.seal(ESCROW, &id, &copy)?)
            .execute(tx)
            .await?;
        Ok(())
    }

    fn forgotten_hash(&self, user: &UserId, room: &RoomId) -> Hash {
        self.0
            .vault
            .hash("forgotten", &[user.as_bytes(), room.as_bytes()])
    }
}

fn hour_of(time: UnixMillis) -> i64 {
    i64::try_from(time / HOUR).unwrap_or(i64::MAX)
}
