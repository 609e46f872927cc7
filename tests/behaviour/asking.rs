//! Inviting somebody by way of their own server's Vizard: what is asked, what is made of the answer, and what a crash changes.

use std::time::Duration;

use ruma::{RoomId, ServerName, UserId};
use serde_json::{Value, json};
use sqlx::Connection as _;
use vizard::{
    invite::ask,
    portal::{Deps, PortalError, Portals, sent},
    pseudonym::{Namespace, ServerKey, nick_of},
    rng::Rng,
    sealed::{
        InviteRequest, InviteSecret, RESPONSE_TYPE, Sealing, Target, UnverifiedRequest, answer,
        seal,
    },
    store::{InviteTask, Job, PortalId, Report, Task, Whom},
};

use crate::{
    fake::{Keys, faults::Fault, post::Posted},
    peer::{Peer, progress, request, requests, settings, told, world},
    steps::{command, ghosts, handled, wait},
    world::{ALICE, BOB, World},
};

const DORA: &str = "@dora:b.example";
const CAROL: &str = "@carol:a.example";
/// Seconds that are as good as for ever: they are counted by a fast clock.
const LONG: u64 = 60_000;

fn invite(world: &World, text: &str) -> String {
    let asked = world.fake.text(ALICE, &world.portal, text).unwrap();
    asked.to_string()
}

fn jobs(world: &World) -> Vec<Job> {
    let deps = world.deps();
    world.ask(async { deps.store.due_jobs(u64::MAX >> 2, 100).await.unwrap() })
}

/// Whom the room's members invited, and by whom.
fn invited(world: &World) -> Vec<(String, String)> {
    let events = world.fake.events(&world.room);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    events
        .iter()
        .filter(|event| event["content"]["membership"] == "invite")
        .map(|event| (text(&event["sender"]), text(&event["state_key"])))
        .collect()
}

fn nick(world: &World, ghost: &UserId) -> String {
    let key = world.deps().namespace.sender_key(ghost).unwrap();
    nick_of(&key)
}

fn asked_and_invited(keys: Keys) {
    let (world, peer) = world(keys, LONG);
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    let posted = request(&world, 1);
    assert_eq!(posted.to, "@vizard:b.example");
    assert_eq!(posted.sender, ghosts(&world, &world.room)[0]);
    let (_, opened) = peer.read(&world, &posted);
    assert_eq!(
        opened.target,
        Target::User(UserId::parse(DORA).unwrap()),
        "and nobody else can open it"
    );
    // What is stored while the answer is waited for.
    let waiting = jobs(&world);
    let [Task::Invite(task)] = &waiting.iter().map(|job| &job.task).collect::<Vec<_>>()[..] else {
        panic!("{waiting:?}");
    };
    let stored = serde_json::to_string(task).unwrap();
    assert!(!stored.contains("dora"), "{stored}");
    // Nothing but homeservers vouches for that server's keys here, and that is said.
    let words = "sealed for b.example (for its keys there is the word of homeservers alone)";
    told(&world, &world.portal, &asked, words);

    let ghost = peer.answers(&world, &posted);
    let name = nick(&world, &ghost);
    told(&world, &world.portal, &asked, &format!("invited as {name}"));
    assert_eq!(invited(&world), [(posted.sender, ghost.to_string())]);
    let listed = command(&world, "!vizard invites");
    assert!(
        listed.contains(&name) && listed.contains("for b.example"),
        "{listed}"
    );
    let chat = world.fake.text(ALICE, &world.chat, "invites").unwrap();
    let listed = world.answer(&world.chat, chat.as_str());
    assert!(
        listed.contains(&name) && listed.contains("Tearoom"),
        "{listed}"
    );

    world.fake.user(&ghost, "Sly Cat");
    world.fake.join(&ghost, &world.room).unwrap();
    told(
        &world,
        &world.portal,
        &asked,
        "Sly Cat (invited for b.example) joined",
    );
    wait(&world, "nothing waits", |world| {
        command(world, "!vizard invites").contains("No invite waits")
    });
    assert_eq!(requests(&world).len(), 1);
    let said = world.fake.messages(&world.room);
    assert!(
        said.iter().all(|(_, body)| !body.contains("dora")),
        "{said:?}"
    );
    wait(&world, "the job is over", |world| jobs(world).is_empty());
    let said = progress(&world, &world.portal, &asked);
    assert_eq!(said.len(), 4, "{said:?}");
}

