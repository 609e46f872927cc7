//! `doctor` where nothing answers: it says so, and what to do, and does not hang.

use std::time::{Duration, Instant};

use crate::Sandbox;

#[test]
fn nothing_listening_is_a_failure_with_a_mend() {
    let sandbox = Sandbox::initialised();
    let begun = Instant::now();
    let ran = sandbox.on_config(&["doctor"]);
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(ran.status, 1, "{ran:?}");
    for part in [
        "✓ configuration",
        "✓ master key",
        "✗ homeserver",
        "→ start the homeserver, or set homeserver.url",
        "– what needs it",
        "– database",
        "– crowd",
        "– federation",
        "One check failed",
    ] {
        assert!(ran.out.contains(part), "{part} in\n{}", ran.out);
    }
    assert!(
        !sandbox.path("v/vizard.db").exists(),
        "a trial makes no database"
    );
}

#[test]
fn machines_get_json() {
    let sandbox = Sandbox::initialised();
    let ran = sandbox.on_config(&["doctor", "--json"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["ok"], false);
    let failed: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["status"] == "failed")
        .collect();
    assert_eq!(failed.len(), 1, "{report}");
    assert_eq!(failed[0]["check"], "homeserver");
    assert!(failed[0]["mend"].is_string());
}

#[test]
fn a_name_that_does_not_exist_is_told_from_a_server_that_is_off() {
    let sandbox = Sandbox::initialised();
    let ran = sandbox.run_with(
        &["doctor", "--config", "v/vizard.toml"],
        &[("VIZARD__HOMESERVER__URL", "http://nowhere.invalid:8008")],
    );
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(
        ran.out
            .contains("→ see that the name in homeserver.url is right"),
        "{}",
        ran.out
    );
}
