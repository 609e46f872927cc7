//! Routes: from a room or a ghost to the portals that it concerns.

use std::collections::BTreeSet;

use ruma::{RoomId, UserId};
use sqlx::AnyConnection;

use super::{
    PortalId, Route, Store, StoreError,
    portals::portal_id,
    seal::{Hash, Vault},
};

const PORTAL_ROOM: i64 = 0;
const ROOM: i64 = 1;
const GHOST: i64 = 2;

/// What a route is found by. The kind is part of the hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RouteKey {
    hash: Hash,
    kind: i64,
}

impl RouteKey {
    pub(super) fn portal_room(vault: &Vault, room: &RoomId) -> Self {
        Self {
            hash: vault.hash("route portal room", &[room.as_bytes()]),
            kind: PORTAL_ROOM,
        }
    }

    pub(super) fn room(vault: &Vault, room: &RoomId) -> Self {
        Self {
            hash: vault.hash("route room", &[room.as_bytes()]),
            kind: ROOM,
        }
    }

    pub(super) fn ghost(vault: &Vault, ghost: &UserId) -> Self {
        Self {
            hash: vault.hash("route ghost", &[ghost.as_bytes()]),
            kind: GHOST,
        }
    }
}

impl Store {
    /// Where events of this room go: the one portal whose portal room it is, or every portal into it.
    pub async fn route(&self, room: &RoomId) -> Result<Route, StoreError> {
        let vault = &self.0.vault;
        let keys = [
            RouteKey::portal_room(vault, room),
            RouteKey::room(vault, room),
        ];
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT kind, portal FROM routes WHERE hash IN ($1, $2) ORDER BY kind, portal",
        )
        .bind(keys[0].hash.as_slice())
        .bind(keys[1].hash.as_slice())
        .fetch_all(&self.0.database.readers)
        .await?;
        if let Some((PORTAL_ROOM, portal)) = rows.first() {
            return Ok(Route::Portal(portal_id(portal)?));
        }
        let portals: Vec<PortalId> = rows
            .iter()
            .map(|(_, portal)| portal_id(portal))
            .collect::<Result<_, _>>()?;
        Ok(if portals.is_empty() {
            Route::Unknown
        } else {
            Route::Room(portals)
        })
    }

    /// The portal to which a ghost belongs.
    pub async fn portal_of_ghost(&self, ghost: &UserId) -> Result<Option<PortalId>, StoreError> {
        let key = RouteKey::ghost(&self.0.vault, ghost);
        let portal: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT portal FROM routes WHERE hash = $1")
                .bind(key.hash.as_slice())
                .fetch_optional(&self.0.database.readers)
                .await?;
        portal.map(|portal| portal_id(&portal)).transpose()
    }

    /// Removes the routes that are only in `old` and adds those that are only in `new`.
    pub(super) async fn change_routes(
        &self,
        tx: &mut AnyConnection,
        portal: PortalId,
        old: &BTreeSet<RouteKey>,
        new: &BTreeSet<RouteKey>,
    ) -> Result<(), StoreError> {
        for lost in old.difference(new) {
            sqlx::query("DELETE FROM routes WHERE hash = $1 AND portal = $2")
                .bind(lost.hash.as_slice())
                .bind(portal.0.as_slice())
                .execute(&mut *tx)
                .await?;
        }
        for gained in new.difference(old) {
            sqlx::query(
                "INSERT INTO routes (hash, portal, kind) VALUES ($1, $2, $3) \
                 ON CONFLICT (hash, portal) DO NOTHING",
            )
            .bind(gained.hash.as_slice())
            .bind(portal.0.as_slice())
            .bind(gained.kind)
            .execute(&mut *tx)
            .await?;
        }
        Ok(())
    }
}
