//! What is looked at once more when an invite comes, and once it is accepted: who vouches for the inviter, what the admin denies by
//! now, and where the user has been.

use ruma::UserId;
use serde_json::{Value, json};
use vizard::{
    invite::contacts::Contact,
    sealed::Sealing,
    store::{Address, Where},
};

use crate::{
    fake::{Keys, faults::Fault},
    inviter::{
        self, CAROL, HOUR, Inviter, offered, portals, requests_as, sealed, withdraw, withdrawal,
    },
    peer::{self, Peer, settings},
    steps::{command, ghosts, handled, wait},
    whispers::whispers,
    world::{ALICE, BOB, World},
};

/// Waits for an invite to be handled, shown or not.
fn ended(world: &World, ghost: &UserId) {
    wait(world, "its end is set", |world| {
        withdrawal(world, ghost).is_some()
    });
    handled(world);
}

fn pseudonyms(world: &World, user: &str) -> usize {
    let (deps, user) = (world.deps(), UserId::parse(user).unwrap());
    let user = world.ask(deps.store.user(&user)).unwrap();
    user.map_or(0, |user| user.pseudonyms.len())
}

#[test]
fn a_pseudonym_is_vouched_for_by_its_mapping() {
    let (mut world, peer) = peer::world(Keys::Unused, 60);
    world.fake.user(CAROL, "Carol");
    let impostor = Peer::new("b.example", 9, world.deps().clock.now());
    for (seed, vouched) in [(1, Some(&peer)), (2, Some(&impostor)), (3, None)] {
        let inviter = Inviter::new(&world, seed);
        let elsewhere = Inviter::new(&world, seed + 10);
        let mapping = vouched.map(|peer| peer.mapping(&inviter.key, &inviter.room));
        let moved = peer.mapping(&inviter.key, &elsewhere.room);
        let reason = reason(&world, &inviter, &mapping.unwrap_or(moved));
        let id = &inviter.id;
        let words = match seed {
            1 => "“Amber Finch”, a pseudonym on b.example, invites".to_owned(),
            _ => format!("“Amber Finch” ({id}), for whom no Vizard vouches, invites"),
        };
        assert!(reason.starts_with(&words), "{seed}: {reason}");
    }
    world.goes_on();
}

/// With which words Carol is invited by somebody who has this mapping. She declines.
fn reason(world: &World, inviter: &Inviter, mapping: &Value) -> String {
    let (id, kind) = (inviter.id.as_str(), "m.room.member");
    let member = json!({
        "membership": "join", "displayname": "Amber Finch",
        "org.matrix.msc4014.mxid_mapping": mapping,
    });
    let written = world.fake.send_state(id, &inviter.room, kind, id, member);
    written.unwrap();
    let ghost = inviter.ghost_of(world, CAROL);
    inviter.invite(world, &ghost);
    wait(world, "there is a portal", |world| {
        portals(world, CAROL).len() == 1
    });
    handled(world);
    let portal = portals(world, CAROL).into_keys().next().unwrap();
    let shown = world.fake.state_of(&portal, kind, CAROL).unwrap();
    world.fake.leave(CAROL, &portal).unwrap();
    wait(world, "it is closed", |world| {
        portals(world, CAROL).is_empty()
    });
    handled(world);
    shown["reason"].as_str().unwrap().to_owned()
}

/// What the admin writes into the configuration counts, whatever was pinned before.
#[test]
fn who_was_pinned_wrongly_vouches_for_nobody_once_the_true_key_is_named() {
    let mut world = World::with_settings("12", |config| settings(config, 60));
    world.fake.user(CAROL, "Carol");
    let now = world.deps().clock.now();
    let (peer, eve) = (
        Peer::new("b.example", 7, now),
        Peer::new("b.example", 9, now),
    );
    eve.publishes(&world);
    let key = peer.document().verify_keys()[0].to_base64();
    for (seed, by_hand) in [(1, false), (2, true)] {
        if by_hand {
            world.kill();
            world.start(|config| {
                settings(config, 60);
                let known = config.peers.get_mut(peer.document().server()).unwrap();
                known.server_key = Some(key.clone());
            });
        }
        let inviter = Inviter::new(&world, seed);
        let mapping = eve.mapping(&inviter.key, &inviter.room);
        let reason = reason(&world, &inviter, &mapping);
        let vouched = reason.starts_with("“Amber Finch”, a pseudonym on b.example, invites");
        assert_eq!(vouched, !by_hand, "{reason}");
        let vouching = world.deps().peers;
        let vouching = world.ask(vouching.vouching(inviter.id.server_name()));
        assert_eq!(vouching.unwrap().is_some(), !by_hand);
    }
    world.goes_on();
}

