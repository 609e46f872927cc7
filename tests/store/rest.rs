//! Users, mirrors, held messages, jobs, and the connection itself.

use vizard::store::{Created, Portal, Store, User};

use crate::{
    backend::Backend,
    samples::{ALICE, BOB, ROOM_X, event, held, job, mirror, portal, user},
};

async fn with_portal(backend: &Backend) -> (Store, Portal) {
    let store = backend.open().await;
    let portal = portal(&backend.rng, ALICE, ROOM_X);
    let created = store.create_portal(&portal).await.unwrap();
    assert_eq!(created, Created::New);
    (store, portal)
}

pub async fn users_start_new_and_are_changed(backend: Backend) {
    let store = backend.open().await;
    let alice = user(ALICE);
    assert_eq!(store.user(&alice).await.unwrap(), None);
    let new = store.update_user(&alice, |_| ()).await.unwrap();
    assert_eq!(new, User::new(alice.clone()));
    assert_eq!(store.user(&alice).await.unwrap(), Some(new));
    let changed = store
        .update_user(&alice, |user| user.guard = false)
        .await
        .unwrap();
    assert!(!changed.guard);
    assert_eq!(store.user(&alice).await.unwrap(), Some(changed));
    assert_eq!(store.user(&user(BOB)).await.unwrap(), None);
    store.close().await;
}

pub async fn concurrent_changes_of_a_user_all_count(backend: Backend) {
    let store = backend.open().await;
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .update_user(&user(ALICE), |user| user.recent_joins.push(n))
                    .await
                    .unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let alice = store.user(&user(ALICE)).await.unwrap().unwrap();
    assert_eq!(alice.recent_joins.len(), 50);
    store.close().await;
}

pub async fn mirrors_are_kept_by_member(backend: Backend) {
    let (store, portal) = with_portal(&backend).await;
    let mut carol = mirror(&backend.rng, "@carol-the-member:b.example.org");
    let dave = mirror(&backend.rng, "@dave-the-member:b.example.org");
    store.save_mirror(portal.id, &carol).await.unwrap();
    store.save_mirror(portal.id, &dave).await.unwrap();
    carol.joined = false;
    store.save_mirror(portal.id, &carol).await.unwrap();
    let found = store.mirror(portal.id, &carol.member).await.unwrap();
    assert_eq!(found.as_ref(), Some(&carol));
    let mut all = store.mirrors(portal.id).await.unwrap();
    all.sort_by(|a, b| a.member.cmp(&b.member));
    assert_eq!(all, [carol, dave]);
    assert_eq!(store.mirror(portal.id, &user(BOB)).await.unwrap(), None);
    store.close().await;
}

pub async fn held_messages_are_found_by_question(backend: Backend) {
    let (store, portal) = with_portal(&backend).await;
    let late = held("$late", None, 9);
    let mut early = held("$early", None, 3);
    store.hold(portal.id, &late).await.unwrap();
    store.hold(portal.id, &early).await.unwrap();
    early.question = Some(event("$question"));
    store.hold(portal.id, &early).await.unwrap();
    for id in ["$early", "$question"] {
        let found = store.held(portal.id, &event(id)).await.unwrap();
        assert_eq!(found.as_ref(), Some(&early));
    }
    let all = store.all_held(portal.id).await.unwrap();
    assert_eq!(all, [early.clone(), late.clone()]);
    store.release(portal.id, &early.event).await.unwrap();
    store.release(portal.id, &early.event).await.unwrap();
    assert_eq!(store.all_held(portal.id).await.unwrap(), [late]);
    let question = store.held(portal.id, &event("$question")).await.unwrap();
    assert_eq!(question, None);
    store.close().await;
}

