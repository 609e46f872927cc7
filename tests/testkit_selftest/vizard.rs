//! Child processes, and the wrapper around Vizard shown on a stand-in (the real one has suites of its own).

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command, time::Duration};

use crate::testkit::{
    process::{Process, runs},
    site::Site,
    vizard::Vizard,
};

/// Does what the wrapper asks of `vizard`: `init` writes two files, `run` answers health checks.
const STAND_IN: &str = r#"#!/usr/bin/env python3
import http.server, os, pathlib, signal, sys
if sys.argv[1] == "init":
    options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
    directory = pathlib.Path(options["--dir"])
    directory.mkdir()
    (directory / "vizard.toml").write_text(options["--listen"])
    (directory / "registration.yaml").write_text("")
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
    print("level", os.environ.get("VIZARD__LOG__LEVEL"), flush=True)
    host, port = pathlib.Path(sys.argv[3]).read_text().split(":")
    http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"#;

fn stand_in(site: &Site) -> PathBuf {
    let path = site.path("stand-in");
    std::fs::write(&path, STAND_IN).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn vizard_is_set_up_started_killed_and_stopped() {
    let site = Site::reserve("vizard").unwrap();
    let mut vizard = Vizard::init(stand_in(&site), &site).unwrap();
    vizard.set("log.level", "debug");
    vizard.start().await.unwrap();
    let first = vizard.id().unwrap();
    vizard.kill();
    assert_eq!(vizard.id(), None);
    vizard.start().await.unwrap();
    assert_ne!(vizard.id(), Some(first));
    vizard.restart().await.unwrap();
    vizard.check_alive().unwrap();
    vizard.stop().await.unwrap();
    assert!(
        std::fs::read_to_string(vizard.log())
            .unwrap()
            .contains("level debug")
    );
}

#[tokio::test]
async fn a_vizard_that_dies_is_an_error_with_its_last_words() {
    let site = Site::reserve("dead").unwrap();
    let mut vizard = Vizard::init(stand_in(&site), &site).unwrap();
    std::fs::remove_file(vizard.config()).unwrap();
    let error = vizard.start().await.unwrap_err();
    assert!(error.to_string().contains("FileNotFoundError"), "{error}");
}

#[test]
fn dropping_a_process_kills_its_children_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 1000 & echo $!; wait"]);
    let process = Process::spawn("sh", command, &directory.path().join("log")).unwrap();
    let child = loop {
        let text = std::fs::read_to_string(directory.path().join("log")).unwrap();
        if let Some(line) = text.strip_suffix('\n') {
            break line.to_owned();
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(runs(child.parse().unwrap()));
    drop(process);
    assert!(gone(&child), "the child's child lives on");
}

#[test]
fn children_die_with_the_test_process() {
    const NAME: &str = "TESTKIT_SELFTEST_ORPHAN";
    if let Ok(path) = std::env::var(NAME) {
        // This is the inner process: it starts a child and dies without cleaning up.
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$; exec sleep 1000"]);
        let process = Process::spawn("orphan", command, path.as_ref()).unwrap();
        while std::fs::read_to_string(&path).unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::mem::forget(process);
        std::process::abort();
    }
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "vizard::children_die_with_the_test_process"])
        .env(NAME, &log)
        .output()
        .unwrap()
        .status;
    assert!(!status.success());
    let orphan = std::fs::read_to_string(&log).unwrap().trim().to_owned();
    assert!(!orphan.is_empty());
    assert!(gone(&orphan), "the orphan lives on");
}

/// Whether it goes soon.
fn gone(id: &str) -> bool {
    let id = id.parse().unwrap();
    (0..3000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !runs(id)
    })
}
