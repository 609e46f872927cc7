//! Invites of which nobody hears.

use ruma::UserId;
use vizard::{invite::arrive, sealed::Sealing, store::PortalState};

use crate::{
    inviter::{
        self, CAROL, Inviter, carol_is_invited, event, offered, portals, requests_as, sealed,
        withdraw, withdrawal,
    },
    steps::{enter, handled, wait},
    world::{BOB, World},
};

#[test]
fn a_decoy_ends_as_a_refusal_does() {
    let mut world = World::new();
    let inviter = Inviter::new(&world, 1);
    let ghost = inviter.ghost_of(&world, "@nobody:a.example");
    inviter.invite(&world, &ghost);
    wait(&world, "its end is set", |world| {
        withdrawal(world, &ghost).is_some()
    });
    handled(&world);
    assert_eq!(requests_as(&world, &ghost), (false, vec![]));
    withdraw(&world, &ghost);
    assert_eq!(
        world.fake.membership(&inviter.room, &ghost).unwrap(),
        "leave"
    );
    assert_eq!(requests_as(&world, &ghost), (true, vec!["leave"]));
    world.goes_on();
}

#[test]
fn only_what_was_asked_for_arrives() {
    let mut world = World::new();
    world.fake.user(CAROL, "Carol");
    let inviter = Inviter::new(&world, 1);
    let ghost = inviter.ghost_of(&world, CAROL);
    // Into another room; by somebody else; one that nobody was offered.
    let elsewhere = world.fake.public_room(BOB, "Elsewhere");
    world.fake.invite(BOB, &elsewhere, &ghost).unwrap();
    handled(&world);
    assert!(withdrawal(&world, &ghost).is_none());
    world.fake.invite(&inviter.id, &inviter.room, BOB).unwrap();
    world.fake.join(BOB, &inviter.room).unwrap();
    world.fake.invite(BOB, &inviter.room, &ghost).unwrap();
    let key = vizard::pseudonym::SenderKey::generate(&vizard::rng::Rng::seeded(9)).id();
    let never = world.deps().namespace.ghost(&key);
    inviter.invite(&world, &never);
    handled(&world);
    assert!(portals(&world, CAROL).is_empty());
    assert_eq!(requests_as(&world, &never), (false, vec![]));
    world.goes_on();
}

#[test]
fn a_sealed_name_works_once() {
    let mut world = World::new();
    world.fake.user(CAROL, "Carol");
    let (first, second) = (Inviter::new(&world, 1), Inviter::new(&world, 2));
    let user = UserId::parse(CAROL).unwrap();
    let sealing = Sealing::Contact { user: &user };
    let address = sealed(&world, sealing);
    // Both ask before either invites.
    let ghosts = [&first, &second].map(|inviter| {
        let request = inviter.request(&world, &address);
        inviter::ghost(&inviter.ask(&world, &request).unwrap().content)
    });
    first.invite(&world, &ghosts[0]);
    wait(&world, "there is a portal", |world| {
        portals(world, CAROL).len() == 1
    });
    second.invite(&world, &ghosts[1]);
    wait(&world, "its end is set", |world| {
        withdrawal(world, &ghosts[1]).is_some()
    });
    handled(&world);
    assert_eq!(portals(&world, CAROL).len(), 1);
    let late = Inviter::new(&world, 3);
    let request = late.request(&world, &address);
    let ghost = inviter::ghost(&late.ask(&world, &request).unwrap().content);
    assert!(offered(&world, &ghost).unwrap().decoy);
    world.goes_on();
}

