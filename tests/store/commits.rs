//! The hot path: inbox and links.

use std::{collections::HashSet, time::Duration};

use ruma::{EventId, OwnedEventId};
use vizard::store::{Batch, PortalId, Store, StoreError};

use crate::{
    backend::Backend,
    samples::{event, link, links},
};

const ONE: PortalId = PortalId([1; 16]);
const TWO: PortalId = PortalId([2; 16]);

pub async fn inbox_keeps_order_and_content(backend: Backend) {
    let store = backend.open().await;
    let mut pushed = Vec::new();
    for body in ["first", "", "a\0b"] {
        pushed.push(store.push_inbox(body.into()).await.unwrap());
        backend.clock.advance(Duration::from_secs(1));
    }
    assert!(pushed.is_sorted_by(|a, b| a < b));
    assert_eq!(store.inbox_len().await.unwrap(), 3);
    let all = store.inbox_after(0, 10).await.unwrap();
    let bodies: Vec<&[u8]> = all.iter().map(|entry| entry.body.as_slice()).collect();
    assert_eq!(bodies, [b"first".as_slice(), b"", b"a\0b"]);
    assert_eq!(all[2].received, all[0].received + 2000);
    let rest = store.inbox_after(pushed[0], 1).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].seq, pushed[1]);
    store.close().await;
}

pub async fn inbox_goes_on_after_reopening(backend: Backend) {
    let store = backend.open().await;
    let first = store.push_inbox(b"before".to_vec()).await.unwrap();
    store.close().await;
    let store = backend.open().await;
    let second = store.push_inbox(b"after".to_vec()).await.unwrap();
    assert!(second > first);
    assert_eq!(store.inbox_after(0, 10).await.unwrap().len(), 2);
    store.close().await;
}

pub async fn concurrent_pushes_are_all_there_in_order(backend: Backend) {
    let store = backend.open().await;
    let tasks: Vec<_> = (0..100u32)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let seq = store.push_inbox(n.to_be_bytes().to_vec()).await.unwrap();
                // Whoever sees a position has seen all before it.
                let before = store.inbox_after(0, 1000).await.unwrap();
                let upto = before.iter().filter(|entry| entry.seq <= seq).count();
                assert_eq!(i64::try_from(upto).unwrap(), seq);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all = store.inbox_after(0, 1000).await.unwrap();
    let bodies: HashSet<&[u8]> = all.iter().map(|entry| entry.body.as_slice()).collect();
    assert_eq!((all.len(), bodies.len()), (100, 100));
    // Calls made one after the other without waiting keep their order.
    let ordered =
        futures_util::future::join_all((0..50u8).map(|n| store.push_inbox(vec![n]))).await;
    let ordered: Vec<i64> = ordered.into_iter().map(Result::unwrap).collect();
    assert!(ordered.is_sorted());
    store.close().await;
}

pub async fn links_are_found_by_either_end(backend: Backend) {
    let store = backend.open().await;
    let both = link("$source", Some("$target"));
    let alone = link("$alone", None);
    store
        .commit(&links(ONE, [both.clone(), alone.clone()]))
        .await
        .unwrap();
    for id in ["$source", "$target"] {
        assert_eq!(find(&store, ONE, id).await.as_ref(), Some(&both));
    }
    assert_eq!(find(&store, ONE, "$alone").await, Some(alone));
    assert_eq!(find(&store, ONE, "$unknown").await, None);
    assert_eq!(find(&store, TWO, "$source").await, None);
    // What was sent comes back and is noted: the link that knows both ends is still the answer.
    store
        .commit(&links(ONE, [link("$target", None)]))
        .await
        .unwrap();
    assert_eq!(find(&store, ONE, "$target").await, Some(both));
    store.close().await;
}

async fn find(store: &Store, portal: PortalId, id: &str) -> Option<vizard::store::Link> {
    store.link(portal, &event(id)).await.unwrap()
}

pub async fn first_link_of_a_source_stays(backend: Backend) {
    let store = backend.open().await;
    let first = link("$source", Some("$first"));
    store.commit(&links(ONE, [first.clone()])).await.unwrap();
    let again = [
        link("$source", Some("$second")),
        link("$new", Some("$one")),
        link("$new", Some("$other")),
    ];
    store.commit(&links(ONE, again.clone())).await.unwrap();
    store.commit(&links(TWO, [again[0].clone()])).await.unwrap();
    assert_eq!(find(&store, ONE, "$source").await, Some(first));
    assert_eq!(find(&store, ONE, "$new").await, Some(again[1].clone()));
    assert_eq!(find(&store, TWO, "$source").await, Some(again[0].clone()));
    assert_eq!(store.counts().await.unwrap().links, 3);
    store.close().await;
}