#[test]
fn it_is_asked_answered_and_invited() {
    asked_and_invited(Keys::Unused);
}

#[test]
fn the_same_with_encryption() {
    asked_and_invited(Keys::Taken);
}

#[test]
fn who_can_read_the_command_is_said() {
    let (world, _peer) = world(Keys::Unused, 3);
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    told(&world, &world.portal, &asked, "did not answer in 3 s");
    let said = world.fake.messages(&world.portal);
    let said = said.iter().find(|(_, body)| body.contains("can read whom"));
    let (_, said) = said.expect("that the homeserver can read it");
    assert!(said.contains("https://b.example/seal"), "{said}");
    assert!(invited(&world).is_empty());
    wait(&world, "the job is over", |world| jobs(world).is_empty());
    assert_eq!(requests(&world).len(), 3);
}

#[test]
fn a_refusal_is_told() {
    let (world, peer) = world(Keys::Unused, LONG);
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    peer.refuses(&world, &request(&world, 1));
    told(
        &world,
        &world.portal,
        &asked,
        "b.example refused the request",
    );
    assert!(invited(&world).is_empty());
}

#[test]
fn a_lost_question_is_asked_again() {
    // Asked the third time, there is a third of that left: some seconds of the machine's time.
    let (world, peer) = world(Keys::Unused, 2_400);
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    let third = request(&world, 3);
    let all = requests(&world);
    assert!(all.iter().all(|one| one.content == third.content));
    assert!(all[0].txn_id != all[1].txn_id && all[1].txn_id != all[2].txn_id);
    peer.answers(&world, &third);
    told(&world, &world.portal, &asked, "invited as");
}

/// Each must be ignored, and must not end the waiting.
#[test]
fn what_others_answer_changes_nothing() {
    let metrics = vizard::telemetry::metrics();
    let (world, peer) = world(Keys::Unused, LONG);
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    let posted = request(&world, 1);
    let (ghost, good) = peer.answer(&world, &posted);
    let with = |field: &str, value: Value| {
        let mut content = good.clone();
        content[field] = value;
        content
    };
    let now = world.deps().clock.now();
    let elsewhere = Peer::new("c.example", 8, now);
    let impostor = Peer::new("b.example", 9, now);
    let signed_by = |peer: &Peer| {
        let request = read_by_anybody(&world, &posted);
        let namespace = Namespace::new(peer.document().server(), "_vizard_", "vizard").unwrap();
        let secret = InviteSecret::generate(&Rng::seeded(1));
        let key = ServerKey::generate(&Rng::seeded(2));
        answer(&request, &secret, &namespace, &key).content
    };
    let ignored = || -> u64 {
        let all = metrics.render();
        let lines = all
            .lines()
            .filter(|line| line.starts_with("vizard_invite_answers_ignored_total{"));
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum()
    };
    let b = "@vizard:b.example";
    for (sender, content) in [
        ("@vizard:c.example", good.clone()),
        ("@mallory:b.example", good.clone()),
        (b, with("ghost", json!("@_vizard_x:b.example"))),
        (b, with("request_hash", json!("x"))),
        (b, with("signatures", json!({}))),
        (b, with("more", json!(1))),
        (b, json!({"request_id": good["request_id"]})),
        (b, signed_by(&impostor)),
        (b, signed_by(&elsewhere)),
        ("@vizard:c.example", signed_by(&elsewhere)),
        (b, with("request_id", json!("AAAAAAAAAAAAAAAAAAAAAA"))),
    ] {
        // What answers another question is given to nobody. All else is read, one after the other: few are kept meanwhile.
        let (before, is_read) = (ignored(), content["request_id"] == good["request_id"]);
        world
            .fake
            .post(sender, &posted.sender, RESPONSE_TYPE, content);
        if is_read {
            wait(&world, "it is ignored", |_| ignored() > before);
        }
    }
    // To somebody who did not ask.
    let (bot, before) = ("@vizard:a.example", ignored());
    world.fake.post(b, bot, RESPONSE_TYPE, good.clone());
    wait(&world, "it is ignored too", |_| ignored() > before);
    assert!(invited(&world).is_empty());
    assert_eq!(jobs(&world).len(), 1, "it still waits");
    // The admin can see of what kind they were.
    let counted = metrics.render();
    for why in [
        "shape",
        "other_sender",
        "other_request",
        "signature",
        "other_recipient",
    ] {
        let line = format!("vizard_invite_answers_ignored_total{{why=\"{why}\"}}");
        assert!(counted.contains(&line), "{line} is not in\n{counted}");
    }
    peer.says(&world, &posted, good);
    told(&world, &world.portal, &asked, "invited as");
    assert_eq!(invited(&world)[0].1, ghost.as_str());
}

