//! Requests to invite somebody: whoever it is, the answer, what is asked of the homeserver and what is written are alike.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ruma::UserId;
use serde_json::Value;
use vizard::{
    invite::{contacts::Contact, whisper},
    portal::Offered,
    pseudonym::SenderKey,
    rng::Rng,
    sealed::Sealing,
    store::{Address, KeptOut, PortalState, Task},
};

use crate::{
    fake::Keys,
    inviter::{CAROL, HOUR, Inviter, ghost, offered, sealed},
    quotas::Count,
    steps::{enter, ghosts, handled, wait},
    world::{ALICE, BOB, World},
};

/// Requests of one server.
const FLOOD: u64 = 10_000;

/// The keys and the lengths of all texts.
fn shape(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let fields: BTreeSet<String> = map
                .iter()
                .map(|(key, value)| {
                    // Signatures are named by keys, which differ.
                    let name = if key.len() == 43 { "KEY" } else { key };
                    format!("{name}:{}", shape(value))
                })
                .collect();
            format!("{fields:?}")
        }
        Value::String(text) => text.len().to_string(),
        other => other.to_string(),
    }
}

/// What was asked of the homeserver since, whoever it was about; not what happens at all times.
fn asked(world: &World, since: usize, user: &str) -> Vec<String> {
    let always = ["sync", "ping", "set_profile", "messages", "account_data"];
    world.fake.requests()[since..]
        .iter()
        .filter(|seen| {
            !always.contains(&seen.endpoint) && !seen.line.contains("org.vizard.server_keys")
        })
        .map(|seen| {
            let line = seen
                .line
                .replace(&user.replace('@', "%40").replace(':', "%3A"), "USER");
            let line = line.replace(user, "USER");
            line.split("sendToDevice").next().unwrap().to_owned()
        })
        .collect()
}

fn update(world: &World, user: &str, change: impl Fn(&mut vizard::store::User) + Send + Sync) {
    let (deps, user) = (world.deps(), UserId::parse(user).unwrap());
    world.ask(deps.store.update_user(&user, change)).unwrap();
}

/// Lets a user join the room, and bans the ghost.
fn is_banned(world: &World, user: &str) {
    let others = ghosts(world, &world.room);
    let new = |world: &World| {
        let mut now = ghosts(world, &world.room);
        now.retain(|ghost| !others.contains(ghost));
        now.pop()
    };
    enter(world, user, &world.room);
    wait(world, "the ghost is there", |world| new(world).is_some());
    handled(world);
    let ghost = new(world).unwrap();
    world.fake.ban(BOB, &world.room, &ghost).unwrap();
}

/// Waits until that is known.
fn is_outside(world: &World, user: &str, state: &PortalState) {
    let user = UserId::parse(user).unwrap();
    wait(world, "they are outside", |world| {
        let deps = world.deps();
        let user = world.ask(deps.store.user(&user)).unwrap().unwrap();
        let portal = world
            .ask(deps.store.portal(user.pseudonyms[0].portal))
            .unwrap();
        portal.unwrap().state == *state
    });
    handled(world);
}

