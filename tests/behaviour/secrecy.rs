//! What is said in an encrypted room is encrypted, whatever was missed; and what others send there makes neither noise nor work
//! without end. The fake homeserver keeps no keys, so nobody reads what is encrypted: what counts here is that it is.

use ruma::{EventId, OwnedEventId, RoomId, UserId};
use serde_json::{Value, json};
use vizard::{
    portal::{Outcome, PortalError, source_in},
    relay::{self, LOOKS},
    rewrite::Scrubbed,
    store::{Direction, Link, PortalState, ReopenTask, Task},
};

use crate::{
    fake::{Keys, faults::Fault},
    steps::{command, count, enter, ghosts, handled, join, wait},
    world::{ALICE, BOB, World},
};

const CAROL: &str = "@carol:a.example";
pub const MEGOLM: &str = "m.megolm.v1.aes-sha2";

fn world() -> World {
    World::with_keys(Keys::Taken)
}

pub fn encrypt(world: &World) {
    let content = json!({ "algorithm": MEGOLM });
    world
        .fake
        .send_state(BOB, &world.room, "m.room.encryption", "", content)
        .unwrap();
}

pub fn is_encrypted(world: &World, room: &str) -> bool {
    let state = world.fake.state_of(room, "m.room.encryption", "");
    state.is_some_and(|content| content["algorithm"] == MEGOLM)
}

/// Lets the ghost say something in its room.
pub fn say(world: &World, source: &str) -> Result<(), PortalError> {
    let deps = world.deps();
    world.ask(async {
        let id = deps.store.portal_ids().await?[0];
        let portal = deps.portals.get(id).await?;
        let text = Scrubbed::notice("a secret");
        deps.say(&deps.ghost(&portal), &portal.room, &text, source, "test", 0)
            .await
            .map(drop)
    })
}

/// How often the ghost said the secret in clear.
fn in_clear(world: &World) -> usize {
    count(world, &world.room, "", "a secret")
}

/// What of ours speaks in a room.
pub fn ours(world: &World, room: &str, kind: &str) -> Vec<Value> {
    let mut events = world.fake.events(room);
    events.retain(|event| {
        let sender = event["sender"].as_str().unwrap_or_default();
        event["type"] == kind && sender.starts_with("@_vizard_")
    });
    events
}

/// What nobody can read.
fn sealed(session: &str) -> Value {
    // Its head, and zeros.
    let ciphertext = format!("AwgAEhAA{}", "A".repeat(116));
    json!({
        "algorithm": MEGOLM, "session_id": session, "ciphertext": ciphertext,
        "device_id": "BOBS", "sender_key": "Szl29ksW/L8yZGWAX+8dY1XyFi+i5wm+DRhTGkbMiwU",
    })
}

/// Bob sends what nobody can read.
fn unreadable(world: &World, session: &str) -> String {
    world
        .fake
        .send(BOB, &world.room, "m.room.encrypted", sealed(session))
        .unwrap()
        .to_string()
}

/// What looks for late keys, and how often each has looked.
pub fn reopens(world: &World) -> Vec<(ReopenTask, u32)> {
    let deps = world.deps();
    let jobs = world
        .ask(deps.store.due_jobs(u64::MAX >> 2, 1_000))
        .unwrap();
    let mut reopens = Vec::new();
    for job in jobs {
        if let Task::Reopen(task) = job.task {
            reopens.push((task, job.attempts));
        }
    }
    reopens
}

fn looks(world: &World) -> usize {
    reopens(world).len()
}

/// Whether a placeholder says that its key did not come.
fn promises_nothing(world: &World, portal: &str) -> bool {
    world.fake.events(portal).iter().any(|event| {
        let body = event["content"]["m.new_content"]["body"].as_str();
        body.is_some_and(|body| body.contains("key did not come"))
    })
}

#[test]
fn a_room_that_was_encrypted_unheard_is_not_spoken_to_in_clear() {
    let world = world();
    say(&world, "before").unwrap();
    assert_eq!(in_clear(&world), 1);
    world.fake.hold();
    encrypt(&world);
    world.fake.lose_pushes();
    world.fake.release();
    // For so long it was believed that it is not encrypted.
    let deps = world.deps();
    world.ask(deps.clock.sleep(std::time::Duration::from_mins(1)));
    say(&world, "after").unwrap();
    assert_eq!(in_clear(&world), 1);
    assert_eq!(ours(&world, &world.room, "m.room.encrypted").len(), 1);
}