/// The request, as whoever has it can read it.
fn read_by_anybody(world: &World, posted: &Posted) -> InviteRequest {
    let sender = UserId::parse(&posted.sender).unwrap();
    let server = ServerName::parse(posted.content["to"].as_str().unwrap()).unwrap();
    let content = posted.content.to_string();
    let now = world.deps().clock.now();
    let request = UnverifiedRequest::parse(content.as_bytes(), &sender, &server, now).unwrap();
    request.verify(None).unwrap()
}

/// What the command in the room `heard` makes of an invite of Dora by a user, whose portal it may be.
fn task(
    world: &World,
    user: &str,
    portal: Option<PortalId>,
    heard: &str,
    command: &str,
) -> InviteTask {
    InviteTask {
        user: UserId::parse(user).unwrap(),
        portal,
        room: RoomId::parse(&world.room).unwrap(),
        whom: Whom::User(UserId::parse(DORA).unwrap()),
        request: None,
        ghost: None,
        noted: false,
        report: Report {
            room: RoomId::parse(heard).unwrap(),
            command: command.try_into().unwrap(),
            portal,
            unasked: false,
            silent: false,
            message: None,
        },
    }
}

/// As many as there are turns, of several users, wait for a server that says nothing.
#[test]
fn who_waits_for_other_servers_holds_up_nobody_else() {
    let (world, _peer) = world(Keys::Unused, LONG);
    let deps = world.deps();
    for number in 0..40 {
        let command = format!("$waits{number}");
        let user = format!("@u{}:a.example", number / 4);
        let mut task = task(&world, &user, None, &world.chat, &command);
        task.report.unasked = true;
        let task = Task::Invite(Box::new(task));
        world
            .ask(deps.add_job(&command, deps.clock.now(), task))
            .unwrap();
    }
    request(&world, 32);
    let library = world.fake.public_room(BOB, "Library").to_string();
    let asked = world
        .fake
        .text(ALICE, &world.chat, &format!("join {library} b.example"))
        .unwrap();
    told(&world, &world.chat, asked.as_str(), "joined as");
    assert!(jobs(&world).len() >= 32, "they wait still");
}

#[test]
fn keys_may_be_replaced_meanwhile() {
    let (world, peer) = world(Keys::Unused, LONG);
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    let posted = request(&world, 1);
    let newer = peer.rotated(world.deps().clock.now());
    newer.publishes(&world);
    newer.answers(&world, &posted);
    told(&world, &world.portal, &asked, "invited as");
}

