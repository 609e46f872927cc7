//! Links: which event became which. A link's presence means that its source was handled.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use ruma::{EventId, OwnedEventId, OwnedUserId, UserId};

use super::{
    Batch, Direction, Link, PortalId, Store, StoreError,
    chunks::{Chunked, MOST, pad},
    group::{LinkRow, Work},
    seal::{Cell, Hash, row_of},
    writer::Answer,
};
use crate::clock::UnixMillis;

/// One size for nearly all: a ghost's Matrix ID and two event ids fill it.
pub(super) const LINKS: Cell = Cell::new("links", 96);

/// A link as it is sealed, in an array to be short: source, target, whether outbound, sender.
type Short<E, U> = (E, Option<E>, bool, U);

const DAY: UnixMillis = 24 * 60 * 60 * 1000;

static HANDLED: LazyLock<Chunked> = LazyLock::new(|| {
    Chunked::list(
        "SELECT source FROM links WHERE portal = $1 AND source IN",
        1,
    )
});

/// An event as the links of one portal know it. Events of two portals are never equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(Hash);

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
        Source(self.source_hash(portal, event))
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
        let links = batch
            .links
            .iter()
            .map(|(portal, link)| self.link_row(*portal, link, day))
            .collect::<Result<_, _>>()?;
        let work = Work {
            inbox: Vec::new(),
            links,
            done: batch.done.clone(),
            ..Work::default()
        };
        Ok(Committing(Some(self.0.writer.submit(work).await?)))
    }

    /// Writes a link, in the place of the one with the same source.
    pub async fn replace_link(&self, portal: PortalId, link: &Link) -> Result<(), StoreError> {
        let row = self.link_row(portal, link, day_of(self.0.clock.now()))?;
        sqlx::query(
            "INSERT INTO links (portal, source, target, day, sealed) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (portal, source) DO UPDATE SET target = excluded.target, sealed = excluded.sealed",
        )
        .bind(row.portal.to_vec())
        .bind(row.source.to_vec())
        .bind(row.target.map(|target| target.to_vec()))
        .bind(row.day)
        .bind(row.sealed)
        .execute(&self.0.database.writer)
        .await?;
        Ok(())
    }

    fn link_row(&self, portal: PortalId, link: &Link, day: i64) -> Result<LinkRow, StoreError> {
        let source = self.source_hash(portal, &link.source);
        let short: Short<&EventId, &UserId> = (
            &link.source,
            link.target.as_deref(),
            link.direction == Direction::Outbound,
            &link.sender,
        );
        Ok(LinkRow {
            portal: portal.0,
            source,
            target: link
                .target
                .as_ref()
                .map(|target| self.target_hash(portal, target)),
            day,
            sealed: self.0.vault.seal(LINKS, &row_of(portal, &source), &short)?,
        })
    }

    fn open_link(
        &self,
        portal: PortalId,
        source: &[u8],
        sealed: &[u8],
    ) -> Result<Link, StoreError> {
        let (source, target, outbound, sender): Short<OwnedEventId, OwnedUserId> =
            self.0.vault.open(LINKS, &row_of(portal, source), sealed)?;
        Ok(Link {
            source,
            target,
            direction: if outbound {
                Direction::Outbound
            } else {
                Direction::Inbound
            },
            sender,
        })
    }

    fn source_hash(&self, portal: PortalId, event: &EventId) -> Hash {
        self.0.vault.hash_in("link source", portal, event.as_str())
    }

    fn target_hash(&self, portal: PortalId, event: &EventId) -> Hash {
        self.0.vault.hash_in("link target", portal, event.as_str())
    }

    /// Which of `sources` were handled already in this portal.
    pub async fn handled(
        &self,
        portal: PortalId,
        sources: &[&EventId],
    ) -> Result<HashSet<OwnedEventId>, StoreError> {
        let mut handled = HashSet::new();
        for chunk in sources.chunks(MOST) {
            let by_hash: HashMap<Hash, &EventId> = chunk
                .iter()
                .map(|event| (self.source_hash(portal, event), *event))
                .collect();
            let mut hashes: Vec<Hash> = by_hash.keys().copied().collect();
            pad(&mut hashes);
            let mut query = sqlx::query_scalar(HANDLED.text(self.0.database.engine, hashes.len()))
                .bind(portal.0.to_vec());
            for hash in &hashes {
                query = query.bind(hash.as_slice());
            }
            let found: Vec<Vec<u8>> = query.fetch_all(&self.0.database.readers).await?;
            handled.extend(
                found
                    .iter()
                    .filter_map(|hash| by_hash.get(hash.as_slice()))
                    .map(|&event| event.to_owned()),
            );
        }
        Ok(handled)
    }

    /// Which of these events were handled already, each in its own portal.
    pub async fn handled_of(
        &self,
        sources: &[(PortalId, Source)],
    ) -> Result<HashSet<Source>, StoreError> {
        let sources = sources.iter().map(|(portal, source)| (portal.0, source.0));
        let found = self.0.writer.look(sources.collect()).await?;
        Ok(found.into_iter().map(Source).collect())
    }

    /// The link of which `event` is either end: the event received, or the event sent for it.
    pub async fn link(
        &self,
        portal: PortalId,
        event: &EventId,
    ) -> Result<Option<Link>, StoreError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT source, sealed FROM links WHERE portal = $1 AND (source = $2 OR target = $3)",
        )
        .bind(portal.0.as_slice())
        .bind(self.source_hash(portal, event).as_slice())
        .bind(self.target_hash(portal, event).as_slice())
        .fetch_all(&self.0.database.readers)
        .await?;
        // What we sent may come back and be noted as handled, without a target: the other row says more.
        let mut best: Option<Link> = None;
        for (source, sealed) in rows {
            let link = self.open_link(portal, &source, &sealed)?;
            if best.as_ref().is_none_or(|best| best.target.is_none()) {
                best = Some(link);
            }
        }
        Ok(best)
    }

    /// Deletes links older than `before` (whole days). Returns how many.
    pub async fn prune_links(&self, before: UnixMillis) -> Result<u64, StoreError> {
        let day = day_of(before);
        let mut after = Vec::new();
        let mut deleted = 0;
        // One portal at a time, so that the writer is never held for long.
        while let Some(portal) = sqlx::query_scalar::<_, Vec<u8>>(
            "SELECT portal FROM links WHERE portal > $1 ORDER BY portal LIMIT 1",
        )
        .bind(after.as_slice())
        .fetch_optional(&self.0.database.readers)
        .await?
        {
            deleted += sqlx::query("DELETE FROM links WHERE portal = $1 AND day < $2")
                .bind(portal.as_slice())
                .bind(day)
                .execute(&self.0.database.writer)
                .await?
                .rows_affected();
            after = portal;
        }
        Ok(deleted)
    }
}

fn day_of(time: UnixMillis) -> i64 {
    i64::try_from(time / DAY).unwrap_or(i64::MAX)
}
