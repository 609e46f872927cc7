//! Whose identity has changed is marked until that was read.

use serde_json::json;

use crate::{
    fake::{Keys, faults::Fault},
    member::Member,
    secrecy::{encrypt, is_encrypted},
    steps::{handled, wait},
    world::{ALICE, BOB, World},
};

#[test]
fn what_carries_no_mark_makes_no_other_identity_known() {
    let world = World::with_keys(Keys::Kept);
    let mut alice = Member::new(&world, ALICE, "ALICES");
    encrypt(&world);
    wait(&world, "the portal is encrypted", |world| {
        is_encrypted(world, &world.portal)
    });
    handled(&world);
    let bob = Member::new(&world, BOB, "FIRST");
    let text = |body: &str| json!({"msgtype": "m.text", "body": body});
    let message = "m.room.message";
    let hears = |world: &World, alice: &mut Member, body: &str| {
        let portal = &world.portal;
        handled(world);
        let read = alice.reads(world, portal);
        assert!(
            read.iter().any(|(_, said)| said == body),
            "{body}: {read:?}"
        );
    };
    let first = bob.says(&world, &world.room, message, &text("it is me"));
    hears(&world, &mut alice, "it is me");

    // Somebody else has his account, and begins with what cannot be marked.
    let mallory = Member::new(&world, BOB, "SECOND");
    let like = json!({"m.relates_to": {
        "rel_type": "m.annotation", "event_id": first, "key": "👍",
    }});
    mallory.says(&world, &world.room, "m.reaction", &like);
    handled(&world);
    let liked = |world: &World| {
        let events = world.fake.events(&world.portal);
        events.iter().any(|event| event["type"] == "m.reaction")
    };
    assert!(liked(&world), "the reaction is there");
    mallory.says(&world, &world.room, message, &text("it is still me"));
    hears(&world, &mut alice, "⚠ it is still me");
    hears(
        &world,
        &mut alice,
        "⚠ What is marked so here comes from somebody whose identity has changed.",
    );
    // That was read.
    mallory.says(&world, &world.room, message, &text("as always"));
    hears(&world, &mut alice, "as always");

    // What is not relayed is marked, too.
    let third = Member::new(&world, BOB, "THIRD");
    let poll = json!({"m.poll": {"question": {"m.text": [{"body": "Tea?"}]}}});
    third.says(&world, &world.room, "m.poll.start", &poll);
    hears(&world, &mut alice, "⚠ a poll: not supported yet");
}

#[test]
fn who_could_not_be_told_of_their_own_identity_is_told_with_the_next_message() {
    let world = World::with_keys(Keys::Kept);
    let first = Member::new(&world, ALICE, "FIRST");
    encrypt(&world);
    wait(&world, "the portal is encrypted", |world| {
        is_encrypted(world, &world.portal)
    });
    handled(&world);
    let says = |member: &Member, body: &str| {
        let text = json!({"msgtype": "m.text", "body": body});
        member.says(&world, &world.portal, "m.room.message", &text);
        handled(&world);
    };
    says(&first, "it is me");
    let mut second = Member::new(&world, ALICE, "SECOND");
    let told = |member: &mut Member| {
        let read = member.reads(&world, &world.portal);
        let about = |(_, body): &&(String, String)| body.contains("after your identity was reset");
        read.iter().filter(about).count()
    };
    // The portal does not take it.
    world.fake.fail_next("send", Fault::Forbidden);
    says(&second, "and this is me");
    assert_eq!(told(&mut second), 0);
    says(&second, "and so is this");
    assert_eq!(told(&mut second), 1);
    says(&second, "and this");
    assert_eq!(told(&mut second), 1, "once was enough");
}
