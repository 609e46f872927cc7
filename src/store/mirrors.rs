//! Mirrors: who stands for whom in a portal.

use ruma::UserId;

use super::{
    Mirror, PortalId, Store, StoreError,
    seal::{Cell, Hash, row_of},
};

pub(super) const MIRRORS: Cell = Cell::new("mirrors", 256);

impl Store {
    /// The mirror of `member` in a portal.
    pub async fn mirror(
        &self,
        portal: PortalId,
        member: &UserId,
    ) -> Result<Option<Mirror>, StoreError> {
        let hash = self.member_hash(portal, member);
        let sealed: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT sealed FROM mirrors WHERE portal = $1 AND member = $2")
                .bind(portal.0.as_slice())
                .bind(hash.as_slice())
                .fetch_optional(&self.0.database.readers)
                .await?;
        sealed
            .map(|sealed| self.0.vault.open(MIRRORS, &row_of(portal, &hash), &sealed))
            .transpose()
    }

    /// Every mirror of a portal.
    pub async fn mirrors(&self, portal: PortalId) -> Result<Vec<Mirror>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT member, sealed FROM mirrors WHERE portal = $1 ORDER BY member")
                .bind(portal.0.as_slice())
                .fetch_all(&self.0.database.readers)
                .await?;
        rows.iter()
            .map(|(member, sealed)| self.0.vault.open(MIRRORS, &row_of(portal, member), sealed))
            .collect()
    }

    /// Writes a mirror (new or changed). Does nothing if the portal was forgotten.
    pub async fn save_mirror(&self, portal: PortalId, mirror: &Mirror) -> Result<(), StoreError> {
        let hash = self.member_hash(portal, &mirror.member);
        let sealed = self.0.vault.seal(MIRRORS, &row_of(portal, &hash), mirror)?;
        sqlx::query(
            "INSERT INTO mirrors (portal, member, sealed) \
             SELECT $1, $2, $3 WHERE EXISTS (SELECT 1 FROM portals WHERE id = $1) \
             ON CONFLICT (portal, member) DO UPDATE SET sealed = excluded.sealed",
        )
        .bind(portal.0.as_slice())
        .bind(hash.as_slice())
        .bind(sealed)
        .execute(&self.0.database.writer)
        .await?;
        Ok(())
    }

    fn member_hash(&self, portal: PortalId, member: &UserId) -> Hash {
        self.0.vault.hash_in("mirror", portal, member.as_str())
    }
}
