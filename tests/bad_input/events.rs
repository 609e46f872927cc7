//! Events that make no sense, in rooms where others do.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use vizard::telemetry;

use crate::world::{ALICE, BOB, World};

/// The count of a metric.
fn count(line: &str) -> u64 {
    let text = telemetry::metrics().render();
    text.lines()
        .find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
        .unwrap_or(0)
}

/// For whoever has malformed events counted: the count is the process's, and somebody wants it exactly.
pub fn counted_alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An event of somebody in a room, with some fields changed.
fn event(number: usize, room: &str, sender: &str, changes: &Value) -> Value {
    let mut event = json!({
        "event_id": format!("$raw{number}"),
        "room_id": room,
        "sender": sender,
        "type": "m.room.message",
        "content": {"msgtype": "m.text", "body": format!("raw {number}")},
        "origin_server_ts": 1_700_000_900_000_u64,
        "unsigned": {},
    });
    for (key, value) in changes.as_object().unwrap() {
        if value == "(none)" {
            event.as_object_mut().unwrap().remove(key);
        } else {
            event[key] = value.clone();
        }
    }
    event
}

#[test]
fn what_is_no_event_is_counted_and_skipped() {
    telemetry::metrics();
    let _alone = counted_alone();
    let mut world = World::new();
    let malformed = r#"vizard_events_total{outcome="malformed"}"#;
    let before = count(malformed);
    let long = "x".repeat(300);
    let changes = [
        json!({"event_id": "(none)"}),
        json!({"event_id": 3}),
        json!({"event_id": "no sigil"}),
        json!({"event_id": format!("${long}")}),
        json!({"room_id": "(none)"}),
        json!({"room_id": "not a room"}),
        json!({"sender": "(none)"}),
        json!({"sender": "bob"}),
        json!({"sender": format!("@{long}:b.example")}),
        json!({"type": 3}),
        json!({"type": long}),
        json!({"content": "(none)"}),
        json!({"state_key": 3}),
        json!({"origin_server_ts": -1}),
        json!({"origin_server_ts": "now"}),
        json!({"unsigned": 3}),
    ];
    for (number, changes) in changes.iter().enumerate() {
        world.push(event(number, &world.room, BOB, changes));
        world.push(event(100 + number, &world.portal, ALICE, changes));
    }
    for nonsense in [json!(null), json!([]), json!("x"), json!({})] {
        world.push(nonsense);
    }
    world.goes_on();
    assert_eq!(count(malformed) - before, 2 * changes.len() as u64 + 4);
}

#[test]
fn absurd_contents_stick_nowhere() {
    let mut world = World::new();
    let contents = [
        json!(null),
        json!(3),
        json!([]),
        json!({}),
        json!({"body": "no type"}),
        json!({"msgtype": "m.text"}),
        json!({"msgtype": 3, "body": 3}),
        json!({"msgtype": "m.text", "body": null}),
        json!({"msgtype": "m.text", "body": {"a": [1]}}),
        json!({"msgtype": "m.text", "body": ""}),
        json!({"msgtype": "m.text", "body": "\0\0\0"}),
        json!({"msgtype": "m.text", "body": "a\0b\u{7}\u{202e}c"}),
        json!({"msgtype": "x.absurd", "body": "x"}),
        json!({"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": 3}),
        json!({"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html",
               "formatted_body": "<p><b><a href=\"javascript:x\">".repeat(2_000)}),
        json!({"msgtype": "m.text", "body": "x", "m.relates_to": 3}),
        json!({"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.replace"}}),
        json!({"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.replace", "event_id": "$nowhere"}}),
        json!({"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.replace", "event_id": 7}, "m.new_content": []}),
        json!({"msgtype": "m.text", "body": "x", "m.relates_to": {"m.in_reply_to": {"event_id": ""}}}),
        json!({"msgtype": "m.text", "body": "x", "m.mentions": {"user_ids": [3, "@", "@x", "@:", "@\0:a"], "room": "yes"}}),
        json!({"msgtype": "m.image", "body": "x", "url": "mxc://", "info": {"size": -1}}),
        json!({"redacts": 3}),
        json!({"membership": 3, "displayname": [], "avatar_url": {}}),
        json!({"membership": "join", "avatar_url": "mxc://nowhere.example/\0"}),
        json!({"name": {"x": 1}}),
        json!({"users": "x"}),
        json!({"replacement_room": "x"}),
    ];
    let kinds = [
        "m.room.message",
        "m.reaction",
        "m.room.redaction",
        "m.sticker",
        "m.room.encrypted",
        "m.call.invite",
        "m.poll.start",
        "org.example.unknown",
        "",
        "\0",
    ];
    let states = [
        ("m.room.member", BOB),
        ("m.room.member", "not a user"),
        ("m.room.name", ""),
        ("m.room.tombstone", ""),
        ("m.room.power_levels", ""),
        ("org.example.unknown", "\0"),
    ];
    let mut number = 0;
    let mut push = |kind: &str, key: Option<&str>, content: &Value| {
        for (room, sender) in [(&world.room, BOB), (&world.portal, ALICE)] {
            number += 1;
            let mut changes = json!({"type": kind, "content": content});
            if let Some(key) = key {
                changes["state_key"] = key.into();
            }
            world.push(event(number, room, sender, &changes));
        }
    };
    for content in &contents {
        for kind in kinds {
            push(kind, None, content);
        }
        for (kind, key) in states {
            push(kind, Some(key), content);
        }
    }
    world.goes_on();
}

