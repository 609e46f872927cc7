//! Notes: found by kind and key, added once, changed together, deleted when due.

use serde::{Deserialize, Serialize};
use vizard::store::Note;

use crate::backend::Backend;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark(pub String);

impl Note for Remark {
    const KIND: i64 = 1_000;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tally(Vec<u32>);

impl Note for Tally {
    const KIND: i64 = 1_001;
}

fn remark(text: &str) -> Remark {
    Remark(text.to_owned())
}

pub async fn notes_are_found_by_kind_and_key(backend: Backend) {
    let store = backend.open().await;
    assert_eq!(store.note::<Remark>(b"a").await.unwrap(), None);
    store.set_note(b"a", None, &remark("one")).await.unwrap();
    store.set_note(b"b", None, &remark("two")).await.unwrap();
    store.set_note(b"a", None, &Tally(vec![1])).await.unwrap();
    store.set_note(b"a", None, &remark("three")).await.unwrap();
    assert_eq!(store.note(b"a").await.unwrap(), Some(remark("three")));
    assert_eq!(store.note(b"a").await.unwrap(), Some(Tally(vec![1])));
    let mut all = store.notes::<Remark>().await.unwrap();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(all, [remark("three"), remark("two")]);
    assert_eq!(store.count_notes::<Remark>().await.unwrap(), 2);
    assert!(store.delete_note::<Remark>(b"a").await.unwrap());
    assert!(!store.delete_note::<Remark>(b"a").await.unwrap());
    assert_eq!(store.note(b"a").await.unwrap(), Some(Tally(vec![1])));
    store.close().await;
    let store = backend.open().await;
    assert_eq!(store.note(b"b").await.unwrap(), Some(remark("two")));
    store.close().await;
}

pub async fn a_note_is_added_once(backend: Backend) {
    let store = backend.open().await;
    assert!(store.add_note(b"a", None, &remark("one")).await.unwrap());
    assert!(!store.add_note(b"a", None, &remark("two")).await.unwrap());
    assert_eq!(store.note(b"a").await.unwrap(), Some(remark("one")));
    store.close().await;
}

pub async fn a_note_that_is_gone_is_not_amended(backend: Backend) {
    let store = backend.open().await;
    let longer = |Remark(text): Remark| Remark(text + "!");
    assert!(!store.amend_note(b"a", None, longer).await.unwrap());
    assert_eq!(store.note::<Remark>(b"a").await.unwrap(), None);
    store.set_note(b"a", Some(1), &remark("one")).await.unwrap();
    assert!(store.amend_note(b"a", None, longer).await.unwrap());
    assert_eq!(store.note(b"a").await.unwrap(), Some(remark("one!")));
    assert_eq!(store.prune_notes(u64::MAX >> 2).await.unwrap(), 0);
    store.close().await;
}

pub async fn concurrent_changes_of_a_note_all_count(backend: Backend) {
    let store = backend.open().await;
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let add = |before: Option<Tally>| {
                    let mut tally = before.unwrap_or(Tally(Vec::new()));
                    tally.0.push(n);
                    tally
                };
                store.change_note(b"a", None, add).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let tally: Tally = store.note(b"a").await.unwrap().unwrap();
    assert_eq!(tally.0.len(), 50);
    store.close().await;
}

pub async fn due_notes_go(backend: Backend) {
    let hour = 60 * 60 * 1000;
    let store = backend.open().await;
    store
        .set_note(b"a", None, &remark("for ever"))
        .await
        .unwrap();
    store
        .set_note(b"b", Some(10 * hour + 1), &remark("due"))
        .await
        .unwrap();
    store
        .set_note(b"c", Some(99 * hour), &remark("later"))
        .await
        .unwrap();
    // Never early.
    assert_eq!(store.prune_notes(11 * hour).await.unwrap(), 0);
    assert_eq!(store.prune_notes(12 * hour).await.unwrap(), 1);
    assert_eq!(store.note::<Remark>(b"b").await.unwrap(), None);
    assert_eq!(store.count_notes::<Remark>().await.unwrap(), 2);
    store.close().await;
}
