//! Invites of which nobody hears.

use ruma::UserId;
use vizard::sealed::Sealing;

use crate::{
    inviter::{self, CAROL, Inviter, offered, portals, requests_as, sealed, withdraw, withdrawal},
    steps::{handled, wait},
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