#[test]
fn who_comes_back_into_an_encrypted_room_speaks_encrypted() {
    let world = world();
    say(&world, "before").unwrap();
    let ghost = ghosts(&world, &world.room).pop().unwrap();
    world.fake.kick(BOB, &world.room, &ghost).unwrap();
    handled(&world);
    encrypt(&world);
    assert!(!is_encrypted(&world, &world.portal));
    let answer = command(&world, "!vizard rejoin");
    assert!(!answer.is_empty());
    wait(
        &world,
        "the ghost is back, in an encrypted portal",
        |world| ghosts(world, &world.room).len() == 1 && is_encrypted(world, &world.portal),
    );
    say(&world, "after").unwrap();
    assert_eq!(in_clear(&world), 1);
    assert!(!ours(&world, &world.room, "m.room.encrypted").is_empty());
}

#[test]
fn what_came_in_clear_into_an_encrypted_portal_goes_nowhere() {
    let world = world();
    encrypt(&world);
    wait(&world, "the portal is encrypted", |world| {
        is_encrypted(world, &world.portal)
    });
    handled(&world);
    let before = ours(&world, &world.portal, "m.room.encrypted").len();
    world.fake.text(ALICE, &world.portal, "in clear").unwrap();
    wait(&world, "it is refused, encrypted", |world| {
        ours(world, &world.portal, "m.room.encrypted").len() > before
    });
    handled(&world);
    assert_eq!(count(&world, &world.room, ALICE, "in clear"), 0);
    assert!(ours(&world, &world.room, "m.room.encrypted").is_empty());
}

#[test]
fn a_command_that_came_in_clear_where_all_is_encrypted_is_not_obeyed() {
    let world = world();
    encrypt(&world);
    wait(&world, "the portal is encrypted", |world| {
        is_encrypted(world, &world.portal)
    });
    let content = json!({ "algorithm": MEGOLM });
    world
        .fake
        .send_state(ALICE, &world.chat, "m.room.encryption", "", content)
        .unwrap();
    handled(&world);
    let said = |world: &World, room: &str| {
        let mut events = world.fake.events(room);
        events.retain(|event| event["type"] == "m.room.encrypted");
        events.len()
    };
    for (room, command) in [
        (&world.portal, "!vizard forget"),
        (&world.portal, "!vizard forget confirm"),
        (&world.chat, "forget all"),
        (&world.chat, "forget confirm"),
    ] {
        let before = said(&world, room);
        world.fake.text(ALICE, room, command).unwrap();
        wait(&world, "it is answered, encrypted", |world| {
            said(world, room) > before
        });
        handled(&world);
    }
    assert_eq!(ghosts(&world, &world.room).len(), 1, "it was obeyed");
    let deps = world.deps();
    let alice = UserId::parse(ALICE).unwrap();
    let user = world.ask(deps.store.user(&alice)).unwrap().unwrap();
    assert_eq!(user.confirm_forget, None, "it was heard");
}

#[test]
fn who_cannot_open_anything_says_so() {
    let world = world();
    handled(&world);
    for _ in 0..10_000 {
        world.fake.fail_next("sync", Fault::Forbidden);
    }
    unreadable(&world, "refused");
    wait(&world, "the portal says so", |world| {
        let said = world.fake.messages(&world.portal);
        said.iter().any(|(_, body)| body.starts_with('🔒'))
    });
    let event = world
        .fake
        .send(ALICE, &world.portal, "m.room.encrypted", sealed("refused"))
        .unwrap();
    let answer = world.answer(&world.portal, event.as_str());
    assert!(answer.starts_with("Not sent: "), "{answer}");
    // Nobody looks in vain: one whose key is missing is looked for as before.
    assert_eq!(looks(&world), 1);
}

#[test]
fn a_command_that_was_refused_is_answered() {
    let world = World::new();
    for _ in 0..3 {
        world.fake.fail_next("joined_members", Fault::Forbidden);
    }
    let asked = world.fake.text(ALICE, &world.chat, "list").unwrap();
    let answer = world.answer(&world.chat, asked.as_str());
    assert!(answer.starts_with("That could not be done: "), "{answer}");
}

