//! `init`, and what `registration` and `check` make of what it wrote.

use std::os::unix::fs::PermissionsExt as _;

use crate::{Sandbox, names};

const WRITTEN: [&str; 5] = [
    "as_token",
    "hs_token",
    "master.key",
    "registration.yaml",
    "vizard.toml",
];

fn mode(sandbox: &Sandbox, name: &str) -> u32 {
    let metadata = std::fs::metadata(sandbox.path(name)).unwrap();
    metadata.permissions().mode() & 0o777
}

#[test]
fn it_writes_a_whole_set_that_checks() {
    let sandbox = Sandbox::initialised();
    assert_eq!(names(&sandbox.path("v")), WRITTEN);
    for name in WRITTEN {
        let wanted = if name == "vizard.toml" { 0o644 } else { 0o600 };
        // A stricter umask is fine.
        assert_eq!(mode(&sandbox, &format!("v/{name}")) & !wanted, 0, "{name}");
    }
    let toml = sandbox.read("v/vizard.toml");
    assert!(toml.contains("server_name = \"a.example\""), "{toml}");
    assert!(
        toml.contains("# Seconds that one request may take."),
        "{toml}"
    );
    assert!(
        sandbox
            .read("v/master.key")
            .starts_with("vizard-master-key-1:")
    );
    for token in ["as_token", "hs_token"] {
        let token = sandbox.read(&format!("v/{token}"));
        assert!(token.trim().len() >= 43, "{token}");
        assert!(!toml.contains(token.trim()));
    }

    let check = sandbox.on_config(&["check"]);
    assert_eq!(check.status, 0, "{check:?}");
    for row in [
        "✓ configuration",
        "✓ master key",
        "✓ as_token",
        "✓ hs_token",
        "– database",
        "✓ registration",
    ] {
        assert!(check.out.contains(row), "{row} in\n{}", check.out);
    }
    assert_eq!(names(&sandbox.path("v")), WRITTEN, "a check leaves nothing");
}

#[test]
fn it_says_what_comes_next() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&[
        "init",
        "--server-name",
        "a.example",
        "--homeserver-url",
        "http://127.0.0.1:8008",
        "--appservice-url",
        "http://vizard:29350/",
    ]);
    assert_eq!(ran.status, 0, "{ran:?}");
    for part in [
        "app_service_config_files:",
        "vizard doctor --config",
        "vizard run --config",
        "@vizard:a.example",
    ] {
        assert!(ran.out.contains(part), "{part:?} in\n{}", ran.out);
    }
    let registration = sandbox.read("registration.yaml");
    assert!(
        registration.contains("url: http://vizard:29350\n"),
        "{registration}"
    );
}

#[test]
fn the_registration_is_printed_again() {
    let sandbox = Sandbox::initialised();
    let printed = sandbox.on_config(&["registration"]);
    assert_eq!(printed.status, 0);
    assert_eq!(printed.out, sandbox.read("v/registration.yaml"));
    for part in [
        "id: vizard",
        "sender_localpart: _vizard_appservice",
        "rate_limited: false",
        "receive_ephemeral: true",
        r"regex: ^@_vizard_.*:a\.example$",
        r"regex: ^@vizard:a\.example$",
        "aliases: []",
        "rooms: []",
    ] {
        assert!(printed.out.contains(part), "{part} in\n{}", printed.out);
    }
    let read = |text: &str| {
        text.lines()
            .any(|line| !line.starts_with('#') && line.contains("msc"))
    };
    assert!(!read(&printed.out), "only specified keys");
    let hints = sandbox.on_config(&["registration", "--to-device-hints"]);
    assert!(read(&hints.out), "{}", hints.out);
    let plain = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.contains("msc"));
        let lines = lines.filter(|line| !line.starts_with('#'));
        lines.map(ToOwned::to_owned).collect()
    };
    assert_eq!(plain(&hints.out), plain(&printed.out));
}

#[test]
fn it_never_overwrites() {
    for there in [
        "vizard.toml",
        "registration.yaml",
        "as_token",
        "hs_token",
        "master.key",
        "vizard.db",
    ] {
        let sandbox = Sandbox::new();
        sandbox.write(there, "mine");
        let ran = sandbox.run(&[
            "init",
            "--server-name",
            "a.example",
            "--homeserver-url",
            "http://h",
        ]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(
            ran.err.contains(&format!("error: . holds {there} already")),
            "{}",
            ran.err
        );
        assert!(
            ran.err.contains("help: choose another --dir"),
            "{}",
            ran.err
        );
        assert_eq!(names(sandbox.dir.path()), [there]);
        assert_eq!(sandbox.read(there), "mine");
    }
}

#[test]
fn wrong_options_write_nothing_and_are_named() {
    for (server, url, dir, part) in [
        (
            "https://a.example",
            "http://h",
            "v",
            "--server-name: \"https://a.example\" is not a server name",
        ),
        (
            "a.example",
            "h:8008",
            "v",
            "--homeserver-url: \"h:8008\" is not an http or https URL",
        ),
        ("a.example", "http://h", "a/b/c", "cannot write to a/b/c"),
    ] {
        let sandbox = Sandbox::new();
        let ran = sandbox.run(&[
            "init",
            "--dir",
            dir,
            "--server-name",
            server,
            "--homeserver-url",
            url,
        ]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(
            ran.err.contains(part) && ran.err.contains("help: "),
            "{}",
            ran.err
        );
        assert_eq!(names(sandbox.dir.path()), [""; 0]);
    }
}

#[test]
fn two_set_ups_share_no_secret() {
    let (one, two) = (Sandbox::initialised(), Sandbox::initialised());
    for name in ["as_token", "hs_token", "master.key"] {
        let name = format!("v/{name}");
        assert_ne!(one.read(&name), two.read(&name));
    }
    assert_ne!(one.read("v/as_token"), one.read("v/hs_token"));
}
