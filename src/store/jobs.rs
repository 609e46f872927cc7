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
        self.due_jobs_after(now, None, limit).await
    }

    /// Jobs due at `now` that come after another, oldest first.
    pub async fn due_jobs_after(
        &self,
        now: UnixMillis,
        after: Option<&Job>,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        let (due, id) = after.map_or((-1, &[0; 16]), |job| (millis(job.due), &job.id));
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT id, sealed FROM jobs \
             WHERE due <= $1 AND (due > $2 OR due = $2 AND id > $3) ORDER BY due, id LIMIT $4",
        )
        .bind(millis(now))
        .bind(due)
        .bind(id.as_slice())
        .bind(i64::from(limit))
        .fetch_all(&self.0.database.readers)
        .await?;
        rows.iter()
            .map(|(id, sealed)| self.0.vault.open(JOBS, id, sealed))
            .collect()
    }

    /// A job as it stands now; `None`: it is done.
    pub async fn job(&self, id: [u8; 16]) -> Result<Option<Job>, StoreError> {
        let sealed: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM jobs WHERE id = $1")
            .bind(id.to_vec())
            .fetch_optional(&self.0.database.readers)
            .await?;
        sealed
            .map(|sealed| self.0.vault.open(JOBS, &id, &sealed))
            .transpose()
    }

    /// Changes a job, whatever else happens to it at the same time: it is neither put back nor is another change lost. `change`
    /// may be asked more than once, and says whether it changed anything. `false`: it did not, or there is no such job any more.
    pub async fn change_job(
        &self,
        id: [u8; 16],
        change: impl Fn(&mut Job) -> bool,
    ) -> Result<bool, StoreError> {
        loop {
            let read = "SELECT sealed FROM jobs WHERE id = $1";
            let sealed: Option<Vec<u8>> = sqlx::query_scalar(read)
                .bind(id.to_vec())
                .fetch_optional(&self.0.database.writer)
                .await?;
            let Some(sealed) = sealed else {
                return Ok(false);
            };
            let mut job: Job = self.0.vault.open(JOBS, &id, &sealed)?;
            if !change(&mut job) {
                return Ok(false);
            }
            // Each sealing is another, so this tells whether it is still the same.
            let write = "UPDATE jobs SET due = $1, sealed = $2 WHERE id = $3 AND sealed = $4";
            let written = sqlx::query(write)
                .bind(millis(job.due))
                .bind(self.0.vault.seal(JOBS, &id, &job)?)
                .bind(id.to_vec())
                .bind(sealed)
                .execute(&self.0.database.writer)
                .await?;
            if written.rows_affected() > 0 {
                return Ok(true);
            }
        }
    }

    /// When the first job is due that is not due at `now`.
    pub async fn next_job_after(&self, now: UnixMillis) -> Result<Option<UnixMillis>, StoreError> {
        let due: Option<i64> =
            sqlx::query_scalar("SELECT due FROM jobs WHERE due > $1 ORDER BY due LIMIT 1")
                .bind(millis(now))
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
