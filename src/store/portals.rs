//! Portals: their sealed records and their place in the user's record.

use std::collections::BTreeSet;

use sqlx::{AnyConnection, AnyExecutor};

use super::{
    Created, Portal, PortalId, PortalState, Store, StoreError, UserPseudonym, db::write_tx,
    routes::RouteKey, seal::Cell,
};

pub(super) const PORTALS: Cell = Cell::new("portals", 1024);

impl Store {
    /// Puts a new portal, its routes and its place in the user's record into the store, in one transaction.
    pub async fn create_portal(&self, portal: &Portal) -> Result<Created, StoreError> {
        let created = write_tx!(self.0.database, "create_portal", |tx| self
            .create_portal_in(tx, portal));
        self.users_changed();
        created
    }

    async fn create_portal_in(
        &self,
        tx: &mut AnyConnection,
        portal: &Portal,
    ) -> Result<Created, StoreError> {
        if self
            .forgotten_in(&mut *tx, &portal.user, &portal.room)
            .await?
        {
            return Ok(Created::Forgotten);
        }
        let user = self.read_user(&mut *tx, &portal.user).await?;
        let there = user
            .iter()
            .flat_map(|user| &user.pseudonyms)
            .find(|pseudonym| pseudonym.room == portal.room);
        if let Some(there) = there {
            return Ok(Created::AlreadyThere(there.portal));
        }
        sqlx::query("INSERT INTO portals (id, sealed) VALUES ($1, $2)")
            .bind(portal.id.0.as_slice())
            .bind(self.0.vault.seal(PORTALS, &portal.id.0, portal)?)
            .execute(&mut *tx)
            .await?;
        self.change_routes(tx, portal.id, &BTreeSet::new(), &self.routes_of(portal))
            .await?;
        self.change_user(tx, &portal.user, |user| user.pseudonyms.push(line(portal)))
            .await?;
        Ok(Created::New)
    }

    /// Writes a portal's record and any route that it gained or lost (its room may change through an
    /// upgrade), and keeps the user's line of it (room, nick, room name) in step. A portal that was
    /// forgotten meanwhile stays forgotten: then this does nothing.
    pub async fn save_portal(&self, portal: &Portal) -> Result<(), StoreError> {
        let saved = write_tx!(self.0.database, "save_portal", |tx| self
            .save_portal_in(tx, portal));
        self.users_changed();
        saved
    }

    async fn save_portal_in(
        &self,
        tx: &mut AnyConnection,
        portal: &Portal,
    ) -> Result<(), StoreError> {
        let Some(before) = self.read_portal(&mut *tx, portal.id).await? else {
            return Ok(());
        };
        if before == *portal {
            return Ok(());
        }
        sqlx::query("UPDATE portals SET sealed = $1 WHERE id = $2")
            .bind(self.0.vault.seal(PORTALS, &portal.id.0, portal)?)
            .bind(portal.id.0.as_slice())
            .execute(&mut *tx)
            .await?;
        let (old, new) = (self.routes_of(&before), self.routes_of(portal));
        self.change_routes(tx, portal.id, &old, &new).await?;
        let new = line(portal);
        if line(&before) != new {
            self.change_user(tx, &portal.user, |user| {
                for line in &mut user.pseudonyms {
                    if line.portal == portal.id {
                        let known = line.room_name.take();
                        *line = new.clone();
                        line.room_name = line.room_name.take().or(known);
                    }
                }
            })
            .await?;
        }
        Ok(())
    }

    /// A portal by id.
    pub async fn portal(&self, id: PortalId) -> Result<Option<Portal>, StoreError> {
        self.read_portal(&self.0.database.readers, id).await
    }

    /// Ids of every portal, in no meaningful order.
    pub async fn portal_ids(&self) -> Result<Vec<PortalId>, StoreError> {
        let ids: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM portals ORDER BY id")
            .fetch_all(&self.0.database.readers)
            .await?;
        ids.iter().map(|id| portal_id(id)).collect()
    }

    pub(super) async fn read_portal<'e>(
        &self,
        executor: impl AnyExecutor<'e>,
        id: PortalId,
    ) -> Result<Option<Portal>, StoreError> {
        let sealed: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT sealed FROM portals WHERE id = $1")
                .bind(id.0.to_vec())
                .fetch_optional(executor)
                .await?;
        sealed
            .map(|sealed| self.0.vault.open(PORTALS, &id.0, &sealed))
            .transpose()
    }

    /// What finds this portal.
    pub(super) fn routes_of(&self, portal: &Portal) -> BTreeSet<RouteKey> {
        let vault = &self.0.vault;
        let mut routes = BTreeSet::from([
            RouteKey::room(vault, &portal.room),
            RouteKey::ghost(vault, &portal.ghost.id),
        ]);
        routes.extend(
            portal
                .portal_room
                .as_ref()
                .map(|room| RouteKey::portal_room(vault, room)),
        );
        // What was said there before may still be on its way.
        let moved = portal.moved.as_ref();
        routes.extend(moved.map(|moved| RouteKey::room(vault, &moved.room)));
        routes
    }
}

/// An id as the database gives it back.
pub(super) fn portal_id(bytes: &[u8]) -> Result<PortalId, StoreError> {
    Ok(PortalId(
        bytes.try_into().map_err(|_| crate::crypto::OpenError)?,
    ))
}

/// The portal's line in its user's list.
fn line(portal: &Portal) -> UserPseudonym {
    UserPseudonym {
        portal: portal.id,
        room: portal.room.clone(),
        ghost: portal.ghost.id.clone(),
        nick: portal.ghost.nick.clone(),
        // Whoever invites chooses the name: it names nothing until the user has accepted.
        room_name: (portal.state != PortalState::Invited)
            .then(|| portal.shown.name.clone())
            .flatten(),
        portal_room: portal.portal_room.clone(),
        called: portal.called.clone(),
    }
}
