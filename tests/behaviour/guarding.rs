//! The guard, wired up: what it holds in one portal of what belongs to another; and that whoever may rename a room steers it
//! nowhere.

use serde_json::{Value, json};

use crate::{
    steps::{count, ghosts, handled, join, wait},
    world::{ALICE, BOB, World},
};

const ALIAS: &str = "#library:b.example";
const LIBRARY: &str = "Library of Alexandria";

/// Alice in a second room of Bob's, which has a name and an address. The room and its portal.
fn second(world: &World) -> (String, String) {
    let room = world.fake.public_room(BOB, LIBRARY).to_string();
    let state = |kind: &str, content: Value| {
        world
            .fake
            .send_state(BOB, &room, kind, "", content)
            .unwrap();
    };
    state("m.room.canonical_alias", json!({"alias": ALIAS}));
    world.fake.user(ALICE, "Alice Liddell");
    let portal = enters(world, &room);
    (room, portal)
}

/// Alice joins a room and is in it. The portal.
fn enters(world: &World, room: &str) -> String {
    let portal = join(world, ALICE, &world.chat, room);
    world.fake.text(ALICE, &portal, "hello all").unwrap();
    wait(world, "she is heard", |world| {
        count(world, room, ALICE, "hello all") == 1
    });
    handled(world);
    portal
}

/// Says something in a portal. Whether it is held; else it went into the room.
fn is_held(world: &World, portal: &str, room: &str, content: &Value) -> bool {
    let before = world.fake.messages(room).len();
    let event = world.fake.say(ALICE, portal, content.clone()).unwrap();
    let held = || {
        let told = world.replies(portal, event.as_str());
        told.iter().any(|text| text.starts_with("Held back"))
    };
    let went = || world.fake.messages(room).len() > before;
    wait(world, &format!("the fate of {content}"), |_| {
        held() || went()
    });
    handled(world);
    assert!(held() != went(), "{content}");
    held()
}

fn text(body: impl AsRef<str>) -> Value {
    json!({"msgtype": "m.text", "body": body.as_ref()})
}

fn html(html: impl AsRef<str>) -> Value {
    json!({"msgtype": "m.text", "body": "see there", "format": "org.matrix.custom.html",
        "formatted_body": html.as_ref()})
}

/// The ghost of somebody elsewhere, whose key begins so.
fn stranger(key: &str) -> String {
    format!("@_vizard_{key:q<52}:c.example")
}

/// Somebody's name in a room.
fn name_of(world: &World, room: &str, user: &str) -> String {
    let member = world.fake.state_of(room, "m.room.member", user).unwrap();
    member["displayname"].as_str().unwrap().to_owned()
}

#[test]
fn what_belongs_to_another_portal_is_held() {
    let world = World::new();
    let (library, portal) = second(&world);
    world.fake.text(BOB, &library, "who reads").unwrap();
    let mirror = || {
        let events = world.fake.events(&portal);
        let said = events
            .into_iter()
            .find(|event| event["content"]["body"] == "who reads");
        said.map(|event| {
            let text = |field: &str| event[field].as_str().unwrap().to_owned();
            (text("sender"), text("event_id"))
        })
    };
    wait(&world, "Bob is heard in the library", |_| {
        mirror().is_some()
    });
    let (mirror, event) = mirror().unwrap();
    let (ghost, here) = (
        ghosts(&world, &library).remove(0),
        ghosts(&world, &world.room).remove(0),
    );
    let nick = name_of(&world, &library, &ghost);
    let link = |what: &str| format!("<a href=\"https://matrix.to/#/{what}\">there</a>");
    for content in [
        text("yours, Alice Liddell"),
        text("I am alice"),
        text(format!("they call me {nick}")),
        text("come to the library of alexandria!"),
        text(format!("come to {ALIAS}")),
        text("come to matrix:r/library:b.example"),
        html(link(ALIAS)),
        html(link("%23library%3Ab.example")),
        text(format!("come to {library}")),
        text(format!("I am {ghost}")),
        html(link(&format!("{portal}/{event}"))),
        html(link(&mirror)),
        text(format!("{mirror}: hello")),
        html(link(&ghost)),
    ] {
        assert!(
            is_held(&world, &world.portal, &world.room, &content),
            "{content}"
        );
    }
    // What is this room's own, or nobody's.
    let own = name_of(&world, &world.room, &here);
    for content in [
        text("a library in Egypt"),
        text(format!("{own} of the Tearoom")),
        html(link(&here)),
        text("#tea:b.example"),
        text(format!("{}: hello", stranger("m"))),
        html(link(&stranger("p"))),
        text(format!("see matrix:u/{}", &stranger("p")[1..])),
    ] {
        assert!(
            !is_held(&world, &world.portal, &world.room, &content),
            "{content}"
        );
    }
}

#[test]
fn whoever_renames_a_room_steers_no_guard() {
    let world = World::new();
    let (library, portal) = second(&world);
    let rename = |room: &str, name: &str| {
        let content = json!({ "name": name });
        world
            .fake
            .send_state(BOB, room, "m.room.name", "", content)
            .unwrap();
        handled(&world);
    };
    let here = |body: &str| is_held(&world, &world.portal, &world.room, &text(body));
    // A name that stops the other ghost whenever its user says so would tell whose it is.
    rename(&library, "see you tomorrow");
    let alias = json!({"alias": "#popular:c.example"});
    world
        .fake
        .send_state(BOB, &library, "m.room.canonical_alias", "", alias)
        .unwrap();
    handled(&world);
    assert!(!here("see you tomorrow"));
    assert!(!here("try #popular:c.example"));
    assert!(here(LIBRARY), "what the user knows it by");
    // One that lets the user's own name pass would have it said.
    for name in ["alice", "Alice Liddell", LIBRARY, ALIAS] {
        rename(&world.room, name);
        assert!(here(&format!("it is {name}")), "{name}");
    }
    assert!(!is_held(
        &world,
        &portal,
        &library,
        &text("in the library of Alexandria")
    ));
    assert_eq!(count(&world, &world.room, ALICE, "it is alice"), 0);
}

#[test]
fn a_room_called_like_its_user_holds_their_name() {
    let world = World::new();
    let named = world.fake.public_room(BOB, "alice").to_string();
    let portal = enters(&world, &named);
    assert!(is_held(&world, &portal, &named, &text("alice it is")));
    // And a name that is in everybody's mouth is no word elsewhere, not even if the room had it at the join.
    let yes = world.fake.public_room(BOB, "Yes").to_string();
    enters(&world, &yes);
    assert!(!is_held(
        &world,
        &world.portal,
        &world.room,
        &text("yes, I do")
    ));
}
