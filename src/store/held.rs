//! Held messages: outbound ones that wait for the user's decision.

use ruma::EventId;

use super::{
    Held, PortalId, Store, StoreError,
    seal::{Cell, Hash, row_of},
};

pub(super) const HELD: Cell = Cell::new("held", 1024);

impl Store {
    /// Keeps a message that waits for the user's decision, or writes it anew (its question is known
    /// later). Does nothing if the portal was forgotten.
    pub async fn hold(&self, portal: PortalId, held: &Held) -> Result<(), StoreError> {
        let event = self.held_hash(portal, &held.event);
        let question = held
            .question
            .as_ref()
            .map(|question| self.question_hash(portal, question));
        let sealed = self.0.vault.seal(HELD, &row_of(portal, &event), held)?;
        sqlx::query(
            "INSERT INTO held (portal, event, question, sealed) \
             SELECT $1, $2, $3, $4 WHERE EXISTS (SELECT 1 FROM portals WHERE id = $1) \
             ON CONFLICT (portal, event) \
             DO UPDATE SET question = excluded.question, sealed = excluded.sealed",
        )
        .bind(portal.0.as_slice())
        .bind(event.as_slice())
        .bind(question.as_ref().map(Hash::as_slice))
        .bind(sealed)
        .execute(&self.0.database.writer)
        .await?;
        Ok(())
    }

    /// The held message whose own event, or whose question to the user, is `event`.
    pub async fn held(
        &self,
        portal: PortalId,
        event: &EventId,
    ) -> Result<Option<Held>, StoreError> {
        let row: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT event, sealed FROM held WHERE portal = $1 AND (event = $2 OR question = $3)",
        )
        .bind(portal.0.as_slice())
        .bind(self.held_hash(portal, event).as_slice())
        .bind(self.question_hash(portal, event).as_slice())
        .fetch_optional(&self.0.database.readers)
        .await?;
        row.map(|(event, sealed)| self.0.vault.open(HELD, &row_of(portal, &event), &sealed))
            .transpose()
    }

    /// All held messages of a portal, oldest first.
    pub async fn all_held(&self, portal: PortalId) -> Result<Vec<Held>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT event, sealed FROM held WHERE portal = $1")
                .bind(portal.0.as_slice())
                .fetch_all(&self.0.database.readers)
                .await?;
        let mut all = rows
            .iter()
            .map(|(event, sealed)| self.0.vault.open(HELD, &row_of(portal, event), sealed))
            .collect::<Result<Vec<Held>, _>>()?;
        all.sort_by(|a, b| (a.at, &a.event).cmp(&(b.at, &b.event)));
        Ok(all)
    }

    /// Removes a held message.
    pub async fn release(&self, portal: PortalId, event: &EventId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM held WHERE portal = $1 AND event = $2")
            .bind(portal.0.as_slice())
            .bind(self.held_hash(portal, event).as_slice())
            .execute(&self.0.database.writer)
            .await?;
        Ok(())
    }

    fn held_hash(&self, portal: PortalId, event: &EventId) -> Hash {
        self.0.vault.hash_in("held event", portal, event.as_str())
    }

    fn question_hash(&self, portal: PortalId, event: &EventId) -> Hash {
        self.0
            .vault
            .hash_in("held question", portal, event.as_str())
    }
}