#[test]
fn members_of_denied_servers_invite_nobody() {
    let mut world = World::with_settings("12", |config| {
        settings(config, 60);
        config.access.denied_servers = vec!["c.example".to_owned()];
    });
    let peer = Peer::new("b.example", 7, world.deps().clock.now());
    peer.publishes(&world);
    world.fake.user(CAROL, "Carol");
    let user = UserId::parse(CAROL).unwrap();
    let eve = "@eve:c.example";
    world.fake.user(eve, "Eve");
    let library = world.fake.public_room(BOB, "Library");
    world.fake.join(eve, &library).unwrap();
    let bot = Inviter {
        id: peer.bot(),
        ..Inviter::new(&world, 1)
    };
    let address = sealed(&world, Sealing::Contact { user: &user });
    let request = peer.asks(&world, &address, &library);
    let ghost = inviter::ghost(&bot.ask(&world, &request).unwrap().content);
    assert!(!offered(&world, &ghost).unwrap().decoy);
    world.fake.invite(eve, &library, &ghost).unwrap();
    ended(&world, &ghost);
    assert!(portals(&world, CAROL).is_empty());
    // The same ghost, by somebody who may.
    world.fake.kick(BOB, &library, &ghost).unwrap();
    world.fake.invite(BOB, &library, &ghost).unwrap();
    wait(&world, "there is a portal", |world| {
        portals(world, CAROL).len() == 1
    });
    world.goes_on();
}

#[test]
fn what_is_denied_meanwhile_is_not_shown_or_explained_and_ends() {
    let mut world = World::new();
    world.fake.user(CAROL, "Carol");
    let (first, second, third) = (
        Inviter::new(&world, 1),
        Inviter::new(&world, 2),
        Inviter::new(&world, 3),
    );
    let [shown, denied, banned] =
        [&first, &second, &third].map(|inviter| inviter.ghost_of(&world, CAROL));
    first.invite(&world, &shown);
    wait(&world, "there is a portal", |world| {
        portals(world, CAROL).len() == 1
    });
    handled(&world);
    world.kill();
    world.start(|config| config.access.denied_servers = vec!["b.example".to_owned()]);
    second.invite(&world, &denied);
    ended(&world, &denied);
    assert_eq!(portals(&world, CAROL).len(), 1);
    let portal = portals(&world, CAROL).into_keys().next().unwrap();
    world.fake.join(CAROL, &portal).unwrap();
    wait(&world, "it is explained", |world| {
        let said = world.fake.messages(&portal);
        said.iter().any(|(_, text)| text.contains("does not allow"))
    });
    wait(&world, "nothing is left of it", |world| {
        pseudonyms(world, CAROL) == 0
    });
    // Nobody outside has noticed, and it ends like all others.
    assert_eq!(requests_as(&world, &shown), (false, vec![]));
    withdraw(&world, &shown);
    let membership = world.fake.membership(&first.room, &shown);
    assert_eq!(membership.unwrap(), "leave");

    world.kill();
    world.start(|config| config.access.denied_users = vec!["@car*:a.example".to_owned()]);
    third.invite(&world, &banned);
    ended(&world, &banned);
    assert!(portals(&world, CAROL).is_empty());
    world.goes_on();
}

#[test]
fn who_is_banned_has_no_commands_but_those_that_end_something() {
    let world = World::with_settings("12", |config| {
        config.access.denied_users = vec!["@eve:*".to_owned()];
    });
    let eve = "@eve:a.example";
    world.fake.user(eve, "Eve");
    let bot = "@vizard:a.example";
    let chat = json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [bot]});
    let chat = world.fake.create_room(eve, &chat).unwrap();
    wait(&world, "she is told", |world| {
        let said = world.fake.messages(&chat);
        said.iter()
            .any(|(_, text)| text.contains("not open to you"))
    });
}

