//! The inbox: transactions that were acknowledged and are not yet wholly handled.

use super::{
    InboxEntry, Store, StoreError,
    group::Work,
    seal::{Cell, Vault},
};
use crate::clock::UnixMillis;

/// Not padded: a body is some events of anybody, and its size is known to the homeserver only.
pub(super) const INBOX: Cell = Cell::new("inbox", 1);

impl Store {
    /// Stores a homeserver transaction, sealed and durable, and returns its position. Concurrent calls share one commit.
    pub async fn push_inbox(&self, body: Vec<u8>) -> Result<i64, StoreError> {
        let received = self.0.clock.now();
        // The lock is held until the writer has it, so that positions are written in their order: a
        // reader that has seen one has seen all before it.
        let mut next = self.0.next_seq.lock().await;
        let seq = *next;
        let sealed = seal(&self.0.vault, seq, received, &body);
        *next += 1;
        let answer = self
            .0
            .writer
            .submit(Work {
                inbox: vec![(seq, sealed)],
                ..Work::default()
            })
            .await?;
        drop(next);
        answer.await?;
        Ok(seq)
    }

    /// The last position that was given out.
    pub async fn inbox_position(&self) -> i64 {
        *self.0.next_seq.lock().await - 1
    }

    /// Up to `limit` transactions after position `after`, oldest first.
    pub async fn inbox_after(&self, after: i64, limit: u32) -> Result<Vec<InboxEntry>, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT seq, sealed FROM inbox WHERE seq > $1 ORDER BY seq LIMIT $2")
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(&self.0.database.readers)
                .await?;
        rows.into_iter()
            .map(|(seq, sealed)| open(&self.0.vault, seq, &sealed))
            .collect()
    }

    /// How many transactions wait.
    pub async fn inbox_len(&self) -> Result<u64, StoreError> {
        self.count("SELECT COUNT(*) FROM inbox").await
    }
}

/// The time of receipt is sealed with the body.
fn seal(vault: &Vault, seq: i64, received: UnixMillis, body: &[u8]) -> Vec<u8> {
    let plain = [received.to_be_bytes().as_slice(), body].concat();
    vault.seal_bytes(INBOX, &seq.to_be_bytes(), &plain)
}

fn open(vault: &Vault, seq: i64, sealed: &[u8]) -> Result<InboxEntry, StoreError> {
    let mut plain = vault.open_bytes(INBOX, &seq.to_be_bytes(), sealed)?;
    let received = plain
        .first_chunk()
        .map(|bytes| UnixMillis::from_be_bytes(*bytes))
        .ok_or(crate::crypto::OpenError)?;
    plain.drain(..size_of::<UnixMillis>());
    Ok(InboxEntry {
        seq,
        received,
        body: plain,
    })
}
