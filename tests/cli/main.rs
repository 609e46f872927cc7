//! The command line as an admin meets it: the built binary, its output, its exit status and the files it leaves.

mod config;
mod doctor;
mod encryption;
mod escrow;
mod init;
mod keys;
mod live;
mod rotation;
mod sealing;
#[path = "../testkit/mod.rs"]
mod testkit;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use testkit::process;

/// A directory for one test, and the binary to run in it.
struct Sandbox {
    dir: tempfile::TempDir,
}

/// What a run printed, and its exit status.
#[derive(Debug)]
struct Ran {
    status: i32,
    out: String,
    err: String,
}

impl Sandbox {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// One in which `vizard init` was run, for a homeserver and an address at which nothing listens.
    fn initialised() -> Self {
        Self::initialised_for(
            &format!("http://127.0.0.1:{}", closed_port()),
            &format!("127.0.0.1:{}", closed_port()),
        )
    }

    /// One in which `vizard init` was run, for this homeserver and to listen there.
    fn initialised_for(homeserver: &str, listen: &str) -> Self {
        let sandbox = Self::new();
        let ran = sandbox.run(&[
            "init",
            "--dir",
            "v",
            "--server-name",
            "a.example",
            "--homeserver-url",
            homeserver,
            "--listen",
            listen,
        ]);
        assert_eq!(ran.status, 0, "{ran:?}");
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &[])
    }

    /// Runs the binary in the directory, with no environment but `environment`.
    fn run_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vizard"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(environment.iter().copied());
        process::output(&mut command).unwrap().into()
    }

    /// Runs a command on the configuration that [`Sandbox::initialised`] made.
    fn on_config(&self, args: &[&str]) -> Ran {
        self.run(&[args, &["--config", "v/vizard.toml"]].concat())
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A loopback port on which nothing listens.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn help_is_worth_reading() {
    let sandbox = Sandbox::new();
    let help = sandbox.run(&["--help"]);
    assert_eq!(help.status, 0);
    for part in [
        "pseudonym that belongs to that room alone",
        "init ",
        "registration ",
        "check ",
        "doctor ",
        "run ",
        "rotate-master-key",
        "escrow ",
        "keys ",
        "vizard init --dir /etc/vizard",
        "VIZARD__LOG__LEVEL=debug vizard run",
        "Exit status: 0 success; 1 a check failed",
    ] {
        assert!(help.out.contains(part), "{part:?} in\n{}", help.out);
    }
    for command in [
        "init",
        "registration",
        "check",
        "doctor",
        "run",
        "rotate-master-key",
        "escrow",
        "keys",
        "seal",
        "verify",
    ] {
        let help = sandbox.run(&[command, "--help"]);
        assert_eq!(help.status, 0);
        assert!(help.out.contains("Usage: vizard "), "{}", help.out);
        assert!(
            !help.out.lines().any(|line| line.len() > 120),
            "{}",
            help.out
        );
    }
}

#[test]
fn versions_are_printed() {
    let sandbox = Sandbox::new();
    let version = format!("vizard {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(sandbox.run(&["version"]).out, version);
    assert_eq!(sandbox.run(&["--version"]).out, version);
}

#[test]
fn wrong_usage_exits_with_2() {
    let sandbox = Sandbox::new();
    for args in [
        &[][..],
        &["dance"],
        &["init"],
        &["check", "--nonsense"],
        &[
            "init",
            "--server-name",
            "a.example",
            "--homeserver-url",
            "http://h",
            "--listen",
            "here",
        ],
    ] {
        let ran = sandbox.run(args);
        assert_eq!(ran.status, 2, "{args:?}: {ran:?}");
        assert!(!ran.err.is_empty());
    }
}
