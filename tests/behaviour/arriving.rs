//! Invites of ghosts that were offered: shown, accepted, declined, taken back, over; and what the room sees of it.

use ruma::UserId;
use serde_json::json;
use vizard::{
    invite::arrive,
    sealed::{REQUEST_TYPE, SealedAddress, Sealing},
};

use crate::{
    fake::{Keys, faults::Fault},
    inviter::{
        self, CAROL, Inviter, event, offered, portals, requests_as, sealed, withdraw, withdrawal,
    },
    steps::{handled, wait},
    world::{ALICE, BOB, World},
};

/// Carol is invited behind a ghost: who invites, the ghost, and her portal.
pub fn invited(world: &World) -> (Inviter, ruma::OwnedUserId, String) {
    world.fake.user(CAROL, "Carol");
    let inviter = Inviter::new(world, 1);
    let ghost = inviter.ghost_of(world, CAROL);
    inviter.invite(world, &ghost);
    wait(world, "there is a portal", |world| {
        portals(world, CAROL).len() == 1
    });
    let portal = portals(world, CAROL).into_keys().next().unwrap();
    handled(world);
    (inviter, ghost, portal)
}

fn said(world: &World, room: &str) -> String {
    let messages = world.fake.messages(room);
    messages.into_iter().map(|(_, text)| text + "\n").collect()
}

fn membership(world: &World, room: &str, user: &str) -> String {
    world.fake.membership(room, user).unwrap_or_default()
}

fn pseudonyms(world: &World, user: &str) -> usize {
    let (deps, user) = (world.deps(), UserId::parse(user).unwrap());
    let user = world.ask(deps.store.user(&user)).unwrap();
    user.map_or(0, |user| user.pseudonyms.len())
}

