//! How portals end, and mirrors in them, when something is in the way.

use vizard::store::PortalState;

use crate::{
    fake::{Keys, faults::Fault},
    steps::{command, count, ghosts, handled, wait},
    world::{ALICE, BOB, World},
};

const DAVE: &str = "@dave:b.example";

/// The mirror that last said something in the portal.
fn mirror(world: &World, text: &str) -> String {
    let said = world.fake.messages(&world.portal);
    let mut said = said.into_iter().filter(|(_, body)| body == text);
    said.next_back().unwrap().0
}

fn says(world: &World, user: &str, text: &str) {
    world.fake.text(user, &world.room, text).unwrap();
    wait(world, "it is shown", |world| {
        count(world, &world.portal, user, text) == 1
    });
}

#[test]
fn a_mirror_that_was_deactivated_does_not_keep_a_pseudonym() {
    let world = World::new();
    says(&world, BOB, "hello");
    world.fake.deactivate(&mirror(&world, "hello"));
    let ask = |text: &str| {
        let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
        world.answer(&world.chat, asked.as_str())
    };
    let answer = ask("forget Tearoom");
    assert!(answer.contains("Do you want to forget"), "{answer}");
    let answer = ask("forget confirm");
    assert!(!answer.contains("erased"), "{answer}");
    wait(&world, "it is told", |world| {
        let said = world.fake.messages(&world.chat);
        said.iter()
            .any(|(_, text)| text.contains("keys are erased"))
    });
    let deps = world.deps();
    assert!(world.ask(deps.store.portal_ids()).unwrap().is_empty());
    assert!(ghosts(&world, &world.room).is_empty());
    let left = world.fake.membership(&world.portal, ALICE).unwrap();
    assert_eq!(left, "leave");
}

#[test]
fn what_was_confirmed_in_time_is_forgotten_however_long_it_takes() {
    let world = World::new();
    handled(&world);
    let ask = |text: &str| world.fake.text(ALICE, &world.chat, text).unwrap();
    let asked = ask("forget Tearoom");
    let answer = world.answer(&world.chat, asked.as_str());
    assert!(answer.contains("Do you want to forget"), "{answer}");
    // The bot cannot speak for longer than a question waits.
    for _ in 0..100_000 {
        world.fake.fail_next("send", Fault::ErrorBefore);
    }
    ask("forget confirm");
    let deps = world.deps();
    let portal = world.ask(deps.store.portal_ids()).unwrap()[0];
    wait(&world, "it is on record", |world| {
        world.ask(deps.portals.get(portal)).unwrap().forgetting
    });
    world.ask(deps.clock.sleep(std::time::Duration::from_mins(12)));
    world.fake.forget_faults();
    wait(&world, "it is forgotten", |world| {
        world.ask(deps.store.portal_ids()).unwrap().is_empty()
    });
}

/// Vizard does not answer, so the command is typed once more: nobody has read the question by then.
#[test]
fn what_was_sent_before_the_question_confirms_nothing() {
    let mut world = World::new();
    handled(&world);
    for commands in [
        ["forget Tearoom", "forget Tearoom"],
        ["forget all", "forget all"],
        ["forget Tearoom", "forget confirm"],
    ] {
        world.kill();
        let asked = commands.map(|text| world.fake.text(ALICE, &world.chat, text).unwrap());
        world.start(|_| {});
        for asked in &asked {
            let answer = world.answer(&world.chat, asked.as_str());
            assert!(answer.contains("Do you want to forget"), "{answer}");
        }
        handled(&world);
        world.rests();
        assert_eq!(ghosts(&world, &world.room).len(), 1, "{commands:?}");
        let keeps = world.fake.text(ALICE, &world.chat, "cancel").unwrap();
        let answer = world.answer(&world.chat, keeps.as_str());
        assert!(answer.contains("nothing is forgotten"), "{answer}");
    }
    // Whoever has read it is understood.
    for (text, part) in [
        ("forget Tearoom", "Do you want to forget"),
        ("forget Tearoom", "Forgetting"),
    ] {
        let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
        let answer = world.answer(&world.chat, asked.as_str());
        assert!(answer.contains(part), "{answer}");
    }
    let deps = world.deps();
    wait(&world, "it is forgotten", |world| {
        world.ask(deps.store.portal_ids()).unwrap().is_empty()
    });
}

#[test]
fn a_mirror_that_was_deactivated_makes_room_for_others() {
    let mut world = World::with_settings("12", |config| config.portal.max_mirrors = 1);
    world.fake.user(DAVE, "Dave");
    says(&world, BOB, "hello");
    world.fake.deactivate(&mirror(&world, "hello"));
    world.fake.join(DAVE, &world.room).unwrap();
    says(&world, DAVE, "me too");
    assert!(mirror(&world, "me too").starts_with("@_vizard_m_"));
    handled(&world);
    world.kill();
}