#[test]
fn a_room_that_claims_to_be_encrypted_no_more_hears_nothing() {
    let world = world();
    encrypt(&world);
    wait(&world, "the portal is encrypted", |world| {
        is_encrypted(world, &world.portal)
    });
    say(&world, "encrypted").unwrap();
    // Broken settings are no reason to speak in clear.
    world
        .fake
        .send_state(BOB, &world.room, "m.room.encryption", "", json!({}))
        .unwrap();
    handled(&world);
    say(&world, "broken settings").unwrap();
    assert_eq!(ours(&world, &world.room, "m.room.encrypted").len(), 2);
    // Nor is a homeserver that knows nothing of them any more.
    world.fake.forget_state(&world.room, "m.room.encryption");
    world
        .deps()
        .e2ee
        .forget_room(&RoomId::parse(&world.room).unwrap());
    let refused = say(&world, "downgraded").unwrap_err();
    assert!(refused.to_string().contains("not any more"), "{refused}");
    assert_eq!(in_clear(&world), 0);
}

#[test]
fn a_redaction_is_followed_only_where_the_homeserver_did_it() {
    let mut world = world();
    let shown = |world: &World| count(world, &world.portal, BOB, "stays");
    let event = world.fake.text(BOB, &world.room, "stays").unwrap();
    wait(&world, "it is shown", |world| shown(world) == 1);
    for (id, content, beside) in [
        ("$made_up_1", json!({ "redacts": event }), event.as_str()),
        (
            "$made_up_2",
            json!({ "redacts": "$another" }),
            event.as_str(),
        ),
        ("$made_up_3", json!({ "redacts": event }), "$another"),
    ] {
        world.push(json!({
            "type": "m.room.redaction", "event_id": id, "room_id": world.room, "sender": BOB,
            "origin_server_ts": world.deps().clock.now(), "content": content, "redacts": beside,
        }));
    }
    world.goes_on();
    assert_eq!(shown(&world), 1);
    world.fake.redact(BOB, &world.room, &event).unwrap();
    wait(&world, "it is gone", |world| shown(world) == 0);
}

#[test]
fn what_was_redacted_before_anybody_read_it_is_no_news() {
    let mut world = world();
    let said = |world: &World| {
        let rooms = [&world.portal, &world.room].map(|room| world.fake.messages(room));
        rooms
            .into_iter()
            .flatten()
            .filter(|(_, body)| !body.starts_with("in ") && !body.starts_with("out "))
            .count()
    };
    let before = said(&world);
    for (id, room, sender) in [
        ("$redacted_1", &world.room, BOB),
        ("$redacted_2", &world.portal, ALICE),
    ] {
        world.push(json!({
            "type": "m.room.encrypted", "event_id": id, "room_id": room, "sender": sender,
            "origin_server_ts": world.deps().clock.now(), "content": {},
            "unsigned": { "redacted_because": { "type": "m.room.redaction" } },
        }));
    }
    world.goes_on();
    assert_eq!(said(&world), before);
}

#[test]
fn before_a_placeholder_its_device_has_synced() {
    let world = world();
    handled(&world);
    let ghost = ghosts(&world, &world.room).pop().unwrap();
    let before = world.fake.requests().len();
    unreadable(&world, "late");
    wait(&world, "it has a placeholder", |world| {
        let said = world.fake.messages(&world.portal);
        said.iter().any(|(_, body)| body.starts_with('🔒'))
    });
    let since = world.fake.requests().split_off(before);
    let is_of = |user: &Option<String>, start: &str| {
        let user = user.as_deref();
        user.is_some_and(|user| user.starts_with(start))
    };
    let said = since
        .iter()
        .position(|one| one.endpoint == "send" && is_of(&one.user, "@_vizard_m_"));
    let synced = since
        .iter()
        .position(|one| one.endpoint == "sync" && is_of(&one.user, &ghost));
    assert!(synced.is_some() && synced < said, "{synced:?} {said:?}");
}

#[test]
fn nobody_looks_for_the_key_of_what_was_redacted() {
    let world = world();
    let event = unreadable(&world, "late");
    wait(&world, "it is looked for", |world| looks(world) == 1);
    handled(&world);
    world.fake.redact(BOB, &world.room, &event).unwrap();
    wait(&world, "nobody looks", |world| looks(world) == 0);
}

