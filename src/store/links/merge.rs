//! Merging: from segments into the tables in which links are found.
//!
//! A link lies in a pack with others of its portal and day (`plan`); each of its ends leads to the pack.

use std::{collections::HashMap, sync::LazyLock};

use sqlx::AnyConnection;

use super::{
    Entry,
    plan::{Plan, plan},
};
use crate::store::{
    StoreError,
    chunks::{Chunked, exact_pieces, pieces},
    db::{Database, Engine, write_tx},
    seal::{Hash, Vault},
};

static ADD_ENDS: LazyLock<Chunked> = LazyLock::new(|| {
    Chunked::rows(
        "INSERT INTO link_ends (hash, pack) VALUES",
        2,
        "ON CONFLICT (hash) DO NOTHING",
    )
});
static PUT_ENDS: LazyLock<Chunked> = LazyLock::new(|| {
    Chunked::rows(
        "INSERT INTO link_ends (hash, pack) VALUES",
        2,
        "ON CONFLICT (hash) DO UPDATE SET pack = excluded.pack",
    )
});
static ADD_PACKS: LazyLock<Chunked> = LazyLock::new(|| {
    Chunked::rows(
        "INSERT INTO link_packs (portal, pack, links, sealed) VALUES",
        4,
        "",
    )
});
static FIND_ENDS: LazyLock<Chunked> =
    LazyLock::new(|| Chunked::list("SELECT hash, pack FROM link_ends WHERE hash IN", 0));

/// What the transaction of a merge deletes: that from which the links came.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spent<'a> {
    /// Nothing yet.
    Nothing,
    /// The segments up to this one.
    Segments(i64),
    /// Links of an older database, up to this portal and source.
    Legacy(&'a [u8], &'a [u8]),
}

/// Merges links, best in the order of their sources, in one durable transaction. A link whose source is merged already is
/// left out, unless it replaces it; so the same again changes nothing.
pub(super) async fn merge(
    database: &Database,
    vault: &Vault,
    entries: &[&Entry],
    spent: Spent<'_>,
) -> Result<(), StoreError> {
    write_tx!(*database, "merge", |tx| merge_in(
        tx,
        database.engine,
        vault,
        entries,
        spent
    ))
}

async fn merge_in(
    tx: &mut AnyConnection,
    engine: Engine,
    vault: &Vault,
    entries: &[&Entry],
    spent: Spent<'_>,
) -> Result<(), StoreError> {
    let mut plans = plan(vault, entries);
    let sources = |replaces: bool| -> Vec<(Hash, i64)> {
        let all = plans
            .iter()
            .flat_map(|plan| plan.entries.iter().map(|entry| (*entry, plan.pack)));
        all.filter(|(entry, _)| entry.replaces == replaces)
            .map(|(entry, pack)| (entry.source, pack))
            .collect()
    };
    let added = sources(false);
    let mut put = sources(true);
    if add_ends(tx, engine, &added).await? < added.len() as u64 {
        drop_known(tx, engine, &mut plans, &added).await?;
    }
    for plan in &plans {
        let targets = plan.entries.iter().filter_map(|entry| entry.target);
        put.extend(targets.map(|target| (target, plan.pack)));
    }
    // Stable: of equal ones the last stays.
    put.reverse();
    put.sort_by_key(|(end, _)| *end);
    put.dedup_by_key(|(end, _)| *end);
    for piece in exact_pieces(&put) {
        let mut query = sqlx::query(PUT_ENDS.text(engine, piece.len()));
        for (end, pack) in piece {
            query = query.bind(end.as_slice()).bind(*pack);
        }
        query.execute(&mut *tx).await?;
    }
    add_packs(tx, engine, vault, &plans).await?;
    delete(tx, spent).await
}

/// Adds ends that are not there; returns how many were not.
async fn add_ends(
    tx: &mut AnyConnection,
    engine: Engine,
    ends: &[(Hash, i64)],
) -> Result<u64, StoreError> {
    let mut new = 0;
    for piece in exact_pieces(ends) {
        let mut query = sqlx::query(ADD_ENDS.text(engine, piece.len()));
        for (end, pack) in piece {
            query = query.bind(end.as_slice()).bind(*pack);
        }
        new += query.execute(&mut *tx).await?.rows_affected();
    }
    Ok(new)
}

/// Leaves out the links whose sources lead to other packs than theirs.
async fn drop_known(
    tx: &mut AnyConnection,
    engine: Engine,
    plans: &mut Vec<Plan<'_>>,
    ends: &[(Hash, i64)],
) -> Result<(), StoreError> {
    let mut packs: HashMap<Vec<u8>, i64> = HashMap::new();
    for piece in pieces(ends) {
        let mut query = sqlx::query_as(FIND_ENDS.text(engine, piece.len()));
        for (end, _) in piece {
            query = query.bind(end.as_slice());
        }
        let rows: Vec<(Vec<u8>, i64)> = query.fetch_all(&mut *tx).await?;
        packs.extend(rows);
    }
    for plan in &mut *plans {
        let pack = plan.pack;
        let ours = |entry: &Entry| packs.get(entry.source.as_slice()) == Some(&pack);
        plan.entries.retain(|entry| entry.replaces || ours(entry));
    }
    plans.retain(|plan| !plan.entries.is_empty());
    Ok(())
}

async fn add_packs(
    tx: &mut AnyConnection,
    engine: Engine,
    vault: &Vault,
    plans: &[Plan<'_>],
) -> Result<(), StoreError> {
    for piece in exact_pieces(plans) {
        let mut query = sqlx::query(ADD_PACKS.text(engine, piece.len()));
        for plan in piece {
            query = query
                .bind(plan.portal.0.as_slice())
                .bind(plan.pack)
                .bind(i64::try_from(plan.entries.len()).unwrap_or(i64::MAX))
                .bind(plan.seal(vault));
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

async fn delete(tx: &mut AnyConnection, spent: Spent<'_>) -> Result<(), StoreError> {
    match spent {
        Spent::Nothing => {}
        Spent::Segments(upto) => {
            sqlx::query("DELETE FROM link_segments WHERE seq <= $1")
                .bind(upto)
                .execute(tx)
                .await?;
        }
        Spent::Legacy(portal, source) => {
            sqlx::query("DELETE FROM links WHERE (portal, source) <= ($1, $2)")
                .bind(portal.to_vec())
                .bind(source.to_vec())
                .execute(tx)
                .await?;
        }
    }
    Ok(())
}