#[test]
fn a_crash_asks_the_same_and_invites_once() {
    let (mut world, peer) = world(Keys::Unused, LONG);
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    let first = request(&world, 1);
    handled(&world);
    world.kill();
    world.start(|config| settings(config, LONG));
    let second = request(&world, 2);
    assert_eq!(first.content, second.content);
    for _ in 0..20 {
        world.fake.fail_next("invite", Fault::ErrorAfter);
    }
    peer.answers(&world, &second);
    wait(&world, "it is invited", |world| !invited(world).is_empty());
    world.kill();
    world.fake.forget_faults();
    world.start(|config| settings(config, LONG));
    told(&world, &world.portal, &asked, "invited as");
    wait(&world, "it is over", |world| jobs(world).is_empty());
    assert_eq!(invited(&world).len(), 1);
    let said = progress(&world, &world.portal, &asked);
    assert_eq!(said.len(), 3, "{said:?}");

    // The command is handled once more, as after a crash before that was noted.
    let deps = world.deps();
    let ghost = UserId::parse(invited(&world)[0].1.clone()).unwrap();
    let portal = world.ask(async { deps.store.portal_ids().await.unwrap().pop() });
    let again = task(&world, ALICE, portal, &world.portal, &asked);
    let again = Task::Invite(Box::new(again));
    world
        .ask(deps.add_job(&asked, deps.clock.now(), again))
        .unwrap();
    wait(&world, "that is over too", |world| jobs(world).is_empty());
    assert_eq!(requests(&world).len(), 2);
    assert_eq!(invited(&world).len(), 1);
    world.fake.join(&ghost, &world.room).unwrap();
    told(&world, &world.portal, &asked, "joined");
}

#[test]
fn what_did_not_come_reads_the_same() {
    let (world, peer) = world(Keys::Unused, LONG);
    let mut said = Vec::new();
    for (number, end) in ["leave", "kick", "ban"].into_iter().enumerate() {
        let asked = invite(&world, &format!("!vizard invite @d{number}:b.example"));
        let ghost = peer.answers(&world, &request(&world, number + 1));
        told(&world, &world.portal, &asked, "invited as");
        match end {
            "leave" => world.fake.leave(&ghost, &world.room),
            "kick" => world.fake.kick(BOB, &world.room, &ghost),
            _ => world.fake.ban(BOB, &world.room, &ghost),
        }
        .unwrap();
        let text = told(&world, &world.portal, &asked, "did not come");
        said.push(text.replace(&nick(&world, &ghost), "X"));
    }
    assert!(said.iter().all(|text| *text == said[0]), "{said:?}");
    assert!(command(&world, "!vizard invites").contains("No invite waits"));
}

/// A ghost may stay for ever, or Vizard not hear that it has left.
#[test]
fn that_somebody_did_not_come_is_told_in_any_case() {
    let (world, peer) = world(Keys::Unused, LONG);
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    peer.answers(&world, &request(&world, 1));
    told(&world, &world.portal, &asked, "invited as");
    wait(&world, "the job is over", |world| jobs(world).is_empty());
    let deps = world.deps();
    world.ask(sent::give_up(&deps)).unwrap();
    assert!(!command(&world, "!vizard invites").contains("No invite waits"));
    let of_it = |step: &str| {
        let said = progress(&world, &world.portal, &asked);
        said.iter().filter(|text| text.contains(step)).count()
    };
    assert_eq!(of_it("did not come"), 0);
    // Three days, and half a day for the ghost.
    deps.clock.advance(Duration::from_hours(72 + 12));
    for _ in 0..2 {
        world.ask(sent::give_up(&deps)).unwrap();
    }
    told(&world, &world.portal, &asked, "did not come");
    assert_eq!(of_it("did not come"), 1);
}

/// A step was cut off, and when it is done once more the pseudonym is not in the room: whether somebody was invited can be seen.
#[test]
fn who_is_outside_by_now_may_have_invited_before() {
    let (world, peer) = world(Keys::Unused, LONG);
    let mine = ghosts(&world, &world.room).remove(0);
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    let ghost = peer.answers(&world, &request(&world, 1));
    told(&world, &world.portal, &asked, "invited as");
    wait(&world, "the job is over", |world| jobs(world).is_empty());
    world.fake.kick(BOB, &world.room, &mine).unwrap();
    handled(&world);
    let deps = world.deps();
    let portal = world.ask(async { deps.store.portal_ids().await.unwrap().pop() });
    for (command, words, noted) in [
        ("$sent", "invited as", 1),
        ("$unsent", "nobody was invited", 0),
    ] {
        if noted == 0 {
            world.fake.kick(BOB, &world.room, &ghost).unwrap();
        }
        let mut again = task(&world, ALICE, portal, &world.portal, command);
        again.ghost = Some(ghost.clone());
        again.noted = true;
        world.ask(ask::run(&deps, &mut again, 1)).unwrap();
        let text = told(&world, &world.portal, command, words);
        assert!(text.contains("not in the room any more"), "{text}");
        let waiting = world.ask(sent::waiting(&deps, portal.unwrap())).unwrap();
        assert_eq!(waiting.len(), noted, "{command}");
    }
}

