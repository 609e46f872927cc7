//! How a stored transaction learns that every event of it was handled.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// One stored transaction that is being handled.
#[derive(Debug)]
pub(super) struct Transaction {
    seq: i64,
    open: AtomicUsize,
}

impl Transaction {
    /// A transaction of which `open` parts are to be handled.
    pub(super) fn new(seq: i64, open: usize) -> Arc<Self> {
        Arc::new(Self {
            seq,
            open: AtomicUsize::new(open),
        })
    }

    /// Its position in the inbox.
    pub(super) fn seq(&self) -> i64 {
        self.seq
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
        let transaction = Transaction::new(7, 3);
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
        let transaction = Transaction::new(7, 2);
        let (mut one, mut two) = (Closing::default(), Closing::default());
        one.add(transaction.clone());
        two.add(transaction);
        let (first, second) = (one.complete(), two.complete());
        assert!(one.close(&first).is_empty());
        assert_eq!(two.close(&second), [7]);
    }
}
