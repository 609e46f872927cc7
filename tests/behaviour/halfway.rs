//! What fails between two steps is done, and told, when it goes on; and what happens in a room with two ghosts happens to both.

use ruma::OwnedRoomId;
use serde_json::{Value, json};
use vizard::{
    event::{Event, Trust},
    portal::Deps,
    relay::{Guards, Relay},
    store::{Direction, Portal, PortalId, PortalState},
};

use crate::{
    fake::{Keys, faults::Fault},
    steps::{command, count, enter, ghosts, handled, wait},
    world::{ALICE, BOB, World},
};

const CAROL: &str = "@carol:a.example";

/// The next step that makes such a request fails after its three tries, and the one after it goes on.
fn falter(world: &World, endpoint: &'static str) {
    for _ in 0..4 {
        world.fake.fail_next(endpoint, Fault::ErrorBefore);
    }
}

/// The host says this in the portal, once.
fn hears(world: &World, part: &str) {
    let times = |world: &World| {
        let said = world.fake.messages(&world.portal);
        said.iter().filter(|(_, body)| body.contains(part)).count()
    };
    wait(world, part, |world| times(world) > 0);
    handled(world);
    assert_eq!(times(world), 1, "{part}");
}

fn set(world: &World, room: &str, kind: &str, content: Value) {
    world.fake.send_state(BOB, room, kind, "", content).unwrap();
}

fn deny(world: &World, room: &str) {
    let content = json!({"pseudonyms": "deny"});
    set(world, room, "org.vizard.policy", content);
}

/// A room that replaces the first one.
fn successor(world: &World, name: &str) -> OwnedRoomId {
    let body = json!({
        "preset": "public_chat", "name": name,
        "creation_content": {"predecessor": {"room_id": world.room}},
    });
    let new = world.fake.create_room(BOB, &body).unwrap();
    let tombstone = json!({"body": "moved", "replacement_room": new});
    set(world, &world.room, "m.room.tombstone", tombstone);
    new
}

fn first(world: &World) -> PortalId {
    world.ask(world.deps().store.portal_ids()).unwrap()[0]
}

fn portal(world: &World) -> Portal {
    let portal = world.ask(world.deps().portals.get(first(world)));
    Portal::clone(&*portal.unwrap())
}

fn change(world: &World, change: impl FnOnce(&mut Portal) + Send) {
    let changed = world.ask(world.deps().portals.update(first(world), change));
    changed.unwrap();
}

#[test]
fn whoever_is_sent_away_leaves_and_is_told() {
    let world = World::new();
    handled(&world);
    falter(&world, "send");
    deny(&world, &world.room);
    hears(&world, "asks not to be joined behind a pseudonym");
    wait(&world, "the ghost left", |world| {
        ghosts(world, &world.room).is_empty()
    });
    hears(&world, "is kept: `rejoin` brings you back");
}

#[test]
fn all_ghosts_of_a_room_that_refuses_them_leave() {
    let world = World::new();
    world.fake.user(CAROL, "Carol");
    enter(&world, CAROL, &world.room);
    wait(&world, "two ghosts are there", |world| {
        ghosts(world, &world.room).len() == 2
    });
    handled(&world);
    deny(&world, &world.room);
    wait(&world, "both ghosts left", |world| {
        ghosts(world, &world.room).is_empty()
    });
}

#[test]
fn a_portal_is_encrypted_with_its_room_whatever_fails() {
    for endpoint in ["send_state", "send"] {
        let world = World::with_keys(Keys::Taken);
        handled(&world);
        falter(&world, endpoint);
        let megolm = json!({"algorithm": "m.megolm.v1.aes-sha2"});
        set(&world, &world.room, "m.room.encryption", megolm);
        wait(&world, "the portal is encrypted", |world| {
            let state = world.fake.state_of(&world.portal, "m.room.encryption", "");
            state.is_some()
        });
        wait(&world, "it is on record", |world| {
            portal(world).shown.encrypted
        });
        handled(&world);
        let said = world.fake.events(&world.portal);
        let secret = |event: &&Value| event["type"] == "m.room.encrypted";
        assert_eq!(said.iter().filter(secret).count(), 1, "it is told, once");
    }
}

