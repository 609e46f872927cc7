//! A database from before there were segments and packs.

use super::legacy::LINKS;
use crate::{
    clock::Clock,
    crypto::MasterKey,
    rng::Rng,
    store::{PortalId, Store, seal::row_of},
};

#[tokio::test]
async fn links_of_an_older_database_are_moved() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("db").display());
    let rng = Rng::seeded(7);
    let master = MasterKey::generate(&rng);
    let open = || Store::open(&url, &master, Clock::mock(0), rng.clone());
    let store = open().await.unwrap();
    let portals = [PortalId([1; 16]), PortalId([9; 16])];
    for n in 0..3000 {
        let portal = portals[n % 2];
        let (source, target) = (format!("$source{n}"), format!("$target{n}"));
        let short = (&source, Some(&target), n % 3 == 0, "@a:b.example");
        let vault = &store.0.vault;
        let hash = vault.hash_in("link source", portal, &source);
        sqlx::query(
            "INSERT INTO links (portal, source, target, day, sealed) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(portal.0.to_vec())
        .bind(hash.to_vec())
        .bind(vault.hash_in("link target", portal, &target).to_vec())
        .bind(7_i64)
        .bind(vault.seal(LINKS, &row_of(portal, &hash), &short).unwrap())
        .execute(&store.0.database.writer)
        .await
        .unwrap();
    }
    store.close().await;
    for _ in 0..2 {
        let store = open().await.unwrap();
        assert_eq!(store.counts().await.unwrap().links, 3000);
        assert_eq!(store.count("SELECT COUNT(*) FROM links").await.unwrap(), 0);
        for n in (0..3000).step_by(31) {
            let target = format!("$target{n}");
            let id = target.as_str().try_into().unwrap();
            let link = store.link(portals[n % 2], id).await.unwrap().unwrap();
            assert_eq!(link.source, format!("$source{n}"));
            assert_eq!(link.sender, "@a:b.example");
        }
        store.close().await;
    }
    let store = open().await.unwrap();
    let day = 24 * 60 * 60 * 1000;
    assert_eq!(store.prune_links(7 * day).await.unwrap(), 0);
    assert_eq!(store.prune_links(8 * day).await.unwrap(), 3000);
    store.close().await;
}