#[test]
fn there_is_never_a_second_pseudonym_where_one_was() {
    let world = World::at_pace(5, Keys::Unused, |_| {});
    let old = world.room.clone();
    let mine = ghosts(&world, &old).remove(0);
    let body = json!({
        "preset": "public_chat", "name": "Tearoom",
        "creation_content": {"predecessor": {"room_id": old}},
    });
    let new = world.fake.create_room(BOB, &body).unwrap();
    let tombstone = json!({"body": "moved", "replacement_room": new});
    world
        .fake
        .send_state(BOB, &old, "m.room.tombstone", "", tombstone)
        .unwrap();
    handled(&world);
    command(&world, "!vizard follow");
    wait(&world, "the ghost is there", |world| {
        ghosts(world, new.as_str()) == [mine.clone()] && ghosts(world, &old).is_empty()
    });
    handled(&world);

    // Invited to the old room.
    let mut inviter = Inviter::new(&world, 1);
    inviter.room = old.as_str().try_into().unwrap();
    let ghost = inviter.ghost_of(&world, ALICE);
    assert!(offered(&world, &ghost).unwrap().decoy);
    let told = whispers(&world);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].place, Where::Successor);
    let deps = world.deps();
    world
        .ask(vizard::invite::whisper::run(&deps, &told[0]))
        .unwrap();
    let said = world.fake.messages(&world.chat);
    assert!(
        said.iter()
            .any(|(_, text)| text.contains("to the room that “Tearoom” replaced, where you are")),
        "{said:?}"
    );
    // She cannot go there under another name either.
    let asked = world
        .fake
        .text(ALICE, &world.chat, &format!("join {old} b.example"))
        .unwrap();
    wait(&world, "it is explained", |world| {
        let events = world.fake.events(&world.chat);
        events.iter().any(|event| {
            event.to_string().contains(asked.as_str())
                && event
                    .to_string()
                    .contains("went along to the one that replaced it")
        }) || world
            .fake
            .messages(&world.chat)
            .iter()
            .any(|(_, text)| text.contains("went along to the one that replaced it"))
    });
    assert_eq!(pseudonyms(&world, ALICE), 1);

    // Invited to one that replaces hers: that shows only when the invite comes.
    let mut inviter = Inviter::new(&world, 2);
    let body = json!({
        "preset": "private_chat", "name": "Third",
        "creation_content": {"predecessor": {"room_id": new}},
    });
    inviter.room = world.fake.create_room(&inviter.id, &body).unwrap();
    let ghost = inviter.ghost_of(&world, ALICE);
    assert!(!offered(&world, &ghost).unwrap().decoy);
    inviter.invite(&world, &ghost);
    ended(&world, &ghost);
    assert_eq!(pseudonyms(&world, ALICE), 1);
    let told = whispers(&world);
    assert!(told.iter().any(|task| task.place == Where::Predecessor));
}

#[test]
fn owners_on_other_servers_are_not_asked_about() {
    let zoe = UserId::parse("@zoe:z.example").unwrap();
    let world = World::with_settings("12", |config| {
        config.access.users = vec!["a.example".to_owned(), "z.example".to_owned()];
    });
    let deps = world.deps();
    let now = deps.clock.now();
    let address = Address {
        id: [7; 16],
        label: "Blog".to_owned(),
        created: now,
        expires: now + 200 * HOUR,
        revoked: false,
    };
    let add = |user: &mut vizard::store::User| user.addresses = vec![address.clone()];
    world.ask(deps.store.update_user(&zoe, add)).unwrap();
    let contact = Contact { owner: zoe };
    world
        .ask(deps.store.set_note(&address.id, None, &contact))
        .unwrap();
    let sealing = Sealing::Address {
        server: deps.namespace.server(),
        id: address.id,
    };
    let inviter = Inviter::new(&world, 1);
    let request = inviter.request(&world, &sealed(&world, sealing));
    let before = world.fake.requests().len();
    let ghost = inviter::ghost(&inviter.ask(&world, &request).unwrap().content);
    assert!(!offered(&world, &ghost).unwrap().decoy);
    let seen = world.fake.requests();
    assert!(seen[before..].iter().any(|one| one.endpoint == "profile"));
    for one in &seen[before..] {
        assert!(!one.line.contains("zoe"), "{}", one.line);
    }
}

#[test]
fn a_homeserver_that_forbids_looking_hides_nobody() {
    let world = World::new();
    let inviter = Inviter::new(&world, 1);
    let request = inviter.request(&world, &inviter.seal(&world, "@unknown:a.example"));
    world.fake.fail_next("profile", Fault::Forbidden);
    let ghost = inviter::ghost(&inviter.ask(&world, &request).unwrap().content);
    assert!(!offered(&world, &ghost).unwrap().decoy);
    let ghost = inviter.ghost_of(&world, "@unknown:a.example");
    assert!(offered(&world, &ghost).unwrap().decoy);
}
