//! What an admin sets: a random wait before messages go out, and another prefix of commands.

use std::time::Duration;

use vizard::{
    event::Event,
    portal::PortalError,
    relay::{Guards, Relay},
    store::Direction,
};

use crate::{
    steps::{command, count, handled, wait},
    world::{ALICE, World},
};

const DELAY: u64 = 60_000;

/// When each message whose text begins so was made, in the order of a room.
fn said(world: &World, room: &str, begin: &str) -> Vec<(String, u64)> {
    let events = world.fake.events(room);
    let texts = events.iter().filter_map(|event| {
        let body = event["content"]["body"].as_str()?;
        let ts = event["origin_server_ts"].as_u64()?;
        body.starts_with(begin).then(|| (body.to_owned(), ts))
    });
    texts.collect()
}

#[test]
fn messages_wait_at_random_and_keep_their_order() {
    let world = World::with_settings("12", |config| config.privacy.outbound_delay_ms = DELAY);
    for number in 0..10 {
        let text = format!("slow {number}");
        world.fake.text(ALICE, &world.portal, &text).unwrap();
    }
    wait(&world, "all went out", |world| {
        said(world, &world.room, "slow ").len() >= 10
    });
    handled(&world);
    let (written, sent) = (
        said(&world, &world.portal, "slow "),
        said(&world, &world.room, "slow "),
    );
    let bodies = |of: &[(String, u64)]| of.iter().map(|(body, _)| body.clone()).collect::<Vec<_>>();
    assert_eq!(bodies(&sent), bodies(&written), "each once, and in order");
    // Ten waits of up to a minute come to less than this once in millions of times.
    let took = sent[9].1 - written[0].1;
    assert!(took > DELAY, "{took} ms");
}

#[test]
fn a_wait_is_drawn_once_for_each_message() {
    let world = World::with_settings("12", |config| config.privacy.outbound_delay_ms = DELAY);
    handled(&world);
    let deps = world.deps();
    let portal = world.ask(deps.store.portal_ids()).unwrap()[0];
    let mut waits = Vec::new();
    for number in 0..5 {
        let id = format!("$made-up-{number}");
        let event = serde_json::json!({
            "type": "m.room.message", "event_id": id, "room_id": world.portal, "sender": ALICE,
            "content": {"msgtype": "m.text", "body": id}, "origin_server_ts": deps.clock.now(),
        });
        let event = Event::decode(&serde_json::value::to_raw_value(&event).unwrap()).unwrap();
        let mut relay = Relay::new(portal, Guards::default());
        let mut step = || {
            let now = deps.clock.now();
            world.ask(relay.step(&deps, Direction::Outbound, &event, now))
        };
        match step() {
            Err(PortalError::NotYet(wait)) => waits.push(wait),
            other => panic!("{other:?}"),
        }
        assert_eq!(count(&world, &world.room, ALICE, &id), 0, "it waits");
        step().expect("the second time it goes");
        assert_eq!(count(&world, &world.room, ALICE, &id), 1);
    }
    assert!(
        waits
            .iter()
            .all(|wait| *wait <= Duration::from_millis(DELAY))
    );
    waits.dedup();
    assert!(waits.len() > 1, "{waits:?}");
}

#[test]
fn commands_have_the_prefix_that_was_set() {
    let mut world = World::with_settings("12", |config| config.portal.command_prefix = "!v".into());
    let who = command(&world, "!v whoami");
    assert!(who.contains("@_vizard_"), "{who}");
    // What only begins like it is said in the room.
    for text in ["!vizard x", "!vizard", "!vwhoami"] {
        world.fake.text(ALICE, &world.portal, text).unwrap();
        wait(&world, text, |world| {
            count(world, &world.room, ALICE, text) == 1
        });
    }
    assert_eq!(count(&world, &world.room, ALICE, "!v whoami"), 0);
    let help = command(&world, "!v help");
    assert!(help.contains("!v ") && !help.contains("!vizard"), "{help}");
    // So do the hints in notices: the greeting of the portal, and the usage of a command.
    let usage = command(&world, "!v nick");
    assert!(
        usage.contains("!v nick") && !usage.contains("!vizard"),
        "{usage}"
    );
    let greeting = world.fake.messages(&world.portal);
    let greeting = greeting
        .iter()
        .find(|(_, body)| body.contains("This is your portal"));
    assert!(greeting.is_some_and(|(_, body)| body.contains("`!v help`")));
    world.goes_on();
}
