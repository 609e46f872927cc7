//! Portals, routes and forgetting.

use ruma::RoomId;
use vizard::store::{Created, Portal, Route, Store};

use crate::{
    backend::Backend,
    samples::{ALICE, BOB, ROOM_X, ROOM_Y, event, held, link, links, mirror, portal, user},
};

async fn create(store: &Store, portal: &Portal) {
    assert_eq!(store.create_portal(portal).await.unwrap(), Created::New);
}

fn room(id: &str) -> &RoomId {
    id.try_into().unwrap()
}

pub async fn portal_is_created_once(backend: Backend) {
    let store = backend.open().await;
    let first = portal(&backend.rng, ALICE, ROOM_X);
    create(&store, &first).await;
    assert_eq!(store.portal(first.id).await.unwrap().as_ref(), Some(&first));
    let listed = store.user(&user(ALICE)).await.unwrap().unwrap().pseudonyms;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].portal, listed[0].room.as_str(), &listed[0].ghost),
        (first.id, ROOM_X, &first.ghost.id)
    );

    let second = portal(&backend.rng, ALICE, ROOM_X);
    let answer = store.create_portal(&second).await.unwrap();
    assert_eq!(answer, Created::AlreadyThere(first.id));
    assert_eq!(store.portal(second.id).await.unwrap(), None);
    assert_eq!(store.portal_of_ghost(&second.ghost.id).await.unwrap(), None);

    create(&store, &portal(&backend.rng, BOB, ROOM_X)).await;
    create(&store, &portal(&backend.rng, ALICE, ROOM_Y)).await;
    assert_eq!(store.portal_ids().await.unwrap().len(), 3);
    store.close().await;
}

pub async fn concurrent_creations_make_one_portal(backend: Backend) {
    let store = backend.open().await;
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let store = store.clone();
            let portal = portal(&backend.rng, ALICE, ROOM_X);
            tokio::spawn(async move { store.create_portal(&portal).await.unwrap() })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        new += usize::from(task.await.unwrap() == Created::New);
    }
    assert_eq!(new, 1);
    assert_eq!(store.portal_ids().await.unwrap().len(), 1);
    store.close().await;
}

pub async fn routes_lead_to_portals(backend: Backend) {
    let store = backend.open().await;
    let mut ours = [
        portal(&backend.rng, ALICE, ROOM_X),
        portal(&backend.rng, BOB, ROOM_X),
    ];
    ours.sort_by_key(|portal| portal.id);
    for portal in &ours {
        create(&store, portal).await;
    }
    let into = store.route(room(ROOM_X)).await.unwrap();
    assert_eq!(into, Route::Room(vec![ours[0].id, ours[1].id]));
    for portal in &ours {
        let home = portal.portal_room.as_ref().unwrap();
        assert_eq!(store.route(home).await.unwrap(), Route::Portal(portal.id));
        let of_ghost = store.portal_of_ghost(&portal.ghost.id).await.unwrap();
        assert_eq!(of_ghost, Some(portal.id));
    }
    assert_eq!(store.route(room(ROOM_Y)).await.unwrap(), Route::Unknown);
    assert_eq!(store.portal_of_ghost(&user(ALICE)).await.unwrap(), None);
    store.close().await;
}

