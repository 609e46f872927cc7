//! Who asks more than they may: what it costs others, and what it looks like from outside.

use vizard::{
    invite::answer, keys::PinnedPeer, portal::Offered, sealed::MAX_REQUEST_AHEAD_MS, store::Note,
};

use crate::{
    fake::faults::Fault,
    inviter::{CAROL, HOUR, Inviter, offered, portals, requests_as, withdraw, withdrawal},
    steps::{handled, wait},
    whispers::whispers,
    world::{ALICE, World},
};

const DAY: u64 = 24 * HOUR;

/// What is counted, as it is stored.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Count {
    pub count: u32,
}

impl Note for Count {
    const KIND: i64 = 5;
}

/// The keys under which something is counted today and tomorrow: the clock runs fast.
fn keys(world: &World, what: &str, who: &str) -> [Vec<u8>; 2] {
    let today = world.deps().clock.now() / DAY;
    [today, today + 1].map(|day| {
        [
            &day.to_be_bytes()[..],
            what.as_bytes(),
            b" ",
            who.as_bytes(),
        ]
        .concat()
    })
}

/// How often something was counted.
pub fn counted(world: &World, what: &str, who: &str) -> u32 {
    let deps = world.deps();
    let counts =
        keys(world, what, who).map(|key| world.ask(deps.store.note::<Count>(&key)).unwrap());
    counts.into_iter().flatten().map(|count| count.count).sum()
}

/// As if it had been counted so often.
pub fn set(world: &World, what: &str, who: &str, count: u32) {
    let deps = world.deps();
    for key in keys(world, what, who) {
        let count = Count { count };
        world.ask(deps.store.set_note(&key, None, &count)).unwrap();
    }
}

#[test]
fn one_inviter_does_not_use_up_what_the_whole_server_may() {
    let world = World::with_settings("12", |config| {
        config.invites.per_peer_day = 10;
        config.invites.per_inviter_day = 2;
    });
    world.fake.user(CAROL, "Carol");
    let greedy = Inviter::new(&world, 1);
    let ghosts: Vec<_> = (0..30)
        .map(|number| greedy.ghost_of(&world, &format!("@nobody{number}:a.example")))
        .collect();
    assert_eq!(counted(&world, "peer", "b.example"), 2);
    assert!(offered(&world, &ghosts[1]).is_some());
    assert_eq!(offered(&world, &ghosts[2]), None);
    let other = Inviter::new(&world, 2);
    let ghost = other.ghost_of(&world, CAROL);
    assert!(!offered(&world, &ghost).unwrap().decoy);
}

#[test]
fn strange_servers_take_nothing_from_those_that_are_known() {
    let world = World::new();
    world.fake.user(CAROL, "Carol");
    set(&world, "all", "", 50_000);
    let strange = Inviter::of(&world, 1, "127.0.0.9:1");
    assert_eq!(offered(&world, &strange.ghost_of(&world, CAROL)), None);
    // The admin named it.
    let named = Inviter::new(&world, 2);
    assert!(
        !offered(&world, &named.ghost_of(&world, CAROL))
            .unwrap()
            .decoy
    );
    // Somebody here asked it for something; then it itself asked, which does not count.
    let deps = world.deps();
    for (unasked, real) in [(true, false), (false, true)] {
        let peer = PinnedPeer {
            server: strange.id.server_name().to_owned(),
            document: "{}".to_owned(),
            since: 0,
            fetched: 0,
            anchored: true,
            unasked,
            only: None,
        };
        let key = peer.server.as_bytes();
        world.ask(deps.store.set_note(key, None, &peer)).unwrap();
        let ghost = strange.ghost_of(&world, CAROL);
        let offered = offered(&world, &ghost);
        assert_eq!(offered.is_some_and(|it| !it.decoy), real, "{unasked}");
    }
    assert_eq!(counted(&world, "all", ""), 100_000, "nothing was added");
}

#[test]
fn one_request_many_times_at_once_is_one() {
    let world = World::new();
    world.fake.user(CAROL, "Carol");
    let inviter = Inviter::new(&world, 1);
    let request = inviter.request(&world, &inviter.seal(&world, CAROL));
    let mail = inviter.mail(&world, &request);
    let deps = world.deps();
    let all = (0..12).map(|_| answer::request(&deps, &mail));
    let all = world.ask(futures_util::future::join_all(all));
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(counted(&world, "peer", "b.example"), 1);
    assert_eq!(world.ask(deps.store.count_notes::<Offered>()).unwrap(), 1);
}

/// How often something was counted on these days.
fn counted_on(world: &World, days: &[Vec<u8>]) -> u32 {
    let deps = world.deps();
    let counts = days
        .iter()
        .map(|key| world.ask(deps.store.note::<Count>(key)).unwrap());
    counts.flatten().map(|count| count.count).sum()
}

/// She is in that room, and is told once.
#[test]
fn nor_does_it_use_up_what_others_may_send() {
    let world = World::new();
    let days = keys(&world, "invitee", ALICE);
    let mut inviter = Inviter::new(&world, 1);
    inviter.room = world.room.as_str().try_into().unwrap();
    let request = inviter.request(&world, &inviter.seal(&world, ALICE));
    let mail = inviter.mail(&world, &request);
    let deps = world.deps();
    let all = (0..8).map(|_| answer::request(&deps, &mail));
    let all = world.ask(futures_util::future::join_all(all));
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(counted_on(&world, &days), 1);
}