#[test]
fn who_sends_much_that_nobody_can_read_makes_no_end_of_work() {
    const MOST: usize = 200;
    let world = world();
    let first = unreadable(&world, "first");
    wait(&world, "it is looked for", |world| looks(world) == 1);
    handled(&world);
    let deps = world.deps();
    let over = world.ask(async {
        let id = deps.store.portal_ids().await.unwrap()[0];
        let ghost = deps.ghost(&deps.portals.get(id).await.unwrap());
        let waits = async |number: usize, sender: &str| {
            let event = EventId::parse(format!("$event{number}")).unwrap();
            let sender = UserId::parse(sender).unwrap();
            let waits = deps.e2ee.waits_for_key(&ghost, &event, &sender);
            waits.await.unwrap()
        };
        // What another waits for stays, and what waits no longer makes room.
        let mut over = waits(0, "@carol:b.example").await;
        for number in 1..MOST {
            over.extend(waits(number, BOB).await);
            if number == 1 {
                let event = EventId::parse("$event1").unwrap();
                deps.e2ee.waits_no_more(&ghost, &event).await.unwrap();
            }
        }
        assert_eq!(over, Vec::<OwnedEventId>::new());
        waits(MOST, BOB).await
    });
    assert_eq!(over, [first.as_str()], "the oldest gives way");
    let id = world.ask(deps.store.portal_ids()).unwrap()[0];
    world
        .ask(deps.hurry_job(&source_in(id, &first), LOOKS))
        .unwrap();
    wait(&world, "its placeholder promises nothing more", |world| {
        promises_nothing(world, &world.portal)
    });
    wait(&world, "nobody looks", |world| looks(world) == 0);
}

#[test]
fn one_key_is_looked_for_in_each_portal() {
    let world = world();
    world.fake.user(CAROL, "Carol");
    let (_, second) = enter(&world, CAROL, &world.room);
    wait(&world, "two ghosts are there", |world| {
        ghosts(world, &world.room).len() == 2
    });
    handled(&world);
    let event = unreadable(&world, "late");
    let placeholder = |room: &str| {
        let said = world.fake.messages(room);
        said.iter().any(|(_, body)| body.starts_with("🔒"))
    };
    wait(&world, "both have a placeholder", |world| {
        placeholder(&world.portal) && placeholder(&second)
    });
    handled(&world);
    let deps = world.deps();
    // Later on there is time between two looks.
    wait(&world, "they have looked some times", |world| {
        reopens(world).iter().all(|(_, looks)| *looks > 6)
    });
    let mut portals: Vec<_> = reopens(&world)
        .iter()
        .map(|(task, _)| task.portal)
        .collect();
    portals.sort();
    let mut all = world.ask(deps.store.portal_ids()).unwrap();
    all.sort();
    assert_eq!(portals, all);
    // The end of one is not the end of the other.
    world
        .ask(deps.hurry_job(&source_in(all[0], &event), LOOKS))
        .unwrap();
    wait(&world, "one promises nothing more", |world| {
        promises_nothing(world, &world.portal) != promises_nothing(world, &second)
    });
    wait(&world, "the other one waits", |world| looks(world) == 1);
}

/// Killed before its link is written, with the key there when it is handled again.
#[test]
fn a_placeholder_for_what_stands_for_itself_goes() {
    let world = world();
    unreadable(&world, "late");
    wait(&world, "it is looked for", |world| {
        reopens(world).iter().any(|(task, _)| task.shown.is_some())
    });
    handled(&world);
    let deps = world.deps();
    let (task, _) = reopens(&world).remove(0);
    let shown = task.shown.clone().unwrap();
    let there = |world: &World| {
        let events = world.fake.events(&world.portal);
        let event = events.iter().find(|one| one["event_id"] == shown.as_str());
        event.unwrap()["content"]["body"].is_string()
    };
    let reopened = || world.ask(relay::reopen(&deps, &task, 1)).unwrap();
    let stored: serde_json::Value = serde_json::from_str(&task.event).unwrap();
    let source: OwnedEventId = stored["event_id"].as_str().unwrap().try_into().unwrap();
    let link = Link {
        source,
        target: Some("$itself".try_into().unwrap()),
        direction: Direction::Inbound,
        sender: BOB.try_into().unwrap(),
    };
    assert_eq!(reopened(), Outcome::Later, "it stands for its message");
    assert!(there(&world));
    world
        .ask(deps.store.replace_link(task.portal, &link))
        .unwrap();
    wait(&world, "it is gone, and nobody looks", |world| {
        !there(world) && looks(world) == 0
    });
}