pub async fn upgrade_moves_the_route(backend: Backend) {
    let store = backend.open().await;
    let mut portal = portal(&backend.rng, ALICE, ROOM_X);
    let home = portal.portal_room.take().unwrap();
    create(&store, &portal).await;
    assert_eq!(store.route(&home).await.unwrap(), Route::Unknown);
    portal.portal_room = Some(home.clone());
    store.save_portal(&portal).await.unwrap();
    assert_eq!(store.route(&home).await.unwrap(), Route::Portal(portal.id));
    portal.room = room(ROOM_Y).to_owned();
    "Loud Heron".clone_into(&mut portal.ghost.nick);
    portal.shown.name = None;
    store.save_portal(&portal).await.unwrap();
    store.save_portal(&portal).await.unwrap();
    assert_eq!(
        store.portal(portal.id).await.unwrap().as_ref(),
        Some(&portal)
    );
    assert_eq!(store.route(room(ROOM_X)).await.unwrap(), Route::Unknown);
    let moved = store.route(room(ROOM_Y)).await.unwrap();
    assert_eq!(moved, Route::Room(vec![portal.id]));
    // The user's list is in step, and keeps what it knows better.
    let user = store.user(&user(ALICE)).await.unwrap().unwrap();
    assert_eq!(user.pseudonyms.len(), 1);
    assert_eq!(user.pseudonyms[0].room, ROOM_Y);
    assert_eq!(user.pseudonyms[0].nick, "Loud Heron");
    assert!(user.pseudonyms[0].room_name.is_some());
    store.close().await;
}

/// A portal with something in every table that belongs to portals.
async fn full_portal(backend: &Backend, store: &Store) -> Portal {
    let portal = portal(&backend.rng, ALICE, ROOM_X);
    create(store, &portal).await;
    store
        .commit(&links(portal.id, [link("$source", Some("$target"))]))
        .await
        .unwrap();
    let member = mirror(&backend.rng, "@carol-the-member:b.example.org");
    store.save_mirror(portal.id, &member).await.unwrap();
    store
        .hold(portal.id, &held("$held", Some("$question"), 1))
        .await
        .unwrap();
    store
        .update_user(&portal.user, |user| {
            user.confirm_forget = Some((portal.id, 7));
        })
        .await
        .unwrap();
    portal
}

pub async fn forgetting_leaves_nothing_but_the_hash(backend: Backend) {
    let store = backend.open().await;
    let gone = full_portal(&backend, &store).await;
    let other = portal(&backend.rng, BOB, ROOM_X);
    create(&store, &other).await;
    store.forget_portal(&gone, None).await.unwrap();

    assert_eq!(store.portal(gone.id).await.unwrap(), None);
    assert_eq!(store.portal_ids().await.unwrap(), [other.id]);
    let into = store.route(room(ROOM_X)).await.unwrap();
    assert_eq!(into, Route::Room(vec![other.id]));
    let home = gone.portal_room.as_ref().unwrap();
    assert_eq!(store.route(home).await.unwrap(), Route::Unknown);
    assert_eq!(store.portal_of_ghost(&gone.ghost.id).await.unwrap(), None);
    assert_eq!(store.link(gone.id, &event("$source")).await.unwrap(), None);
    assert!(store.mirrors(gone.id).await.unwrap().is_empty());
    assert!(store.all_held(gone.id).await.unwrap().is_empty());
    let left = store.user(&gone.user).await.unwrap().unwrap();
    assert!(left.pseudonyms.is_empty());
    assert_eq!(left.confirm_forget, None);
    assert!(store.escrowed().await.unwrap().is_empty());

    assert!(store.is_forgotten(&gone.user, room(ROOM_X)).await.unwrap());
    assert!(!store.is_forgotten(&gone.user, room(ROOM_Y)).await.unwrap());
    assert!(!store.is_forgotten(&other.user, room(ROOM_X)).await.unwrap());
    store
        .mark_forgotten(&gone.user, room(ROOM_Y))
        .await
        .unwrap();
    store
        .mark_forgotten(&gone.user, room(ROOM_Y))
        .await
        .unwrap();
    for room in [ROOM_X, ROOM_Y] {
        let again = portal(&backend.rng, ALICE, room);
        let answer = store.create_portal(&again).await.unwrap();
        assert_eq!(answer, Created::Forgotten);
    }
    store.close().await;
}