/// Of what cannot be told, the next request is not counted once more.
#[test]
fn nor_does_what_cannot_be_told() {
    let world = World::new();
    handled(&world);
    world.rests();
    let days = keys(&world, "invitee", ALICE);
    let ask = |seed: u64| {
        let mut inviter = Inviter::new(&world, seed);
        inviter.room = world.room.as_str().try_into().unwrap();
        inviter.ghost_of(&world, ALICE);
    };
    world.fake.fail_next("send", Fault::Forbidden);
    ask(1);
    assert_eq!(counted_on(&world, &days), 1);
    let deps = world.deps();
    deps.clock.advance(std::time::Duration::from_mins(30));
    deps.jobs.notify_one();
    wait(&world, "it was tried", |world| whispers(world).is_empty());
    let said = world.fake.messages(&world.chat);
    assert!(!said.iter().any(|(_, text)| text.contains("has invited")));
    ask(2);
    assert_eq!(counted_on(&world, &days), 1);
    assert!(whispers(&world).is_empty());
}

/// Who only asks uses up nothing of what others may send to a user; what reaches the user does.
#[test]
fn a_user_is_reached_so_often_in_a_day() {
    let mut world = World::with_settings("12", |config| config.invites.per_invitee_day = 2);
    world.fake.user(CAROL, "Carol");
    let greedy = Inviter::new(&world, 1);
    for _ in 0..5 {
        greedy.ghost_of(&world, CAROL);
    }
    assert_eq!(counted(&world, "invitee", CAROL), 0);
    let others = [2, 3, 4].map(|seed| Inviter::new(&world, seed));
    let ghosts = [0, 1, 2].map(|at: usize| others[at].ghost_of(&world, CAROL));
    for (at, ghost) in ghosts.iter().enumerate() {
        assert!(!offered(&world, ghost).unwrap().decoy, "{at}");
    }
    // As on one day, however fast the clock runs: both days on which they may be counted have one already.
    for (at, ghost) in ghosts.iter().enumerate() {
        set(&world, "invitee", CAROL, u32::try_from(at).unwrap());
        others[at].invite(&world, ghost);
        wait(&world, "its end is set", |world| {
            withdrawal(world, ghost).is_some()
        });
        handled(&world);
        assert_eq!(portals(&world, CAROL).len(), (at + 1).min(2));
        let before = 2 * u32::try_from(at).unwrap();
        let reached = counted(&world, "invitee", CAROL) - before;
        assert_eq!(reached, u32::from(at < 2), "{at}");
    }
    // And whoever asks from now on gets a decoy.
    let late = Inviter::new(&world, 5);
    let ghost = late.ghost_of(&world, CAROL);
    assert!(offered(&world, &ghost).unwrap().decoy);
    // The one that came too late ends as a decoy does.
    withdraw(&world, &ghosts[2]);
    let membership = world.fake.membership(&others[2].room, &ghosts[2]);
    assert_eq!(membership.unwrap(), "leave");
    world.goes_on();
}

/// Beyond the quota of a server or an inviter nothing is written down, and yet the ghost leaves as any other.
#[test]
fn what_is_beyond_a_quota_ends_as_all_else_does() {
    for per_inviter in [2, 20] {
        let mut world = World::with_settings("12", |config| {
            config.invites.per_peer_day = if per_inviter == 2 { 1000 } else { 2 };
            config.invites.per_inviter_day = per_inviter;
        });
        let inviter = Inviter::new(&world, 1);
        let began = world.deps().clock.now();
        for number in 0..4 {
            let ghost = inviter.ghost_of(&world, &format!("@nobody{number}:a.example"));
            assert_eq!(offered(&world, &ghost).is_some(), number < 2);
            // Into another room than it was asked for.
            let elsewhere = Inviter::new(&world, 1);
            elsewhere.invite(&world, &ghost);
            handled(&world);
            assert!(withdrawal(&world, &ghost).is_none(), "{number}");
            inviter.invite(&world, &ghost);
            wait(&world, "its end is set", |world| {
                withdrawal(world, &ghost).is_some()
            });
            let due = withdrawal(&world, &ghost).unwrap().0;
            let expires = began + 24 * HOUR;
            let latest = world.deps().clock.now() + 30 * HOUR;
            assert!((expires..latest).contains(&due), "{number}: {due}");
            // Invited anew, it does not stay longer.
            world.fake.kick(&inviter.id, &inviter.room, &ghost).unwrap();
            inviter.invite(&world, &ghost);
            handled(&world);
            assert_eq!(withdrawal(&world, &ghost).unwrap().0, due);
            assert_eq!(requests_as(&world, &ghost), (false, vec![]));
            withdraw(&world, &ghost);
            let membership = world.fake.membership(&inviter.room, &ghost);
            assert_eq!(membership.unwrap(), "leave");
            assert_eq!(requests_as(&world, &ghost), (true, vec!["leave"]));
        }
        world.goes_on();
    }
}

/// Of what is not remembered, nobody knows whether it was ever asked for: it leaves, late, and not without end.
#[test]
fn ghosts_that_nobody_knows_leave_too_up_to_a_number() {
    let mut world = World::with_settings("12", |config| config.invites.per_peer_day = 2);
    let inviter = Inviter::new(&world, 1);
    let mut began = 0;
    for number in 0..4 {
        let key = vizard::pseudonym::SenderKey::generate(&vizard::rng::Rng::seeded(90 + number));
        let never = world.deps().namespace.ghost(&key.id());
        began = began.max(world.deps().clock.now());
        inviter.invite(&world, &never);
        handled(&world);
        let end = withdrawal(&world, &never);
        assert_eq!(end.is_some(), number < 2, "{number}");
        if let Some((due, _)) = end {
            let latest = world.deps().clock.now() + MAX_REQUEST_AHEAD_MS + 6 * HOUR;
            assert!(due >= began + MAX_REQUEST_AHEAD_MS && due < latest);
            withdraw(&world, &never);
            let membership = world.fake.membership(&inviter.room, &never);
            assert_eq!(membership.unwrap(), "leave");
        }
    }
    world.goes_on();
}
