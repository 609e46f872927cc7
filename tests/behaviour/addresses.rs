//! Contact addresses and blocking, as people ask for them.

use ruma::{owned_user_id, room_id};
use serde_json::json;
use vizard::{
    invite::contacts::{Contact, MOST},
    pseudonym::SenderKey,
    rng::Rng,
    sealed::{self, InviterKey, Kind, Opened, SealedAddress, Target},
    store::{KeptOut, Received, User},
};

use crate::{
    steps::{command, wait},
    world::{ALICE, BOB, World},
};

const DAY: u64 = 24 * 60 * 60 * 1000;

/// Says something in the direct chat; the answer.
fn ask(world: &World, text: &str) -> String {
    let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
    world.answer(&world.chat, asked.as_str())
}

fn alice(world: &World) -> User {
    let store = world.deps().store;
    let user = async move { store.user(ALICE.try_into().unwrap()).await };
    world.ask(user).unwrap().unwrap()
}

/// The address in an answer: alone on its line.
fn text_in(answer: &str) -> String {
    let mut lines = answer.lines().filter(|line| line.starts_with("vz1:"));
    let text = lines
        .next()
        .unwrap_or_else(|| panic!("no address in {answer}"));
    assert_eq!(lines.next(), None);
    text.to_owned()
}

/// What Vizard's own keys make of an address, whoever invites to whatever room.
fn opened(world: &World, text: &str) -> Opened {
    let keys = world.deps().keys.hpke();
    let inviter: InviterKey = SenderKey::generate(&Rng::seeded(3)).id().into();
    let (room, server) = (room_id!("!any:c.example"), "a.example".try_into().unwrap());
    let address = SealedAddress::parse(text).unwrap();
    sealed::open(&address, server, &keys, room, &inviter).unwrap()
}

fn owner(world: &World, id: [u8; 16]) -> Option<String> {
    let store = world.deps().store;
    let contact = world.ask(async move { store.note::<Contact>(&id).await });
    contact.unwrap().map(|contact| contact.owner.to_string())
}

#[test]
fn an_address_is_made_shown_and_taken_back() {
    let world = World::new();
    assert!(ask(&world, "address").contains("no address yet"));
    let answer = ask(&world, "address create My  friends —expires 30 days");
    assert!(
        answer.contains("Here is your address “My friends”"),
        "{answer}"
    );
    assert!(answer.contains("not encrypted"), "{answer}");
    let text = text_in(&answer);
    let opened_first = opened(&world, &text);
    let Target::Contact(id) = opened_first.target else {
        panic!("{opened_first:?}");
    };
    let kept = alice(&world).addresses.remove(0);
    assert_eq!(
        (kept.id, &*kept.label, kept.revoked),
        (id, "My friends", false)
    );
    assert_eq!(
        (opened_first.kind, opened_first.expires_ts),
        (Kind::Contact, kept.expires)
    );
    assert_eq!(kept.expires, kept.created + 30 * DAY);
    assert!(!opened_first.is_single_use());
    assert_eq!(owner(&world, id).as_deref(), Some(ALICE));

    // A fresh text for the same address, also from the portal.
    let again = text_in(&command(&world, "!vizard address show MY FRIENDS"));
    assert_ne!(again, text);
    assert_eq!(opened(&world, &again), opened_first);

    let twice = ask(&world, "address create my friends");
    assert!(
        twice.contains("already") && !twice.contains("vz1:"),
        "{twice}"
    );
    assert!(ask(&world, "address").contains("My friends – made on 14 Nov 2023, works until"));
    let revoked = ask(&world, "address revoke my friends");
    assert!(revoked.contains("“My friends” is revoked"), "{revoked}");
    assert!(ask(&world, "address show my friends").contains("is revoked"));
    assert!(ask(&world, "address list").contains(", revoked"));
    assert!(alice(&world).addresses[0].revoked);

    // The label is free again; the old address is gone, and leads to nobody.
    let next = text_in(&ask(&world, "address create My friends"));
    let Target::Contact(other) = opened(&world, &next).target else {
        panic!("no contact");
    };
    assert_ne!(other, id);
    assert_eq!(alice(&world).addresses.len(), 1);
    assert_eq!(
        (owner(&world, id), owner(&world, other).as_deref()),
        (None, Some(ALICE))
    );
}

