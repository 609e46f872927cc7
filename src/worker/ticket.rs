//! How a stored transaction learns that every event of it was handled.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::OnceCell;

use crate::store::{Source, Store, StoreError};

/// One stored transaction that is being handled.
#[derive(Debug)]
pub(super) struct Transaction {
    seq: i64,
    open: AtomicUsize,
    /// The parts that lanes of portals handle, until they were looked up.
    sources: Mutex<Vec<Source>>,
    handled: OnceCell<HashSet<Source>>,
}

impl Transaction {
    /// A transaction of which `open` parts are to be handled; `sources` are those for portals.
    pub(super) fn new(seq: i64, open: usize, sources: Vec<Source>) -> Arc<Self> {
        Arc::new(Self {
            seq,
            open: AtomicUsize::new(open),
            sources: Mutex::new(sources),
            handled: OnceCell::new(),
        })
    }

    /// Which parts were handled earlier, looked up once for all lanes. Only to be asked by a lane that has a part in its hands:
    /// then every lane has its parts, and what one of them does from then on is known to itself (see [`Recent`]).
    pub(super) async fn handled(&self, store: &Store) -> Result<&HashSet<Source>, StoreError> {
        let look_up = || async {
            let sources = self.sources().clone();
            let handled = store.handled_of(&sources).await?;
            self.sources().clear();
            Ok(handled)
        };
        self.handled.get_or_try_init(look_up).await
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, Vec<Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a running lane handled lately: the look-up of a transaction may be older than that.
///
/// An event is looked up after it was put into its lane. What the lane had committed before then, the look-up found; so only
/// what was committed later has to be known here. When a lane has taken all that waited, everything that will still be put into
/// it comes after the commits so far, which are all but the last: so what was noted before is forgotten the second time after.
#[derive(Debug, Default)]
pub(super) struct Recent {
    oldest: HashSet<Source>,
    older: HashSet<Source>,
    newer: HashSet<Source>,
}

impl Recent {
    /// An event was handled.
    pub(super) fn note(&mut self, source: Source) {
        self.newer.insert(source);
    }

    /// Whether it was handled lately.
    pub(super) fn contains(&self, source: &Source) -> bool {
        [&self.newer, &self.older, &self.oldest]
            .iter()
            .any(|noted| noted.contains(source))
    }

    /// The lane took all that waited, with everything committed but what it handled since it last took something.
    pub(super) fn took_all(&mut self) {
        self.oldest = std::mem::replace(&mut self.older, std::mem::take(&mut self.newer));
    }
}

/// Counts how many open parts of each transaction a commit covers.
///
/// A transaction may be removed in the same commit as the last of its links, or later; never before. So a lane removes it
/// with its own commit only if all that is still open is its own.
#[derive(Debug, Default)]
pub(super) struct Closing(Vec<(Arc<Transaction>, usize)>);

impl Closing {
    /// Covers one part.
    pub(super) fn add(&mut self, transaction: Arc<Transaction>) {
        match self.0.last_mut() {
            Some((last, count)) if Arc::ptr_eq(last, &transaction) => *count += 1,
            _ => self.0.push((transaction, 1)),
        }
    }

    /// Covers what another covered.
    pub(super) fn append(&mut self, other: Self) {
        for (transaction, count) in other.0 {
            match self
                .0
                .iter_mut()
                .find(|(own, _)| Arc::ptr_eq(own, &transaction))
            {
                Some((_, own)) => *own += count,
                None => self.0.push((transaction, count)),
            }
        }
    }

    /// Whether nothing is covered.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Transactions of which nothing is open but what this commit covers.
    pub(super) fn complete(&self) -> Vec<i64> {
        self.0
            .iter()
            .filter(|(transaction, own)| transaction.open.load(Ordering::SeqCst) == *own)
            .map(|(transaction, _)| transaction.seq)
            .collect()
    }

    /// After the commit: closes the parts. Returns transactions that this completed and that [`Closing::complete`] did not
    /// name (`already`), because two lanes finished at once.
    pub(super) fn close(self, already: &[i64]) -> Vec<i64> {
        self.0
            .into_iter()
            .filter(|(transaction, own)| transaction.open.fetch_sub(*own, Ordering::SeqCst) == *own)
            .map(|(transaction, _)| transaction.seq)
            .filter(|seq| !already.contains(seq))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lane_removes_the_transaction() {
        let transaction = Transaction::new(7, 3, Vec::new());
        let (mut one, mut two) = (Closing::default(), Closing::default());
        one.add(transaction.clone());
        one.add(transaction.clone());
        two.add(transaction.clone());
        assert!(one.complete().is_empty() && two.complete().is_empty());
        assert!(one.close(&[]).is_empty());
        assert_eq!(two.complete(), [7]);
        assert!(two.close(&[7]).is_empty());
    }

    #[test]
    fn two_lanes_at_once_lose_nothing() {
        let transaction = Transaction::new(7, 2, Vec::new());
        let (mut one, mut two) = (Closing::default(), Closing::default());
        one.add(transaction.clone());
        two.add(transaction);
        let (first, second) = (one.complete(), two.complete());
        assert!(one.close(&first).is_empty());
        assert_eq!(two.close(&second), [7]);
    }
}
