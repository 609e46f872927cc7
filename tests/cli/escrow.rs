//! `escrow` lists sealed copies of forgotten pseudonyms without naming anybody, and opens one when its ghost is named.

use vizard::{
    clock::Clock,
    crypto::MasterKey,
    rng::Rng,
    store::{GhostRecord, Portal, PortalId, PortalState, Puppet, Shown, Store},
};

use crate::rotation;

const GHOST: &str = "@_vizard_ghost:a.example";

/// A pseudonym that is forgotten; its copy is kept until then.
async fn forgotten(store: &Store, number: u8, ghost: &str, until: u64) {
    let puppet = Puppet {
        id: format!("@_vizard_p_{number}:a.example").try_into().unwrap(),
        device: None,
        former: None,
    };
    let portal = Portal {
        id: PortalId([number; 16]),
        user: "@alice:a.example".try_into().unwrap(),
        room: format!("!room{number}:b.example").try_into().unwrap(),
        via: Vec::new(),
        state: PortalState::Left,
        ghost: GhostRecord {
            id: ghost.try_into().unwrap(),
            seed: [number; 32].into(),
            device: None,
            former: None,
            nick: "Quiet Heron".to_owned(),
            ready: true,
        },
        host: puppet,
        portal_room: None,
        creating_room: false,
        user_joined: false,
        shown: Shown::default(),
        created: 0,
        successor: None,
        joined_at: 0,
        floors: Vec::new(),
        received: None,
        called: Vec::new(),
        told_pins: false,
        told_unread: Vec::new(),
        forgetting: false,
        replaced: Vec::new(),
        moved: None,
    };
    store.create_portal(&portal).await.unwrap();
    store.forget_portal(&portal, Some(until)).await.unwrap();
}

#[tokio::test]
async fn a_copy_is_opened_when_its_ghost_is_named() {
    let sandbox = rotation::used();
    let none = sandbox.on_config(&["escrow"]);
    assert_eq!(
        (none.status, none.out.trim()),
        (0, "No sealed copy is kept.")
    );

    let url = format!("sqlite:{}", sandbox.path("v/vizard.db").display());
    let key = MasterKey::parse(&sandbox.read("v/master.key")).unwrap();
    let store = Store::open(&url, &key, Clock::system(), Rng::os())
        .await
        .unwrap();
    let now = Clock::system().now();
    forgotten(&store, 1, GHOST, now + 14 * 86_400_000).await;
    forgotten(&store, 2, "@_vizard_late:a.example", now - 1).await;
    store.close().await;

    let list = sandbox.on_config(&["escrow"]);
    assert_eq!(list.status, 0, "{list:?}");
    assert!(
        list.out.contains(GHOST) && list.out.contains("until "),
        "{}",
        list.out
    );
    assert!(list.out.contains("1 in all"), "{}", list.out);
    assert!(
        !list.out.contains("alice") && !list.out.contains("!room"),
        "{}",
        list.out
    );

    let opened = sandbox.on_config(&["escrow", "--ghost", GHOST]);
    assert_eq!(opened.status, 0, "{opened:?}");
    for part in ["user   @alice:a.example", "room   !room1:b.example"] {
        assert!(opened.out.contains(part), "{part} in {}", opened.out);
    }
    // What is over is over, even before it is deleted.
    for ghost in ["@_vizard_late:a.example", "@_vizard_nobody:a.example"] {
        let closed = sandbox.on_config(&["escrow", "--ghost", ghost]);
        assert_eq!(closed.status, 1, "{closed:?}");
        assert!(!closed.out.contains("alice"), "{}", closed.out);
    }
    let wrong = sandbox.on_config(&["escrow", "--ghost", "ghost"]);
    assert_eq!(wrong.status, 2, "{wrong:?}");
}
