//! `whois` in a portal: who a mirror stands for, and whether a pseudonym is what it says.

use serde_json::json;
use vizard::{pseudonym::SenderKey, rng::Rng};

use crate::{
    steps::{command, enter, ghosts, wait},
    world::{ALICE, BOB, World},
};

const CAROL: &str = "@carol:a.example";

#[test]
fn a_reply_a_mention_or_a_name_tells_who_it_is() {
    let world = World::new();
    world.fake.text(BOB, &world.room, "hello there").unwrap();
    let hello = || {
        let events = world.fake.events(&world.portal);
        events
            .into_iter()
            .find(|event| event["content"]["body"] == "hello there")
    };
    wait(&world, "it is in the portal", |_| hello().is_some());
    let hello = hello().unwrap();
    let mirror = hello["sender"].as_str().unwrap().to_owned();
    let relation = json!({"m.in_reply_to": {"event_id": hello["event_id"]}});
    let pill = format!("!vizard whois <a href=\"https://matrix.to/#/{mirror}\">Bob</a>");
    for content in [
        json!({"msgtype": "m.text", "body": "!vizard whois", "m.relates_to": relation}),
        json!({"msgtype": "m.text", "body": "> <x> hello there\n\n!vizard whois", "m.relates_to": relation}),
        json!({"msgtype": "m.text", "body": "!vizard whois Bob", "m.mentions": {"user_ids": [mirror]}}),
        json!({"msgtype": "m.text", "body": "!vizard whois Bob", "format": "org.matrix.custom.html", "formatted_body": pill}),
        json!({"msgtype": "m.text", "body": format!("!vizard whois {mirror}")}),
        json!({"msgtype": "m.text", "body": "!vizard whois bob"}),
    ] {
        let asked = world
            .fake
            .say(ALICE, &world.portal, content.clone())
            .unwrap();
        let answer = world.answer(&world.portal, asked.as_str());
        assert!(
            answer.contains("Bob is @bob:b.example."),
            "{content}: {answer}"
        );
        assert!(!answer.contains("pseudonym"), "{answer}");
    }
    assert!(command(&world, "!vizard whois").contains("Who?"));
    assert!(command(&world, "!vizard whois nobody").contains("nobody"));
    assert!(command(&world, "!vizard whois @dan:d.example").contains("not known"));
    // Damaged links, which name nobody.
    for link in ["//x", "/!r:x///", "/!r:x//?via=b"] {
        let text = format!("!vizard whois https://matrix.to/#{link}");
        assert!(command(&world, &text).contains("nobody"), "{link}");
    }
    // None of it reached the room.
    let room = world.fake.messages(&world.room);
    assert!(room.iter().all(|(_, body)| !body.contains("whois")));
}

#[test]
fn a_pseudonym_is_verified_or_not() {
    let world = World::new();
    let own = ghosts(&world, &world.room);
    world.fake.user(CAROL, "Carol");
    enter(&world, CAROL, &world.room);
    wait(&world, "there are two ghosts", |world| {
        ghosts(world, &world.room).len() == 2
    });
    let others = ghosts(&world, &world.room);
    let ghost = others.iter().find(|ghost| !own.contains(ghost)).unwrap();
    let answer = command(&world, &format!("!vizard whois {ghost}"));
    assert!(
        answer.contains("verified: it holds its key") && !answer.contains("unverified"),
        "{answer}"
    );
    assert!(!answer.contains("carol"), "{answer}");
    assert!(command(&world, &format!("!vizard whois {}", own[0])).contains("That is you"));

    // One of another server: without a mapping, and with one of somebody else.
    let key = SenderKey::generate(&Rng::seeded(5)).id();
    let stranger = format!("@_vizard_{}:c.example", key.to_localpart());
    world.fake.join(&stranger, &world.room).unwrap();
    let ask = || command(&world, &format!("!vizard whois {stranger}"));
    assert!(ask().contains("without a mapping: unverified"), "{}", ask());
    let member = world
        .fake
        .state_of(&world.room, "m.room.member", ghost)
        .unwrap();
    let stolen = json!({
        "membership": "join",
        "org.matrix.msc4014.mxid_mapping": member["org.matrix.msc4014.mxid_mapping"],
    });
    world
        .fake
        .send_state(&stranger, &world.room, "m.room.member", &stranger, stolen)
        .unwrap();
    assert!(ask().contains("unverified: user_room_key"), "{}", ask());
}