/// The same for an invite that hid nothing.
#[test]
fn who_is_outside_by_now_may_have_invited_openly() {
    let (world, _peer) = world(Keys::Unused, LONG);
    let mine = ghosts(&world, &world.room).remove(0);
    let dan = UserId::parse("@dan:d.example").unwrap();
    let asked = invite(&world, &format!("!vizard invite {dan} --plain"));
    told(&world, &world.portal, &asked, "invited openly");
    wait(&world, "the job is over", |world| jobs(world).is_empty());
    world.fake.kick(BOB, &world.room, &mine).unwrap();
    handled(&world);
    let deps = world.deps();
    let portal = world.ask(async { deps.store.portal_ids().await.unwrap().pop() });
    for (command, words) in [
        // Whoever invited them, it was not this one.
        ("$before", "nobody was invited"),
        ("$sent", "Whom you named is invited by now, or in the room"),
        ("$unread", "it may have invited them or not"),
        ("$unsent", "nobody was invited"),
    ] {
        match command {
            "$unread" => world.fake.fail_next("state_event", Fault::Forbidden),
            "$unsent" => drop(world.fake.kick(BOB, &world.room, &dan).unwrap()),
            _ => {}
        }
        let mut again = task(&world, ALICE, portal, &world.portal, command);
        again.whom = Whom::Plain(dan.clone());
        again.noted = command != "$before";
        world.ask(ask::run(&deps, &mut again, 1)).unwrap();
        told(&world, &world.portal, command, words);
    }
}

#[test]
fn who_is_in_the_room_is_not_said_to_be_invited() {
    let (world, _peer) = world(Keys::Unused, LONG);
    let asked = invite(&world, &format!("!vizard invite {BOB} --plain"));
    told(&world, &world.portal, &asked, "in the room already");
    wait(&world, "the job is over", |world| jobs(world).is_empty());
    let said = progress(&world, &world.portal, &asked);
    assert_eq!(said.len(), 1, "{said:?}");
}

/// Words that cannot be said take nothing back.
#[test]
fn what_was_done_openly_is_told_whatever_fails_about_it() {
    let (world, _peer) = world(Keys::Unused, LONG);
    handled(&world);
    world.fake.fail_next("send", Fault::Forbidden);
    let asked = invite(&world, "!vizard invite @dan:d.example --plain");
    told(&world, &world.portal, &asked, "invited openly");
    wait(&world, "the job is over", |world| jobs(world).is_empty());
    let said = progress(&world, &world.portal, &asked);
    assert!(
        said.last().unwrap().starts_with("invited openly"),
        "{said:?}"
    );
    assert_eq!(invited(&world).len(), 1);
}

/// The homeserver invites, and never gets to say so.
#[test]
fn an_invite_whose_answers_are_lost_is_found_to_be_done() {
    let (world, peer) = world(Keys::Unused, LONG);
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    let posted = request(&world, 1);
    for _ in 0..100 {
        world.fake.fail_next("invite", Fault::ErrorAfter);
    }
    let ghost = peer.answers(&world, &posted);
    let name = nick(&world, &ghost);
    told(&world, &world.portal, &asked, &format!("invited as {name}"));
    wait(&world, "the job is over", |world| jobs(world).is_empty());
    world.fake.forget_faults();
    assert!(command(&world, "!vizard invites").contains(&name));
    world.fake.join(&ghost, &world.room).unwrap();
    told(&world, &world.portal, &asked, "joined");
}