#[test]
fn whoever_is_removed_or_banned_is_told() {
    let world = World::new();
    let (room, ghost) = (&world.room, ghosts(&world, &world.room).remove(0));
    let ends = |words: &str, state: PortalState| {
        hears(&world, words);
        wait(&world, "it is on record", |world| {
            portal(world).state == state
        });
    };
    handled(&world);
    falter(&world, "send");
    world.fake.ban(BOB, room, &ghost).unwrap();
    ends("was banned from this room", PortalState::Banned);
    falter(&world, "send");
    world.fake.kick(BOB, room, &ghost).unwrap();
    ends("is no longer banned", PortalState::Left);
    command(&world, "!vizard rejoin");
    wait(&world, "it is back", |world| {
        portal(world).state == PortalState::Joined
    });
    // It is said that it is back, or the join would be tried once more, and bring it back once more.
    world.rests();
    falter(&world, "send");
    world.fake.kick(BOB, room, &ghost).unwrap();
    ends("was removed from this room", PortalState::Left);
}

#[test]
fn an_upgrade_is_told_and_whoever_follows_is_there_from_then_on() {
    let world = World::new();
    handled(&world);
    falter(&world, "send");
    let before = portal(&world);
    let new = successor(&world, "Circle of readers");
    hears(&world, "This room was upgraded");
    command(&world, "!vizard follow");
    wait(&world, "it is there", |world| {
        portal(world).room == new && ghosts(world, new.as_str()).len() == 1
    });
    handled(&world);
    let now = portal(&world);
    assert!(now.joined_at > before.joined_at);
    assert!(now.called.iter().any(|name| name == "Circle of readers"));
    // What happens in the room of before is past.
    let late = json!({
        "type": "m.room.member", "event_id": "$late", "room_id": world.room, "sender": BOB,
        "state_key": now.ghost.id, "content": {"membership": "leave"},
        "origin_server_ts": world.deps().clock.now(),
    });
    step(&world, Direction::Inbound, &late, Trust::Clear);
    assert_eq!(portal(&world).state, PortalState::Joined);
}

#[test]
fn whoever_may_not_follow_stays() {
    let mut world = World::new();
    handled(&world);
    let mine = ghosts(&world, &world.room);
    let new = successor(&world, "Elsewhere");
    deny(&world, new.as_str());
    hears(&world, "This room was upgraded");
    command(&world, "!vizard follow");
    wait(&world, "it is refused", |world| {
        let events = world.fake.events(&world.portal);
        events.iter().any(|event| {
            let now = event["content"]["m.new_content"]["body"].as_str();
            now.is_some_and(|body| body.contains("asks not to be joined"))
        })
    });
    handled(&world);
    assert_eq!(ghosts(&world, &world.room), mine);
    assert!(ghosts(&world, new.as_str()).is_empty());
    assert_eq!(portal(&world).state, PortalState::Joined);
    world.goes_on();
}

#[test]
fn nobody_follows_or_returns_while_they_leave() {
    let world = World::new();
    successor(&world, "Elsewhere");
    hears(&world, "This room was upgraded");
    change(&world, |portal| portal.state = PortalState::Leaving);
    let ghost = ghosts(&world, &world.room).remove(0);
    for text in ["!vizard follow", "!vizard rejoin"] {
        let answer = command(&world, text);
        // It is outside, and only that is not on record yet.
        world.fake.reset_out(&ghost, &world.room);
        assert!(answer.contains("is leaving Tearoom"), "{answer}");
        assert!(answer.contains("`!vizard leave` lets it"), "{answer}");
    }
}