#[test]
fn nothing_tells_one_invitee_from_another() {
    let names = [
        "carol", "blocks", "closes", "full", "gone", "outlaw", "forgot", "often", "banned",
    ];
    let allowed: Vec<String> = names
        .iter()
        .map(|name| format!("@{name}:a.example"))
        .collect();
    // Some are told of it minutes later, and that would be among what is asked for others.
    let world = World::at_pace(5, Keys::Unused, |config| {
        config.access.users = [allowed.clone(), vec![ALICE.to_owned()]].concat();
        config.access.max_pseudonyms = 1;
        config.access.denied_users = vec!["@ban*:*".to_owned()];
        config.access.denied_servers = vec!["d.example".to_owned()];
        config.invites.denied_servers = vec!["e.example".to_owned()];
        config.invites.per_invitee_day = 1;
    });
    for user in &allowed {
        world.fake.user(user, "Somebody");
    }
    world.fake.user("@stranger:a.example", "Somebody");
    let mut inviter = Inviter::new(&world, 1);
    inviter.room = world.room.as_str().try_into().unwrap();
    let (chat, _) = enter(&world, "@gone:a.example", &world.room);
    world
        .fake
        .text("@gone:a.example", &chat, "leave 1")
        .unwrap();
    is_banned(&world, "@outlaw:a.example");
    let library = world.fake.public_room(BOB, "Library").to_string();
    enter(&world, "@full:a.example", &library);
    update(&world, "@blocks:a.example", |user| {
        user.kept_out = vec![KeptOut::User(inviter.id.clone())];
    });
    update(&world, "@closes:a.example", |user| {
        user.kept_out = vec![KeptOut::Server(inviter.id.server_name().to_owned())];
    });
    let deps = world.deps();
    let forgot = UserId::parse("@forgot:a.example").unwrap();
    world
        .ask(deps.store.mark_forgotten(&forgot, &inviter.room))
        .unwrap();
    crate::quotas::set(&world, "invitee", "@often:a.example", 1);
    is_outside(&world, "@gone:a.example", &PortalState::Left);
    is_outside(&world, "@outlaw:a.example", &PortalState::Banned);

    let of = |seed, server: &str| Inviter {
        room: inviter.room.clone(),
        ..Inviter::of(&world, seed, server)
    };
    let (much, room, peer) = (of(2, "b.example"), of(1, "d.example"), of(1, "e.example"));
    crate::quotas::set(&world, "inviter", much.id.as_str(), 20);
    world.rests();
    let mut seen: Option<(String, Vec<String>)> = None;
    for (inviter, user, real) in [
        (&inviter, "@unknown:a.example", false),
        (&inviter, "@stranger:a.example", false),
        (&inviter, "@blocks:a.example", false),
        (&inviter, "@closes:a.example", false),
        (&inviter, "@full:a.example", false),
        (&inviter, "@gone:a.example", false),
        (&inviter, "@outlaw:a.example", false),
        (&inviter, "@forgot:a.example", false),
        (&inviter, "@often:a.example", false),
        (&inviter, "@banned:a.example", false),
        (&inviter, ALICE, false),
        // It is the inviter, their server or the room that is not wanted.
        (&much, CAROL, false),
        (&room, CAROL, false),
        (&peer, CAROL, false),
        (&inviter, CAROL, true),
    ] {
        let request = inviter.request(&world, &inviter.seal(&world, user));
        let before = world.fake.requests().len();
        let notes = world.ask(deps.store.count_notes::<Offered>()).unwrap();
        let answer = inviter.ask(&world, &request).unwrap();
        let notes = world.ask(deps.store.count_notes::<Offered>()).unwrap() - notes;
        // Beyond the quota of an inviter nothing is written at all.
        let is_over = inviter.id == much.id;
        assert_eq!(notes, u64::from(!is_over), "{user}");
        let now = (shape(&answer.content), asked(&world, before, user));
        assert_eq!(now.1.len(), 2, "{user}: {:?}", now.1);
        assert_eq!(*seen.get_or_insert_with(|| now.clone()), now, "{user}");
        // Who is told of it is told while others ask.
        let told = format!("tell {user} {}", inviter.room);
        world.ask(deps.drop_job(&told)).unwrap();
        let offered = offered(&world, &ghost(&answer.content));
        assert_eq!(
            offered.map(|it| it.decoy),
            (!is_over).then_some(!real),
            "{user}"
        );
    }
}

/// A place where connections are counted and closed. Its name.
fn door() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    (name, count)
}

