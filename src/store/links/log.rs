//! The writing task's hand on the links: it writes segments, and merges them piece by piece, between other work.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    Entry,
    merge::{Spent, merge},
    segment,
    tail::{Layer, Shared},
};
use crate::store::{StoreError, db::Database, seal::Vault};

/// How many links one transaction merges: few enough that whoever waits for the writer meanwhile waits for some milliseconds.
const PIECE: usize = 1024;

type Answer = oneshot::Sender<Result<(), StoreError>>;

/// What is to be written and merged.
pub(in crate::store) struct LinkLog {
    vault: Arc<Vault>,
    tail: Shared,
    next_segment: i64,
    /// Who waits until everything that is written is merged.
    waiting: Vec<Answer>,
    merging: Option<Merging>,
    /// The last merge failed: the next waits for other work, or for somebody who asks.
    stalled: bool,
}

/// A merge that is under way.
struct Merging {
    layer: Arc<Layer>,
    /// Places in the layer, in the order of the sources.
    order: Vec<usize>,
    done: usize,
    answers: Vec<Answer>,
}

impl LinkLog {
    pub(in crate::store) fn new(vault: Arc<Vault>, tail: Shared, next_segment: i64) -> Self {
        Self {
            vault,
            tail,
            next_segment,
            waiting: Vec::new(),
            merging: None,
            stalled: false,
        }
    }

    pub(in crate::store) fn tail(&self) -> &Shared {
        &self.tail
    }

    /// Leaves out what is known, and seals the rest into a row. Each call has a number of its own: if a commit's fate is
    /// unknown, its segment may be there, and is not overwritten.
    pub(in crate::store) fn segment(&mut self, entries: &mut Vec<Entry>) -> Option<(i64, Vec<u8>)> {
        {
            let tail = self.tail.read();
            entries.retain(|entry| entry.replaces || !tail.knows(&entry.source));
        }
        if entries.is_empty() {
            return None;
        }
        let seq = self.next_segment;
        self.next_segment += 1;
        Some((seq, segment::seal(&self.vault, seq, entries)))
    }

    /// After the commit.
    pub(in crate::store) fn written(&mut self, segment: i64, entries: Vec<Entry>) {
        self.tail.write().put(segment, entries);
        self.stalled = false;
    }

    /// Asks for everything to be merged.
    pub(in crate::store) fn merge_all(&mut self, answer: Answer) {
        self.waiting.push(answer);
        self.stalled = false;
    }

    /// Whether there is something to merge now.
    pub(in crate::store) fn is_due(&self) -> bool {
        !self.stalled
            && (self.merging.is_some() || !self.waiting.is_empty() || self.tail.read().is_full())
    }

    /// Merges some links. Returns how many.
    pub(in crate::store) async fn step(&mut self, database: &Database) -> usize {
        let Some(merging) = self.merging.take().or_else(|| self.begin()) else {
            return 0;
        };
        let Merging {
            layer,
            order,
            done,
            answers,
        } = merging;
        let end = order.len().min(done + PIECE);
        let entries: Vec<&Entry> = order[done..end]
            .iter()
            .filter_map(|at| layer.entries.get(*at))
            .collect();
        let spent = if end == order.len() {
            Spent::Segments(layer.upto)
        } else {
            Spent::Nothing
        };
        let merged = merge(database, &self.vault, &entries, spent).await;
        let count = entries.len();
        match merged {
            Ok(()) if end == order.len() => {
                self.tail.write().merged();
                for answer in answers {
                    let _ = answer.send(Ok(()));
                }
            }
            Ok(()) => {
                self.merging = Some(Merging {
                    layer,
                    order,
                    done: end,
                    answers,
                });
            }
            Err(error) => {
                tracing::warn!(%error, "links could not be merged yet");
                self.stalled = true;
                self.merging = Some(Merging {
                    layer,
                    order,
                    done,
                    answers: Vec::new(),
                });
                let error = Arc::new(match error {
                    StoreError::Database(error) => error,
                    other => sqlx::Error::Protocol(other.to_string()),
                });
                for answer in answers.into_iter().chain(self.waiting.drain(..)) {
                    let _ = answer.send(Err(StoreError::Commit(Arc::clone(&error))));
                }
            }
        }
        count
    }

    /// Sets apart what there is. Whoever asked before is answered with it.
    fn begin(&mut self) -> Option<Merging> {
        let answers = std::mem::take(&mut self.waiting);
        let Some(layer) = self.tail.write().freeze() else {
            for answer in answers {
                let _ = answer.send(Ok(()));
            }
            return None;
        };
        let mut order: Vec<usize> = (0..layer.entries.len()).collect();
        order.sort_unstable_by_key(|at| layer.entries.get(*at).map(|entry| entry.source));
        Some(Merging {
            layer,
            order,
            done: 0,
            answers,
        })
    }
}