/// A hostile server collects ghosts for Carol, and invites all of them at the same moment, each into a room of its own.
#[test]
fn nobody_is_swamped_with_invites_at_once() {
    for (cap, per_day, most) in [(8, 20, 2), (100, 3, 3)] {
        let mut world = World::with_settings("12", |config| {
            config.access.max_pseudonyms = cap;
            config.invites.per_invitee_day = per_day;
        });
        world.fake.user(CAROL, "Carol");
        let began = world.deps().clock.now();
        let inviters: Vec<_> = (1..=12).map(|seed| Inviter::new(&world, seed)).collect();
        let ghosts = inviters
            .iter()
            .map(|inviter| inviter.ghost_of(&world, CAROL));
        let ghosts: Vec<_> = ghosts.collect();
        world.fake.hold();
        let events: Vec<_> = inviters
            .iter()
            .zip(&ghosts)
            .map(|(inviter, ghost)| {
                assert!(!offered(&world, ghost).unwrap().decoy);
                event(&world, inviter.invite(&world, ghost).as_str())
            })
            .collect();
        let deps = world.deps();
        let all = events.iter().map(|event| arrive::arrived(&deps, event));
        let all = world.ask(futures_util::future::join_all(all));
        assert!(all.iter().all(Result::is_ok));
        // The clock runs fast: it may be the next day by now.
        let day = |now: u64| now / (24 * inviter::HOUR);
        let days = day(deps.clock.now()) - day(began) + 1;
        let days = if cap == 8 {
            1
        } else {
            usize::try_from(days).unwrap()
        };
        let shown = portals(&world, CAROL).len();
        assert!((most..=most * days).contains(&shown), "{shown}");
        world.fake.release();
        handled(&world);
        let shown = portals(&world, CAROL).len();
        assert!((most..=most * days).contains(&shown), "{shown}");
        // All of them leave all the same.
        for ghost in &ghosts {
            assert!(withdrawal(&world, ghost).is_some());
        }
        world.goes_on();
    }
}

/// Who has as many pseudonyms as one may have by now is not given another.
#[test]
fn an_invite_comes_too_late_for_who_has_enough_pseudonyms() {
    let mut world = World::with_settings("12", |config| config.access.max_pseudonyms = 1);
    world.fake.user(CAROL, "Carol");
    let inviter = Inviter::new(&world, 1);
    let ghost = inviter.ghost_of(&world, CAROL);
    assert!(!offered(&world, &ghost).unwrap().decoy);
    let library = world.fake.public_room(BOB, "Library").to_string();
    enter(&world, CAROL, &library);
    handled(&world);
    inviter.invite(&world, &ghost);
    wait(&world, "its end is set", |world| {
        withdrawal(world, &ghost).is_some()
    });
    handled(&world);
    assert_eq!(portals(&world, CAROL).len(), 1);
    world.goes_on();
}

#[test]
fn nobody_is_swamped_with_invites() {
    let mut world = World::with_settings("12", |config| config.access.max_pseudonyms = 8);
    world.fake.user(CAROL, "Carol");
    let inviter = Inviter::new(&world, 1);
    let ghost = inviter.ghost_of(&world, CAROL);
    let deps = world.deps();
    // As if it were reusable.
    let mut note = offered(&world, &ghost).unwrap();
    note.single_until = None;
    world
        .ask(deps.store.set_note(ghost.as_bytes(), None, &note))
        .unwrap();
    for number in 1..6 {
        inviter.invite(&world, &ghost);
        handled(&world);
        assert_eq!(
            portals(&world, CAROL).len(),
            usize::from(number <= 3),
            "{number}"
        );
        world.fake.kick(&inviter.id, &inviter.room, &ghost).unwrap();
        handled(&world);
        assert!(portals(&world, CAROL).is_empty());
    }
    // A quarter of what she may have, at a time.
    for seed in 10..15 {
        let other = Inviter::new(&world, seed);
        other.invite(&world, &other.ghost_of(&world, CAROL));
        handled(&world);
    }
    assert_eq!(portals(&world, CAROL).len(), 2);
    world.goes_on();
}

/// When a user forgets all pseudonyms, that takes hours, in which an invite may be entered, or end.
#[test]
fn what_is_being_forgotten_is_not_accepted_and_stays_forgotten() {
    let (world, inviter, _) = carol_is_invited();
    let carol = UserId::parse(CAROL).unwrap();
    let room = portals(&world, CAROL).into_keys().next().unwrap();
    let deps = world.deps();
    let user = world.ask(deps.store.user(&carol)).unwrap().unwrap();
    let id = user.pseudonyms[0].portal;
    let forget = deps.portals.update(id, |portal| portal.forgetting = true);
    world.ask(forget).unwrap();
    world.fake.join(CAROL, &room).unwrap();
    wait(&world, "she is told", |world| {
        let said = world.fake.messages(&room);
        said.iter()
            .any(|(_, text)| text.starts_with("not accepted"))
    });
    handled(&world);
    let portal = world.ask(deps.portals.get(id)).unwrap();
    assert_eq!(portal.state, PortalState::Invited);
    world.fake.leave(CAROL, &room).unwrap();
    wait(&world, "it is closed", |world| {
        portals(world, CAROL).is_empty()
    });
    handled(&world);
    let forgotten = deps.store.is_forgotten(&carol, &inviter.room);
    assert!(world.ask(forgotten).unwrap());
}
