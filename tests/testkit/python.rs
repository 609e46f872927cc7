//! The Python environment that holds Synapse: made once under `target/testkit`, then shared.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::process::{Process, tail};

/// The version everything is tested against.
pub const SYNAPSE_VERSION: &str = "1.163.2";

/// A complete virtual environment.
#[derive(Clone, Debug)]
pub struct Python {
    directory: PathBuf,
}

impl Python {
    /// The shared environment; the first call on a machine makes it, which takes a minute and is told on
    /// stderr. Other processes that ask meanwhile wait for it.
    pub fn shared() -> Result<Self> {
        let home = home()?;
        let directory = home.join("venv");
        // The stamp is the last thing written, so a half-made environment is never taken for a whole one.
        let stamp = directory.join(format!("complete-{SYNAPSE_VERSION}"));
        if !stamp.exists() {
            let _lock = lock(&home.join("venv.lock"), "the Python environment")?;
            if !stamp.exists() {
                make(&directory, &home.join("venv.log"))?;
                File::create(&stamp)?;
            }
        }
        Ok(Self { directory })
    }

    /// A command that runs the environment's interpreter, away from the caller's Python and proxy settings.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.interpreter());
        for name in [
            "PYTHONPATH",
            "PYTHONHOME",
            "http_proxy",
            "https_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// The environment's interpreter, for what needs the caller's proxy settings.
    pub fn interpreter(&self) -> PathBuf {
        self.directory.join("bin/python")
    }

    /// Runs a script (its text) to its end.
    pub fn run(&self, script: &str, arguments: &[&str]) -> Result<String> {
        let output = self
            .command()
            .arg("-c")
            .arg(script)
            .args(arguments)
            .output()?;
        succeeded("a Python script of the test kit", &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// `target/testkit`: what test processes share.
pub fn home() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let home = std::path::absolute(target.join("testkit"))?;
    std::fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    Ok(home)
}

/// Takes a lock between processes, and says so when it has to wait. It ends when the file is dropped.
pub fn lock(path: &Path, what: &str) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting until another process has made {what}…");
        file.lock()?;
    }
    Ok(file)
}

fn make(directory: &Path, log: &Path) -> Result<()> {
    let python = interpreter()?;
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    let _ = std::fs::remove_file(log);
    eprintln!(
        "making a Python environment in {} (once)…",
        directory.display()
    );
    let mut command = Command::new(&python);
    command.args(["-m", "venv"]).arg(directory);
    run("python3 -m venv", command, log).map_err(|error| {
        anyhow!(
            "{error:#}\n\nPython's venv module is not complete. Install it (Debian, Ubuntu: apt install \
             python3-venv; Fedora: dnf install python3-pip) and try again."
        )
    })?;
    eprintln!("installing Synapse {SYNAPSE_VERSION} (once; about a minute)…");
    let mut command = pip_install(&directory.join("bin/python"));
    command
        .arg("--prefer-binary")
        .arg(format!("matrix-synapse=={SYNAPSE_VERSION}"));
    run("pip install matrix-synapse", command, log).map_err(|error| {
        anyhow!(
            "{error:#}\n\nInstalling Synapse from PyPI failed. It needs the network (or PIP_INDEX_URL / \
             PIP_FIND_LINKS) and Python 3.10 or newer. The whole log: {}",
            log.display()
        )
    })?;
    eprintln!("Synapse {SYNAPSE_VERSION} is installed.");
    Ok(())
}

/// The first `python3` that is new enough.
fn interpreter() -> Result<String> {
    let wanted = std::env::var("VIZARD_TESTKIT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&wanted)
        .args(["-c", "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 10))"])
        .output()
        .map_err(|error| {
            anyhow!(
                "cannot run {wanted} ({error}). The tests and the demo run a real Synapse and need Python 3.10 \
                 or newer with venv and pip (Debian, Ubuntu: apt install python3 python3-venv). \
                 VIZARD_TESTKIT_PYTHON names another interpreter."
            )
        })?;
    if !output.status.success() {
        bail!(
            "{wanted} is Python {}, but Synapse needs 3.10 or newer. VIZARD_TESTKIT_PYTHON names another interpreter.",
            String::from_utf8_lossy(&output.stdout).trim()
        );
    }
    Ok(wanted)
}

/// How long an installer may take.
const INSTALLED: std::time::Duration = std::time::Duration::from_mins(15);

/// Runs an installer to its end; an error shows the end of its log.
pub fn run(name: &str, command: Command, log: &Path) -> Result<()> {
    let mut process = Process::spawn(name, command, log)?;
    let since = std::time::Instant::now();
    loop {
        match process.exited() {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("{name} failed ({status}):\n{}", tail(log, 15)),
            None if since.elapsed() > INSTALLED => {
                bail!("{name} does not end:\n{}", tail(log, 15))
            }
            None => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    }
}

fn succeeded(name: &str, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "{name} failed ({}):\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )
}

/// `pip install` without questions; what to install follows.
pub fn pip_install(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
    ]);
    command
}
