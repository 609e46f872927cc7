//! Jobs: durable work that is due later.

use super::{Job, Store, StoreError, seal::Cell};
use crate::clock::UnixMillis;

pub(super) const JOBS: Cell = Cell::new("jobs", 256);

impl Store {
    /// Adds a job (or replaces the one with the same id).
    pub async fn add_job(&self, job: &Job) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO jobs (id, due, sealed) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET due = excluded.due, sealed = excluded.sealed",
        )
        .bind(job.id.as_slice())
        .bind(millis(job.due))
        .bind(self.0.vault.seal(JOBS, &job.id, job)?)
        .execute(&self.0.database.writer)
        .await?;
        Ok(())
    }

    /// Jobs due at `now`, oldest first.
    pub async fn due_jobs(&self, now: UnixMillis, limit: u32) -> Result<Vec<Job>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT id, sealed FROM jobs WHERE due <= $1 ORDER BY due, id LIMIT $2")
                .bind(millis(now))
                .bind(i64::from(limit))
                .fetch_all(&self.0.database.readers)
                .await?;
        rows.iter()
            .map(|(id, sealed)| self.0.vault.open(JOBS, id, sealed))
            .collect()
    }

    /// When the next job is due.
    pub async fn next_job(&self) -> Result<Option<UnixMillis>, StoreError> {
        let due: Option<i64> = sqlx::query_scalar("SELECT due FROM jobs ORDER BY due LIMIT 1")
            .fetch_optional(&self.0.database.readers)
            .await?;
        Ok(due.map(|due| due.try_into().unwrap_or(0)))
    }

    /// Removes a job.
    pub async fn finish_job(&self, id: [u8; 16]) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM jobs WHERE id = $1")
            .bind(id.as_slice())
            .execute(&self.0.database.writer)
            .await?;
        Ok(())
    }
}

fn millis(time: UnixMillis) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