#[test]
fn what_is_redacted_during_a_join_is_redacted_afterwards() {
    let world = World::new();
    let event = world.fake.text(ALICE, &world.portal, "taken back").unwrap();
    let there = |world: &World| count(world, &world.room, ALICE, "taken back");
    wait(&world, "it is there", |world| there(world) == 1);
    handled(&world);
    change(&world, |portal| portal.state = PortalState::Joining);
    let redaction = world.fake.redact(ALICE, &world.portal, &event).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    change(&world, |portal| portal.state = PortalState::Joined);
    wait(&world, "it is gone", |world| there(world) == 0);
    handled(&world);
    let told = world.replies(&world.portal, redaction.as_str());
    assert!(
        !told.iter().any(|text| text.starts_with("Not sent:")),
        "{told:?}"
    );
}

/// A relay that remembers nothing takes one step.
fn step(world: &World, direction: Direction, event: &Value, trust: Trust) {
    let mut relay = Relay::new(first(world), Guards::default());
    once_more(world, &mut relay, direction, event, trust);
}

fn once_more(world: &World, relay: &mut Relay, direction: Direction, event: &Value, trust: Trust) {
    let raw = serde_json::value::to_raw_value(event).unwrap();
    let mut event = Event::decode(&raw).unwrap();
    event.trust = trust;
    let deps: Deps = world.deps();
    let now = deps.clock.now();
    world
        .ask(relay.step(&deps, direction, &event, now))
        .unwrap();
}

fn text(world: &World, id: &str, sender: &str, room: &str) -> Value {
    json!({
        "type": "m.room.message", "event_id": id, "room_id": room, "sender": sender,
        "content": {"msgtype": "m.text", "body": id}, "origin_server_ts": world.deps().clock.now(),
    })
}

#[test]
fn a_doubtful_device_is_told_of_once() {
    let world = World::new();
    handled(&world);
    let mut relay = Relay::new(first(&world), Guards::default());
    for id in ["$one", "$two"] {
        let event = text(&world, id, ALICE, &world.portal);
        let out = Direction::Outbound;
        once_more(&world, &mut relay, out, &event, Trust::UnsignedDevice);
        assert_eq!(count(&world, &world.room, ALICE, id), 1);
    }
    hears(&world, "a device of yours that you have not verified");
    // What is shown late has a relay of its own each time.
    change(&world, |portal| portal.shown.encrypted = true);
    for id in ["$three", "$four"] {
        let event = text(&world, id, BOB, &world.room);
        step(&world, Direction::Inbound, &event, Trust::UnsignedDevice);
    }
    hears(&world, "a device that its owner has not verified");
}

/// Alice writes what is held back, and replies this to it. The reply.
fn answered(world: &World, text: &str, decision: &str) -> Value {
    let held = world.fake.text(ALICE, &world.portal, text).unwrap();
    let question = world.answer(&world.portal, held.as_str());
    assert!(question.starts_with("Held back"), "{question}");
    if decision == "discard" {
        falter(world, "send");
    }
    let content = json!({
        "msgtype": "m.text", "body": decision, "m.relates_to": {"m.in_reply_to": {"event_id": held}},
    });
    let reply = world.fake.say(ALICE, &world.portal, content).unwrap();
    handled(world);
    world.fake.event(&reply).unwrap()
}

#[test]
fn a_decision_that_is_handled_again_does_nothing_more() {
    let world = World::new();
    let yes = answered(&world, "I am alice", "send");
    assert_eq!(count(&world, &world.room, ALICE, "I am alice"), 1);
    // As after a crash before it was noted that it is handled.
    let mut relay = Relay::new(first(&world), Guards::default());
    once_more(&world, &mut relay, Direction::Outbound, &yes, Trust::Clear);
    assert!(relay.owes_receipt(), "what was sent has its fate");
    assert_eq!(count(&world, &world.room, ALICE, "I am alice"), 1);
    assert_eq!(count(&world, &world.room, ALICE, "send"), 0);

    let no = answered(&world, "I am alice still", "discard");
    step(&world, Direction::Outbound, &no, Trust::Clear);
    let told = world.replies(&world.portal, no["event_id"].as_str().unwrap());
    assert_eq!(told, ["Discarded: it was not sent."]);
    assert_eq!(count(&world, &world.room, ALICE, "I am alice still"), 0);
    assert_eq!(count(&world, &world.room, ALICE, "discard"), 0);
}
