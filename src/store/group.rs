//! What one group commit writes.

use std::sync::LazyLock;

use sqlx::{AnyConnection, Connection as _};

use super::{
    chunks::{Chunked, exact_pieces, pieces},
    db::{Database, Engine, RETRIES, aborted},
    links::Entry,
    seal::Hash,
};

const INSERT_INBOX: &str =
    "INSERT INTO inbox (seq, sealed) VALUES ($1, $2) ON CONFLICT (seq) DO NOTHING";
const INSERT_SEGMENT: &str =
    "INSERT INTO link_segments (seq, sealed) VALUES ($1, $2) ON CONFLICT (seq) DO NOTHING";
static PUT_CRYPTO: LazyLock<Chunked> = LazyLock::new(|| {
    Chunked::rows(
        "INSERT INTO crypto (machine, kind, key, grp, sealed) VALUES",
        5,
        "ON CONFLICT (machine, kind, key) DO UPDATE SET grp = excluded.grp, sealed = excluded.sealed",
    )
});
const DELETE_CRYPTO: &str = "DELETE FROM crypto WHERE machine = $1 AND kind = $2 AND key = $3";
static DELETE_INBOX: LazyLock<Chunked> =
    LazyLock::new(|| Chunked::list("DELETE FROM inbox WHERE seq IN", 0));

/// A row of `crypto`, or (without a cell) its end.
#[derive(Debug)]
pub(super) struct CryptoRow {
    pub(super) machine: Hash,
    pub(super) kind: i64,
    pub(super) key: Hash,
    pub(super) grp: Option<Hash>,
    pub(super) sealed: Option<Vec<u8>>,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) inbox: Vec<(i64, Vec<u8>)>,
    pub(super) links: Vec<Entry>,
    pub(super) done: Vec<i64>,
    /// The last of those with one key counts.
    pub(super) crypto: Vec<CryptoRow>,
    /// The same, for which nobody waits; written last.
    pub(super) heard: Vec<CryptoRow>,
}

impl Work {
    pub(super) fn append(&mut self, mut other: Self) {
        self.inbox.append(&mut other.inbox);
        self.links.append(&mut other.links);
        self.done.append(&mut other.done);
        self.crypto.append(&mut other.crypto);
    }

    pub(super) fn rows(&self) -> usize {
        let crypto = self.crypto.len() + self.heard.len();
        self.inbox.len() + self.links.len() + self.done.len() + crypto
    }

    pub(super) fn bytes(&self) -> usize {
        let inbox = self.inbox.iter().map(|(_, sealed)| sealed.len());
        let crypto = self.crypto.iter().chain(&self.heard);
        let crypto = crypto.flat_map(|row| &row.sealed).map(Vec::len);
        inbox.chain(crypto).sum()
    }

    /// Whether somebody waits for it.
    pub(super) fn is_urgent(&self) -> bool {
        !self.inbox.is_empty() || !self.crypto.is_empty()
    }

    /// Puts neighbours in a table next to each other, and drops what a later row replaces.
    pub(super) fn arrange(&mut self) {
        // Stable: links of one source keep their order.
        self.links.sort_by_key(|entry| entry.portal);
        for rows in [&mut self.crypto, &mut self.heard] {
            // Stable and backwards: the last one stays.
            rows.reverse();
            rows.sort_by_key(|row| (row.machine, row.kind, row.key));
            rows.dedup_by_key(|row| (row.machine, row.kind, row.key));
        }
    }
}

/// Writes it in one database transaction, and again while that may help. `segment`: its links, by the number of the row.
pub(super) async fn write(
    database: &Database,
    work: &Work,
    segment: Option<&(i64, Vec<u8>)>,
) -> Result<(), sqlx::Error> {
    let mut attempt = 0;
    loop {
        let mut connection = database.writer.acquire().await?;
        let outcome = async {
            let mut tx = connection.begin_with(database.engine.begin()).await?;
            write_in(&mut tx, database.engine, work, segment).await?;
            tx.commit().await
        }
        .await;
        if outcome.is_err() {
            // See `write_tx`.
            connection.close_on_drop();
        }
        drop(connection);
        match outcome {
            Err(error) if attempt < RETRIES && (aborted(&error) || hung_up(&error)) => {
                attempt += 1;
                tracing::debug!(attempt, "a group commit is tried again");
            }
            other => return other,
        }
    }
}

async fn write_in(
    tx: &mut AnyConnection,
    engine: Engine,
    work: &Work,
    segment: Option<&(i64, Vec<u8>)>,
) -> Result<(), sqlx::Error> {
    // Not padded: each is large.
    for (seq, sealed) in &work.inbox {
        sqlx::query(INSERT_INBOX)
            .bind(*seq)
            .bind(sealed.as_slice())
            .execute(&mut *tx)
            .await?;
    }
    if let Some((seq, sealed)) = segment {
        sqlx::query(INSERT_SEGMENT)
            .bind(*seq)
            .bind(sealed.as_slice())
            .execute(&mut *tx)
            .await?;
    }
    for piece in pieces(&work.done) {
        let mut query = sqlx::query(DELETE_INBOX.text(engine, piece.len()));
        for seq in piece {
            query = query.bind(*seq);
        }
        query.execute(&mut *tx).await?;
    }
    write_crypto(tx, engine, &work.crypto).await?;
    write_crypto(tx, engine, &work.heard).await
}

async fn write_crypto(
    tx: &mut AnyConnection,
    engine: Engine,
    rows: &[CryptoRow],
) -> Result<(), sqlx::Error> {
    let mut puts = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(sealed) = &row.sealed {
            puts.push((row, sealed));
            continue;
        }
        sqlx::query(DELETE_CRYPTO)
            .bind(row.machine.as_slice())
            .bind(row.kind)
            .bind(row.key.as_slice())
            .execute(&mut *tx)
            .await?;
    }
    for piece in exact_pieces(&puts) {
        let mut query = sqlx::query(PUT_CRYPTO.text(engine, piece.len()));
        for (row, sealed) in piece {
            query = query
                .bind(row.machine.as_slice())
                .bind(row.kind)
                .bind(row.key.as_slice())
                .bind(row.grp.as_ref().map(Hash::as_slice))
                .bind(sealed.as_slice());
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Whether the connection was lost, in which case the commit may or may not have happened.
fn hung_up(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_))
        || error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            // admin_shutdown, crash_shutdown
            .is_some_and(|code| code == "57P01" || code == "57P02")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_row_replaces_an_earlier_one() {
        let row = |key: u8, sealed: Option<u8>| CryptoRow {
            machine: [1; 16],
            kind: 7,
            key: [key; 16],
            grp: None,
            sealed: sealed.map(|byte| vec![byte]),
        };
        let mut work = Work {
            crypto: vec![row(2, Some(1)), row(1, Some(1)), row(2, None), row(3, None)],
            ..Work::default()
        };
        work.append(Work {
            crypto: vec![row(1, Some(2)), row(3, Some(9)), row(1, Some(3))],
            ..Work::default()
        });
        work.arrange();
        let left: Vec<_> = work
            .crypto
            .iter()
            .map(|row| (row.key[0], row.sealed.clone()))
            .collect();
        assert_eq!(left, [(1, Some(vec![3])), (2, None), (3, Some(vec![9]))]);
    }
}
