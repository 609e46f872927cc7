//! Links between their commit and the tables in which they end: found alike, lost never, there once.

use std::time::Duration;

use ruma::{EventId, OwnedEventId};
use sqlx::Connection as _;
use vizard::store::{Batch, Created, Link, PortalId, Store};

use crate::{
    backend::Backend,
    samples::{ALICE, BOB, ROOM_X, event, link, links, portal},
};

const ONE: PortalId = PortalId([1; 16]);
/// Its ends begin like the other's.
const TWIN: PortalId = PortalId([1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
const TWO: PortalId = PortalId([2; 16]);

/// Merges what there is; deletes nothing.
async fn merge(store: &Store) {
    assert_eq!(store.prune_links(0).await.unwrap(), 0);
}

async fn find(store: &Store, portal: PortalId, id: &str) -> Option<Link> {
    store.link(portal, &event(id)).await.unwrap()
}

async fn put(store: &Store, portal: PortalId, link: &Link) {
    store.commit(&links(portal, [link.clone()])).await.unwrap();
}

async fn rows(backend: &Backend, table: &str) -> i64 {
    let mut raw = backend.raw().await;
    let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    let count = sqlx::query_scalar(count).fetch_one(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    count
}

/// As many links as there are numbers, with targets but for every third.
fn numbered(portal: PortalId, numbers: std::ops::Range<usize>) -> Batch {
    links(
        portal,
        numbers.map(|n| {
            let target = format!("$target{n}");
            link(&format!("$source{n}"), (n % 3 > 0).then_some(&target))
        }),
    )
}

async fn all_there(store: &Store, batch: &Batch) {
    for chunk in batch.links.chunks(500) {
        let portal = chunk[0].0;
        let asked: Vec<&EventId> = chunk.iter().map(|(_, link)| &*link.source).collect();
        let handled = store.handled(portal, &asked).await.unwrap();
        assert_eq!(handled.len(), asked.len());
        let names: Vec<_> = asked.iter().map(|id| store.source(portal, id)).collect();
        assert_eq!(store.handled_of(&names).await.unwrap().len(), names.len());
    }
    for (portal, link) in batch.links.iter().step_by(97) {
        let ends: Vec<&OwnedEventId> = [&link.source].into_iter().chain(&link.target).collect();
        for end in ends {
            assert_eq!(store.link(*portal, end).await.unwrap().as_ref(), Some(link));
        }
    }
}

pub async fn links_are_found_before_and_after_merging(backend: Backend) {
    let mut store = backend.open().await;
    let both = link("$source", Some("$target"));
    put(&store, ONE, &both).await;
    // What was sent comes back.
    put(&store, ONE, &link("$target", None)).await;
    let modern = link(
        "$zT9s0kB_-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaA",
        Some("$aT9s0kB_-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaA"),
    );
    put(&store, ONE, &modern).await;
    for round in 0..4 {
        for link in [&both, &modern] {
            let target = link.target.as_ref().unwrap();
            for id in [link.source.as_str(), target.as_str()] {
                let found = find(&store, ONE, id).await;
                assert_eq!(found.as_ref(), Some(link), "{round}");
                assert_eq!(find(&store, TWIN, id).await, None);
            }
        }
        assert_eq!(find(&store, ONE, "$unknown").await, None);
        assert_eq!(store.counts().await.unwrap().links, 3);
        if round % 2 == 0 {
            store.close().await;
            store = backend.open().await;
        } else {
            merge(&store).await;
            assert_eq!(rows(&backend, "link_segments").await, 0);
        }
    }
    store.close().await;
}

pub async fn first_link_stays_across_merges(backend: Backend) {
    let store = backend.open().await;
    let first = link("$source", Some("$first"));
    put(&store, ONE, &first).await;
    for round in 0..3 {
        merge(&store).await;
        put(&store, ONE, &link("$source", Some("$second"))).await;
        put(&store, TWO, &link(&format!("$other{round}"), None)).await;
        assert_eq!(find(&store, ONE, "$source").await.as_ref(), Some(&first));
        assert_eq!(find(&store, ONE, "$second").await, None);
    }
    merge(&store).await;
    assert_eq!(find(&store, ONE, "$source").await.as_ref(), Some(&first));
    assert_eq!(find(&store, ONE, "$second").await, None);
    assert_eq!(store.counts().await.unwrap().links, 4);
    store.close().await;
}

pub async fn replaced_link_is_the_only_one(backend: Backend) {
    let mut store = backend.open().await;
    put(&store, ONE, &link("$source", None)).await;
    // Unmerged over unmerged, over merged, and merged over merged; the same target again in the end.
    for (target, merged) in [("$a", false), ("$b", true), ("$c", true), ("$c", false)] {
        let old = find(&store, ONE, "$source").await.unwrap();
        if merged {
            merge(&store).await;
        }
        let new = link("$source", Some(target));
        store.replace_link(ONE, &new).await.unwrap();
        for _ in 0..2 {
            assert_eq!(find(&store, ONE, "$source").await.as_ref(), Some(&new));
            assert_eq!(find(&store, ONE, target).await.as_ref(), Some(&new));
            if let Some(gone) = old.target.as_ref().filter(|old| *old != target) {
                assert_eq!(find(&store, ONE, gone.as_str()).await, None);
            }
            store.close().await;
            store = backend.open().await;
            if merged {
                merge(&store).await;
            }
        }
        put(&store, ONE, &link("$source", Some("$late"))).await;
        assert_eq!(find(&store, ONE, "$late").await, None);
    }
    // One that was never there.
    let fresh = link("$fresh", Some("$d"));
    store.replace_link(ONE, &fresh).await.unwrap();
    merge(&store).await;
    assert_eq!(find(&store, ONE, "$d").await, Some(fresh));
    assert_eq!(find(&store, ONE, "$b").await, None);
    store.close().await;
}

pub async fn concurrent_replacements_leave_one(backend: Backend) {
    let store = backend.open().await;
    put(&store, ONE, &link("$source", None)).await;
    let targets: Vec<String> = (0..40).map(|n| format!("$target{n}")).collect();
    let replacing = targets.iter().enumerate().map(|(n, target)| {
        let store = store.clone();
        async move {
            if n % 10 == 5 {
                merge(&store).await;
            }
            let new = link("$source", Some(target));
            store.replace_link(ONE, &new).await.unwrap();
        }
    });
    futures_util::future::join_all(replacing).await;
    for _ in 0..2 {
        let last = find(&store, ONE, "$source").await.unwrap();
        let mut found = 0;
        for target in &targets {
            if let Some(link) = find(&store, ONE, target).await {
                assert_eq!(link, last);
                found += 1;
            }
        }
        assert_eq!(found, 1);
        merge(&store).await;
    }
    store.close().await;
}

/// The power goes after the commit: all of it is there, and is merged later.
pub async fn links_survive_a_crash_before_merging(backend: Backend) {
    let store = backend.open().await;
    let batch = numbered(ONE, 0..700);
    store.commit(&batch).await.unwrap();
    // A PostgreSQL would go on: it is asked by another process, as it were.
    let copy = backend.stopped().await;
    store.close().await;
    let backend = copy.unwrap_or(backend);
    assert!(rows(&backend, "link_segments").await > 0);
    assert_eq!(rows(&backend, "link_ends").await, 0);
    let store = backend.open().await;
    all_there(&store, &batch).await;
    merge(&store).await;
    all_there(&store, &batch).await;
    assert_eq!(store.counts().await.unwrap().links, 700);
    store.close().await;
}

/// The power goes after a merge, before its segments are gone; and again.
pub async fn merging_again_changes_nothing(backend: Backend) {
    let store = backend.open().await;
    let batch = numbered(ONE, 0..1500);
    store.commit(&batch).await.unwrap();
    let replaced = link("$source0", Some("$held"));
    store.replace_link(ONE, &replaced).await.unwrap();
    backend
        .execute("CREATE TABLE kept AS SELECT * FROM link_segments")
        .await;
    let mut ends = None;
    let mut store = store;
    for _ in 0..2 {
        merge(&store).await;
        store.close().await;
        let now = rows(&backend, "link_ends").await;
        assert_eq!(*ends.get_or_insert(now), now);
        backend
            .execute("INSERT INTO link_segments SELECT * FROM kept")
            .await;
        store = backend.open().await;
        assert_eq!(find(&store, ONE, "$held").await.as_ref(), Some(&replaced));
    }
    backend.execute("DROP TABLE kept").await;
    merge(&store).await;
    let mut unchanged = batch;
    unchanged.links.remove(0);
    all_there(&store, &unchanged).await;
    assert_eq!(find(&store, ONE, "$source0").await, Some(replaced));
    store.close().await;
}

/// The power goes between two pieces of a merge: half of its links are in the tables and in the segments.
pub async fn merge_that_ended_midway_is_completed(backend: Backend) {
    let store = backend.open().await;
    let (first, second) = (numbered(ONE, 0..1500), numbered(TWO, 0..1500));
    store.commit(&first).await.unwrap();
    backend
        .execute("CREATE TABLE kept AS SELECT * FROM link_segments")
        .await;
    merge(&store).await;
    store.commit(&second).await.unwrap();
    store.close().await;
    backend
        .execute("INSERT INTO link_segments SELECT * FROM kept WHERE seq NOT IN (SELECT seq FROM link_segments)")
        .await;
    backend.execute("DROP TABLE kept").await;
    let store = backend.open().await;
    merge(&store).await;
    all_there(&store, &first).await;
    all_there(&store, &second).await;
    assert_eq!(store.counts().await.unwrap().links, 3000);
    assert_eq!(rows(&backend, "link_segments").await, 0);
    store.close().await;
}

/// Merging begins by itself, takes turns with commits, and readers miss nothing meanwhile.
pub async fn many_links_are_merged_meanwhile(backend: Backend) {
    let store = backend.open().await;
    let mut batches = Vec::new();
    for round in 0..24 {
        for portal in [ONE, TWIN, TWO] {
            let batch = numbered(portal, round * 150..(round + 1) * 150);
            store.commit(&batch).await.unwrap();
            store.push_inbox(vec![1]).await.unwrap();
            all_there(&store, &batch).await;
            batches.push(batch);
        }
    }
    // Whoever is answered, is answered after what was under way.
    store.push_inbox(vec![1]).await.unwrap();
    assert!(rows(&backend, "link_packs").await > 0, "nothing was merged");
    for batch in &batches {
        all_there(&store, batch).await;
    }
    merge(&store).await;
    assert_eq!(store.counts().await.unwrap().links, 24 * 3 * 150);
    store.close().await;
}

pub async fn failed_merge_loses_nothing(backend: Backend) {
    let store = backend.open().await;
    let batch = numbered(ONE, 0..100);
    store.commit(&batch).await.unwrap();
    backend
        .execute("ALTER TABLE link_packs RENAME TO away")
        .await;
    assert!(store.prune_links(0).await.is_err());
    // Other work goes on.
    let more = numbered(TWO, 0..100);
    store.commit(&more).await.unwrap();
    assert!(store.prune_links(0).await.is_err());
    backend
        .execute("ALTER TABLE away RENAME TO link_packs")
        .await;
    all_there(&store, &batch).await;
    merge(&store).await;
    all_there(&store, &batch).await;
    all_there(&store, &more).await;
    assert_eq!(store.counts().await.unwrap().links, 200);
    store.close().await;
}

/// Of three portals with links in common segments, two with ends that begin alike, one goes.
pub async fn forgetting_spares_other_links(backend: Backend) {
    let store = backend.open().await;
    let mut gone = portal(&backend.rng, ALICE, ROOM_X);
    gone.id = ONE;
    let mut other = portal(&backend.rng, BOB, ROOM_X);
    other.id = TWIN;
    for portal in [&gone, &other] {
        assert_eq!(store.create_portal(portal).await.unwrap(), Created::New);
    }
    for portal in [ONE, TWIN, TWO] {
        store.commit(&numbered(portal, 0..50)).await.unwrap();
    }
    merge(&store).await;
    for portal in [ONE, TWIN, TWO] {
        store.commit(&numbered(portal, 50..100)).await.unwrap();
    }
    store.forget_portal(&gone, None).await.unwrap();
    assert_eq!(store.counts().await.unwrap().links, 200);
    assert_eq!(find(&store, ONE, "$source1").await, None);
    assert_eq!(find(&store, ONE, "$target98").await, None);
    for portal in [TWIN, TWO] {
        all_there(&store, &numbered(portal, 0..100)).await;
    }
    // Sources, and targets of two thirds.
    assert_eq!(rows(&backend, "link_ends").await, 2 * (100 + 66));
    store.close().await;
}

pub async fn links_are_pruned_merged_or_not(backend: Backend) {
    let store = backend.open().await;
    store.commit(&numbered(ONE, 0..30)).await.unwrap();
    merge(&store).await;
    store.commit(&numbered(TWIN, 0..30)).await.unwrap();
    backend.clock.advance(Duration::from_hours(24));
    // In one segment with what stays.
    let new = link("$new", Some("$newer"));
    tokio::join!(put(&store, ONE, &new), put(&store, TWIN, &new));
    assert_eq!(store.prune_links(backend.clock.now()).await.unwrap(), 60);
    for portal in [ONE, TWIN] {
        assert_eq!(find(&store, portal, "$source1").await, None);
        assert_eq!(find(&store, portal, "$target1").await, None);
        assert_eq!(find(&store, portal, "$newer").await.as_ref(), Some(&new));
    }
    assert_eq!(rows(&backend, "link_ends").await, 4);
    assert_eq!(rows(&backend, "link_packs").await, 2);
    store.close().await;
}
