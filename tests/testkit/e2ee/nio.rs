//! matrix-nio from the Python registry, in an environment of its own under `target/testkit`; made once, then shared.

use std::{fs::File, process::Command};

use anyhow::{Context as _, Result};

use super::super::python::{Python, home, lock, run};

const VERSION: &str = "0.26.0";
const CLIENT: &str = include_str!("../nio_client/client.py");

/// A command that runs the client; the first call on a machine installs it, which is told on stderr.
pub(super) fn command() -> Result<Command> {
    let home = home()?;
    let directory = home.join(format!("nio-{VERSION}"));
    // The stamp is the last thing written.
    let stamp = directory.join("complete");
    if !stamp.exists() {
        let _lock = lock(&home.join("nio.lock"), "matrix-nio")?;
        if !stamp.exists() {
            install(&directory, &home.join("nio.log"))?;
            File::create(&stamp)?;
        }
    }
    let mut command = Command::new(directory.join("bin/python"));
    for name in ["PYTHONPATH", "PYTHONHOME"] {
        command.env_remove(name);
    }
    command.args(["-c", CLIENT]);
    Ok(command)
}

fn install(directory: &std::path::Path, log: &std::path::Path) -> Result<()> {
    let _ = std::fs::remove_file(log);
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    let mut command = Command::new(Python::shared()?.interpreter());
    command.args(["-m", "venv"]).arg(directory);
    run("python -m venv", command, log)?;
    eprintln!("installing matrix-nio {VERSION} (once; some seconds)…");
    let mut command = Command::new(directory.join("bin/python"));
    command
        .args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(["--no-input", "--prefer-binary"])
        .arg(format!("matrix-nio[e2e]=={VERSION}"));
    run("pip install matrix-nio", command, log).with_context(|| {
        format!(
            "Installing matrix-nio from PyPI failed. The whole log: {}",
            log.display()
        )
    })
}