/// The keys of a server that was never heard of are looked for, in both places, whomever it asks for: it can see that.
#[test]
fn what_a_new_server_sees_tells_nothing_either() {
    // Two that the admin does not want, and who are not to see that.
    let mut denied = [door(), door()].into_iter();
    let names: Vec<String> = denied.clone().map(|(name, _)| name).collect();
    let world = World::with_settings("12", |config| {
        config.keys.private_addresses = true;
        config.invites.denied_servers = vec![names[0].clone()];
        config.access.denied_servers = vec![names[1].clone()];
    });
    for name in ["carol", "blocks", "often"] {
        world.fake.user(format!("@{name}:a.example"), "Somebody");
    }
    crate::quotas::set(&world, "invitee", "@often:a.example", 20);
    let mut seen = None;
    for (seed, user, real) in [
        (1, CAROL, true),
        (2, "@unknown:a.example", false),
        (3, "@blocks:a.example", false),
        (4, "@often:a.example", false),
        (5, CAROL, true),
        (6, CAROL, false),
        (7, CAROL, false),
    ] {
        let (server, connections) = match seed {
            6.. => denied.next().unwrap(),
            _ => door(),
        };
        let inviter = Inviter::of(&world, seed, &server);
        update(&world, "@blocks:a.example", |user| {
            user.kept_out = vec![KeptOut::User(inviter.id.clone())];
        });
        let before = world.fake.requests().len();
        let ghost = inviter.ghost_of(&world, user);
        assert_eq!(!offered(&world, &ghost).unwrap().decoy, real, "{user}");
        let port = server.rsplit(':').next().unwrap();
        let looked: Vec<String> = world.fake.requests()[before..]
            .iter()
            .filter(|seen| seen.line.contains(port) && seen.line.contains("server_keys"))
            .map(|seen| seen.line.replace(port, "PORT"))
            .collect();
        let now = (looked, connections.load(Ordering::SeqCst));
        assert_eq!((now.0.len(), now.1), (1, 1), "{user}: {now:?}");
        assert_eq!(*seen.get_or_insert_with(|| now.clone()), now, "{user}");
    }
}

#[test]
fn a_request_is_answered_again_and_cannot_be_moved() {
    let world = World::new();
    world.fake.user(CAROL, "Carol");
    let (inviter, other) = (Inviter::new(&world, 1), Inviter::new(&world, 2));
    let address = inviter.seal(&world, CAROL);
    let request = inviter.request(&world, &address);
    let first = inviter.ask(&world, &request).unwrap();
    let deps = world.deps();
    world.ask(deps.clock.sleep(std::time::Duration::from_secs(1)));
    let again = inviter.ask(&world, &request).unwrap();
    assert_eq!(again.content, first.content);
    assert_ne!(again.txn_id, first.txn_id, "the first may have been lost");
    let before = offered(&world, &ghost(&first.content)).unwrap();

    // Another request with the same address is about the same ghost; what was noted first stays.
    let second = inviter
        .ask(&world, &inviter.request(&world, &address))
        .unwrap();
    assert_eq!(second.content["ghost"], first.content["ghost"]);
    assert_eq!(offered(&world, &ghost(&first.content)), Some(before));

    let refused = |answer: Option<crate::fake::post::Posted>| {
        answer.unwrap().content["error"] == "org.vizard.refused"
    };
    assert!(refused(other.ask(&world, &other.request(&world, &address))));
    let mut elsewhere = Inviter::new(&world, 1);
    assert_ne!(elsewhere.room, inviter.room);
    let moved = elsewhere.request(&world, &address);
    assert!(refused(elsewhere.ask(&world, &moved)));
    elsewhere.id = other.id.clone();
    assert!(
        refused(elsewhere.ask(&world, &request)),
        "sent by somebody else"
    );
    let mut changed = request.clone();
    changed["expires_ts"] = 1.into();
    assert!(refused(inviter.ask(&world, &changed)));
    changed.as_object_mut().unwrap().remove("request_id");
    assert_eq!(inviter.ask(&world, &changed), None);
}

/// Offered ghosts, notes of what was counted, and all that was counted.
fn written(world: &World) -> (u64, usize, u32) {
    let deps = world.deps();
    let offered = world.ask(deps.store.count_notes::<Offered>()).unwrap();
    let counts: Vec<Count> = world.ask(deps.store.notes()).unwrap();
    let all = counts.iter().map(|count| count.count).sum();
    (offered, counts.len(), all)
}

