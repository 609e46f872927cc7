//! `run` stops when asked; `rotate-master-key` replaces the key, and one that was interrupted is settled.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::Sandbox;

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A Vizard that runs; what is dropped is killed.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `vizard run`, and waits until the database is there.
pub fn start(sandbox: &Sandbox) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vizard"))
        .args(["run", "--config", "v/vizard.toml"])
        .current_dir(sandbox.dir.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let running = Running(child);
    let (first, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = log.read_line(&mut line);
        let _ = first.send(line);
        std::io::copy(&mut log, &mut std::io::sink())
    });
    // The first line comes once the database is open, as no homeserver answers.
    let line = said.recv_timeout(PATIENCE).expect("it says something");
    assert!(sandbox.path("v/vizard.db").exists(), "{line}");
    running
}

/// Asks the process to stop; its exit status.
pub fn stop(running: Running) -> Option<i32> {
    stop_by(running, "-TERM")
}

fn stop_by(mut running: Running, signal: &str) -> Option<i32> {
    let pid = running.0.id().to_string();
    let told = Command::new("kill").args([signal, &pid]).status();
    assert!(told.unwrap().success());
    let since = Instant::now();
    loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            return status.code();
        }
        assert!(since.elapsed() < PATIENCE, "it does not stop");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A set-up whose database exists.
pub fn used() -> Sandbox {
    let sandbox = Sandbox::initialised();
    // As at a terminal; other tests stop it as a supervisor does.
    assert_eq!(stop_by(start(&sandbox), "-INT"), Some(0));
    sandbox
}

#[test]
fn while_vizard_runs_nothing_else_does() {
    let sandbox = Sandbox::initialised();
    let child = start(&sandbox);
    for command in ["run", "rotate-master-key", "escrow"] {
        let ran = sandbox.on_config(&[command]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.err.contains("error: Vizard is running"), "{}", ran.err);
    }
    assert_eq!(stop(child), Some(0));
    let ran = sandbox.on_config(&["check"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.out.contains("vizard.db opens with the master key"),
        "{}",
        ran.out
    );
}

#[test]
fn a_rotation_replaces_the_key() {
    let sandbox = used();
    let old = sandbox.read("v/master.key");
    let dry = sandbox.on_config(&["rotate-master-key", "--dry-run"]);
    assert_eq!(dry.status, 0, "{dry:?}");
    assert!(dry.out.contains("Nothing was changed"), "{}", dry.out);
    assert_eq!(sandbox.read("v/master.key"), old);

    let ran = sandbox.on_config(&["rotate-master-key"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    // It may take long, so what it does is told, beside what a script reads.
    let steps = ["opening the database", "sealing everything anew"].map(|step| ran.err.find(step));
    assert!(steps[0].is_some() && steps[0] < steps[1], "{}", ran.err);
    assert!(!ran.out.contains("opening the database"), "{}", ran.out);
    let new = sandbox.read("v/master.key");
    assert_ne!(new, old);
    assert!(!sandbox.path("v/master.key.new").exists());
    let check = sandbox.on_config(&["check"]);
    assert_eq!(check.status, 0, "{check:?}");

    sandbox.write("v/master.key", &old);
    let check = sandbox.on_config(&["check"]);
    assert_eq!(check.status, 1, "{check:?}");
    assert!(
        check.out.contains("the master key does not open it"),
        "{}",
        check.out
    );
    let again = sandbox.on_config(&["rotate-master-key"]);
    assert_eq!(again.status, 2, "{again:?}");
    assert_eq!(
        sandbox.read("v/master.key"),
        old,
        "a wrong key is not replaced"
    );
}

/// What the keys' files and the database hold.
fn everything(sandbox: &Sandbox) -> [Vec<u8>; 3] {
    ["v/master.key", "v/master.key.new", "v/vizard.db"]
        .map(|name| fs::read(sandbox.path(name)).unwrap())
}

#[test]
fn an_interrupted_rotation_is_settled() {
    let sandbox = used();
    let old = sandbox.read("v/master.key");
    assert_eq!(sandbox.on_config(&["rotate-master-key"]).status, 0);
    let new = sandbox.read("v/master.key");

    // After the commit, before the rename.
    fs::rename(
        sandbox.path("v/master.key"),
        sandbox.path("v/master.key.new"),
    )
    .unwrap();
    sandbox.write("v/master.key", &old);
    // Whoever only looks changes nothing.
    let before = everything(&sandbox);
    let dry = sandbox.on_config(&["rotate-master-key", "--dry-run"]);
    assert_eq!(dry.status, 0, "{dry:?}");
    for part in ["would be finished first", "Nothing was changed"] {
        assert!(dry.out.contains(part), "{part} is not in: {}", dry.out);
    }
    assert_eq!(everything(&sandbox), before);
    assert_eq!(stop(start(&sandbox)), Some(0));
    assert_eq!(sandbox.read("v/master.key"), new);
    assert!(!sandbox.path("v/master.key.new").exists());

    // Before the commit, or while the new key was being written.
    for unused in [old.as_str(), "vizard-master-"] {
        sandbox.write("v/master.key.new", unused);
        let dry = sandbox.on_config(&["rotate-master-key", "--dry-run"]);
        assert!(dry.out.contains("would be undone first"), "{}", dry.out);
        assert_eq!(sandbox.read("v/master.key.new"), unused);
        let check = sandbox.on_config(&["check"]);
        assert!(
            check.out.contains("undone, the old key holds"),
            "{}",
            check.out
        );
        assert_eq!(sandbox.read("v/master.key"), new);
        assert!(!sandbox.path("v/master.key.new").exists());
    }

    // Neither is right: nothing is thrown away.
    sandbox.write("v/master.key", &old);
    sandbox.write("v/master.key.new", &old);
    let ran = sandbox.on_config(&["run"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.err.contains("opens the database"), "{}", ran.err);
    assert!(sandbox.path("v/master.key.new").exists());

    // Without the database it is not known which one holds.
    fs::remove_file(sandbox.path("v/vizard.db")).unwrap();
    for is_empty in [false, true] {
        if is_empty {
            sandbox.write("v/vizard.db", "");
        }
        let ran = sandbox.on_config(&["run"]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.err.contains("there is no database"), "{}", ran.err);
        assert!(sandbox.path("v/master.key.new").exists());
    }
}