#[test]
fn what_makes_no_address() {
    let world = World::new();
    for (text, said) in [
        ("address create", "give the address a label"),
        ("address create b.example", "could be taken for"),
        ("address create @bob:b.example", "could be taken for"),
        ("address create 7", "could be taken for"),
        ("address create Work --expires 401d", "at most 400 days"),
        ("address create Work --expires 2020-01-01", "over already"),
        ("address create Work --expires soon", "Until when?"),
        ("address show Work", "no address called “Work”"),
        ("address revoke", "Which one?"),
        ("address dance", "address create LABEL"),
    ] {
        let answer = ask(&world, text);
        assert!(answer.contains(said), "{text}: {answer}");
        assert!(!answer.contains("vz1:"), "{answer}");
    }
    assert!(alice(&world).addresses.is_empty());
    for number in 0..MOST {
        text_in(&ask(&world, &format!("address create Label {number}")));
    }
    assert!(ask(&world, "address create One more").contains("as many as work at once"));
    ask(&world, "address revoke Label 3");
    text_in(&ask(&world, "address create One more"));
}

#[test]
fn without_invites_there_are_no_addresses() {
    let world = World::with_settings("12", |settings| settings.invites.enabled = false);
    assert!(ask(&world, "address create Work").contains("switched sealed invites off"));
    assert!(ask(&world, "address").contains("no address yet"));
}

#[test]
fn people_servers_and_addresses_are_kept_out() {
    let world = World::new();
    assert!(ask(&world, "block").contains("You block nobody"));
    ask(&world, "address create Work");
    let id = alice(&world).addresses[0].id;
    for (text, said) in [
        (
            "block @eve:e.example",
            "Blocked: @eve:e.example. They are not told",
        ),
        (
            "block https://matrix.to/#/@eve:e.example",
            "You block @eve:e.example already",
        ),
        ("block E.example", "Blocked: everybody on e.example"),
        ("block work", "Blocked: whoever uses your address “Work”"),
        ("block wrok", "do not know whom"),
        ("block 1", "do not know whom"),
        ("block vz1:a.example:AAAA", "give its label"),
        ("block @alice:a.example", "That is you"),
        ("block @vizard:a.example", "Vizard's own users"),
        (
            "unblock @mallory:m.example",
            "You do not block @mallory:m.example",
        ),
    ] {
        let answer = ask(&world, text);
        assert!(answer.contains(said), "{text}: {answer}");
    }
    let kept = alice(&world).kept_out;
    let expected = [
        KeptOut::User(owned_user_id!("@eve:e.example")),
        KeptOut::Server("e.example".try_into().unwrap()),
        KeptOut::Address(id),
    ];
    assert_eq!(kept, expected);
    let list = ask(&world, "block");
    assert!(
        list.contains("2. everybody on e.example\n3. whoever uses your address “Work”"),
        "{list}"
    );
    assert!(ask(&world, "unblock 2").contains("No longer blocked: everybody on e.example"));
    assert!(ask(&world, "unblock Work").contains("No longer blocked: whoever uses"));
    assert!(ask(&world, "unblock @eve:e.example").contains("No longer blocked"));
    assert!(alice(&world).kept_out.is_empty());
}

#[test]
fn in_a_portal_a_mirror_stands_for_a_member() {
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
    let mirror = hello["sender"].as_str().unwrap();
    let relation = json!({"m.in_reply_to": {"event_id": hello["event_id"]}});
    for content in [
        json!({"msgtype": "m.text", "body": "!vizard block", "m.relates_to": relation}),
        json!({"msgtype": "m.text", "body": "!vizard block Bob", "m.mentions": {"user_ids": [mirror]}}),
        json!({"msgtype": "m.text", "body": format!("!vizard block {mirror}")}),
    ] {
        let asked = world.fake.say(ALICE, &world.portal, content).unwrap();
        let answer = world.answer(&world.portal, asked.as_str());
        assert!(answer.contains("Blocked: @bob:b.example"), "{answer}");
        assert_eq!(
            alice(&world).kept_out,
            [KeptOut::User(BOB.try_into().unwrap())]
        );
        assert!(command(&world, "!vizard unblock 1").contains("No longer"));
    }
    assert!(ask(&world, &format!("block {mirror}")).contains("Vizard's own users"));
    assert!(command(&world, "!vizard block").contains("You block nobody"));

    // In the portal of an invite, or by its number, it is who sent it.
    let inviter = owned_user_id!("@eve:e.example");
    let received = Received {
        inviter: inviter.clone(),
        inviter_name: None,
        vouched: false,
        address: None,
        expires: 1_700_000_000_000 + DAY,
        event: None,
    };
    let (deps, id) = (world.deps(), alice(&world).pseudonyms[0].portal);
    world
        .ask(async move {
            let change = |portal: &mut vizard::store::Portal| portal.received = Some(received);
            deps.portals.update(id, change).await
        })
        .unwrap();
    assert!(command(&world, "!vizard block").contains("Blocked: @eve:e.example"));
    assert!(ask(&world, "block 1").contains("You block @eve:e.example already"));
    assert_eq!(alice(&world).kept_out, [KeptOut::User(inviter)]);
}