#[test]
fn whoever_leaves_during_a_join_takes_the_ghost_along() {
    let world = World::new();
    command(&world, "!vizard leave");
    wait(&world, "the ghost left", |world| {
        ghosts(world, &world.room).is_empty()
    });
    handled(&world);
    // Four seconds of the test's time.
    world.fake.fail_next("join", Fault::Delay(1_000_000));
    let before = world.fake.count("join");
    world
        .fake
        .text(ALICE, &world.portal, "!vizard rejoin")
        .unwrap();
    wait(&world, "it joins", |world| {
        world.fake.count("join") > before
    });
    world.fake.leave(ALICE, &world.portal).unwrap();
    let deps = world.deps();
    wait(&world, "all is done", |world| {
        // Between the end of the join and the leave there may be no job.
        ghosts(world, &world.room).is_empty()
            && world
                .ask(deps.store.due_jobs(u64::MAX >> 2, 10))
                .unwrap()
                .is_empty()
    });
    assert!(ghosts(&world, &world.room).is_empty());
    let id = world.ask(deps.store.portal_ids()).unwrap()[0];
    let portal = world.ask(deps.portals.get(id)).unwrap();
    assert_eq!(portal.state, PortalState::Left);
}

/// The tries of the join go on beside the departure.
#[test]
fn a_join_that_is_cancelled_between_two_tries_is_over() {
    let world = World::at_pace(20, Keys::Unused, |_| {});
    let library = world.fake.public_room(BOB, "Library").to_string();
    for _ in 0..10_000 {
        world.fake.fail_next("state", Fault::ErrorBefore);
    }
    let text = format!("join {library} b.example");
    world.fake.text(ALICE, &world.chat, &text).unwrap();
    wait(&world, "it is there, but not through", |world| {
        ghosts(world, &library).len() == 1
    });
    let says = |part: &str| {
        wait(&world, part, |world| {
            let events = world.fake.events(&world.chat);
            events.iter().any(|event| {
                let body = &event["content"]["m.new_content"]["body"];
                body.as_str().is_some_and(|body| body.contains(part))
            })
        });
    };
    let asked = world.fake.text(ALICE, &world.chat, "cancel").unwrap();
    world.answer(&world.chat, asked.as_str());
    says("`rejoin` brings you back");
    world.fake.forget_faults();
    let deps = world.deps();
    wait(&world, "all is done", |world| {
        let jobs = world.ask(deps.store.due_jobs(u64::MAX >> 2, 10));
        jobs.unwrap().is_empty()
    });
    assert!(ghosts(&world, &library).is_empty());
    says("This is over");
}

#[test]
fn a_ghost_that_was_reset_out_of_its_room_is_missed() {
    let mut world = World::new();
    handled(&world);
    let ghost = ghosts(&world, &world.room).remove(0);
    world.kill();
    world.fake.reset_out(&ghost, &world.room);
    // More than five minutes of the test's time.
    std::thread::sleep(std::time::Duration::from_secs(2));
    world.start(|_| {});
    wait(&world, "the portal says so", |world| {
        let said = world.fake.messages(&world.portal);
        said.iter()
            .any(|(_, text)| text.contains("not in this room any more"))
    });
    let deps = world.deps();
    let id = world.ask(deps.store.portal_ids()).unwrap()[0];
    wait(&world, "it is out", |world| {
        let portal = world.ask(deps.portals.get(id)).unwrap();
        portal.state == PortalState::Left
    });
    world
        .fake
        .text(ALICE, &world.portal, "!vizard rejoin")
        .unwrap();
    wait(&world, "it is back", |world| {
        ghosts(world, &world.room) == [ghost.clone()]
    });
    world.goes_on();
}

#[test]
fn names_are_not_changed_faster_than_messages_are_sent() {
    let world = World::with_settings("12", |config| config.access.messages_per_minute = 2);
    handled(&world);
    let ghost = ghosts(&world, &world.room).remove(0);
    let names = || {
        let mut events = world.fake.events(&world.room);
        events.retain(|event| event["type"] == "m.room.member" && event["state_key"] == ghost);
        u64::try_from(events.len()).unwrap()
    };
    let (before, clock) = (names(), world.deps().clock);
    world.fake.hold();
    let asked: Vec<_> = (0..8)
        .map(|number| {
            let text = format!("!vizard nick Robin {number}");
            world.fake.text(ALICE, &world.portal, &text).unwrap()
        })
        .collect();
    let began = clock.now();
    world.fake.release();
    let answers: Vec<_> = asked
        .iter()
        .map(|asked| world.answer(&world.portal, asked.as_str()))
        .collect();
    // Two at once, and two in each minute of the test's time.
    let most = 2 + (clock.now() - began) * 2 / 60_000 + 1;
    let changes = names() - before;
    assert!((1..=most).contains(&changes), "{changes}, at most {most}");
    let accepted = answers.iter().filter(|text| text.contains("now called"));
    assert_eq!(accepted.count() as u64, changes, "{answers:?}");
}
