//! What devices cost while nothing happens, and that they can be reached all the while.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread::sleep,
    time::Duration,
};

use serde_json::Value;

use crate::{fake::Keys, world::World};

const DAY: u64 = 24 * 60 * 60 * 1000;
const DAYS: u64 = 4;
const BOT: &str = "@vizard:a.example";

/// How often each device but the bot's has synced.
fn syncs(world: &World) -> BTreeMap<(String, String), u64> {
    let mut counts = BTreeMap::new();
    for one in world.fake.requests() {
        if let ("sync", Some(user), Some(device)) = (one.endpoint, one.user, one.device)
            && user != BOT
        {
            *counts.entry((user, device)).or_default() += 1;
        }
    }
    counts
}

/// How many requests were made in the name of all but the bot.
fn all(world: &World) -> usize {
    let requests = world.fake.requests();
    let of_others = requests
        .iter()
        .filter(|one| one.user.as_deref().is_some_and(|user| user != BOT));
    of_others.count()
}

#[test]
fn an_idle_device_syncs_about_once_a_day_and_has_a_fallback_key() {
    let mut world = World::with_keys(Keys::Taken);
    // A day is nearly nine seconds, and what a sync takes is no great part of it.
    let clock = world.hurry(10_000);
    // Long enough for what a start brings with it.
    let begin = clock.now() + DAY;
    while clock.now() < begin {
        sleep(Duration::from_millis(20));
    }
    let (from, before, all_before) = (clock.now(), syncs(&world), all(&world));
    while clock.now() < begin + DAYS * DAY {
        sleep(Duration::from_millis(20));
    }
    let (to, after, all_after) = (clock.now(), syncs(&world), all(&world));
    // The ghost's and the host's; mirrors have none where the portal is not encrypted.
    assert!(after.len() >= 2, "{after:?}");
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let days = (to - from) as f64 / DAY as f64;
    for (device, count) in &after {
        let count = count - before.get(device).copied().unwrap_or(0);
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let a_day = count as f64 / days;
        // 1,000 make 42 requests in an hour: one each in 24 hours.
        assert!(
            (0.3..2.5).contains(&a_day),
            "{device:?} synced {count} times in {days:.1} days"
        );
    }
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let a_day = (all_after - all_before) as f64 / days;
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let devices = after.len() as f64;
    // And one request for the portal.
    assert!(
        a_day < (devices + 1.0) * 2.5,
        "{a_day} requests a day for {devices} devices"
    );
    let mut users: BTreeSet<&str> = after.keys().map(|(user, _)| user.as_str()).collect();
    users.insert(BOT);
    each_has_a_fallback_key(&world, &users);
}

/// A flood of claims takes all one-time keys of a device; then its fallback key serves. It is uploaded with the first sync, which
/// tells that the homeserver keeps such keys.
fn each_has_a_fallback_key(world: &World, users: &BTreeSet<&str>) {
    let uploads = world.fake.look(|rooms| rooms.uploads.clone());
    let mut seen = BTreeSet::new();
    for user in users {
        let bodies = uploads.iter().filter(|(of, _)| of == user);
        let keys: Vec<&Value> = bodies
            .filter_map(|(_, body)| body["fallback_keys"].as_object())
            .flat_map(|keys| keys.values())
            .collect();
        assert!(!keys.is_empty(), "{user} has no fallback key");
        for key in keys {
            assert_eq!(key["fallback"], true, "{key}");
            assert!(key["signatures"][user].is_object(), "{key}");
            let key = key["key"].as_str().unwrap().to_owned();
            assert!(seen.insert(key), "two devices share a fallback key");
        }
    }
}
