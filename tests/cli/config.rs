//! What is said about configurations that do not do.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::Sandbox;

#[test]
fn an_unknown_key_names_the_nearest() {
    let sandbox = Sandbox::initialised();
    let toml = sandbox.read("v/vizard.toml");
    for (line, nearest) in [
        ("[portal]\nmax_miror = 3", "portal.max_mirrors"),
        ("[log]\nlevle = \"debug\"", "log.level"),
        ("[access]\nmax_pseudonym = 3", "access.max_pseudonyms"),
        ("[metrics]\nlisen = \"127.0.0.1:1\"", "metrics.listen"),
    ] {
        let section = line.lines().next().unwrap();
        sandbox.write("v/vizard.toml", &toml.replace(section, line));
        let ran = sandbox.on_config(&["check"]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.err.contains("there is no such key"), "{}", ran.err);
        assert!(
            ran.err
                .contains(&format!("help: the nearest is {nearest}\n")),
            "{}",
            ran.err
        );
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let sandbox = Sandbox::initialised();
    let ran = sandbox.run_with(
        &["run", "--config", "v/vizard.toml"],
        &[
            ("VIZARD__LOG__LEVEL", "loud"),
            ("VIZARD__LOG__FORMT", "json"),
            ("VIZARD__PORTAL__MAX_MIRRORS", "0"),
        ],
    );
    assert_eq!(ran.status, 2, "{ran:?}");
    assert_eq!(ran.err.matches("error: ").count(), 3, "{}", ran.err);
    assert_eq!(ran.err.matches("help: ").count(), 3, "{}", ran.err);
    assert!(
        ran.err
            .contains("log.level: \"loud\" is not a log filter (set by VIZARD__LOG__LEVEL)"),
        "{}",
        ran.err
    );
}

#[test]
fn the_environment_wins() {
    let sandbox = Sandbox::initialised();
    let ran = sandbox.run_with(
        &["registration", "--config", "v/vizard.toml"],
        &[
            ("VIZARD__APPSERVICE__PREFIX", "_mask_"),
            ("VIZARD__APPSERVICE__URL", "http://elsewhere:1"),
        ],
    );
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.out.contains(r"regex: ^@_mask_.*:a\.example$"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("sender_localpart: _mask_appservice"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("url: http://elsewhere:1\n"), "{}", ran.out);
}

#[test]
fn a_missing_or_broken_file_is_explained() {
    let sandbox = Sandbox::initialised();
    let ran = sandbox.run(&["run"]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.err.contains("error: cannot read vizard.toml"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("help: name the file with --config FILE"),
        "{}",
        ran.err
    );
    sandbox.write("v/vizard.toml", "[log\n");
    let ran = sandbox.on_config(&["check"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("vizard.toml, line 1: "), "{}", ran.err);
}

#[test]
fn a_check_finds_open_files_and_a_wrong_registration() {
    let sandbox = Sandbox::initialised();
    fs::set_permissions(
        sandbox.path("v/master.key"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    sandbox.write(
        "v/registration.yaml",
        &sandbox
            .read("v/registration.yaml")
            .replace("^@vizard:", "^@other:"),
    );
    let ran = sandbox.on_config(&["check"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    for part in [
        "✗ master key",
        "is open to others (mode 0640)",
        "→ chmod 600 ",
        "✗ registration",
        "differs from the configuration in namespaces",
        "→ vizard registration --config ",
        "2 checks failed",
    ] {
        assert!(ran.out.contains(part), "{part} in\n{}", ran.out);
    }
    sandbox.write("v/master.key", "nonsense");
    let ran = sandbox.on_config(&["check", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["checks"][1]["status"], "failed");
    assert!(!ran.out.contains("nonsense"));
}

#[test]
fn there_is_nothing_to_rotate_before_the_first_start() {
    let sandbox = Sandbox::initialised();
    let before = sandbox.read("v/master.key");
    for args in [
        &["rotate-master-key"][..],
        &["rotate-master-key", "--dry-run"],
    ] {
        let ran = sandbox.on_config(args);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.err.contains("there is no database yet"), "{}", ran.err);
    }
    assert_eq!(sandbox.read("v/master.key"), before);
    assert!(!sandbox.path("v/master.key.new").exists());
}

#[test]
fn two_cannot_run_on_one_database() {
    let sandbox = Sandbox::initialised();
    let lock = fs::File::create(sandbox.path("v/vizard.lock")).unwrap();
    lock.lock().unwrap();
    sandbox.write("v/vizard.db", "in use");
    for command in ["run", "rotate-master-key"] {
        let ran = sandbox.on_config(&[command]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(
            ran.err
                .contains("error: Vizard is running on this database"),
            "{}",
            ran.err
        );
        assert!(ran.err.contains("help: stop it first"), "{}", ran.err);
    }
    let check = sandbox.on_config(&["check"]);
    assert_eq!(check.status, 0, "{check:?}");
    assert!(
        check.out.contains("– database           in use"),
        "{}",
        check.out
    );
}
