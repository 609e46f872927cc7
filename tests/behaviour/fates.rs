//! Nothing is dropped without a word: what is not relayed is named, what waits is told of, and what is seen only in part as well.

use serde_json::{Value, json};

use crate::{
    fake::{Keys, faults::Fault},
    steps::{count, ghosts, handled, wait},
    world::{ALICE, BOB, World},
};

/// Says something in the portal; what the host says to it.
fn told(world: &World, kind: &str, content: Value) -> String {
    let event = world
        .fake
        .send(ALICE, &world.portal, kind, content)
        .unwrap();
    world.answer(&world.portal, event.as_str())
}

#[test]
fn what_is_not_sent_is_told_with_the_reason_and_that_this_was_it() {
    let world = World::new();
    let message = |msgtype: &str| json!({"msgtype": msgtype, "body": "x"});
    let edit = |event: &str| {
        json!({"msgtype": "m.text", "body": "* x", "m.new_content": message("m.text"),
            "m.relates_to": {"rel_type": "m.replace", "event_id": event}})
    };
    let reaction =
        json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": "$old", "key": "👍"}});
    let poll = json!({"org.matrix.msc3381.poll.start": {"question": {"body": "?"}, "answers": []}});
    let beacon = json!({"m.relates_to": {"rel_type": "m.reference", "event_id": "$x"}});
    for (kind, content, why) in [
        (
            "org.matrix.msc3381.poll.start",
            poll.clone(),
            "a poll: not supported yet",
        ),
        ("m.poll.start", poll, "a poll: not supported yet"),
        (
            "m.room.message",
            message("m.location"),
            "a location: not supported yet",
        ),
        (
            "m.room.message",
            message("org.example"),
            "a message of type org.example: not supported yet",
        ),
        ("m.beacon", beacon, "a live location: not supported yet"),
        (
            "m.call.invite",
            json!({"call_id": "x"}),
            "a call: not supported yet",
        ),
        (
            "org.example.game",
            json!({"move": "e4"}),
            "an event of type org.example.game: not supported yet",
        ),
        (
            "m.room.message",
            message("m.key.verification.request"),
            "a verification request: not supported yet",
        ),
        (
            "m.room.message",
            json!({"msgtype": "m.text", "body": " \n"}),
            "an empty message cannot be relayed",
        ),
        (
            "m.room.message",
            edit("$old"),
            "the message this edits is not known here",
        ),
        (
            "m.reaction",
            reaction,
            "the message this reacts to is not known here",
        ),
    ] {
        assert_eq!(
            told(&world, kind, content),
            format!("Not sent: {why}. It is not tried again by itself.")
        );
    }
    let unknown = world.fake.redact(ALICE, &world.portal, "$old").unwrap();
    assert_eq!(
        world.answer(&world.portal, unknown.as_str()),
        "Not sent: the message this redacts is not known here. It is not tried again by itself."
    );
    // What never went out needs nothing.
    let asked = world.fake.text(ALICE, &world.portal, "!vizard whoami");
    let asked = asked.unwrap();
    world.answer(&world.portal, asked.as_str());
    let taken_back = world.fake.redact(ALICE, &world.portal, &asked).unwrap();
    handled(&world);
    let replies = world.replies(&world.portal, taken_back.as_str());
    assert!(replies.is_empty(), "{replies:?}");
    let ghost = ghosts(&world, &world.room).remove(0);
    // Nothing but what is said in each portal of these tests.
    let events = world.fake.events(&world.room);
    let bodies: Vec<_> = events
        .iter()
        .filter(|event| event["sender"] == ghost.as_str() && event["type"] != "m.room.member")
        .map(|event| &event["content"]["body"])
        .collect();
    assert_eq!(bodies, ["out 1"]);
}

#[test]
fn a_message_that_waits_is_told_of_once() {
    let world = World::new();
    // Nine attempts of three tries, and the first notice, which fails as well.
    for _ in 0..30 {
        world.fake.fail_next("send", Fault::ErrorBefore);
    }
    let event = world.fake.text(ALICE, &world.portal, "at last").unwrap();
    wait(&world, "it went out", |world| {
        count(world, &world.room, ALICE, "at last") == 1
    });
    handled(&world);
    let told = world.replies(&world.portal, event.as_str());
    assert!(
        matches!(&told[..], [one] if one.starts_with("Not sent yet: the homeserver does not take it.")),
        "{told:?}"
    );
}

#[test]
fn whoever_waits_for_the_homeserver_is_told() {
    let world = World::new();
    world.fake.fail_next("send", Fault::Limited(45_000));
    let event = world.fake.text(ALICE, &world.portal, "in time").unwrap();
    let told = world.answer(&world.portal, event.as_str());
    assert!(
        told.starts_with("Not sent yet: the homeserver asks to wait."),
        "{told}"
    );
    wait(&world, "it went out", |world| {
        count(world, &world.room, ALICE, "in time") == 1
    });
}

