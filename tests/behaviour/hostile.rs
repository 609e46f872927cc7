//! Other servers that ask too much, ring too often or change their keys, and homes in disorder of which nobody outside must notice.

use std::time::{Duration, Instant};

use ruma::UserId;
use serde_json::json;
use vizard::{
    invite::withdraw,
    portal::{Offered, Outcome},
    pseudonym::SenderKey,
    rng::Rng,
    sealed::{REQUEST_TYPE, RESPONSE_TYPE, Sealing},
};

use crate::{
    fake::{PATIENCE, faults::Fault},
    inviter::{
        CAROL, HOUR, Inviter, carol_is_invited, ghost, offered, portals, sealed, withdrawal,
    },
    peer::{Peer, settings},
    steps::{handled, wait},
    world::World,
};

/// Requests of one server that come by post.
const MANY: u64 = 10_000;
/// So many at once.
const BURST: u64 = 250;

#[test]
fn ten_thousand_letters_cost_little() {
    let mut world = World::with_settings("12", |config| config.invites.per_peer_day = 20);
    world.fake.user(CAROL, "Carol");
    let user = UserId::parse(CAROL).unwrap();
    let address = sealed(&world, Sealing::Contact { user: &user });
    let answers = |world: &World| {
        let posted = world.fake.posted();
        posted
            .iter()
            .filter(|one| one.kind == RESPONSE_TYPE)
            .count()
    };
    let deps = world.deps();
    let (began, before) = (deps.clock.now(), world.fake.requests().len());
    for number in 0..MANY {
        let key = SenderKey::generate(&Rng::seeded(number));
        let name = key.id().to_localpart();
        let inviter = Inviter {
            key,
            id: UserId::parse(format!("@_vizard_{name}:b.example")).unwrap(),
            room: world.room.as_str().try_into().unwrap(),
        };
        let request = inviter.request(&world, &address);
        let id = inviter.id.as_str();
        world
            .fake
            .post(id, "@vizard:a.example", REQUEST_TYPE, request);
        if number % BURST == BURST - 1 {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let mut last = 0;
    let since = Instant::now();
    while last != answers(&world) || last == 0 {
        assert!(since.elapsed() < PATIENCE, "it comes to no end");
        last = answers(&world);
        std::thread::sleep(Duration::from_millis(400));
    }
    // A hundred in an hour; the clock runs fast, and it may be another day by now.
    let hours = (deps.clock.now() - began) / HOUR + 2;
    let answered = answers(&world) as u64;
    assert!(
        answered > 0 && answered <= 100 * hours,
        "{answered} answers"
    );
    let offered = world.ask(deps.store.count_notes::<Offered>()).unwrap();
    let day = |at: u64| at / (24 * HOUR);
    let days = day(deps.clock.now()) - day(began) + 1;
    assert!(offered <= 28 * days, "{offered} notes");
    // Two for each answer. How many syncs bring so many letters is the homeserver's choice.
    let seen = world.fake.requests();
    let asked = seen[before..].iter().filter(|one| one.endpoint != "sync");
    let asked = asked.count() as u64;
    assert!(
        asked < 2 * answered + MANY / 10,
        "{asked} requests to the homeserver"
    );
    world.goes_on();
}

/// Answers that went to somebody.
fn answers_to(world: &World, who: &UserId) -> usize {
    let posted = world.fake.posted();
    let to = |one: &&crate::fake::post::Posted| one.kind == RESPONSE_TYPE && one.to == who.as_str();
    posted.iter().filter(to).count()
}

#[test]
fn one_account_does_not_silence_its_whole_server() {
    let world = World::with_settings("12", |config| {
        settings(config, 60);
        config.invites.per_peer_day = 20;
        config.invites.per_inviter_day = 4;
    });
    let bot = "@vizard:a.example";
    world.fake.user(CAROL, "Carol");
    let peer = Peer::new("b.example", 7, world.deps().clock.now());
    peer.publishes(&world);
    for _ in 0..250 {
        let (eve, letter) = ("@eve:b.example", json!({"to": "a.example"}));
        world.fake.post(eve, bot, REQUEST_TYPE, letter);
        // Not so many at once that most are dropped for that.
        std::thread::sleep(Duration::from_millis(3));
    }
    let inviter = Inviter::new(&world, 1);
    let request = inviter.request(&world, &inviter.seal(&world, CAROL));
    // Whoever asks, asks again. (What one server may ask in an hour is a hundred, which are over by now.)
    for _ in 0..10 {
        let (id, request) = (inviter.id.as_str(), request.clone());
        world.fake.post(id, bot, REQUEST_TYPE, request);
        std::thread::sleep(Duration::from_millis(100));
        if answers_to(&world, &inviter.id) > 0 {
            break;
        }
    }
    wait(&world, "it is answered", |world| {
        answers_to(world, &inviter.id) > 0
    });

    // The bot of a Vizard asks for many, so it has no limit of its own.
    let user = UserId::parse(CAROL).unwrap();
    for number in 1..=30 {
        let address = sealed(&world, Sealing::Contact { user: &user });
        let request = peer.asks(&world, &address, &inviter.room);
        world
            .fake
            .post(peer.bot().as_str(), bot, REQUEST_TYPE, request);
        wait(&world, "there is an answer", |world| {
            answers_to(world, &peer.bot()) == number
        });
    }
}

/// A new Vizard's bot asks for many before its keys are known here: it has no limit of its own as soon as they are.
#[test]
fn a_bot_is_known_as_one_soon_after_its_keys_are() {
    let world = World::with_settings("12", |config| {
        settings(config, 60);
        config.invites.per_peer_day = 1000;
        config.invites.per_inviter_day = 4;
        config.invites.answer_after_ms = 0;
    });
    world.fake.user(CAROL, "Carol");
    let deps = world.deps();
    let peer = Peer::new("b.example", 7, deps.clock.now());
    let (bot, user) = (peer.bot(), UserId::parse(CAROL).unwrap());
    let inviter = Inviter::new(&world, 1);
    let asks = |world: &World| {
        let address = sealed(world, Sealing::Contact { user: &user });
        let request = peer.asks(world, &address, &inviter.room);
        let mine = world.deps().bot.user;
        world
            .fake
            .post(bot.as_str(), mine.as_str(), REQUEST_TYPE, request);
    };
    // Over what one account may ask in an hour.
    for _ in 0..40 {
        asks(&world);
        std::thread::sleep(Duration::from_millis(3));
    }
    let ghosts = |world: &World| {
        let posted = world.fake.posted();
        let to = posted.iter().filter(|one| one.to == bot.as_str());
        to.filter(|one| one.content["ghost"].is_string()).count()
    };
    assert_eq!(ghosts(&world), 0, "its keys are not known");
    peer.publishes(&world);
    world.ask(deps.clock.sleep(Duration::from_secs(61)));
    world
        .ask(deps.peers.document(peer.document().server()))
        .unwrap();
    world.ask(deps.clock.sleep(Duration::from_secs(61)));
    // An hour is fourteen seconds here.
    for _ in 0..10 {
        asks(&world);
        std::thread::sleep(Duration::from_millis(50));
    }
    wait(&world, "it is answered", |world| ghosts(world) > 0);
}

#[test]
fn an_invite_under_another_name_does_not_ring_again() {
    let (mut world, inviter, ghost) = carol_is_invited();
    let portal = portals(&world, CAROL).into_keys().next().unwrap();
    let rings = |world: &World| {
        let events = world.fake.events(&portal);
        let rung = events.iter().filter(|event| {
            event["state_key"] == CAROL && event["content"]["membership"] == "invite"
        });
        rung.count()
    };
    assert_eq!(rings(&world), 1);
    for name in ["Pay me", "At once", "Or else"] {
        let content = json!({ "name": name });
        world
            .fake
            .send_state(&inviter.id, &inviter.room, "m.room.name", "", content)
            .unwrap();
        inviter.invite(&world, &ghost);
        handled(&world);
    }
    assert_eq!(rings(&world), 1);
    world.goes_on();
}

#[test]
fn what_was_missed_ends_at_other_times() {
    let mut world = World::new();
    let inviter = Inviter::new(&world, 1);
    let deps = world.deps();
    let mut times = Vec::new();
    for number in 0..8 {
        let ghost = inviter.ghost_of(&world, &format!("@nobody{number}:a.example"));
        inviter.invite(&world, &ghost);
        wait(&world, "its end is set", |world| {
            withdrawal(world, &ghost).is_some()
        });
        let (_, task) = withdrawal(&world, &ghost).unwrap();
        let mut missed = offered(&world, &ghost).unwrap();
        missed.leave_at = deps.clock.now() - HOUR;
        world
            .ask(deps.store.set_note(ghost.as_bytes(), None, &missed))
            .unwrap();
        let now = deps.clock.now();
        match world.ask(withdraw::run(&deps, &task, 0)).unwrap() {
            Outcome::At(at) => times.push(at.saturating_sub(now)),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            world.ask(withdraw::run(&deps, &task, 1)).unwrap(),
            Outcome::Done
        );
        assert_eq!(membership(&world, &inviter, &ghost), "leave");
    }
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(last - first > HOUR / 4, "{times:?}");
    world.goes_on();
}

fn membership(world: &World, inviter: &Inviter, ghost: &UserId) -> String {
    world.fake.look(|rooms| {
        let room = &rooms.rooms[inviter.room.as_str()];
        room.membership(ghost.as_str()).to_owned()
    })
}

#[test]
fn a_ghost_leaves_whatever_fails_at_home() {
    let (mut world, inviter, ghost) = carol_is_invited();
    let (_, task) = withdrawal(&world, &ghost).unwrap();
    let deps = world.deps();
    for _ in 0..50 {
        world.fake.fail_next("kick", Fault::ErrorBefore);
    }
    assert!(world.ask(withdraw::run(&deps, &task, 0)).is_err());
    assert_eq!(membership(&world, &inviter, &ghost), "leave");
    assert_eq!(portals(&world, CAROL).len(), 1, "it could not be closed");
    world.fake.forget_faults();
    assert_eq!(
        world.ask(withdraw::run(&deps, &task, 1)).unwrap(),
        Outcome::Done
    );
    assert!(portals(&world, CAROL).is_empty());
    world.goes_on();
}

#[test]
fn a_bot_may_have_new_keys() {
    let mut world = World::with_settings("12", |config| settings(config, 60));
    world.fake.user(CAROL, "Carol");
    let deps = world.deps();
    let old = Peer::new("b.example", 7, deps.clock.now());
    old.publishes(&world);
    let inviter = Inviter {
        id: old.bot(),
        ..Inviter::new(&world, 1)
    };
    let user = UserId::parse(CAROL).unwrap();
    let asks = |world: &World, peer: &Peer| {
        let address = sealed(world, Sealing::Contact { user: &user });
        let request = peer.asks(world, &address, &inviter.room);
        inviter.ask(world, &request).unwrap().content
    };
    let first = ghost(&asks(&world, &old));
    assert!(!offered(&world, &first).unwrap().decoy);
    // A key that is in no document.
    let new = old.rotated(deps.clock.now());
    assert_eq!(asks(&world, &new)["error"], "org.vizard.refused");
    // It is published, and looked for: not at once, lest strangers have us fetch all the time.
    new.publishes(&world);
    world.ask(deps.clock.sleep(Duration::from_secs(61)));
    let second = ghost(&asks(&world, &new));
    assert_ne!(first, second);
    // Somebody else's key is refused still.
    let impostor = Peer::new("b.example", 9, deps.clock.now());
    assert_eq!(asks(&world, &impostor)["error"], "org.vizard.refused");
    world.goes_on();
}