/// An invite that is given up is forgotten only when it is known not to have been sent.
#[test]
fn what_is_given_up_may_have_been_done() {
    let (world, peer) = world(Keys::Unused, LONG);
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    let ghost = peer.answers(&world, &request(&world, 1));
    told(&world, &world.portal, &asked, "invited as");
    wait(&world, "the job is over", |world| jobs(world).is_empty());
    let deps = world.deps();
    let portal = world.ask(async { deps.store.portal_ids().await.unwrap().pop() });
    for (command, words, noted) in [
        ("$sent", "if they come, you are told", 1),
        ("$unread", "it may have invited them or not", 1),
        ("$unsent", "Your homeserver did not do it", 0),
    ] {
        match command {
            "$unread" => world.fake.fail_next("state_event", Fault::Forbidden),
            // As if it had never heard of it.
            "$unsent" => drop(world.fake.kick(BOB, &world.room, &ghost).unwrap()),
            _ => {}
        }
        let mut again = task(&world, ALICE, portal, &world.portal, command);
        again.ghost = Some(ghost.clone());
        again.noted = true;
        world.ask(ask::abandon(&deps, &mut again)).unwrap();
        told(&world, &world.portal, command, words);
        let waiting = world.ask(sent::waiting(&deps, portal.unwrap())).unwrap();
        assert_eq!(waiting.len(), noted, "{command}");
    }
}

/// What the database cannot say now is no word that there is no portal.
#[test]
fn nothing_is_said_of_an_invite_while_the_database_is_away() {
    let (world, _peer) = world(Keys::Unused, LONG);
    handled(&world);
    let deps = world.deps();
    let portal = world.ask(async { deps.store.portal_ids().await.unwrap().pop() });
    let ghost = UserId::parse(DORA).unwrap();
    let deps = Deps {
        // They remember nothing yet.
        portals: Portals::new(deps.store.clone()),
        ..deps
    };
    let rename = |from: &str, to: &str| {
        let (url, rename) = (
            world.database(),
            format!("ALTER TABLE {from} RENAME TO {to}"),
        );
        world.ask(async {
            let mut database = sqlx::AnyConnection::connect(url).await.unwrap();
            let rename = sqlx::query(sqlx::AssertSqlSafe(rename));
            rename.execute(&mut database).await.unwrap();
        });
    };
    let mut again = task(&world, ALICE, portal, &world.portal, "$unknown");
    again.ghost = Some(ghost);
    again.noted = true;
    rename("portals", "away");
    let told = world.ask(ask::abandon(&deps, &mut again));
    rename("away", "portals");
    assert!(matches!(told, Err(PortalError::Store(_))), "{told:?}");
    assert!(progress(&world, &world.portal, "$unknown").is_empty());
}

/// The word about a chat that is not encrypted is beside the matter: nobody is told that nothing was done.
#[test]
fn a_warning_that_cannot_be_said_stops_no_invite() {
    let (world, peer) = world(Keys::Unused, LONG);
    handled(&world);
    world.fake.fail_next("send", Fault::Forbidden);
    invite(&world, &format!("!vizard invite {DORA}"));
    peer.answers(&world, &request(&world, 1));
    wait(&world, "it is over", |world| jobs(world).is_empty());
    handled(&world);
    let said = world.fake.messages(&world.portal);
    assert!(
        said.iter()
            .all(|(_, text)| !text.contains("could not be done")),
        "{said:?}"
    );
}

#[test]
fn a_room_may_forbid_it() {
    let (world, peer) = world(Keys::Unused, LONG);
    let mut levels = world
        .fake
        .state_of(&world.room, "m.room.power_levels", "")
        .unwrap();
    levels["invite"] = 50.into();
    world
        .fake
        .send_state(BOB, &world.room, "m.room.power_levels", "", levels)
        .unwrap();
    let asked = invite(&world, &format!("!vizard invite {DORA}"));
    peer.answers(&world, &request(&world, 1));
    told(&world, &world.portal, &asked, "may not invite anybody here");
    assert!(command(&world, "!vizard invites").contains("No invite waits"));
    let asked = invite(&world, &format!("!vizard invite {DORA} --plain"));
    told(&world, &world.portal, &asked, "may not invite anybody here");
}