#[test]
fn a_flood_writes_little() {
    const LIMIT: u32 = 20;
    let mut world = World::with_settings("12", |config| {
        config.invites.per_peer_day = LIMIT;
        config.invites.answer_after_ms = 0;
    });
    world.fake.user(CAROL, "Carol");
    let user = UserId::parse(CAROL).unwrap();
    let address = sealed(&world, Sealing::Contact { user: &user });
    let day = |world: &World| world.deps().clock.now() / (24 * HOUR);
    let (began, before) = (day(&world), world.stored("notes"));
    for number in 0..FLOOD {
        // Another inviter each time, and so another ghost.
        let key = SenderKey::generate(&Rng::seeded(number));
        let name = key.id().to_localpart();
        let inviter = Inviter {
            key,
            id: UserId::parse(format!("@_vizard_{name}:b.example")).unwrap(),
            room: world.room.as_str().try_into().unwrap(),
        };
        let answer = inviter
            .ask(&world, &inviter.request(&world, &address))
            .unwrap();
        assert!(answer.content["ghost"].is_string());
    }
    // Beyond the quota nothing is written at all. The clock runs fast: it may be the next day by now.
    let days = i64::try_from(day(&world) - began + 1).unwrap();
    let limit = days * i64::from(LIMIT);
    let (offered, counts, all) = written(&world);
    assert!(offered.cast_signed() <= limit, "{offered} ghosts");
    assert!(i64::from(all) <= 3 * limit, "{all} counted");
    // The server, all servers, and of each request the ghost and the inviter.
    let now = world.stored("notes");
    let (rows, bytes) = (now.0 - before.0, now.1 - before.1);
    println!("{FLOOD} requests: {rows} rows of {bytes} bytes, of them {counts} counters");
    assert!(rows <= 2 * days + 2 * limit, "{rows} rows");
    assert!(bytes <= 1100 * rows, "{bytes} bytes in {rows} rows");
    world.goes_on();
}

#[test]
fn who_is_there_already_is_told_privately_and_once() {
    let mut world = World::at_pace(5, Keys::Unused, |_| {});
    let mut inviter = Inviter::new(&world, 1);
    inviter.room = world.room.as_str().try_into().unwrap();
    for _ in 0..3 {
        let ghost = inviter.ghost_of(&world, ALICE);
        assert!(offered(&world, &ghost).unwrap().decoy);
    }
    let deps = world.deps();
    let jobs = world.ask(deps.store.due_jobs(u64::MAX >> 2, 100)).unwrap();
    let tell: Vec<_> = jobs
        .iter()
        .filter_map(|job| match &job.task {
            Task::Tell(task) => Some((task.clone(), job.due)),
            _ => None,
        })
        .collect();
    assert_eq!(tell.len(), 1);
    assert!(tell[0].1 > deps.clock.now());
    let told = |world: &World| {
        let said = world.fake.messages(&world.chat);
        said.into_iter()
            .filter(|(_, text)| {
                text.contains("has invited you to “Tearoom”, where you are already")
            })
            .count()
    };
    assert_eq!(told(&world), 0);
    for _ in 0..2 {
        world.ask(whisper::run(&deps, &tell[0].0)).unwrap();
    }
    assert_eq!(told(&world), 1);
    world.goes_on();
}

