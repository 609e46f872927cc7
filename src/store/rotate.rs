//! Rotation: a new master key, a new sealing key, and every sealed cell anew, in one transaction.
//!
//! The root of look-ups and send ids is kept. Hashes of what was forgotten could not be computed anew
//! (that is their point), and a send that is repeated after the rotation must still have the id it had
//! before. A thief of the old master key *and* an old copy of the database can therefore still compute
//! hashes; what was sealed since, they cannot open.

use sqlx::{AnyConnection, Connection as _};

use super::{
    StoreError,
    crypto::{CRYPTO, row_of},
    db,
    forget::ESCROW,
    held::HELD,
    inbox::INBOX,
    jobs::JOBS,
    keyring,
    links::{legacy::LINKS, plan::PACKS, segment::SEGMENTS},
    mirrors::MIRRORS,
    notes::NOTES,
    portals::PORTALS,
    seal::{Cell, Vault},
    users::USERS,
};
use crate::{crypto::MasterKey, rng::Rng};

/// A table whose primary key is one id.
macro_rules! single {
    ($cell:expr, $table:literal, $id:literal) => {
        Table {
            cell: $cell,
            double: false,
            select: concat!(
                "SELECT ",
                $id,
                ", sealed FROM ",
                $table,
                " WHERE ",
                $id,
                " > $1 ORDER BY ",
                $id,
                " LIMIT 256",
            ),
            update: concat!("UPDATE ", $table, " SET sealed = $1 WHERE ", $id, " = $2"),
        }
    };
}

/// A table whose primary key is a portal and a hash.
macro_rules! double {
    ($cell:expr, $table:literal, $hash:literal) => {
        Table {
            cell: $cell,
            double: true,
            select: concat!(
                "SELECT portal, ",
                $hash,
                ", sealed FROM ",
                $table,
                " WHERE (portal, ",
                $hash,
                ") > ($1, $2) ORDER BY portal, ",
                $hash,
                " LIMIT 256",
            ),
            update: concat!(
                "UPDATE ",
                $table,
                " SET sealed = $1 WHERE portal = $2 AND ",
                $hash,
                " = $3",
            ),
        }
    };
}

struct Table {
    cell: Cell,
    double: bool,
    select: &'static str,
    update: &'static str,
}

const TABLES: [Table; 8] = [
    single!(USERS, "users", "id"),
    single!(PORTALS, "portals", "id"),
    single!(JOBS, "jobs", "id"),
    single!(ESCROW, "escrow", "id"),
    single!(NOTES, "notes", "id"),
    double!(LINKS, "links", "source"),
    double!(MIRRORS, "mirrors", "member"),
    double!(HELD, "held", "event"),
];

/// See [`super::Store::rotate_master_key`].
pub(super) async fn rotate(
    url: &str,
    old: &MasterKey,
    new: &MasterKey,
    rng: &Rng,
) -> Result<u64, StoreError> {
    let (engine, mut connection) = db::set_up(url, true).await?;
    let outcome = async {
        let mut tx = connection.begin_with(engine.begin()).await?;
        let keys = keyring::open(&mut tx, old).await?;
        let next = keys.with_new_sealing_key(rng);
        let (from, to) = (
            Vault::new(&keys, rng.clone()),
            Vault::new(&next, rng.clone()),
        );
        let mut cells = 0;
        for table in &NUMBERED {
            cells += by_number(&mut tx, table, &from, &to).await?;
        }
        cells += packs(&mut tx, &from, &to).await?;
        cells += crypto(&mut tx, &from, &to).await?;
        for table in &TABLES {
            cells += if table.double {
                by_pair(&mut tx, table, &from, &to).await?
            } else {
                by_id(&mut tx, table, &from, &to).await?
            };
        }
        keyring::replace(&mut tx, &next, new, rng).await?;
        tx.commit().await?;
        if engine == db::Engine::Sqlite {
            db::empty_log(&mut connection).await?;
        }
        Ok(cells)
    }
    .await;
    let _ = connection.close().await;
    outcome
}

fn reseal(
    cell: Cell,
    row: &[u8],
    sealed: &[u8],
    from: &Vault,
    to: &Vault,
) -> Result<Vec<u8>, StoreError> {
    let plain = crate::crypto::Secret::new(from.open_bytes(cell, row, sealed)?);
    Ok(to.seal_bytes(cell, row, plain.expose()))
}

async fn by_id(
    tx: &mut AnyConnection,
    table: &Table,
    from: &Vault,
    to: &Vault,
) -> Result<u64, StoreError> {
    let mut after = Vec::new();
    let mut cells = 0;
    loop {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(table.select)
            .bind(after.as_slice())
            .fetch_all(&mut *tx)
            .await?;
        for (id, sealed) in &rows {
            sqlx::query(table.update)
                .bind(reseal(table.cell, id, sealed, from, to)?)
                .bind(id.as_slice())
                .execute(&mut *tx)
                .await?;
            cells += 1;
        }
        let Some((last, _)) = rows.into_iter().next_back() else {
            return Ok(cells);
        };
        after = last;
    }
}