#[test]
fn without_a_vizard_there_is_an_ordinary_invite() {
    let (world, _peer) = world(Keys::Unused, LONG);
    let asked = invite(&world, "!vizard invite @dan:127.0.0.1:1");
    let text = told(&world, &world.portal, &asked, "no keys of 127.0.0.1:1");
    assert!(
        text.contains("--plain") && text.contains("no Vizard"),
        "{text}"
    );
    assert!(requests(&world).is_empty());
    let asked = invite(&world, "!vizard invite @dan:d.example --plain");
    told(&world, &world.portal, &asked, "invited openly");
    assert_eq!(invited(&world)[0].1, "@dan:d.example");
}

#[test]
fn a_sealed_address_is_asked_for_as_it_is() {
    let (world, peer) = world(Keys::Unused, LONG);
    let now = world.deps().clock.now();
    let dora = UserId::parse(DORA).unwrap();
    let key = peer.document().sealing_key(now).unwrap();
    let sealing = Sealing::Contact { user: &dora };
    let address = seal(&Rng::seeded(3), &key, sealing, now + 3_600_000_000).unwrap();
    let asked = invite(&world, &format!("!vizard invite {address}"));
    let posted = request(&world, 1);
    assert_eq!(posted.content["sealed"], address.to_string());
    peer.answers(&world, &posted);
    told(&world, &world.portal, &asked, "invited as");
    let damaged = &address.to_string()[..400];
    assert!(command(&world, &format!("!vizard invite {damaged}")).contains("damaged"));
    let openly = format!("!vizard invite {address} --plain");
    assert!(command(&world, &openly).contains("cannot be invited openly"));
}

#[test]
fn somebody_of_the_own_server_is_asked_for_in_the_same_way() {
    let (world, _peer) = world(Keys::Unused, LONG);
    let asked = invite(&world, &format!("!vizard invite {CAROL}"));
    let posted = request(&world, 1);
    assert_eq!(posted.to, "@vizard:a.example");
    let deps = world.deps();
    let read = read_by_anybody(&world, &posted);
    let (keys, namespace) = (&deps.keys, &deps.namespace);
    let prepared = answer(&read, keys.invite_secret(), namespace, &keys.server_key());
    let bot = namespace.bot().as_str();
    world
        .fake
        .post(bot, &posted.sender, RESPONSE_TYPE, prepared.content);
    told(&world, &world.portal, &asked, "invited as");
    assert_eq!(invited(&world)[0].1, prepared.ghost.as_str());
}

#[test]
fn whoever_is_no_pseudonym_is_told_whom_to_invite() {
    let (world, peer) = world(Keys::Unused, LONG);
    let say = |text: &str| {
        world
            .fake
            .text(ALICE, &world.chat, text)
            .unwrap()
            .to_string()
    };
    world.fake.alias("#tea:b.example", &world.room);
    let asked = say(&format!("invite {DORA} to #tea:b.example"));
    let posted = request(&world, 1);
    assert_eq!(posted.sender, "@vizard:a.example");
    assert_eq!(posted.content["room_id"], world.room);
    let (_, opened) = peer.read(&world, &posted);
    assert_eq!(opened.target, Target::User(UserId::parse(DORA).unwrap()));
    let ghost = peer.answers(&world, &posted);
    let text = told(&world, &world.chat, &asked, "Now invite");
    assert!(
        text.contains(ghost.as_str()) && text.contains("71 hours"),
        "{text}"
    );
    assert!(invited(&world).is_empty());

    // The other words.
    let answer = |text: &str| world.answer(&world.chat, &say(text));
    assert!(answer(&format!("invite {DORA}")).contains("Into which room?"));
    assert!(answer("invite nobody @x:b.example").contains("None of your pseudonyms"));
    assert!(answer("invite @dora:b.example to #none:b.example").contains("not known"));
    assert!(answer(&format!("invite 1 {ALICE}")).contains("That is you"));
    // Who is no pseudonym needs nobody's help to invite openly.
    let asked = say("invite @dan:127.0.0.1:1 to #tea:b.example");
    let text = told(&world, &world.chat, &asked, "no keys of 127.0.0.1:1");
    assert!(!text.contains("--plain"), "{text}");
    let asked = say(&format!("invite 1 {DORA}"));
    peer.answers(&world, &request(&world, 2));
    told(&world, &world.chat, &asked, "invited as");
    assert_eq!(invited(&world).len(), 1);
}