#[test]
fn contact_addresses_lead_to_their_owner_while_they_work() {
    let world = World::new();
    world.fake.user(CAROL, "Carol");
    let (deps, owner) = (world.deps(), UserId::parse(CAROL).unwrap());
    let now = deps.clock.now();
    let address = |number, label: &str, hours, revoked| Address {
        id: [number; 16],
        label: label.to_owned(),
        created: now,
        expires: now + hours * HOUR,
        revoked,
    };
    update(&world, CAROL, |user| {
        user.addresses = vec![
            address(1, "Blog", 200, false),
            address(2, "Old", 200, true),
            address(3, "Late", 0, false),
            address(4, "Spam", 200, false),
        ];
        user.kept_out = vec![KeptOut::Address([4; 16])];
    });
    let inviter = Inviter::new(&world, 1);
    let mut seen = None;
    for (number, label) in [
        (1, Some("Blog")),
        (1, Some("Blog")),
        (2, None),
        (3, None),
        (4, None),
        (5, None),
    ] {
        let id = [number; 16];
        if number < 5 {
            let contact = Contact {
                owner: owner.clone(),
            };
            world.ask(deps.store.set_note(&id, None, &contact)).unwrap();
        }
        let sealing = Sealing::Address {
            server: owner.server_name(),
            id,
        };
        let request = inviter.request(&world, &sealed(&world, sealing));
        let before = world.fake.requests().len();
        let answer = inviter.ask(&world, &request).unwrap().content;
        // Nobody is looked up by the name of an address that nobody made.
        let asked: Vec<String> = asked(&world, before, CAROL)
            .into_iter()
            .map(|line| match line.split_once("/profile/") {
                Some((head, _)) => format!("{head}/profile/…"),
                None => line,
            })
            .collect();
        let now = (shape(&answer), asked);
        assert_eq!(now.1.len(), 2, "{number}: {:?}", now.1);
        assert_eq!(*seen.get_or_insert_with(|| now.clone()), now, "{number}");
        let offered = offered(&world, &ghost(&answer)).unwrap();
        assert_eq!(offered.decoy, label.is_none(), "{number}");
        assert_eq!(offered.single_until, None);
        if let Some(label) = label {
            assert_eq!(offered.address.unwrap().1, label);
        }
    }
}

/// When a ghost leaves tells as little as its answer: of real ones and decoys the times are drawn alike.
#[test]
fn ends_are_drawn_alike() {
    const EACH: usize = 200;
    let world = World::with_settings("12", |config| {
        config.invites.answer_after_ms = 0;
        config.invites.per_inviter_day = 100_000;
        config.invites.per_peer_day = 100_000;
    });
    world.fake.user(CAROL, "Carol");
    let inviter = Inviter::new(&world, 1);
    let spread = u64::from(world.deps().config.invites.spread_minutes) * 60_000;
    let mut drawn: Vec<(u64, bool)> = Vec::new();
    for number in 0..2 * EACH {
        let real = number % 2 == 0;
        let user = if real { CAROL } else { "@nobody:a.example" };
        let offered = offered(&world, &inviter.ghost_of(&world, user)).unwrap();
        assert_eq!(offered.decoy, !real);
        let after = offered.leave_at - offered.expires;
        assert!(after < spread, "{after}");
        drawn.push((after, real));
    }
    for of in [true, false] {
        let of: Vec<u64> = drawn
            .iter()
            .filter(|(_, real)| *real == of)
            .map(|(after, _)| *after)
            .collect();
        let (first, last) = (of.iter().min().unwrap(), of.iter().max().unwrap());
        assert!(*first < spread / 10 && *last > spread - spread / 10);
    }
    // Mann-Whitney, by the normal approximation, at a level of 0.001.
    drawn.sort_unstable();
    let ranks: usize = (1..)
        .zip(&drawn)
        .filter(|(_, (_, real))| *real)
        .map(|(rank, _)| rank)
        .sum();
    let whole = |number: usize| f64::from(u32::try_from(number).unwrap());
    let u = whole(ranks - EACH * (EACH + 1) / 2);
    let z = (u - whole(EACH * EACH / 2)) / whole(EACH * EACH * (2 * EACH + 1) / 12).sqrt();
    assert!(z.abs() < 3.29, "{z}");
}

#[test]
fn requests_reach_the_bot_by_post() {
    let world = World::new();
    world.fake.user(CAROL, "Carol");
    let inviter = Inviter::new(&world, 1);
    let request = inviter.request(&world, &inviter.seal(&world, CAROL));
    let id = inviter.id.as_str();
    world.fake.post(
        id,
        "@vizard:a.example",
        "org.vizard.invite_request",
        request,
    );
    wait(&world, "there is an answer", |world| {
        let posted = world.fake.posted();
        posted.iter().any(|one| {
            one.to == id
                && one.kind == "org.vizard.invite_response"
                && one.content["ghost"].is_string()
        })
    });
}
