//! Notes: small sealed records that are found by a key and deleted when they are due. What sealed invites remember: own keys, others'
//! keys, addresses, invites on their way. The records themselves belong to whoever keeps them.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Store, StoreError,
    db::write_tx,
    seal::{Cell, Hash},
};
use crate::clock::UnixMillis;

pub(super) const NOTES: Cell = Cell::new("notes", 1024);

/// Notes are due by the hour, so that two that were made together do not show it by the millisecond.
const HOUR: UnixMillis = 60 * 60 * 1000;

/// A kind of note. `KIND` keeps equal keys of two kinds apart, and is never given to another kind.
pub trait Note: Serialize + DeserializeOwned + Send + Sync {
    /// Its number.
    const KIND: i64;
}

impl Store {
    /// The note of this kind under `key`.
    pub async fn note<N: Note>(&self, key: &[u8]) -> Result<Option<N>, StoreError> {
        let id = self.note_id::<N>(key);
        let sealed: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM notes WHERE id = $1")
            .bind(id.to_vec())
            .fetch_optional(&self.0.database.readers)
            .await?;
        sealed
            .map(|sealed| self.0.vault.open(NOTES, &id, &sealed))
            .transpose()
    }

    /// Writes a note, in the place of the one under the same key. It may be deleted after `due`; `None`: never.
    pub async fn set_note<N: Note>(
        &self,
        key: &[u8],
        due: Option<UnixMillis>,
        note: &N,
    ) -> Result<(), StoreError> {
        let id = self.note_id::<N>(key);
        sqlx::query(
            "INSERT INTO notes (id, kind, due, sealed) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET due = excluded.due, sealed = excluded.sealed",
        )
        .bind(id.to_vec())
        .bind(N::KIND)
        .bind(hours(due))
        .bind(self.0.vault.seal(NOTES, &id, note)?)
        .execute(&self.0.database.writer)
        .await?;
        Ok(())
    }

    /// Writes a note unless there is one under this key already. Whether it was written.
    pub async fn add_note<N: Note>(
        &self,
        key: &[u8],
        due: Option<UnixMillis>,
        note: &N,
    ) -> Result<bool, StoreError> {
        let id = self.note_id::<N>(key);
        let sealed = self.0.vault.seal(NOTES, &id, note)?;
        let done = sqlx::query(
            "INSERT INTO notes (id, kind, due, sealed) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(id.to_vec())
        .bind(N::KIND)
        .bind(hours(due))
        .bind(sealed)
        .execute(&self.0.database.writer)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Reads, changes and writes a note in one transaction; `change` gets what is there, and may run more than once. Returns what is
    /// there afterwards.
    pub async fn change_note<N: Note + Clone>(
        &self,
        key: &[u8],
        due: Option<UnixMillis>,
        change: impl Fn(Option<N>) -> N + Send + Sync,
    ) -> Result<N, StoreError> {
        let id = self.note_id::<N>(key);
        write_tx!(self.0.database, "change_note", |tx| self
            .change_note_in(tx, &id, due, &change))
    }

    /// The same with a note that is there; one that is not stays away. Whether there was one.
    pub async fn amend_note<N: Note>(
        &self,
        key: &[u8],
        due: Option<UnixMillis>,
        change: impl Fn(N) -> N + Send + Sync,
    ) -> Result<bool, StoreError> {
        let id = self.note_id::<N>(key);
        write_tx!(self.0.database, "amend_note", |tx| self
            .amend_note_in(tx, &id, due, &change))
    }

    async fn amend_note_in<N: Note>(
        &self,
        tx: &mut sqlx::AnyConnection,
        id: &Hash,
        due: Option<UnixMillis>,
        change: &(impl Fn(N) -> N + Send + Sync),
    ) -> Result<bool, StoreError> {
        let sealed: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM notes WHERE id = $1")
            .bind(id.to_vec())
            .fetch_optional(&mut *tx)
            .await?;
        let Some(sealed) = sealed else {
            return Ok(false);
        };
        let after = change(self.0.vault.open(NOTES, id, &sealed)?);
        let done = sqlx::query("UPDATE notes SET due = $1, sealed = $2 WHERE id = $3")
            .bind(hours(due))
            .bind(self.0.vault.seal(NOTES, id, &after)?)
            .bind(id.to_vec())
            .execute(tx)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn change_note_in<N: Note + Clone>(
        &self,
        tx: &mut sqlx::AnyConnection,
        id: &Hash,
        due: Option<UnixMillis>,
        change: &(impl Fn(Option<N>) -> N + Send + Sync),
    ) -> Result<N, StoreError> {
        let sealed: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM notes WHERE id = $1")
            .bind(id.to_vec())
            .fetch_optional(&mut *tx)
            .await?;
        let before = sealed
            .map(|sealed| self.0.vault.open(NOTES, id, &sealed))
            .transpose()?;
        let after = change(before);
        sqlx::query(
            "INSERT INTO notes (id, kind, due, sealed) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET due = excluded.due, sealed = excluded.sealed",
        )
        .bind(id.to_vec())
        .bind(N::KIND)
        .bind(hours(due))
        .bind(self.0.vault.seal(NOTES, id, &after)?)
        .execute(tx)
        .await?;
        Ok(after)
    }

    /// All notes of a kind, in no order that tells anything.
    pub async fn notes<N: Note>(&self) -> Result<Vec<N>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT id, sealed FROM notes WHERE kind = $1 ORDER BY id")
                .bind(N::KIND)
                .fetch_all(&self.0.database.readers)
                .await?;
        rows.iter()
            .map(|(id, sealed)| self.0.vault.open(NOTES, id, sealed))
            .collect()
    }

    /// How many notes of a kind there are.
    pub async fn count_notes<N: Note>(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM notes WHERE kind = $1")
            .bind(N::KIND)
            .fetch_one(&self.0.database.readers)
            .await?;
        Ok(count.try_into().unwrap_or(0))
    }

    /// Deletes a note. Whether there was one.
    pub async fn delete_note<N: Note>(&self, key: &[u8]) -> Result<bool, StoreError> {
        let id = self.note_id::<N>(key);
        let done = sqlx::query("DELETE FROM notes WHERE id = $1")
            .bind(id.to_vec())
            .execute(&self.0.database.writer)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deletes what is due. Returns how many.
    pub async fn prune_notes(&self, now: UnixMillis) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM notes WHERE due < $1")
            .bind(i64::try_from(now / HOUR).unwrap_or(i64::MAX))
            .execute(&self.0.database.writer)
            .await?;
        Ok(done.rows_affected())
    }

    fn note_id<N: Note>(&self, key: &[u8]) -> Hash {
        self.0.vault.hash("note", &[&N::KIND.to_be_bytes(), key])
    }
}

fn hours(due: Option<UnixMillis>) -> i64 {
    due.map_or(i64::MAX, |due| {
        i64::try_from(due.div_ceil(HOUR)).unwrap_or(i64::MAX)
    })
}
