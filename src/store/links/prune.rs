//! What ends links: their age, or the end of their portal.

use sqlx::AnyConnection;

use super::{day_of, plan::first_pack};
use crate::{
    clock::UnixMillis,
    store::{PortalId, Store, StoreError, db::write_tx, portals::portal_id, seal::Hash},
};

impl Store {
    /// Merges what is not merged yet. Nothing that was written before the call is in a segment afterwards.
    pub(in crate::store) async fn merge_links(&self) -> Result<(), StoreError> {
        self.0.writer.merge().await
    }

    /// Deletes links older than `before` (whole days). Returns how many.
    pub async fn prune_links(&self, before: UnixMillis) -> Result<u64, StoreError> {
        self.merge_links().await?;
        let bound = first_pack(day_of(before));
        let mut after = Vec::new();
        let mut deleted = 0;
        // One portal at a time, so that the writer is never held for long.
        while let Some(portal) = sqlx::query_scalar::<_, Vec<u8>>(
            "SELECT portal FROM link_packs WHERE portal > $1 ORDER BY portal LIMIT 1",
        )
        .bind(after.as_slice())
        .fetch_optional(&self.0.database.readers)
        .await?
        {
            let old: i64 = sqlx::query_scalar(
                "SELECT CAST(COALESCE(SUM(links), 0) AS BIGINT) FROM link_packs \
                 WHERE portal = $1 AND pack < $2",
            )
            .bind(portal.as_slice())
            .bind(bound)
            .fetch_one(&self.0.database.readers)
            .await?;
            if old > 0 {
                let id = portal_id(&portal)?;
                write_tx!(self.0.database, "prune_links", |tx| delete(tx, id, bound))?;
                deleted += u64::try_from(old).unwrap_or(0);
            }
            after = portal;
        }
        Ok(deleted)
    }

    /// How many there are. A link that is being merged may be counted twice.
    pub(in crate::store) async fn count_links(&self) -> Result<u64, StoreError> {
        let recent = self.0.tail.read().len() as u64;
        let merged = "SELECT CAST(COALESCE(SUM(links), 0) AS BIGINT) FROM link_packs";
        Ok(self.count(merged).await? + recent)
    }
}

/// Deletes all merged links of a portal.
pub(in crate::store) async fn delete_all(
    tx: &mut AnyConnection,
    portal: PortalId,
) -> Result<(), StoreError> {
    delete(tx, portal, i64::MAX).await
}

/// Deletes the packs below `bound`, and what leads to them. Another portal's ends may begin with the same bytes.
async fn delete(tx: &mut AnyConnection, portal: PortalId, bound: i64) -> Result<(), StoreError> {
    let (first, last) = ends_of(portal);
    sqlx::query(
        "DELETE FROM link_ends WHERE hash >= $1 AND hash <= $2 AND pack < $3 AND EXISTS \
         (SELECT 1 FROM link_packs WHERE portal = $4 AND link_packs.pack = link_ends.pack)",
    )
    .bind(first.as_slice())
    .bind(last.as_slice())
    .bind(bound)
    .bind(portal.0.as_slice())
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM link_packs WHERE portal = $1 AND pack < $2")
        .bind(portal.0.as_slice())
        .bind(bound)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// The first and the last end that a portal may have.
fn ends_of(portal: PortalId) -> (Hash, Hash) {
    let (mut first, mut last) = ([0; 16], [0xff; 16]);
    first[..4].copy_from_slice(&portal.0[..4]);
    last[..4].copy_from_slice(&portal.0[..4]);
    (first, last)
}
