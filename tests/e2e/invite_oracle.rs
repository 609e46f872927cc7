//! What a peer can learn from answers: nothing. For each kind of invitee 200 requests, in random order, are compared in shape, in what
//! Vizard asks its homeserver, in what other servers can find out about the ghosts, and in time.
//!
//! The times are compared with the Mann-Whitney test, each kind against the ordinary one, at a level of 0.001 for all together
//! (Bonferroni). With 200 against 200 it finds a shift of 0.53 standard deviations in nine of ten runs, and one of the whole
//! answering time at once. The noise is that of two homeservers on one machine, so it is printed. Whoever asks more than they may
//! cannot be mixed with the others in random order, so of those all is compared but the times.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use rand::seq::SliceRandom as _;
use reqwest::Method;
use ruma::UserId;
use serde_json::{Value, json};
use vizard::sealed::{KeyDocument, RESPONSE_TYPE};

use crate::{
    invites::document,
    stranger::{Stranger, contact},
    testkit::client::{Client, Source},
    world::{PATIENCE, World, answers, moments},
};

/// Requests for each kind of invitee.
const EACH: usize = 200;
/// Requests under way at once: fewer than Vizard looks at of one sender.
const AT_ONCE: usize = 5;
/// What Vizard asks at moments that follow from the clock alone.
const OTHERWISE: [&str; 5] = ["sync", "sync_wait", "messages", "ping", "set_account_data"];
/// Requests for each kind of which it is looked what Vizard asks.
const AGAIN: usize = 3;
/// Of all comparisons together.
const LEVEL: f64 = 0.001;
/// Who is banned, among the people.
const BANNED: usize = 4;

