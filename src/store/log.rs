//! SQLite's write-ahead log: copied back into the database beside the writing, not in its midst.
//!
//! Copying thousands of pages takes a tenth of a second, for which SQLite by itself would keep the writer, and with it the
//! acknowledgement of transactions. So a reading connection copies most of it; then the writer copies the little that came
//! meanwhile, and only so can the log begin anew.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{
    db::{Database, Engine},
    group::Work,
};

/// After about so many pages the log is copied back.
const LONG: usize = 10_000;
/// Pages that a row changes, about.
const PAGES: usize = 2;
/// Bytes of a link in a segment, and merged links for each page that changes, about.
const LINK: usize = 128;
const MERGED: usize = 2;
const PAGE: usize = 4096;

const COPY: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// What is known of the log.
#[derive(Debug, Default)]
pub(super) struct Log {
    pages: usize,
    copying: Option<JoinHandle<()>>,
}

impl Log {
    /// Notes what is about to be written.
    pub(super) fn grew(&mut self, work: &Work) {
        let rows = work.rows() - work.links.len();
        let bytes = 2 * work.bytes() + work.links.len() * LINK;
        self.pages += rows * PAGES + bytes / PAGE + 1;
    }

    /// Notes that so many links were merged.
    pub(super) fn merged(&mut self, links: usize) {
        self.pages += links / MERGED;
    }

    /// Begins to copy a long log, or ends it. Failures are left to SQLite, which copies when the log is much longer.
    pub(super) async fn copy_back(&mut self, database: &Arc<Database>) {
        if database.engine != Engine::Sqlite {
            return;
        }
        match &self.copying {
            None if self.pages >= LONG => {
                let database = Arc::clone(database);
                self.pages = 0;
                self.copying = Some(tokio::spawn(async move {
                    let _alone = database.copying.lock().await;
                    let _ = sqlx::query(COPY).execute(&database.readers).await;
                }));
            }
            Some(copying) if copying.is_finished() => {
                self.copying = None;
                let _ = sqlx::query(COPY).execute(&database.writer).await;
            }
            _ => {}
        }
    }
}