pub async fn handled_finds_exactly_the_known(backend: Backend) {
    let store = backend.open().await;
    let ids: Vec<OwnedEventId> = (0..300).map(|n| event(&format!("$event{n}"))).collect();
    let known = ids.iter().step_by(3);
    store
        .commit(&links(ONE, known.clone().map(|id| link(id.as_str(), None))))
        .await
        .unwrap();
    for count in [0, 1, 2, 7, 100, 128, 129, 300] {
        let asked: Vec<&EventId> = ids[..count].iter().map(AsRef::as_ref).collect();
        let handled = store.handled(ONE, &asked).await.unwrap();
        let expected: HashSet<OwnedEventId> = ids[..count].iter().step_by(3).cloned().collect();
        assert_eq!(handled, expected);
        assert!(store.handled(TWO, &asked).await.unwrap().is_empty());
    }
    store.close().await;
}

pub async fn commit_removes_what_is_done(backend: Backend) {
    let store = backend.open().await;
    let mut seqs = Vec::new();
    for n in 0..10u8 {
        seqs.push(store.push_inbox(vec![n]).await.unwrap());
    }
    let batch = Batch {
        links: vec![(ONE, link("$source", None))],
        done: vec![seqs[0], seqs[3], seqs[9], 999_999],
    };
    store.commit(&batch).await.unwrap();
    store.commit(&batch).await.unwrap();
    store.commit(&Batch::default()).await.unwrap();
    let left = store.inbox_after(0, 100).await.unwrap();
    let left: Vec<u8> = left.iter().map(|entry| entry.body[0]).collect();
    assert_eq!(left, [1, 2, 4, 5, 6, 7, 8]);
    store.close().await;
}

pub async fn concurrent_commits_are_all_there(backend: Backend) {
    let store = backend.open().await;
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let portal = if n % 2 == 0 { ONE } else { TWO };
                let batch = (0..n).map(|m| link(&format!("$event{n}-{m}"), None));
                store.commit(&links(portal, batch)).await.unwrap();
                if n > 0 {
                    // Acknowledged is visible.
                    let id = event(&format!("$event{n}-{}", n - 1));
                    assert!(store.link(portal, &id).await.unwrap().is_some());
                }
                // The other writes take their turns on the same connection.
                store
                    .update_user(&crate::samples::user("@someone:a.example.org"), |user| {
                        user.recent_joins.push(n);
                    })
                    .await
                    .unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // While links are merged, some count twice.
    let all = 99 * 100 / 2;
    let mut counted = 0;
    for _ in 0..200 {
        counted = store.counts().await.unwrap().links;
        if counted == all {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(counted, all);
    store.close().await;
}

pub async fn failed_commit_acknowledges_nothing(backend: Backend) {
    let store = backend.open().await;
    let kept = store.push_inbox(b"kept".to_vec()).await.unwrap();
    backend
        .execute("ALTER TABLE link_segments RENAME TO away")
        .await;
    let batch = Batch {
        links: vec![(ONE, link("$source", None))],
        done: vec![kept],
    };
    // Two callers, one commit: each is told.
    let (one, two) = tokio::join!(store.commit(&batch), store.commit(&batch));
    assert!(one.is_err() && two.is_err());
    assert!(!one.unwrap_err().to_string().contains("$source"));
    assert_eq!(store.inbox_len().await.unwrap(), 1);
    backend
        .execute("ALTER TABLE away RENAME TO link_segments")
        .await;
    assert_eq!(store.counts().await.unwrap().links, 0);
    // The store goes on.
    store.commit(&batch).await.unwrap();
    assert_eq!(store.inbox_len().await.unwrap(), 0);
    store.close().await;
}

pub async fn old_links_are_pruned(backend: Backend) {
    const DAY: Duration = Duration::from_hours(24);
    let store = backend.open().await;
    store
        .commit(&links(
            ONE,
            [link("$old-one", None), link("$old-two", None)],
        ))
        .await
        .unwrap();
    store
        .commit(&links(TWO, [link("$old", None)]))
        .await
        .unwrap();
    backend.clock.advance(DAY);
    store
        .commit(&links(ONE, [link("$new", None)]))
        .await
        .unwrap();
    let yesterday = backend.clock.now() - 24 * 60 * 60 * 1000;
    assert_eq!(store.prune_links(yesterday).await.unwrap(), 0);
    assert_eq!(store.prune_links(backend.clock.now()).await.unwrap(), 3);
    assert!(find(&store, ONE, "$old-one").await.is_none());
    assert!(find(&store, ONE, "$new").await.is_some());
    store.close().await;
}

pub async fn closed_store_refuses(backend: Backend) {
    let store = backend.open().await;
    let waiting = futures_util::future::join_all((0..20u8).map(|n| store.push_inbox(vec![n])));
    let (pushed, ()) = tokio::join!(waiting, store.close());
    assert!(pushed.iter().all(Result::is_ok));
    let refused = store.push_inbox(vec![1]).await;
    assert!(matches!(refused, Err(StoreError::Closed)));
    store.close().await;
    let store = backend.open().await;
    assert_eq!(store.inbox_len().await.unwrap(), 20);
    store.close().await;
}
