//! Hints of transactions: odd ones, and floods of them.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    fake::{Keys, PATIENCE, Seen},
    world::{BOB, World},
};

impl World {
    /// Hands over a transaction; how long that took.
    fn transaction(&self, number: u64, body: &Value) -> Duration {
        let began = Instant::now();
        let (status, _) = self.request(|client, url| {
            client
                .put(format!("{url}/_matrix/app/v1/transactions/hint{number}"))
                .bearer_auth("hs_token")
                .body(body.to_string())
        });
        assert_eq!(status, 200);
        began.elapsed()
    }

    fn machines(&self) -> u64 {
        let store = self.deps().store;
        self.ask(async move { store.crypto_machines().await.unwrap() })
    }

    /// Syncs of a user's devices.
    fn syncs(&self, user: &str) -> usize {
        let of = |one: &&Seen| one.endpoint == "sync" && one.user.as_deref() == Some(user);
        self.fake.requests().iter().filter(of).count()
    }

    fn syncs_beyond(&self, before: usize, user: &str) -> usize {
        let began = Instant::now();
        while self.syncs(user) == before {
            assert!(began.elapsed() < PATIENCE, "no sync");
            sleep(Duration::from_millis(5));
        }
        sleep(Duration::from_millis(300));
        self.syncs(user) - before
    }

    /// The ghost and its device.
    fn ghost(&self) -> (String, String) {
        self.fake.look(|rooms| {
            let ghost = rooms.rooms[&self.room]
                .joined()
                .find(|user| user.starts_with("@_vizard_"))
                .unwrap();
            let device = rooms.users[ghost].devices.iter().next().unwrap();
            (ghost.to_owned(), device.clone())
        })
    }
}

#[test]
fn a_flood_costs_little_and_makes_nothing() {
    let mut world = World::with_keys(Keys::Taken);
    let (ghost, device) = world.ghost();
    let (machines, before) = (world.machines(), world.syncs(&ghost));
    let to = |user: String, device: String| json!({"to_user_id": user, "to_device_id": device});
    let mut hints = Vec::new();
    for n in 0..1_000 {
        hints.push(to(format!("@_vizard_p_{n}:a.example"), "X".to_owned()));
        hints.push(to(ghost.clone(), format!("X{n}")));
        hints.push(to(format!("@u{n}:z"), "X".to_owned()));
    }
    let counts = (0..1_000).map(|n| (format!("@_vizard_m_{n}:a.example"), json!({"X": {}})));
    let changed: Vec<String> = (0..1_000).map(|n| format!("@u{n}:z")).collect();
    let body = json!({
        "events": [], "to_device": hints, "device_lists": {"changed": changed},
        "org.matrix.msc3202.device_one_time_keys_count": counts.collect::<serde_json::Map<_, _>>(),
    });
    // None of these devices is there.
    let longest = (0..20).map(|n| world.transaction(n, &body)).max().unwrap();
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    world.goes_on();
    assert_eq!(world.machines(), machines, "a device was made");
    // It has nothing to decrypt or encrypt, so nothing else lets it sync.
    assert_eq!(world.syncs(&ghost), before, "a hint for another device");

    // The ghost's device itself, twenty thousand times.
    sleep(Duration::from_secs(1));
    let hint = to(ghost.clone(), device);
    let body = json!({"events": [], "de.sorunome.msc2409.to_device": vec![&hint; 1_000]});
    for n in 100..120 {
        world.transaction(n, &body);
    }
    world.goes_on();
    let syncs = world.syncs_beyond(before, &ghost);
    assert!(syncs <= 30, "{syncs} syncs");
    assert_eq!(world.machines(), machines);
}

#[test]
fn few_keys_let_a_device_sync_once() {
    // It is believed once in ten minutes.
    let world = World::at_pace(5, Keys::Taken, |_| {});
    let (ghost, device) = world.ghost();
    let before = world.syncs(&ghost);
    let left = |count: u64| {
        let counts = json!({&ghost: {&device: {"signed_curve25519": count}}});
        json!({"events": [], "org.matrix.msc3202.device_one_time_keys_count": counts})
    };
    world.transaction(1, &left(50));
    sleep(Duration::from_millis(300));
    assert_eq!(world.syncs(&ghost), before, "enough are left");
    world.transaction(2, &left(3));
    assert_eq!(world.syncs_beyond(before, &ghost), 1);
    world.transaction(3, &left(3));
    sleep(Duration::from_millis(300));
    assert_eq!(world.syncs(&ghost), before + 1, "believed at once again");
}

#[test]
fn odd_hints_spoil_no_event() {
    let mut world = World::with_keys(Keys::Taken);
    let (room, portal) = (world.room.clone(), world.portal.clone());
    let odd = [
        json!(null),
        json!(3),
        json!("x"),
        json!({}),
        json!([null, 3, {}, []]),
    ];
    for (n, odd) in (0..).zip(odd) {
        let text = format!("beside {n}");
        let mut body = json!({"events": [{
            "event_id": format!("$odd{n}"), "room_id": room, "sender": BOB, "type": "m.room.message",
            "origin_server_ts": 1_900_000_000_000_u64,
            "content": {"msgtype": "m.text", "body": text},
        }]});
        for name in [
            "to_device",
            "de.sorunome.msc2409.to_device",
            "device_lists",
            "org.matrix.msc3202.device_lists",
            "device_one_time_keys_count",
            "org.matrix.msc3202.device_one_time_key_counts",
            "device_unused_fallback_key_types",
        ] {
            body[name] = odd.clone();
        }
        world.transaction(n, &body);
        world.until("the event beside them arrives", |rooms| {
            let mut events = rooms.rooms[&portal].events.iter();
            events.any(|event| event["content"]["body"] == text)
        });
    }
    world.goes_on();
}
