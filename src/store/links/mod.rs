//! Links: which event became which. A link's presence means that its source was handled.
//!
//! A commit writes its links as one row, a segment (`segment`), and keeps them in memory (`tail`). When there are many, the
//! writing task merges them (`log`, `merge`) into the tables in which they are found afterwards, so that each page that
//! changes serves many of them. Look-ups (`find`) ask the memory first, then the tables.

mod codec;
mod find;
pub(super) mod legacy;
pub(super) mod log;
mod merge;
pub(super) mod plan;
mod prune;
pub(super) mod segment;
pub(super) mod tail;
#[cfg(test)]
mod tests;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

pub(super) use find::look;
pub(super) use prune::delete_all;
use ruma::EventId;

use super::{
    Batch, Link, PortalId, Store, StoreError,
    group::Work,
    seal::{Hash, Vault},
    writer::Answer,
};
use crate::clock::UnixMillis;

const DAY: UnixMillis = 24 * 60 * 60 * 1000;

/// An event as the links of one portal know it. Events of two portals are never equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(Hash);

#[cfg(test)]
impl Source {
    /// One of no event, for tests of others.
    pub(crate) fn any(number: u8) -> Self {
        Self([number; 16])
    }
}

/// A link that is not merged yet, with the names of its ends.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) portal: PortalId,
    source: Hash,
    target: Option<Hash>,
    /// Days since 1970.
    day: u16,
    /// Whether it takes the place of the one with the same source.
    replaces: bool,
    link: Link,
}

impl Entry {
    fn new(vault: &Vault, portal: PortalId, day: u16, link: Link, replaces: bool) -> Self {
        let target = link.target.as_ref();
        Self {
            portal,
            source: source_end(vault, portal, &link.source),
            target: target.map(|event| target_end(vault, portal, event)),
            day,
            replaces,
            link,
        }
    }
}

fn source_end(vault: &Vault, portal: PortalId, event: &EventId) -> Hash {
    end(portal, vault.hash_in("link source", portal, event.as_str()))
}

fn target_end(vault: &Vault, portal: PortalId, event: &EventId) -> Hash {
    end(portal, vault.hash_in("link target", portal, event.as_str()))
}

/// Ends of one portal stand together, so that its lane meets the same pages.
fn end(portal: PortalId, mut hash: Hash) -> Hash {
    hash[..4].copy_from_slice(&portal.0[..4]);
    hash
}

fn day_of(time: UnixMillis) -> u16 {
    u16::try_from(time / DAY).unwrap_or(u16::MAX)
}

/// A commit that was handed over, in its place among the others. Resolves when it is durable.
#[derive(Debug)]
pub struct Committing(Option<Answer>);

impl Future for Committing {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Some(answer) => Pin::new(answer).poll(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Store {
    /// The name of an event among the links of a portal.
    pub fn source(&self, portal: PortalId, event: &EventId) -> Source {
        Source(source_end(&self.0.vault, portal, event))
    }

    /// Writes links and removes finished transactions in one durable commit (shared with concurrent callers).
    /// A link whose source is already there is left as it is.
    pub async fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.begin_commit(batch).await?.await
    }

    /// The same, to be waited for later.
    pub async fn begin_commit(&self, batch: &Batch) -> Result<Committing, StoreError> {
        if batch.links.is_empty() && batch.done.is_empty() {
            return Ok(Committing(None));
        }
        let day = day_of(self.0.clock.now());
        let entry = |(portal, link): &(PortalId, Link)| {
            Entry::new(&self.0.vault, *portal, day, link.clone(), false)
        };
        let work = Work {
            links: batch.links.iter().map(entry).collect(),
            done: batch.done.clone(),
            ..Work::default()
        };
        Ok(Committing(Some(self.0.writer.submit(work).await?)))
    }

    /// Writes a link, in the place of the one with the same source.
    pub async fn replace_link(&self, portal: PortalId, link: &Link) -> Result<(), StoreError> {
        let day = day_of(self.0.clock.now());
        let entry = Entry::new(&self.0.vault, portal, day, link.clone(), true);
        let work = Work {
            links: vec![entry],
            ..Work::default()
        };
        self.0.writer.submit(work).await?.await
    }
}
