//! The newest links, in memory until they are merged. Only the writing task changes what is here, and only after it is durable.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::Entry;
use crate::store::{Link, seal::Hash};

/// How many links are gathered before they are merged. More make each changed page serve more links, and take memory
/// (about half a KiB each).
const MOST: usize = 2048;

/// Links by either end.
#[derive(Debug, Default)]
pub(in crate::store) struct Layer {
    pub(super) entries: Vec<Entry>,
    ends: HashMap<Hash, u32>,
    /// The last segment in which they are.
    pub(super) upto: i64,
}

impl Layer {
    fn entry(&self, end: &Hash) -> Option<&Entry> {
        let at = *self.ends.get(end)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// The first link of a source stays, but for one that replaces it.
    fn put(&mut self, entry: Entry) {
        let known = self.ends.get(&entry.source).copied();
        if known.is_some() && !entry.replaces {
            return;
        }
        let at = known.unwrap_or_else(|| u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.ends.insert(entry.source, at);
        if let Some(target) = entry.target {
            self.ends.insert(target, at);
        }
        // The end of a target that was replaced stays: whoever finds it sees that the link has another.
        let old = usize::try_from(at)
            .ok()
            .and_then(|at| self.entries.get_mut(at));
        match old {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }
}

/// What is not merged yet: what is gathered, and before that what is being merged.
#[derive(Debug, Default)]
pub(in crate::store) struct Tail {
    fresh: Layer,
    merging: Option<Arc<Layer>>,
}

impl Tail {
    /// Adds the links of a segment that is durable.
    pub(in crate::store) fn put(&mut self, segment: i64, entries: Vec<Entry>) {
        for entry in entries {
            self.fresh.put(entry);
        }
        self.fresh.upto = segment;
    }

    pub(in crate::store) fn knows(&self, source: &Hash) -> bool {
        self.entry(source).is_some()
    }

    /// What is known under this end of a link; newer before older.
    pub(super) fn entry(&self, end: &Hash) -> Option<&Entry> {
        let merging = || self.merging.as_ref()?.entry(end);
        self.fresh.entry(end).or_else(merging)
    }

    /// The link of a source, and whether it stands above one that is merged already.
    pub(super) fn link(&self, source: &Hash) -> Option<(Link, bool)> {
        let entry = self.entry(source)?;
        Some((entry.link.clone(), entry.replaces))
    }

    pub(super) fn len(&self) -> usize {
        let merging = self.merging.as_ref().map_or(0, |layer| layer.entries.len());
        self.fresh.entries.len() + merging
    }

    /// Whether it is time to merge.
    pub(super) fn is_full(&self) -> bool {
        self.fresh.entries.len() >= MOST
    }

    /// Sets apart what is gathered, to be merged; [`Tail::merged`] ends it. `None`: there is nothing.
    pub(super) fn freeze(&mut self) -> Option<Arc<Layer>> {
        if self.fresh.upto == 0 {
            return None;
        }
        let layer = Arc::new(std::mem::take(&mut self.fresh));
        self.merging = Some(Arc::clone(&layer));
        Some(layer)
    }

    /// Forgets what was merged. Readers look here before they look into the tables, so they miss nothing.
    pub(super) fn merged(&mut self) {
        self.merging = None;
    }
}

/// The tail, as the writing task and everybody else share it.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Shared(Arc<RwLock<Tail>>);

impl Shared {
    pub(in crate::store) fn new(tail: Tail) -> Self {
        Self(Arc::new(RwLock::new(tail)))
    }

    /// To read. Never across an `await`.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Tail> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the writing task.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Tail> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of these sources that are here, and the others.
    pub(super) fn known(&self, sources: Vec<Hash>) -> (Vec<Hash>, Vec<Hash>) {
        let tail = self.read();
        sources.into_iter().partition(|source| tail.knows(source))
    }
}