async fn by_pair(
    tx: &mut AnyConnection,
    table: &Table,
    from: &Vault,
    to: &Vault,
) -> Result<u64, StoreError> {
    let mut after = (Vec::new(), Vec::new());
    let mut cells = 0;
    loop {
        let rows: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = sqlx::query_as(table.select)
            .bind(after.0.as_slice())
            .bind(after.1.as_slice())
            .fetch_all(&mut *tx)
            .await?;
        for (portal, hash, sealed) in &rows {
            let row = [portal.as_slice(), hash].concat();
            sqlx::query(table.update)
                .bind(reseal(table.cell, &row, sealed, from, to)?)
                .bind(portal.as_slice())
                .bind(hash.as_slice())
                .execute(&mut *tx)
                .await?;
            cells += 1;
        }
        let Some((portal, hash, _)) = rows.into_iter().next_back() else {
            return Ok(cells);
        };
        after = (portal, hash);
    }
}

/// A table whose rows are numbered, and large: fewer at a time.
struct Numbered {
    cell: Cell,
    select: &'static str,
    update: &'static str,
}

const NUMBERED: [Numbered; 2] = [
    Numbered {
        cell: INBOX,
        select: "SELECT seq, sealed FROM inbox WHERE seq > $1 ORDER BY seq LIMIT 8",
        update: "UPDATE inbox SET sealed = $1 WHERE seq = $2",
    },
    Numbered {
        cell: SEGMENTS,
        select: "SELECT seq, sealed FROM link_segments WHERE seq > $1 ORDER BY seq LIMIT 8",
        update: "UPDATE link_segments SET sealed = $1 WHERE seq = $2",
    },
];

async fn by_number(
    tx: &mut AnyConnection,
    table: &Numbered,
    from: &Vault,
    to: &Vault,
) -> Result<u64, StoreError> {
    let mut after = i64::MIN;
    let mut cells = 0;
    loop {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(table.select)
            .bind(after)
            .fetch_all(&mut *tx)
            .await?;
        for (seq, sealed) in &rows {
            sqlx::query(table.update)
                .bind(reseal(table.cell, &seq.to_be_bytes(), sealed, from, to)?)
                .bind(*seq)
                .execute(&mut *tx)
                .await?;
            cells += 1;
        }
        let Some((last, _)) = rows.last() else {
            return Ok(cells);
        };
        after = *last;
    }
}

/// Packs of links have a portal and a number.
async fn packs(tx: &mut AnyConnection, from: &Vault, to: &Vault) -> Result<u64, StoreError> {
    let mut after = (Vec::new(), 0);
    let mut cells = 0;
    loop {
        let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT portal, pack, sealed FROM link_packs WHERE (portal, pack) > ($1, $2) \
             ORDER BY portal, pack LIMIT 256",
        )
        .bind(after.0.as_slice())
        .bind(after.1)
        .fetch_all(&mut *tx)
        .await?;
        for (portal, pack, sealed) in &rows {
            let row = [portal.as_slice(), &pack.to_be_bytes()].concat();
            sqlx::query("UPDATE link_packs SET sealed = $1 WHERE portal = $2 AND pack = $3")
                .bind(reseal(PACKS, &row, sealed, from, to)?)
                .bind(portal.as_slice())
                .bind(*pack)
                .execute(&mut *tx)
                .await?;
            cells += 1;
        }
        let Some((portal, pack, _)) = rows.into_iter().next_back() else {
            return Ok(cells);
        };
        after = (portal, pack);
    }
}

/// Machine, kind, key, cell.
type CryptoRow = (Vec<u8>, i64, Vec<u8>, Vec<u8>);

/// Keys have three parts.
async fn crypto(tx: &mut AnyConnection, from: &Vault, to: &Vault) -> Result<u64, StoreError> {
    let mut after = (Vec::new(), 0, Vec::new());
    let mut cells = 0;
    loop {
        let rows: Vec<CryptoRow> = sqlx::query_as(
            "SELECT machine, kind, key, sealed FROM crypto WHERE (machine, kind, key) > ($1, $2, $3) \
             ORDER BY machine, kind, key LIMIT 256",
        )
        .bind(after.0.as_slice())
        .bind(after.1)
        .bind(after.2.as_slice())
        .fetch_all(&mut *tx)
        .await?;
        for (machine, kind, key, sealed) in &rows {
            let row = row_of(machine, *kind, key);
            sqlx::query(
                "UPDATE crypto SET sealed = $1 WHERE machine = $2 AND kind = $3 AND key = $4",
            )
            .bind(reseal(CRYPTO, &row, sealed, from, to)?)
            .bind(machine.as_slice())
            .bind(*kind)
            .bind(key.as_slice())
            .execute(&mut *tx)
            .await?;
            cells += 1;
        }
        let Some((machine, kind, key, _)) = rows.into_iter().next_back() else {
            return Ok(cells);
        };
        after = (machine, kind, key);
    }
}
