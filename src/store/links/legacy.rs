//! Links of databases that were made before there were segments and packs: one row each. They are moved when the store is
//! opened, in transactions of their own; a crash in between leaves the rest to the next start.

use ruma::{OwnedEventId, OwnedUserId};
use sqlx::AnyConnection;

use super::{
    Entry,
    merge::{Spent, merge},
};
use crate::store::{
    Direction, Link, StoreError,
    db::Database,
    portals::portal_id,
    seal::{Cell, Vault, row_of},
};

pub(in crate::store) const LINKS: Cell = Cell::new("links", 96);

/// A link as it was sealed, in an array to be short: source, target, whether outbound, sender.
type Short = (OwnedEventId, Option<OwnedEventId>, bool, OwnedUserId);

/// Portal, source, day, cell.
type Row = (Vec<u8>, Vec<u8>, i64, Vec<u8>);

/// Moves all of them.
pub(in crate::store) async fn move_links(
    database: &Database,
    vault: &Vault,
) -> Result<(), StoreError> {
    let mut moved = 0;
    loop {
        let rows = read(&mut *database.writer.acquire().await?).await?;
        let Some((portal, source, ..)) = rows.last() else {
            return Ok(());
        };
        if moved == 0 {
            tracing::info!("the database's links are brought into a new form");
        }
        let mut entries = rows
            .iter()
            .map(|row| entry(vault, row))
            .collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(|entry| (entry.portal, entry.source));
        let entries: Vec<&Entry> = entries.iter().collect();
        merge(database, vault, &entries, Spent::Legacy(portal, source)).await?;
        moved += entries.len();
        tracing::debug!(moved, "links were moved");
    }
}

async fn read(connection: &mut AnyConnection) -> Result<Vec<Row>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT portal, source, day, sealed FROM links ORDER BY portal, source LIMIT 1024",
    )
    .fetch_all(connection)
    .await?)
}

fn entry(vault: &Vault, (portal, source, day, sealed): &Row) -> Result<Entry, StoreError> {
    let portal = portal_id(portal)?;
    let (source, target, outbound, sender): Short =
        vault.open(LINKS, &row_of(portal, source), sealed)?;
    let link = Link {
        source,
        target,
        direction: if outbound {
            Direction::Outbound
        } else {
            Direction::Inbound
        },
        sender,
    };
    let day = u16::try_from(*day).unwrap_or(u16::MAX);
    Ok(Entry::new(vault, portal, day, link, false))
}
