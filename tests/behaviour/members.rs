//! What a portal says of who comes and goes.

use serde_json::json;

use crate::{
    steps::handled,
    world::{BOB, World},
};

const CAROL: &str = "@carol:c.example";
const DORA: &str = "@dora:d.example";

/// All that may happen to two members, and what is said of each.
fn all(world: &World) -> Vec<&'static str> {
    let (fake, room) = (&world.fake, &world.room);
    fake.user(CAROL, "Carol");
    fake.user(DORA, "Dora");
    let removes = |membership: &str, reason: &str| {
        let mut content = json!({ "membership": membership });
        if !reason.is_empty() {
            content["reason"] = json!(reason);
        }
        let kind = "m.room.member";
        fake.send_state(BOB, room, kind, CAROL, content).unwrap();
    };
    fake.join(CAROL, room).unwrap();
    // Of that nothing is said.
    fake.user(CAROL, "Carola");
    fake.leave(CAROL, room).unwrap();
    fake.join(CAROL, room).unwrap();
    removes("leave", "");
    fake.join(CAROL, room).unwrap();
    removes("leave", "too\nloud");
    fake.join(CAROL, room).unwrap();
    removes("ban", "spam");
    removes("leave", "");
    removes("ban", "");
    removes("leave", "");
    let knock = json!({"join_rule": "knock"});
    fake.send_state(BOB, room, "m.room.join_rules", "", knock)
        .unwrap();
    fake.knock(DORA, room).unwrap();
    fake.invite(BOB, room, DORA).unwrap();
    fake.leave(DORA, room).unwrap();
    vec![
        "Carol joined",
        "Carola left",
        "Carola joined",
        "Carola was removed",
        "Carola joined",
        "Carola was removed (too loud)",
        "Carola joined",
        "Carola was banned (spam)",
        // Neither who was banned nor who banned says a name.
        "@carol:c.example is no longer banned",
        "@carol:c.example was banned",
        "@carol:c.example is no longer banned",
        "Dora asks to be let in",
        "Dora was invited",
    ]
}

/// What the host said since there were so many messages in the portal.
fn said(world: &World, before: usize) -> Vec<String> {
    let said = world.fake.messages(&world.portal).into_iter().skip(before);
    said.map(|(_, body)| body).collect()
}

#[test]
fn each_change_of_a_membership_is_told() {
    let world = World::new();
    handled(&world);
    let before = world.fake.messages(&world.portal).len();
    let expected = all(&world);
    handled(&world);
    let said = said(&world, before);
    for (at, words) in expected.iter().enumerate() {
        assert_eq!(
            said.get(at).map(String::as_str),
            Some(*words),
            "{at}: {said:?}"
        );
    }
    assert_eq!(said.len(), expected.len(), "{said:?}");
}

#[test]
fn unless_the_admin_wants_none_of_it() {
    let world = World::with_settings("12", |config| config.portal.membership = false);
    handled(&world);
    let before = world.fake.messages(&world.portal).len();
    all(&world);
    handled(&world);
    let said = said(&world, before);
    assert!(said.is_empty(), "{said:?}");
}