#[test]
fn who_is_outside_waits_for_no_key() {
    let world = world();
    unreadable(&world, "late");
    wait(&world, "it is looked for", |world| looks(world) == 1);
    handled(&world);
    let deps = world.deps();
    let id = world.ask(deps.store.portal_ids()).unwrap()[0];
    let is = |state: PortalState| {
        let change = deps.portals.update(id, |portal| portal.state = state);
        world.ask(change).unwrap();
    };
    is(PortalState::Joining);
    let (task, _) = reopens(&world).remove(0);
    let outcome = world.ask(relay::reopen(&deps, &task, 1)).unwrap();
    assert_eq!(outcome, Outcome::Later, "it is on its way back");
    is(PortalState::Joined);
    let ghost = ghosts(&world, &world.room).remove(0);
    world.fake.kick(BOB, &world.room, &ghost).unwrap();
    wait(&world, "its placeholder promises nothing more", |world| {
        promises_nothing(world, &world.portal)
    });
    wait(&world, "nobody looks", |world| looks(world) == 0);
}

#[test]
fn nothing_waits_until_somebody_could_be_asked_for_a_key() {
    let world = world();
    encrypt(&world);
    wait(&world, "the portal is encrypted", |world| {
        is_encrypted(world, &world.portal)
    });
    handled(&world);
    for _ in 0..10_000 {
        world.fake.fail_next("send_to_device", Fault::ErrorBefore);
    }
    let said = |world: &World| ours(world, &world.portal, "m.room.encrypted").len();
    let (before, asked) = (said(&world), world.fake.count("send_to_device"));
    unreadable(&world, "unasked");
    wait(&world, "its placeholder is there", |world| {
        said(world) > before
    });
    handled(&world);
    assert!(world.fake.count("send_to_device") > asked);
}

#[test]
fn a_join_that_failed_leaves_no_keys() {
    let world = world();
    handled(&world);
    let (rows, uploads) = (world.stored("crypto").0, world.fake.count("upload_keys"));
    let text = "join !nowhere:b.example b.example";
    world.fake.text(ALICE, &world.chat, text).unwrap();
    wait(&world, "the ghost had keys", |world| {
        world.fake.count("upload_keys") > uploads
    });
    let deps = world.deps();
    wait(&world, "it is not on record", |world| {
        world.ask(deps.store.portal_ids()).unwrap().len() == 1
    });
    // Nobody would know whose they are.
    assert_eq!(world.stored("crypto").0, rows);
}

#[test]
fn what_is_forgotten_leaves_no_keys_and_no_rooms() {
    let world = world();
    handled(&world);
    let library = world.fake.public_room(BOB, "Library").to_string();
    let deps = world.deps();
    // What stands there as soon as anything is encrypted.
    deps.e2ee.mark_used();
    world.ask(deps.advance_epoch()).unwrap();
    let room = RoomId::parse(&library).unwrap();
    world.ask(deps.e2ee.unlearn_room(&room)).unwrap();
    let rows = world.stored("crypto").0;
    let content = json!({ "algorithm": MEGOLM });
    world
        .fake
        .send_state(BOB, &library, "m.room.encryption", "", content)
        .unwrap();
    let portal = join(&world, ALICE, &world.chat, &library);
    wait(&world, "the portal is encrypted", |world| {
        is_encrypted(world, &portal) && ghosts(world, &library).len() == 1
    });
    handled(&world);
    assert!(world.stored("crypto").0 > rows);
    let ask = |text: &str| {
        let asked = world.fake.text(ALICE, &world.chat, text).unwrap();
        world.answer(&world.chat, asked.as_str())
    };
    ask("forget Library");
    ask("forget confirm");
    wait(&world, "it is not on record", |world| {
        world.ask(deps.store.portal_ids()).unwrap().len() == 1
    });
    // Nobody would know what is left.
    assert_eq!(world.stored("crypto").0, rows);
}
