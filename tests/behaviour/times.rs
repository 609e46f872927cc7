//! `vizard_relay_seconds` runs from an event's receipt until it is handled, all waiting included.

use std::process::Command;

use crate::{
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

/// Metrics are the process's: it has one of its own.
#[test]
fn waiting_counts() {
    let ran = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "times::three_messages_at_one_a_minute",
            "--ignored",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by the other one"]
fn three_messages_at_one_a_minute() {
    let metrics = vizard::telemetry::metrics();
    let world = World::with_settings("12", |config| config.access.messages_per_minute = 1);
    let before = slow(&metrics.render());
    for number in 0..3 {
        world
            .fake
            .text(ALICE, &world.portal, &format!("slow {number}"))
            .unwrap();
    }
    wait(&world, "all went out", |world| {
        count(world, &world.room, ALICE, "slow 2") == 1
    });
    handled(&world);
    // The second and the third, at the least.
    assert!(
        slow(&metrics.render()) >= before + 2,
        "{}",
        metrics.render()
    );
}