pub async fn forgotten_portal_is_not_brought_back(backend: Backend) {
    let store = backend.open().await;
    let mut gone = full_portal(&backend, &store).await;
    store.forget_portal(&gone, None).await.unwrap();
    // Whoever still holds the record and writes it, or something of it, comes too late.
    "Late Heron".clone_into(&mut gone.ghost.nick);
    store.save_portal(&gone).await.unwrap();
    let late = mirror(&backend.rng, "@carol-the-member:b.example.org");
    store.save_mirror(gone.id, &late).await.unwrap();
    store.hold(gone.id, &held("$late", None, 1)).await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.portals, counts.mirrors, counts.held), (0, 0, 0));
    let into = store.route(room(ROOM_X)).await.unwrap();
    assert_eq!(into, Route::Unknown);
    store.close().await;
}

pub async fn forgetting_twice_makes_one_escrow(backend: Backend) {
    let store = backend.open().await;
    let gone = full_portal(&backend, &store).await;
    let until = backend.clock.now() + 1_000_000_000;
    store.forget_portal(&gone, Some(until)).await.unwrap();
    store.forget_portal(&gone, Some(until)).await.unwrap();
    let copies = store.escrowed().await.unwrap();
    assert_eq!(copies.len(), 1);
    assert_eq!(
        (&copies[0].user, &copies[0].room, &copies[0].ghost),
        (&gone.user, &gone.room, &gone.ghost.id)
    );
    store.close().await;
}

pub async fn escrow_ends(backend: Backend) {
    const HOUR: u64 = 60 * 60 * 1000;
    let store = backend.open().await;
    let now = backend.clock.now();
    for (room, until) in [(ROOM_X, now + HOUR), (ROOM_Y, now + 3 * HOUR)] {
        let gone = portal(&backend.rng, ALICE, room);
        create(&store, &gone).await;
        store.forget_portal(&gone, Some(until)).await.unwrap();
    }
    assert_eq!(store.prune_escrow(now - HOUR).await.unwrap(), 0);
    assert_eq!(store.prune_escrow(now + HOUR).await.unwrap(), 1);
    assert_eq!(store.escrowed().await.unwrap().len(), 1);
    assert_eq!(store.prune_escrow(now + 3 * HOUR).await.unwrap(), 1);
    assert!(store.escrowed().await.unwrap().is_empty());
    store.close().await;
}

pub async fn forgetting_erases_the_bytes(backend: Backend) {
    let store = backend.open().await;
    // Neighbours, so that pages are shared, split and merged.
    for n in 0..40 {
        let room = format!("!neighbour{n}:b.example.org");
        create(&store, &portal(&backend.rng, BOB, &room)).await;
    }
    let gone = full_portal(&backend, &store).await;
    for n in 0..40 {
        let room = format!("!neighbour{n}:b.example.org");
        create(&store, &portal(&backend.rng, ALICE, &room)).await;
    }
    store.prune_links(0).await.unwrap();
    store
        .commit(&links(gone.id, [link("$recent", Some("$not-merged"))]))
        .await
        .unwrap();
    let owned: Vec<Vec<u8>> = backend
        .cells()
        .await
        .into_iter()
        .filter(|(table, row)| {
            *table == "link_segments" || row.iter().any(|(_, value)| value == &gone.id.0)
        })
        .flat_map(|(_, row)| row)
        .map(|(_, value)| value)
        .filter(|value| value.len() >= 32)
        .collect();
    assert_eq!(owned.len(), 5, "portal, links, mirror, held");
    store.forget_portal(&gone, None).await.unwrap();

    for (table, row) in backend.cells().await {
        assert!(
            row.iter().all(|(_, value)| value != &gone.id.0),
            "{table} still knows the portal"
        );
        assert!(!table.starts_with("link"), "{table}: nobody else has links");
    }
    // PostgreSQL keeps dead rows until it vacuums; see `store::forget`.
    if backend.is_sqlite() {
        for (path, bytes) in backend.files().await {
            for value in &owned {
                // The start, the middle and the end: no piece of it is left.
                for from in [0, value.len() / 2, value.len() - 16] {
                    let piece = &value[from..from + 16];
                    assert!(
                        !bytes.windows(16).any(|window| window == piece),
                        "erased bytes are still in {}",
                        path.display()
                    );
                }
            }
        }
    }
    store.close().await;
}
