//! `vizard_relay_seconds` runs from an event's receipt until it is handled, all waiting included; `vizard_failures_total` counts
//! what did not go as it should, by what was done about it.

use std::process::Command;

use crate::{
    fake::faults::Fault,
    steps::{count, handled, wait},
    world::{ALICE, World},
};

/// How many outbound events took longer than a minute.
fn slow(metrics: &str) -> i64 {
    let bucket = |le: &str| -> i64 {
        let name = format!("vizard_relay_seconds_bucket{{direction=\"outbound\",le=\"{le}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |value| value.parse().unwrap())
    };
    bucket("+Inf") - bucket("60")
}

/// How many failures of a class there were.
fn failures(metrics: &str, class: &str) -> u64 {
    let name = format!("vizard_failures_total{{class=\"{class}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |value| value.parse().unwrap())
}

/// Metrics are the process's: each of these tests has one of its own.
#[test]
fn waiting_counts() {
    alone("times::four_messages_at_one_a_minute");
}

#[test]
fn failures_count() {
    alone("times::what_is_refused_what_passes_and_what_is_too_much");
}

fn alone(name: &str) {
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by the other one"]
fn four_messages_at_one_a_minute() {
    let metrics = vizard::telemetry::metrics();
    let world = World::with_settings("12", |config| config.access.messages_per_minute = 1);
    let before = slow(&metrics.render());
    for number in 0..4 {
        world
            .fake
            .text(ALICE, &world.portal, &format!("slow {number}"))
            .unwrap();
    }
    wait(&world, "all went out", |world| {
        count(world, &world.room, ALICE, "slow 3") == 1
    });
    handled(&world);
    // The third and the fourth, at the least: on a slow machine the others may have waited a minute before they came.
    assert!(
        slow(&metrics.render()) >= before + 2,
        "{}",
        metrics.render()
    );
}

#[test]
#[ignore = "run by the other one"]
fn what_is_refused_what_passes_and_what_is_too_much() {
    let metrics = vizard::telemetry::metrics();
    let all = || {
        let text = metrics.render();
        ["outbound", "retry", "user_limit"].map(|class| failures(&text, class))
    };
    let world = World::new();
    handled(&world);
    let [outbound, retry, limited] = all();
    assert_eq!([outbound, limited], [0, 0]);

    world.fake.fail_next("send", Fault::Forbidden);
    let refused = world.fake.text(ALICE, &world.portal, "refused").unwrap();
    let fate = world.answer(&world.portal, refused.as_str());
    assert!(fate.starts_with("Not sent:"), "{fate}");
    handled(&world);
    assert_eq!(all(), [1, retry, 0]);

    // More often than a request is tried at once.
    for _ in 0..4 {
        world.fake.fail_next("send", Fault::ErrorBefore);
    }
    world.fake.text(ALICE, &world.portal, "it passes").unwrap();
    wait(&world, "it passed", |world| {
        count(world, &world.room, ALICE, "it passes") == 1
    });
    handled(&world);
    let [outbound, again, limited] = all();
    assert!(outbound == 1 && again > retry && limited == 0, "{again}");
    drop(world);

    let world = World::with_settings("12", |config| config.access.messages_per_minute = 1);
    for text in ["one", "two", "three"] {
        world.fake.text(ALICE, &world.portal, text).unwrap();
    }
    wait(&world, "all went out", |world| {
        count(world, &world.room, ALICE, "three") == 1
    });
    let [outbound, _, limited] = all();
    assert_eq!(outbound, 1);
    assert!(limited >= 1);
}