/// Who is invited, by what is the matter with them.
struct Cast {
    people: Vec<(&'static str, ruma::OwnedUserId)>,
}

async fn cast(world: &World, stranger: &Stranger, room: &str) -> Result<Cast> {
    let a = &world.servers.a;
    let ordinary = Client::register(a, "ordinary.owl").await?;
    let unknown = UserId::parse(format!("@nobody.nightjar:{}", a.server_name()))?;
    let (blocker, chat) = world.user_with_chat("blocking.bunting").await?;
    answers(
        world,
        &blocker,
        &chat,
        &format!("block {}", stranger.id),
        &["block"],
    )
    .await?;
    let server = world.servers.b.server_name();
    let stranger_here = Client::register(a, "unlisted.umbrette").await?;
    let banned = Client::register(a, "banned.bluetit").await?;
    // As many pseudonyms as one may have: in other rooms.
    let (mut full, chat) = world.user_with_chat("full.fulmar").await?;
    for name in ["elsewhere", "nowhere"] {
        let other = stranger.client.create_public_room(name, name).await?;
        let masked = world.join(full, chat.clone(), &other.0, &other.1).await?;
        full = masked.user;
    }
    let inside = world
        .mask("inside.ibis", room, &format!("{room} {server}"))
        .await?;
    let outside = world
        .mask("outside.oriole", room, &format!("{room} {server}"))
        .await?;
    answers(
        world,
        &outside.user,
        &outside.portal,
        "!vizard leave",
        &["left"],
    )
    .await?;
    let id = |client: &Client| UserId::parse(client.id());
    Ok(Cast {
        people: vec![
            ("ordinary", id(&ordinary)?),
            ("unknown", unknown),
            ("blocks the inviter", id(&blocker)?),
            ("may not use Vizard", id(&stranger_here)?),
            ("is banned by the admin", id(&banned)?),
            ("over quota", id(&full)?),
            ("is in the room", id(&inside.user)?),
            ("was in the room", id(&outside.user)?),
        ],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_tell_a_peer_nothing() -> Result<()> {
    let mut world = World::start("oracle", |vizard| {
        // Who has one, and is in the room, may have another.
        vizard
            .set("invites.per_peer_day", "1000000")
            .set("invites.per_invitee_day", "1000000")
            .set("access.max_pseudonyms", "2")
            .set("access.joins_per_hour", "1000")
            .set("invites.spread_minutes", "1");
    })
    .await?;
    let stranger = Stranger::register(&world.servers.b).await?;
    let (room, _) = stranger
        .client
        .create_public_room("cellar", "Cellar")
        .await?;
    let mut cast = cast(&world, &stranger, &room).await?;
    // All that is asked before [`Measured`] is complete is within the quota, and nothing else.
    let within = 1 + cast.people.len() * (AGAIN + 1 + EACH);
    world
        .vizard
        .set("invites.per_inviter_day", &within.to_string());
    // One of them is on no list.
    let users: Vec<&str> = cast.people.iter().map(|(_, id)| id.as_str()).collect();
    let users: Vec<&str> = users
        .into_iter()
        .filter(|id| !id.contains("unlisted"))
        .collect();
    world.vizard.set("access.users", &json!(users).to_string());
    let banned = json!([cast.people[BANNED].1]);
    world.vizard.set("access.denied_users", &banned.to_string());
    world.vizard.restart().await?;
    let document = document(&world.vizard, &world.servers.a).await?;
    let room = ruma::RoomId::parse(&room)?;

    // The keys of whoever asks for the first time are looked for, whomever they ask for.
    let first = stranger.request(&contact(&document, &cast.people[1].1)?, &room);
    stranger.ask(&world.bot(), &first.content).await?;
    let calls = calls_are_the_same(&world, &stranger, &document, &cast, &room).await?;
    all_leave_in_the_end(&world, &stranger, &document, &cast).await?;

    let mut turns: Vec<usize> = (0..cast.people.len())
        .flat_map(|kind| vec![kind; EACH])
        .collect();
    turns.shuffle(&mut moments(4));
    let mut measured = measure(&world, &stranger, &document, &cast, &room, &turns).await?;
    let ordinary = &measured.times[&0];
    eprintln!("{}: {}", cast.people[0].0, summary(ordinary));
    let comparisons = cast.people.len() - 1;
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let level = LEVEL / comparisons as f64;
    for (kind, (name, _)) in cast.people.iter().enumerate().skip(1) {
        let times = &measured.times[&kind];
        let p = mann_whitney(ordinary, times);
        eprintln!("{name}: {}; p = {p:.4}", summary(times));
        ensure!(
            p > level,
            "the time of an answer tells who {name} (p = {p})"
        );
    }

    // From here on the inviter is over their quota: the same request for the same person, of which nothing is written.
    let over = cast.people.len();
    let whom = cast.people[0].1.clone();
    cast.people.push(("is asked for too often", whom));
    let later = measure(&world, &stranger, &document, &cast, &room, &[over; EACH]).await?;
    eprintln!("{}: {}", cast.people[over].0, summary(&later.times[&over]));
    measured.shapes.extend(later.shapes);
    measured.ghosts.extend(later.ghosts);
    let shapes = &measured.shapes;
    ensure!(shapes.len() == 1, "answers differ in shape: {shapes:#?}");
    let alone = Cast {
        people: cast.people[over..].to_vec(),
    };
    let beyond = calls_are_the_same(&world, &stranger, &document, &alone, &room).await?;
    ensure!(beyond == calls, "{beyond:?} instead of {calls:?}");
    each_was_what_it_was_meant_to_be(&world).await?;

    elsewhere_they_are_the_same(&world, &stranger, &room, &cast, &measured.ghosts).await
}

/// What came of requests.
#[derive(Default)]
struct Measured {
    times: BTreeMap<usize, Vec<f64>>,
    shapes: BTreeSet<String>,
    /// A ghost of each kind.
    ghosts: BTreeMap<usize, String>,
}

/// Asks for people in this order, some at once.
async fn measure(
    world: &World,
    stranger: &Stranger,
    document: &KeyDocument,
    cast: &Cast,
    room: &ruma::RoomId,
    turns: &[usize],
) -> Result<Measured> {
    let mut measured = Measured::default();
    for chunk in turns.chunks(AT_ONCE) {
        let mut waiting = BTreeMap::new();
        for kind in chunk {
            let sealed = contact(document, &cast.people[*kind].1)?;
            let request = stranger.request(&sealed, room);
            let began = Instant::now();
            stranger.send(&world.bot(), &request.content).await?;
            waiting.insert(request.asked.request_id, (*kind, began));
        }
        let mut looked = stranger.client.mark().await.saturating_sub(2 * AT_ONCE);
        let began = Instant::now();
        while !waiting.is_empty() {
            ensure!(began.elapsed() < PATIENCE, "no answer: {waiting:?}");
            stranger
                .client
                .poll(std::time::Duration::from_secs(5))
                .await?;
            let arrived = Instant::now();
            let received = stranger.client.received().await;
            for one in &received[looked..] {
                if one.source != Source::Device || one.kind() != RESPONSE_TYPE {
                    continue;
                }
                let content = &one.event["content"];
                let id = content["request_id"].as_str().unwrap_or_default();
                if let Some((kind, began)) = waiting.remove(id) {
                    let took = arrived.duration_since(began).as_secs_f64() * 1000.0;
                    measured.times.entry(kind).or_default().push(took);
                    measured.shapes.insert(shape(content));
                    measured.ghosts.insert(
                        kind,
                        content["ghost"].as_str().context("no ghost")?.to_owned(),
                    );
                }
            }
            looked = received.len();
        }
    }
    Ok(measured)
}

/// The kinds are what they are called: as many answers of each were real, or decoys for that reason.
async fn each_was_what_it_was_meant_to_be(world: &World) -> Result<()> {
    let metrics = world.vizard.metrics().await?;
    for (outcome, reason) in [
        ("answered", ""),
        ("decoy", "unknown_user"),
        ("decoy", "blocked_inviter"),
        ("decoy", "may_not_use"),
        ("decoy", "user_banned"),
        ("decoy", "invitee_over_quota"),
        ("decoy", "in_room"),
        ("decoy", "was_in_room"),
        ("decoy", "inviter_over_quota"),
    ] {
        let line =
            format!("vizard_invite_requests_total{{outcome=\"{outcome}\",reason=\"{reason}\"}} ");
        let count = metrics.lines().find_map(|one| one.strip_prefix(&line));
        let count: usize = count.unwrap_or("0").parse()?;
        ensure!(count >= EACH, "{outcome} {reason}: {count}");
    }
    Ok(())
}

/// Whoever it was for, a ghost that nobody accepted is gone soon after the end of its invite.
async fn all_leave_in_the_end(
    world: &World,
    stranger: &Stranger,
    document: &KeyDocument,
    cast: &Cast,
) -> Result<()> {
    let (room, _) = stranger.client.create_public_room("attic", "Attic").await?;
    let room = &*ruma::RoomId::parse(&room)?;
    let mut ghosts = Vec::new();
    for (_, who) in &cast.people {
        // Each has as long: asking and inviting them all may take longer than that.
        let expires = crate::invites::now() + 45_000;
        let request = stranger.request_until(&contact(document, who)?, room, expires);
        let answer = stranger.ask(&world.bot(), &request.content).await?;
        ghosts.push(stranger.invite(room, &answer).await?);
    }
    let until = Instant::now() + std::time::Duration::from_mins(3);
    for (ghost, (name, _)) in ghosts.iter().zip(&cast.people) {
        loop {
            let member = stranger
                .client
                .state(room.as_str(), "m.room.member", ghost)
                .await?
                .unwrap_or(Value::Null);
            if member["membership"] == "leave" {
                break;
            }
            ensure!(Instant::now() < until, "{name}: {member}");
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }
    Ok(())
}

/// What Vizard asks its homeserver for one request, by endpoint.
async fn calls_are_the_same(
    world: &World,
    stranger: &Stranger,
    document: &KeyDocument,
    cast: &Cast,
    room: &ruma::RoomId,
) -> Result<BTreeMap<String, u64>> {
    let mut known: Option<BTreeMap<String, u64>> = None;
    for (name, who) in &cast.people {
        let before = requests(&world.vizard.metrics().await?);
        for _ in 0..AGAIN {
            let request = stranger.request(&contact(document, who)?, room);
            stranger.ask(&world.bot(), &request.content).await?;
        }
        let mut calls = requests(&world.vizard.metrics().await?);
        for (endpoint, count) in &mut calls {
            *count -= before.get(endpoint).copied().unwrap_or(0);
        }
        calls.retain(|endpoint, count| *count > 0 && !OTHERWISE.contains(&endpoint.as_str()));
        ensure!(!calls.is_empty(), "no request was counted");
        match &known {
            None => known = Some(calls),
            Some(known) => ensure!(*known == calls, "{name}: {calls:?} instead of {known:?}"),
        }
    }
    known.context("nobody was asked for")
}

/// Endpoint → how often, whatever the outcome: that a user is unknown is for the homeserver to say.
fn requests(metrics: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("vizard_homeserver_requests_total{") else {
            continue;
        };
        let endpoint = rest
            .split("endpoint=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let count = line
            .rsplit(' ')
            .next()
            .and_then(|count| count.parse::<u64>().ok());
        if let (Some(endpoint), Some(count)) = (endpoint, count) {
            *counts.entry(endpoint.to_owned()).or_default() += count;
        }
    }
    counts
}

/// What any server can ask about a ghost, before it is invited and after.
async fn elsewhere_they_are_the_same(
    world: &World,
    stranger: &Stranger,
    room: &ruma::RoomId,
    cast: &Cast,
    ghosts: &BTreeMap<usize, String>,
) -> Result<()> {
    for invited in [false, true] {
        let mut known: Option<String> = None;
        if invited {
            for ghost in ghosts.values() {
                stranger.client.invite(room.as_str(), ghost).await?;
            }
            // Whatever an invite starts has happened by then.
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
        for (kind, (name, _)) in cast.people.iter().enumerate() {
            let ghost = &ghosts[&kind];
            let said = about(stranger, room, ghost).await?.replace(ghost, "GHOST");
            match &known {
                None => known = Some(said),
                Some(known) => ensure!(
                    *known == said,
                    "{name} (invited: {invited}): {said}\ninstead of {known}"
                ),
            }
        }
    }
    world.vizard.metrics().await.map(drop)
}

async fn about(stranger: &Stranger, room: &ruma::RoomId, ghost: &str) -> Result<String> {
    let client = &stranger.client;
    let profile = client
        .call(Method::GET, &["v3", "profile", ghost], None)
        .await;
    let profile = match profile {
        Ok(profile) => profile.to_string(),
        Err(error) => error.to_string(),
    };
    let keys = client
        .call(
            Method::POST,
            &["v3", "keys", "query"],
            Some(json!({"device_keys": {ghost: []}})),
        )
        .await?;
    let claim = json!({"one_time_keys": {ghost: {"X": "signed_curve25519"}}});
    let claimed = client
        .call(Method::POST, &["v3", "keys", "claim"], Some(claim))
        .await?;
    let mut member = client
        .state(room.as_str(), "m.room.member", ghost)
        .await?
        .unwrap_or(Value::Null);
    if let Some(member) = member.as_object_mut() {
        member.remove("origin_server_ts");
    }
    Ok(format!("{profile}\n{keys}\n{claimed}\n{member}"))
}

/// The keys and the lengths of all texts in an answer.
fn shape(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<String> = map
                .iter()
                .map(|(key, value)| {
                    // Signatures are named by keys, which differ.
                    let name = if key.len() == 43 { "KEY" } else { key };
                    format!("{name}:{}", shape(value))
                })
                .collect();
            // The order of keys follows from their names.
            fields.sort();
            format!("{{{}}}", fields.join(","))
        }
        Value::String(text) => text.len().to_string(),
        other => other.to_string(),
    }
}

fn summary(times: &[f64]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    format!(
        "median {:.1} ms, 10 % {:.1} ms, 90 % {:.1} ms ({} answers)",
        sorted[sorted.len() / 2],
        sorted[sorted.len() / 10],
        sorted[sorted.len() * 9 / 10],
        sorted.len()
    )
}

/// The two-sided p-value of the Mann-Whitney test, by the normal approximation (good for samples of this size; times are hardly ever
/// equal).
#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn mann_whitney(one: &[f64], other: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = one.iter().map(|time| (*time, true)).collect();
    all.extend(other.iter().map(|time| (*time, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ranks: f64 = (1..)
        .zip(&all)
        .filter(|(_, (_, first))| *first)
        .map(|(rank, _)| f64::from(rank))
        .sum();
    let (n, m) = (one.len() as f64, other.len() as f64);
    let u = ranks - n * (n + 1.0) / 2.0;
    let z = (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt();
    two_sided(z)
}

/// How likely a standard normal variable is at least so far from 0 (Abramowitz and Stegun 7.1.26, exact to 1.5e-7).
fn two_sided(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / 0.327_591_1_f64.mul_add(x, 1.0);
    let poly = t
        * (0.254_829_592
            + t * (-0.284_496_736
                + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    poly * (-x * x).exp()
}

#[test]
fn the_test_of_times_finds_a_difference() {
    use rand::Rng as _;
    let mut random = moments(7);
    let mut sample = |shift: f64| -> Vec<f64> {
        let mut noise = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        (0..EACH).map(|_| noise() + shift).collect()
    };
    let level = LEVEL / 6.0;
    let found = (0..200)
        .filter(|_| mann_whitney(&sample(0.0), &sample(0.53)) < level)
        .count();
    assert!(
        found >= 170,
        "a shift of 0.53 is found in {found} of 200 runs"
    );
    let wrong = (0..50)
        .filter(|_| mann_whitney(&sample(0.0), &sample(0.0)) < level)
        .count();
    assert_eq!(wrong, 0);
    for (z, p) in [(0.0, 1.0), (1.96, 0.05), (3.29, 0.001)] {
        assert!((two_sided(z) - p).abs() < 0.0005, "{z}: {}", two_sided(z));
    }
}
