//! Databases that take nothing for a while.

use super::*;
use crate::{
    clock::Clock,
    crypto::MasterKey,
    rng::Rng,
    store::{Batch, Direction, Link, PortalId, Store},
};

async fn store(dir: &tempfile::TempDir) -> Store {
    let rng = Rng::seeded(7);
    let url = format!("sqlite:{}", dir.path().join("db").display());
    let master = MasterKey::generate(&rng);
    Store::open(&url, &master, Clock::mock(0), rng)
        .await
        .unwrap()
}

async fn tell_writer(store: &Store, pragma: &'static str) {
    sqlx::query(pragma)
        .execute(&store.0.database.writer)
        .await
        .unwrap();
}

fn batch() -> Batch {
    let link = |n| Link {
        source: format!("$event{n}{}", "x".repeat(200)).try_into().unwrap(),
        target: None,
        direction: Direction::Inbound,
        sender: "@a:b.example".try_into().unwrap(),
    };
    Batch {
        links: (0..2000).map(|n| (PortalId([1; 16]), link(n))).collect(),
        done: vec![1],
    }
}

/// A full disk, in the middle of a transaction that needs many pages.
#[tokio::test]
async fn full_disk_acknowledges_nothing_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    store.push_inbox(b"kept".to_vec()).await.unwrap();
    // Each failure costs the connection, and with it the limit.
    tell_writer(&store, "PRAGMA max_page_count = 60").await;
    assert!(matches!(
        store.push_inbox(vec![0; 1_000_000]).await,
        Err(StoreError::Commit(_))
    ));
    tell_writer(&store, "PRAGMA max_page_count = 60").await;
    assert!(store.commit(&batch()).await.is_err());
    assert_eq!(store.inbox_len().await.unwrap(), 1);
    assert_eq!(store.counts().await.unwrap().links, 0);
    store.commit(&batch()).await.unwrap();
    assert_eq!(store.inbox_len().await.unwrap(), 0);
    store.close().await;
}

#[tokio::test]
async fn read_only_database_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    tell_writer(&store, "PRAGMA query_only = ON").await;
    assert!(store.push_inbox(b"lost?".to_vec()).await.is_err());
    tell_writer(&store, "PRAGMA query_only = ON").await;
    assert!(store.commit(&batch()).await.is_err());
    tell_writer(&store, "PRAGMA query_only = ON").await;
    let user = "@a:b.example".try_into().unwrap();
    assert!(store.update_user(user, |_| ()).await.is_err());
    assert_eq!(store.inbox_len().await.unwrap(), 0);
    store.close().await;
}