pub async fn jobs_come_in_the_order_they_are_due(backend: Backend) {
    let (store, portal) = with_portal(&backend).await;
    assert_eq!(store.next_job_after(0).await.unwrap(), None);
    let mut jobs = [30, 10, 20].map(|due| job(&backend.rng, portal.id, due));
    for job in &jobs {
        store.add_job(job).await.unwrap();
    }
    assert_eq!(store.next_job_after(0).await.unwrap(), Some(10));
    assert_eq!(store.next_job_after(10).await.unwrap(), Some(20));
    let due = store.due_jobs(20, 10).await.unwrap();
    assert_eq!(due, [jobs[1].clone(), jobs[2].clone()]);
    assert_eq!(store.due_jobs(20, 1).await.unwrap(), [jobs[1].clone()]);
    let rest = store.due_jobs_after(20, Some(&jobs[1]), 10).await.unwrap();
    assert_eq!(rest, [jobs[2].clone()]);
    jobs[1].due = 25;
    jobs[1].attempts += 1;
    store.add_job(&jobs[1]).await.unwrap();
    let due = store.due_jobs(99, 10).await.unwrap();
    assert_eq!(due, [jobs[2].clone(), jobs[1].clone(), jobs[0].clone()]);
    // Of those that are due at one time the second comes after the first.
    let mut twins = [
        job(&backend.rng, portal.id, 40),
        job(&backend.rng, portal.id, 40),
    ];
    for twin in &twins {
        store.add_job(twin).await.unwrap();
    }
    twins.sort_by_key(|twin| twin.id);
    let rest = store.due_jobs_after(99, Some(&twins[0]), 10).await.unwrap();
    assert_eq!(rest, [twins[1].clone()]);
    assert_eq!(store.job(jobs[1].id).await.unwrap(), Some(jobs[1].clone()));
    store.finish_job(jobs[2].id).await.unwrap();
    store.finish_job(jobs[2].id).await.unwrap();
    assert_eq!(store.job(jobs[2].id).await.unwrap(), None);
    assert_eq!(store.next_job_after(0).await.unwrap(), Some(25));
    store.close().await;
}

pub async fn counts_and_ping(backend: Backend) {
    let (store, portal) = with_portal(&backend).await;
    store.ping().await.unwrap();
    store
        .add_job(&job(&backend.rng, portal.id, 1))
        .await
        .unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.users, counts.portals, counts.jobs), (1, 1, 1));
    assert_eq!((counts.links, counts.inbox, counts.held), (0, 0, 0));
    assert!(!format!("{store:?}").contains("vizard.db"));
    if backend.is_sqlite() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = backend.url.strip_prefix("sqlite:").unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let mode = std::fs::metadata(format!("{path}{suffix}"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
    store.close().await;
    assert!(store.ping().await.is_err());
}

pub async fn connections_that_were_cut_are_made_anew(backend: Backend) {
    let (store, portal) = with_portal(&backend).await;
    if !backend.is_sqlite() {
        backend
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
    }
    store.push_inbox(b"after the cut".to_vec()).await.unwrap();
    assert!(store.portal(portal.id).await.unwrap().is_some());
    store
        .update_user(&portal.user, |user| user.guard = false)
        .await
        .unwrap();
    store.close().await;
}

pub async fn a_job_that_two_change_is_changed_by_both(backend: Backend) {
    let store = backend.open().await;
    let portal = portal(&backend.rng, ALICE, ROOM_X);
    let job = job(&backend.rng, portal.id, 10);
    store.add_job(&job).await.unwrap();
    let count = async || {
        for _ in 0..20 {
            let more = |job: &mut vizard::store::Job| {
                job.attempts += 1;
                job.due += 1;
                true
            };
            assert!(store.change_job(job.id, more).await.unwrap());
        }
    };
    tokio::join!(count(), count(), count());
    let changed = store.job(job.id).await.unwrap().unwrap();
    assert_eq!((changed.attempts, changed.due), (job.attempts + 60, 70));
    assert_eq!(store.next_job_after(0).await.unwrap(), Some(70));
    assert!(!store.change_job(job.id, |_| false).await.unwrap());
    store.finish_job(job.id).await.unwrap();
    assert!(!store.change_job(job.id, |_| true).await.unwrap());
    assert_eq!(store.job(job.id).await.unwrap(), None, "nor put back");
}
