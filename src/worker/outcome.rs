//! What a lane did and has not yet made durable.
//!
//! A lane hands its links over to be written and goes on meanwhile, but never with more than one commit under way: what it does
//! until then goes into the next. So under load there are few commits, and a crash repeats little. A refusal is written at once: it
//! is told, and the next life must not think better of it.

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::{
    attempt::persist,
    lanes::{LaneKey, Lanes},
    seen::Seen,
    ticket::Closing,
};
use crate::store::{Batch, Committing, Direction, Link, PortalId, Source, StoreError};

/// What a lane did since it last handed something over, and what it handed over last.
pub(super) struct Outcome {
    pub(super) links: Vec<(PortalId, Link)>,
    pub(super) closing: Closing,
    pub(super) count: usize,
    pub(super) seen: Seen,
    refused: bool,
    /// Transactions that are wholly handled, durably, and can be removed.
    late: Vec<i64>,
    writing: Option<Writing>,
    lanes: Arc<Lanes>,
}

/// What was handed over.
struct Writing {
    committing: Committing,
    batch: Batch,
    closing: Closing,
    count: usize,
}

impl Outcome {
    /// Nothing yet; see [`Seen::new`].
    pub(super) fn new(lanes: &Arc<Lanes>, since: u64) -> Self {
        Self {
            lanes: lanes.clone(),
            links: Vec::new(),
            closing: Closing::default(),
            count: 0,
            seen: Seen::new(since),
            refused: false,
            late: Vec::new(),
            writing: None,
        }
    }

    /// Notes an event that was handled.
    pub(super) fn note(&mut self, id: PortalId, source: Source, link: Link) {
        self.seen.note(source, || self.lanes.tick());
        self.refused |= link.target.is_none() && link.direction == Direction::Outbound;
        self.links.push((id, link));
    }

    /// How many events may be handled before the next handing over, of `most`.
    pub(super) fn room(&self, most: usize) -> usize {
        room(most, self.count, self.links.len())
    }

    /// Whether something of the user's was refused, held or obeyed, which is to be durable before anything else is handled.
    pub(super) fn has_refused(&self) -> bool {
        self.refused
    }

    /// Whether nothing is left to be written.
    pub(super) fn is_durable(&self) -> bool {
        self.writing.is_none() && self.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.links.is_empty() && self.closing.is_empty() && self.late.is_empty() && self.count == 0
    }

    /// Makes everything durable, however often it takes: until then the transactions stay stored.
    pub(super) async fn commit(&mut self) {
        while !self.is_durable() {
            self.settle().await;
            self.hand_over().await;
        }
        self.refused = false;
    }

    /// Hands over what was done, if nothing else is being written, or if it is as much as `most`; a refusal is waited for.
    pub(super) async fn flow(&mut self, most: usize) {
        if self.refused {
            return self.commit().await;
        }
        let result = match &mut self.writing {
            Some(writing) => (&mut writing.committing).now_or_never(),
            None => None,
        };
        if let Some(result) = result {
            self.settled(result).await;
        }
        if amount(self.count, self.links.len()) >= most {
            self.settle().await;
        }
        if self.writing.is_none() {
            self.hand_over().await;
        }
    }

    /// For an empty lane: waits until something is written, or something comes.
    pub(super) async fn rest(&mut self, key: &LaneKey) {
        if self.writing.is_none() {
            self.hand_over().await;
        }
        let (Some(writing), Some(news)) = (&mut self.writing, self.lanes.news(key)) else {
            return;
        };
        let result = tokio::select! {
            result = &mut writing.committing => result,
            () = news.notified() => return,
        };
        self.settled(result).await;
    }

    /// Hands over what was done. Nothing else may be under way.
    async fn hand_over(&mut self) {
        if self.is_empty() {
            return;
        }
        let closing = std::mem::take(&mut self.closing);
        let mut done = closing.complete();
        done.append(&mut self.late);
        let batch = Batch {
            links: std::mem::take(&mut self.links),
            done,
        };
        let count = std::mem::take(&mut self.count);
        let begin = || async { Ok(self.lanes.deps.store.begin_commit(&batch).await?) };
        let Some(committing) = Box::pin(persist(&self.lanes, None, begin)).await else {
            return;
        };
        self.writing = Some(Writing {
            committing,
            batch,
            closing,
            count,
        });
    }

    /// Waits for what is under way.
    async fn settle(&mut self) {
        if let Some(writing) = &mut self.writing {
            let result = (&mut writing.committing).await;
            self.settled(result).await;
        }
    }

    /// After the writing: closes what it covered.
    async fn settled(&mut self, result: Result<(), StoreError>) {
        let Some(writing) = self.writing.take() else {
            return;
        };
        if result.is_err() {
            let again = || async { Ok(self.lanes.deps.store.commit(&writing.batch).await?) };
            if Box::pin(persist(&self.lanes, None, again)).await.is_none() {
                return;
            }
        }
        self.late
            .append(&mut writing.closing.close(&writing.batch.done));
        if writing.count > 0 {
            self.lanes.finished(writing.count);
        }
    }
}

/// A lane that breaks off leaves what it did unwritten, and it is in memory no more.
impl Drop for Outcome {
    fn drop(&mut self) {
        let writing = self.writing.as_ref().map_or(0, |writing| writing.count);
        if self.count + writing > 0 {
            self.lanes.finished(self.count + writing);
        }
    }
}

/// How much that is to be handed over: what was fetched has links, and is not counted, because it was not in memory.
fn amount(count: usize, links: usize) -> usize {
    count.max(links)
}

fn room(most: usize, count: usize, links: usize) -> usize {
    most.saturating_sub(amount(count, links)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The relay keeps so many links in memory as are not durable, and no more.
    #[test]
    fn what_was_fetched_takes_room() {
        for (count, links, left) in [(0, 0, 64), (60, 3, 4), (0, 63, 1), (2, 63, 1), (64, 70, 1)] {
            assert_eq!(room(64, count, links), left, "{count} {links}");
        }
    }
}