#[test]
fn a_message_of_a_megabyte_has_an_end() {
    let mut world = World::new();
    let long = "ha ".repeat(350_000);
    let content = json!({"content": {"msgtype": "m.text", "body": long}});
    world.push(event(1, &world.portal, ALICE, &content));
    world.push(event(2, &world.room, BOB, &content));
    world.goes_on();
    let fate = world.replies(&world.portal, "$raw1");
    let sent = world.fake.messages(&world.room);
    let sent = sent.iter().any(|(_, body)| body.starts_with("ha ha"));
    assert!(
        sent != fate.iter().any(|text| text.starts_with("Not sent")),
        "{fate:?}"
    );
    let shown = world.fake.messages(&world.portal);
    let shown: Vec<&str> = shown
        .iter()
        .map(|(_, body)| &body[..body.len().min(80)])
        .collect();
    let told = |body: &&str| {
        body.starts_with("ha ha")
            || body.contains("could not be shown")
            || body.contains("too long")
    };
    assert!(shown.iter().any(told), "{shown:?}");
}

#[test]
fn ids_as_long_as_they_may_be() {
    let mut world = World::new();
    let sender = format!("@{}:b.example", "b".repeat(255 - 11));
    let id = format!("${}", "e".repeat(254));
    world.fake.user(&sender, "Longest");
    world.fake.join(&sender, &world.room).unwrap();
    let changes = json!({"event_id": id});
    world.push(event(1, &world.room, &sender, &changes));
    let reply = json!({"content": {"msgtype": "m.text", "body": "an answer",
        "m.relates_to": {"m.in_reply_to": {"event_id": id}}}});
    world.push(event(2, &world.room, BOB, &reply));
    world.goes_on();
    let events = world.fake.events(&world.portal);
    let find = |body: &str| events.iter().find(|event| event["content"]["body"] == body);
    let (first, answer) = (find("raw 1").unwrap(), find("an answer").unwrap());
    assert_eq!(
        answer["content"]["m.relates_to"]["m.in_reply_to"]["event_id"],
        first["event_id"]
    );
}

#[test]
fn names_that_would_spoil_the_text_around_them() {
    let mut world = World::new();
    let zalgo = format!("Z{}", "\u{335}\u{321}\u{489}".repeat(80));
    let names = [
        "\u{202e}nimda\u{2066}",
        "\0null\0",
        zalgo.as_str(),
        " \u{200b}\u{feff} ",
        "@vizard:a.example",
        "line\nbreak\r\n\u{2028}and more",
    ];
    for (number, name) in names.iter().enumerate() {
        let user = format!("@n{number}:c.example");
        world.fake.user(&user, name);
        world.fake.join(&user, &world.room).unwrap();
        world
            .fake
            .text(&user, &world.room, &format!("I am {number}"))
            .unwrap();
        // And somebody known takes the name.
        world.fake.user(BOB, name);
        world.goes_on();
    }
    let portal = world.fake.messages(&world.portal);
    for number in 0..names.len() {
        assert!(
            portal
                .iter()
                .any(|(_, body)| *body == format!("I am {number}"))
        );
    }
    let spoiling = |c: char| {
        c.is_control()
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    for name in world.mirrors() {
        assert!(
            !name.trim().is_empty() && !name.contains(spoiling),
            "{name:?}"
        );
        assert!(name.chars().count() < 150, "{name:?}");
    }
}

#[test]
fn old_and_new_shapes_of_ids() {
    for version in ["1", "12"] {
        let mut world = World::with_room(version);
        assert_eq!(world.room.contains(':'), version == "1");
        // Versions 1 and 2 have event ids with a domain; redactions name their event beside the content until version 10.
        for (id, kind, extra) in [
            ("$14321:b.example", "m.room.message", json!({})),
            (
                "$14322:b.example",
                "m.room.redaction",
                json!({"redacts": "$14321:b.example", "content": {}}),
            ),
            ("$Ab/+cd0", "m.room.message", json!({})),
            (
                "$r0",
                "m.room.redaction",
                json!({"content": {"redacts": "$Ab/+cd0"}}),
            ),
            (
                "$r1",
                "m.room.redaction",
                json!({"content": {"redacts": "$nowhere:x"}}),
            ),
        ] {
            let mut changes = json!({"event_id": id, "type": kind});
            for (key, value) in extra.as_object().unwrap() {
                changes[key] = value.clone();
            }
            if kind == "m.room.message" {
                // The homeserver has seen all of it by now.
                let mut seen = changes.clone();
                seen["content"] = json!({});
                seen["unsigned"] = json!({"redacted_because": {}});
                let seen = event(1, &world.room, BOB, &seen);
                world.fake.keep(&world.room, seen);
            }
            world.push(event(1, &world.room, BOB, &changes));
        }
        world.goes_on();
        let redacted = world
            .fake
            .events(&world.portal)
            .iter()
            .filter(|event| event["unsigned"].get("redacted_because").is_some())
            .count();
        assert_eq!(redacted, 2, "version {version}");
    }
}
