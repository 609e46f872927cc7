//! Look-ups: in memory first, then in the tables. What is merged leaves the memory last, so nothing is missed in between.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use ruma::{EventId, OwnedEventId};
use sqlx::AnyConnection;

use super::{Source, plan, source_end, tail::Shared, target_end};
use crate::store::{
    Link, PortalId, Store, StoreError,
    chunks::{Chunked, pieces},
    db::Engine,
    seal::Hash,
};

static HANDLED: LazyLock<Chunked> =
    LazyLock::new(|| Chunked::list("SELECT hash FROM link_ends WHERE hash IN", 0));

/// Which of these sources there are.
pub(in crate::store) async fn look(
    tail: &Shared,
    engine: Engine,
    pool: &sqlx::AnyPool,
    sources: Vec<Hash>,
) -> Result<Vec<Hash>, StoreError> {
    let (mut known, others) = tail.known(sources);
    if !others.is_empty() {
        look_into(&mut *pool.acquire().await?, engine, &others, &mut known).await?;
    }
    Ok(known)
}

async fn look_into(
    connection: &mut AnyConnection,
    engine: Engine,
    sources: &[Hash],
    known: &mut Vec<Hash>,
) -> Result<(), StoreError> {
    for piece in pieces(sources) {
        let mut query = sqlx::query_scalar(HANDLED.text(engine, piece.len()));
        for source in piece {
            query = query.bind(source.as_slice());
        }
        let found: Vec<Vec<u8>> = query.fetch_all(&mut *connection).await?;
        known.extend(
            found
                .iter()
                .filter_map(|hash| Hash::try_from(hash.as_slice()).ok()),
        );
    }
    Ok(())
}

impl Store {
    /// Which of `sources` were handled already in this portal.
    pub async fn handled(
        &self,
        portal: PortalId,
        sources: &[&EventId],
    ) -> Result<HashSet<OwnedEventId>, StoreError> {
        let by_hash: HashMap<Hash, &EventId> = sources
            .iter()
            .map(|event| (source_end(&self.0.vault, portal, event), *event))
            .collect();
        let asked = by_hash.keys().copied().collect();
        let database = &self.0.database;
        let found = look(&self.0.tail, database.engine, &database.readers, asked).await?;
        Ok(found
            .iter()
            .filter_map(|hash| by_hash.get(hash))
            .map(|&event| event.to_owned())
            .collect())
    }

    /// Which of these events were handled already, each in its own portal.
    pub async fn handled_of(&self, sources: &[Source]) -> Result<HashSet<Source>, StoreError> {
        let sources = sources.iter().map(|source| source.0).collect();
        let found = self.0.writer.look(sources).await?;
        Ok(found.into_iter().map(Source).collect())
    }

    /// The link of which `event` is either end: the event received, or the event sent for it.
    pub async fn link(
        &self,
        portal: PortalId,
        event: &EventId,
    ) -> Result<Option<Link>, StoreError> {
        // What we sent may come back and be noted as handled, without a target: the other link says more.
        let received = self.link_from(portal, event).await?;
        if received.as_ref().is_some_and(|link| link.target.is_some()) {
            return Ok(received);
        }
        let end = target_end(&self.0.vault, portal, event);
        let recent = self
            .0
            .tail
            .read()
            .entry(&end)
            .map(|entry| entry.link.clone());
        let leads_here = |link: &Link| link.target.as_deref() == Some(event);
        let merged = self.merged(portal, &end, leads_here).await?;
        for candidate in recent.into_iter().chain(merged) {
            // It may have been replaced since.
            let sent = self.link_from(portal, &candidate.source).await?;
            if let Some(sent) = sent.filter(leads_here) {
                return Ok(Some(sent));
            }
        }
        Ok(received)
    }

    /// The link of this source: the first that was written, or the last that replaced it.
    async fn link_from(
        &self,
        portal: PortalId,
        event: &EventId,
    ) -> Result<Option<Link>, StoreError> {
        let end = source_end(&self.0.vault, portal, event);
        let recent = self.0.tail.read().link(&end);
        if let Some((link, true)) = recent {
            return Ok(Some(link));
        }
        let is_it = |link: &Link| link.source == event;
        let merged = self.merged(portal, &end, is_it).await?;
        Ok(merged.or(recent.map(|(link, _)| link)))
    }

    /// A link from the tables: the chosen one in the pack to which this end leads.
    async fn merged(
        &self,
        portal: PortalId,
        end: &Hash,
        chosen: impl Fn(&Link) -> bool,
    ) -> Result<Option<Link>, StoreError> {
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT p.pack, p.sealed FROM link_ends e \
             JOIN link_packs p ON p.portal = $1 AND p.pack = e.pack WHERE e.hash = $2",
        )
        .bind(portal.0.as_slice())
        .bind(end.as_slice())
        .fetch_optional(&self.0.database.readers)
        .await?;
        let Some((pack, sealed)) = row else {
            return Ok(None);
        };
        let links = plan::open(&self.0.vault, portal, pack, &sealed)?;
        Ok(links.into_iter().find(|link| chosen(link)))
    }
}