#[test]
fn an_invite_is_shown_and_accepted() {
    let mut world = World::new();
    let (inviter, ghost, portal) = invited(&world);
    // What is needed to decide stands outside.
    let name = world.fake.state_of(&portal, "m.room.name", "").unwrap();
    assert_eq!(name["name"], "Salon");
    let topic = world.fake.state_of(&portal, "m.room.topic", "").unwrap();
    let invite = world
        .fake
        .state_of(&portal, "m.room.member", CAROL)
        .unwrap();
    for text in [&topic["topic"], &invite["reason"]] {
        let text = text.as_str().unwrap();
        for part in [
            "“Amber Finch” (@_vizard_",
            ":b.example), for whom no Vizard vouches, invites you to “Salon”",
            "Join",
            "Decline",
            "good until",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
    assert!(world.fake.state_of(&portal, "m.room.avatar", "").is_none());
    // Nothing is known of the ghost anywhere.
    assert_eq!(requests_as(&world, &ghost), (false, vec![]));
    assert_eq!(
        membership(&world, inviter.room.as_str(), ghost.as_str()),
        "invite"
    );

    world.fake.join(CAROL, &portal).unwrap();
    wait(&world, "it is joined", |world| {
        membership(world, inviter.room.as_str(), ghost.as_str()) == "join"
            && said(world, &portal).contains("joined as")
    });
    let member = world
        .fake
        .state_of(&inviter.room, "m.room.member", ghost.as_str())
        .unwrap();
    assert_eq!(
        member["org.matrix.msc4014.mxid_mapping"]["room_id"],
        inviter.room.as_str()
    );
    let topic = world.fake.state_of(&portal, "m.room.topic", "").unwrap();
    assert_eq!(topic["topic"], "Their topic");
    // It goes both ways.
    world.fake.text(CAROL, &portal, "good evening").unwrap();
    world
        .fake
        .text(&inviter.id, &inviter.room, "and to you")
        .unwrap();
    wait(&world, "both have heard", |world| {
        said(world, inviter.room.as_str()).contains("good evening")
            && said(world, &portal).contains("and to you")
    });
    // Its end is none.
    withdraw(&world, &ghost);
    assert_eq!(
        membership(&world, inviter.room.as_str(), ghost.as_str()),
        "join"
    );
    assert_eq!(offered(&world, &ghost), None);
    world.goes_on();
}

#[test]
fn an_invite_to_an_encrypted_room_is_shown_in_an_encrypted_portal() {
    for keys in [Keys::Taken, Keys::Unused] {
        let world = World::with_all(keys, |_| {});
        world.fake.user(CAROL, "Carol");
        let inviter = Inviter::new(&world, 1);
        let algorithm = json!({"algorithm": "m.megolm.v1.aes-sha2"});
        world
            .fake
            .send_state(
                &inviter.id,
                &inviter.room,
                "m.room.encryption",
                "",
                algorithm,
            )
            .unwrap();
        let ghost = inviter.ghost_of(&world, CAROL);
        inviter.invite(&world, &ghost);
        wait(&world, "there is a portal", |world| {
            portals(world, CAROL).len() == 1
        });
        let portal = portals(&world, CAROL).into_keys().next().unwrap();
        handled(&world);
        let encrypted = world.fake.state_of(&portal, "m.room.encryption", "");
        assert_eq!(encrypted.is_some(), keys == Keys::Taken);
        world.fake.join(CAROL, &portal).unwrap();
        if keys == Keys::Taken {
            wait(&world, "it is joined", |world| {
                membership(world, inviter.room.as_str(), ghost.as_str()) == "join"
            });
            continue;
        }
        // It is known from the outside, or seen at the first look, that nothing could be said there.
        wait(&world, "it is explained", |world| {
            said(world, &portal).contains("this Vizard cannot encrypt")
        });
        wait(&world, "nobody is there", |world| {
            membership(world, inviter.room.as_str(), ghost.as_str()) == "leave"
        });
    }
}

#[test]
fn a_refusal_stays_at_home_until_the_common_end() {
    let mut world = World::new();
    let (inviter, ghost, portal) = invited(&world);
    let due = withdrawal(&world, &ghost).unwrap().0;
    world.fake.leave(CAROL, &portal).unwrap();
    wait(&world, "the portal is closed", |world| {
        world
            .fake
            .look(|rooms| rooms.rooms[&portal].joined().count())
            == 0
    });
    handled(&world);
    assert_eq!(pseudonyms(&world, CAROL), 0);
    assert_eq!(requests_as(&world, &ghost), (false, vec![]));
    assert_eq!(
        membership(&world, inviter.room.as_str(), ghost.as_str()),
        "invite"
    );
    // Invited once more: she has answered.
    world.fake.kick(&inviter.id, &inviter.room, &ghost).unwrap();
    inviter.invite(&world, &ghost);
    handled(&world);
    assert!(portals(&world, CAROL).is_empty());
    assert_eq!(withdrawal(&world, &ghost).unwrap().0, due);

    withdraw(&world, &ghost);
    assert_eq!(
        membership(&world, inviter.room.as_str(), ghost.as_str()),
        "leave"
    );
    assert_eq!(requests_as(&world, &ghost), (true, vec!["leave"]));
    assert_eq!(offered(&world, &ghost), None);
    // Another invite finds nothing in its way.
    let second = inviter.ghost_of(&world, CAROL);
    assert_ne!(second, ghost);
    inviter.invite(&world, &second);
    wait(&world, "there is a portal", |world| {
        portals(world, CAROL).len() == 1
    });
    world.goes_on();
}

#[test]
fn what_is_taken_back_or_over_is_no_longer_shown() {
    let mut world = World::new();
    let chat = |world: &World| said(world, &world.chat);
    // Alice, who has a chat with the bot.
    let inviter = Inviter::new(&world, 1);
    for end in ["taken back", "expired"] {
        let ghost = inviter.ghost_of(&world, ALICE);
        inviter.invite(&world, &ghost);
        wait(&world, "there is a portal", |world| {
            portals(world, ALICE).len() == 2
        });
        handled(&world);
        if end == "expired" {
            withdraw(&world, &ghost);
        } else {
            world.fake.kick(&inviter.id, &inviter.room, &ghost).unwrap();
        }
        wait(&world, "the portal is closed", |world| {
            portals(world, ALICE).len() == 1
        });
        wait(&world, "it is told", |world| chat(world).contains(end));
        handled(&world);
        assert_eq!(pseudonyms(&world, ALICE), 1);
        assert_eq!(
            membership(&world, inviter.room.as_str(), ghost.as_str()),
            "leave"
        );
    }
    world.goes_on();
}

/// Anybody can remove a ghost from a room of their own, in which it never was: that takes nobody's invite back.
#[test]
fn nobody_takes_an_invite_back_from_another_room() {
    let mut world = World::new();
    let (inviter, ghost, portal) = invited(&world);
    let eve = "@eve:c.example";
    world.fake.user(eve, "Eve");
    let hers = world.fake.public_room(eve, "Hers");
    world.fake.invite(eve, &hers, &ghost).unwrap();
    world.fake.kick(eve, &hers, &ghost).unwrap();
    world.fake.ban(eve, &hers, &ghost).unwrap();
    // And one that she bans where it was never invited.
    let other = world.fake.public_room(eve, "Other");
    world.fake.ban(eve, &other, &ghost).unwrap();
    handled(&world);
    world.goes_on();
    assert_eq!(membership(&world, &portal, CAROL), "invite");
    world.fake.join(CAROL, &portal).unwrap();
    wait(&world, "it is joined", |world| {
        membership(world, inviter.room.as_str(), ghost.as_str()) == "join"
    });
    world.goes_on();
}

/// The same ghost, invited and removed: each end is told.
#[test]
fn each_that_is_taken_back_is_told() {
    let mut world = World::new();
    let inviter = Inviter::new(&world, 1);
    let ghost = inviter.ghost_of(&world, ALICE);
    for time in 1..=3 {
        inviter.invite(&world, &ghost);
        wait(&world, "there is a portal", |world| {
            portals(world, ALICE).len() == 2
        });
        handled(&world);
        world.fake.kick(&inviter.id, &inviter.room, &ghost).unwrap();
        wait(&world, "the portal is closed", |world| {
            portals(world, ALICE).len() == 1
        });
        wait(&world, "it is told", |world| {
            said(world, &world.chat).matches("was taken back").count() == time
        });
        handled(&world);
    }
    world.goes_on();
}

#[test]
fn one_that_is_taken_back_comes_again_three_times() {
    let mut world = World::new();
    world.fake.user(CAROL, "Carol");
    let inviter = Inviter::new(&world, 1);
    let ghost = inviter.ghost_of(&world, CAROL);
    let offer = offered(&world, &ghost).unwrap();
    assert!(offer.single_until.is_some(), "the address works once");
    for time in 1..=4 {
        inviter.invite(&world, &ghost);
        handled(&world);
        wait(&world, "it is shown, or was often enough", |world| {
            portals(world, CAROL).len() == usize::from(time < 4)
        });
        handled(&world);
        world.fake.kick(&inviter.id, &inviter.room, &ghost).unwrap();
        wait(&world, "it is closed", |world| {
            portals(world, CAROL).is_empty()
        });
        handled(&world);
    }
    // For anybody else the address is used.
    let spent = world.ask(vizard::portal::UsedAddress::of(
        &world.deps(),
        &offer.payload,
    ));
    assert_eq!(spent.unwrap().unwrap().ghost, Some(ghost));
    world.goes_on();
}

/// Whoever accepted and was sent away may be invited back: the end of the first invite is not the end of that.
#[test]
fn the_end_of_an_invite_that_was_accepted_ends_no_later_one() {
    let mut world = World::new();
    let (inviter, ghost, portal) = invited(&world);
    world.fake.join(CAROL, &portal).unwrap();
    wait(&world, "it is joined", |world| {
        said(world, &portal).contains("joined as")
    });
    handled(&world);
    world.fake.kick(&inviter.id, &inviter.room, &ghost).unwrap();
    handled(&world);
    inviter.invite(&world, &ghost);
    handled(&world);
    withdraw(&world, &ghost);
    let now = membership(&world, inviter.room.as_str(), ghost.as_str());
    assert_eq!(now, "invite");
    // She is told, once, however often somebody takes it back and invites again.
    let told = |world: &World| {
        let said = said(world, &portal);
        said.matches(" is invited back to this room. `!vizard rejoin` accepts.")
            .count()
    };
    wait(&world, "she is told", |world| told(world) == 1);
    for _ in 0..2 {
        world.fake.kick(&inviter.id, &inviter.room, &ghost).unwrap();
        inviter.invite(&world, &ghost);
        handled(&world);
    }
    assert_eq!(told(&world), 1);
    world.fake.text(CAROL, &portal, "!vizard rejoin").unwrap();
    wait(&world, "it is joined", |world| {
        membership(world, inviter.room.as_str(), ghost.as_str()) == "join"
    });
    // After that, it is news again.
    wait(&world, "it is known", |world| {
        said(world, &portal).matches("joined as").count() == 2
    });
    world.fake.kick(&inviter.id, &inviter.room, &ghost).unwrap();
    inviter.invite(&world, &ghost);
    wait(&world, "she is told again", |world| told(world) == 2);
    world.goes_on();
}

/// The homeserver of the room does not know it any more, or does not answer.
#[test]
fn what_is_gone_when_it_is_accepted_is_explained_however_it_shows() {
    for (fault, words) in [
        (
            Fault::NotFound,
            "The invite is gone: it was taken back, or it has expired. You are not in the room, and this portal is closed.",
        ),
        (
            Fault::ErrorAway,
            "The invite is gone, or b.example does not answer. You are not in the room, and this portal is closed.",
        ),
    ] {
        let mut world = World::new();
        let (inviter, ghost, portal) = invited(&world);
        for _ in 0..50 {
            world.fake.fail_next("join", fault);
        }
        world.fake.join(CAROL, &portal).unwrap();
        wait(&world, "it is explained", |world| {
            said(world, &portal).contains(words)
        });
        wait(&world, "nothing is left", |world| {
            pseudonyms(world, CAROL) == 0
        });
        world.fake.forget_faults();
        // The host has left, and so has the ghost. She keeps what was said.
        let joined: Vec<_> = world.fake.look(|rooms| {
            let joined = rooms.rooms[&portal].joined();
            joined.map(ToString::to_string).collect()
        });
        assert_eq!(joined, [CAROL]);
        let end = membership(&world, inviter.room.as_str(), ghost.as_str());
        assert_eq!(end, "leave");
        let user = UserId::parse(CAROL).unwrap();
        let deps = world.deps();
        assert!(
            !world
                .ask(deps.store.is_forgotten(&user, &inviter.room))
                .unwrap()
        );
        world.goes_on();
    }
}

#[test]
fn an_invite_that_is_gone_when_it_is_accepted_is_explained() {
    let mut world = World::new();
    let (inviter, ghost, portal) = invited(&world);
    world.fake.hold();
    world.fake.kick(&inviter.id, &inviter.room, &ghost).unwrap();
    world.fake.lose_pushes();
    world.fake.release();
    world.fake.join(CAROL, &portal).unwrap();
    wait(&world, "it is explained", |world| {
        said(world, &portal).contains("The invite is gone")
            && world
                .fake
                .look(|rooms| rooms.rooms[&portal].joined().count())
                == 1
    });
    wait(&world, "nothing is left", |world| {
        pseudonyms(world, CAROL) == 0
    });
    // Who is invited anew comes in.
    let second = inviter.ghost_of(&world, CAROL);
    inviter.invite(&world, &second);
    wait(&world, "there is a portal", |world| {
        portals(world, CAROL).len() == 1
    });
    let portal = portals(&world, CAROL).into_keys().next().unwrap();
    world.fake.join(CAROL, &portal).unwrap();
    wait(&world, "it is joined", |world| {
        membership(world, inviter.room.as_str(), second.as_str()) == "join"
    });
    world.goes_on();
}

#[test]
fn what_is_handled_twice_happens_once() {
    let mut world = World::new();
    world.fake.user(CAROL, "Carol");
    let inviter = Inviter::new(&world, 1);
    let ghost = inviter.ghost_of(&world, CAROL);
    // The portal room is made, and nobody hears of it; then other steps fail.
    world.fake.fail_next("create_room", Fault::ErrorAfter);
    world.fake.fail_next("invite", Fault::ErrorAfter);
    world.fake.fail_next("send", Fault::DropAfter);
    let invite = inviter.invite(&world, &ghost);
    wait(&world, "there is a portal", |world| {
        portals(world, CAROL).len() == 1
    });
    let portal = portals(&world, CAROL).into_keys().next().unwrap();
    wait(&world, "it is said", |world| {
        said(world, &portal).contains("Invitation")
    });
    handled(&world);
    let deps = world.deps();
    let again = event(&world, invite.as_str());
    for _ in 0..2 {
        world.ask(arrive::arrived(&deps, &again)).unwrap();
    }
    assert_eq!(portals(&world, CAROL).len(), 1);
    assert_eq!(said(&world, &portal).matches("Invitation").count(), 1);
    let hosts = world.fake.look(|rooms| {
        let made = rooms.rooms.values();
        made.filter(|room| room.membership(CAROL) == "invite")
            .count()
    });
    assert_eq!(hosts, 1);

    // Killed in the middle of the acceptance, too.
    world.fake.fail_next("join", Fault::ErrorAfter);
    world.fake.join(CAROL, &portal).unwrap();
    wait(&world, "the ghost is registered", |world| {
        requests_as(world, &ghost).0
    });
    world.kill();
    world.start(|_| {});
    wait(&world, "it is joined", |world| {
        said(world, &portal).contains("joined as")
    });
    assert_eq!(pseudonyms(&world, CAROL), 1);
    assert_eq!(said(&world, &portal).matches("accepted. ").count(), 1);
    // The invite comes once more: the pseudonym is somebody's.
    let deps = world.deps();
    world.ask(arrive::arrived(&deps, &again)).unwrap();
    assert_eq!(portals(&world, CAROL).len(), 1);
    world.goes_on();
}

#[test]
fn commands_answer_invites_too() {
    let mut world = World::new();
    let inviter = Inviter::new(&world, 1);
    let ghost = inviter.ghost_of(&world, ALICE);
    inviter.invite(&world, &ghost);
    wait(&world, "there is a portal", |world| {
        portals(world, ALICE).len() == 2
    });
    handled(&world);
    let ask = |world: &World, text: &str| {
        let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
        world.answer(&world.chat, asked.as_str())
    };
    let list = ask(&world, "list");
    assert!(
        list.contains("in Salon – invited, not answered yet"),
        "{list}"
    );
    let waits = ask(&world, "invites");
    for part in [
        "Received",
        "Salon, from ",
        "Amber Finch (@_vizard_",
        "no Vizard vouches",
    ] {
        assert!(waits.contains(part), "{part} is not in: {waits}");
    }
    let declined = ask(&world, "leave 2");
    assert!(
        declined.contains("Declined: the invite to “Salon”"),
        "{declined}"
    );
    wait(&world, "the portal is closed", |world| {
        portals(world, ALICE).len() == 1
    });

    let ghost = inviter.ghost_of(&world, ALICE);
    inviter.invite(&world, &ghost);
    wait(&world, "there is a portal", |world| {
        portals(world, ALICE).len() == 2
    });
    handled(&world);
    // The room's name, which a stranger chose, holds back nothing that Alice says elsewhere.
    world
        .fake
        .text(ALICE, &world.portal, "to the Salon")
        .unwrap();
    wait(&world, "it is said", |world| {
        said(world, &world.room).contains("to the Salon")
    });
    ask(&world, "rejoin 2");
    wait(&world, "it is joined", |world| {
        membership(world, inviter.room.as_str(), ghost.as_str()) == "join"
    });
    world.goes_on();
}

#[test]
fn an_invite_through_an_address_says_so() {
    let world = World::new();
    let ask = |text: &str| {
        let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
        world.answer(&world.chat, asked.as_str())
    };
    let answer = ask("address create Conference");
    let text = answer.lines().find(|line| line.starts_with("vz1:"));
    let address = SealedAddress::parse(text.unwrap()).unwrap();
    let inviter = Inviter::new(&world, 1);
    let request = inviter.request(&world, &address);
    let ghost = inviter::ghost(&inviter.ask(&world, &request).unwrap().content);
    inviter.invite(&world, &ghost);
    wait(&world, "there is a portal", |world| {
        portals(world, ALICE).len() == 2
    });
    handled(&world);
    let mut both = portals(&world, ALICE);
    both.remove(&world.portal);
    let portal = both.into_keys().next().unwrap();
    let invite = world.fake.state_of(&portal, "m.room.member", ALICE);
    let reason = invite.unwrap()["reason"].to_string();
    assert!(
        reason.contains("through your contact address “Conference”"),
        "{reason}"
    );
    let waits = ask("invites");
    assert!(
        waits.contains("through your address") && waits.contains("Conference"),
        "{waits}"
    );
}

#[test]
fn for_whoever_is_no_pseudonym_their_vizard_asks() {
    let (mut world, peer) = crate::peer::world(Keys::Unused, 60);
    world.fake.user(CAROL, "Carol");
    let user = UserId::parse(CAROL).unwrap();
    let library = json!({"preset": "private_chat", "name": "Library"});
    let library = world.fake.create_room(BOB, &library).unwrap();
    let eve = "@eve:c.example";
    world.fake.user(eve, "Eve");
    world.fake.invite(BOB, &library, eve).unwrap();
    world.fake.join(eve, &library).unwrap();
    let bot = peer.bot().to_string();
    let answers = |world: &World| {
        let mut posted = world.fake.posted();
        posted.retain(|one| one.to == bot);
        posted
    };
    let mut asked = 0;
    let mut ask = |world: &World| {
        let address = sealed(world, Sealing::Contact { user: &user });
        let request = peer.asks(world, &address, &library);
        let mine = world.deps().bot.user;
        world.fake.post(&bot, mine.as_str(), REQUEST_TYPE, request);
        asked += 1;
        wait(world, "there is an answer", |world| {
            answers(world).len() == asked
        });
        inviter::ghost(&answers(world).pop().unwrap().content)
    };
    for (who, words) in [
        (
            BOB,
            Some("“Bob” (@bob:b.example), for whose server the Vizard of b.example asked, invites"),
        ),
        (
            eve,
            Some("“Eve” (@eve:c.example), for whom no Vizard vouches, invites"),
        ),
        (BOB, None),
    ] {
        let ghost = ask(&world);
        if words.is_none() {
            // Who it is shows only now.
            let (deps, bob) = (world.deps(), UserId::parse(BOB).unwrap());
            let keep = |user: &mut vizard::store::User| {
                user.kept_out = vec![vizard::store::KeptOut::User(bob.clone())];
            };
            world.ask(deps.store.update_user(&user, keep)).unwrap();
        }
        world.fake.invite(who, &library, &ghost).unwrap();
        wait(&world, "its end is set", |world| {
            withdrawal(world, &ghost).is_some()
        });
        handled(&world);
        let shown = portals(&world, CAROL).into_keys().next();
        let Some(words) = words else {
            assert_eq!(shown, None);
            continue;
        };
        let portal = shown.unwrap();
        let invite = world
            .fake
            .state_of(&portal, "m.room.member", CAROL)
            .unwrap();
        let reason = invite["reason"].as_str().unwrap();
        assert!(reason.starts_with(words), "{reason}");
        world.fake.leave(CAROL, &portal).unwrap();
        handled(&world);
    }
    world.goes_on();
}

#[test]
fn whenever_vizard_is_killed_there_is_one_portal_and_one_answer() {
    for millis in [0, 2, 5, 9, 14, 20, 30] {
        let mut world = World::new();
        world.fake.user(CAROL, "Carol");
        let inviter = Inviter::new(&world, 1);
        let (ghost, other) = (
            inviter.ghost_of(&world, CAROL),
            inviter.ghost_of(&world, ALICE),
        );
        let strike = |world: &mut World| {
            std::thread::sleep(std::time::Duration::from_millis(millis));
            world.kill();
            world.start(|_| {});
        };
        inviter.invite(&world, &ghost);
        inviter.invite(&world, &other);
        strike(&mut world);
        wait(&world, "there are portals", |world| {
            portals(world, CAROL).len() == 1 && portals(world, ALICE).len() == 2
        });
        let portal = portals(&world, CAROL).into_keys().next().unwrap();
        let mut others = portals(&world, ALICE);
        others.remove(&world.portal);
        let declined = others.into_keys().next().unwrap();
        wait(&world, "she may come in", |world| {
            membership(world, &portal, CAROL) == "invite"
        });
        world.fake.leave(ALICE, &declined).unwrap();
        world.fake.join(CAROL, &portal).unwrap();
        strike(&mut world);
        wait(&world, "one is joined, one is gone", |world| {
            said(world, &portal).contains("joined as")
                && pseudonyms(world, ALICE) == 1
                && portals(world, ALICE).len() == 1
        });
        assert_eq!(said(&world, &portal).matches("Invitation").count(), 1);
        assert_eq!(said(&world, &portal).matches("accepted. ").count(), 1);
        assert_eq!(pseudonyms(&world, CAROL), 1);
        for ghost in [&ghost, &other] {
            withdraw(&world, ghost);
        }
        let end = |ghost: &str| membership(&world, inviter.room.as_str(), ghost);
        assert_eq!(end(ghost.as_str()), "join");
        assert_eq!(end(other.as_str()), "leave");
        world.goes_on();
    }
}