#[test]
fn whoever_is_at_a_limit_is_told() {
    let world = World::with_settings("12", |config| config.access.messages_per_minute = 1);
    let events: Vec<_> = (0..8)
        .map(|number| {
            let line = format!("line {number}");
            world.fake.text(ALICE, &world.portal, &line).unwrap()
        })
        .collect();
    // Of one to which little of its minute was left when its turn came nothing is said.
    wait(&world, "one of them is told of", |world| {
        let mut told = events
            .iter()
            .flat_map(|event| world.replies(&world.portal, event.as_str()));
        told.any(|text| text.starts_with("Not sent yet: you have written as much"))
    });
    wait(&world, "all went out", |world| {
        count(world, &world.room, ALICE, "line 7") == 1
    });
}

/// What the host said in the portal.
fn hosts_words(world: &World) -> Vec<String> {
    let said = world.fake.messages(&world.portal);
    said.into_iter()
        .filter(|(sender, _)| sender.starts_with("@_vizard_p_"))
        .map(|(_, body)| body)
        .collect()
}

fn hears(world: &World, part: &str, times: usize) {
    wait(world, part, |world| {
        let words = hosts_words(world);
        words.iter().filter(|text| text.contains(part)).count() == times
    });
}

#[test]
fn a_voice_that_is_taken_or_given_back_is_told_of() {
    let world = World::new();
    let set = |content: Value| {
        world
            .fake
            .send_state(BOB, &world.room, "m.room.power_levels", "", content)
            .unwrap();
        handled(&world);
    };
    let first = hosts_words(&world).len();
    set(json!({"events_default": 0, "users": {}, "events": {"m.room.name": 60}}));
    assert_eq!(
        hosts_words(&world).len(),
        first,
        "nothing that concerns the ghost"
    );
    set(json!({"events_default": 50}));
    hears(&world, "may not speak in this room any more", 1);
    let event = world.fake.text(ALICE, &world.portal, "may I").unwrap();
    let fate = world.answer(&world.portal, event.as_str());
    assert!(
        fate.starts_with("Not sent: the room does not allow it"),
        "{fate}"
    );
    set(json!({"events_default": 50, "state_default": 60}));
    let ghost = ghosts(&world, &world.room).remove(0);
    set(json!({"events_default": 50, "users": {ghost: 50}}));
    hears(&world, "may speak in this room again", 1);
    hears(&world, "may not speak in this room any more", 1);
}

#[test]
fn pins_are_named_once() {
    let world = World::new();
    for pinned in [
        json!([]),
        json!(["$one"]),
        json!(["$one", "$two"]),
        json!([]),
    ] {
        let content = json!({ "pinned": pinned });
        world
            .fake
            .send_state(BOB, &world.room, "m.room.pinned_events", "", content)
            .unwrap();
    }
    handled(&world);
    hears(&world, "Pinned messages are not supported yet", 1);
}

#[test]
fn an_edit_of_an_older_message_is_shown() {
    let world = World::new();
    let edit = |event: &str, body: &str| {
        let new = json!({"msgtype": "m.text", "body": body});
        json!({"msgtype": "m.text", "body": format!("* {body}"), "m.new_content": new,
            "m.relates_to": {"rel_type": "m.replace", "event_id": event}})
    };
    world
        .fake
        .say(BOB, &world.room, edit("$before", "new words"))
        .unwrap();
    let reaction =
        json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": "$before", "key": "👍"}});
    world
        .fake
        .send(BOB, &world.room, "m.reaction", reaction)
        .unwrap();
    world.fake.text(BOB, &world.room, " ").unwrap();
    world.fake.text(BOB, &world.room, "and on").unwrap();
    wait(&world, "Bob goes on", |world| {
        count(world, &world.portal, BOB, "and on") == 1
    });
    let said = world.fake.messages(&world.portal);
    let bobs: Vec<_> = said
        .iter()
        .filter(|(sender, _)| sender.starts_with("@_vizard_m_"))
        .map(|(_, body)| body.as_str())
        .collect();
    let last = &bobs[bobs.len() - 3..];
    assert_eq!(
        last,
        [
            "✎ (an older message, edited) new words",
            "an empty message: cannot be shown here",
            "and on"
        ]
    );
    let events = world.fake.events(&world.portal);
    assert!(!events.iter().any(|event| event["type"] == "m.reaction"));
}

#[test]
fn receipts_come_together() {
    let world = World::at_pace(5, Keys::Unused, |_| {});
    let receipts = || world.fake.receipts().len();
    let before = receipts();
    let clock = world.deps().clock;
    let began = clock.now();
    let events: Vec<_> = (0..20)
        .map(|number| {
            let line = format!("line {number}");
            let event = world.fake.text(ALICE, &world.portal, &line);
            wait(&world, "it went out", |world| {
                count(world, &world.room, ALICE, &line) == 1
            });
            event.unwrap()
        })
        .collect();
    let last = events.last().unwrap();
    wait(&world, "the last one is receipted", |world| {
        let receipts = world.fake.receipts();
        receipts.iter().any(|one| one.event == last.as_str())
    });
    // Three seconds lie between two, at the least.
    let most = usize::try_from((clock.now() - began) / 3_000).unwrap() + 1;
    let came = receipts() - before;
    assert!(came <= most, "{came} receipts, {most} would be right");
}
