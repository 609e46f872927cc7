//! The client's program: the SDK from npm as the lock file has it, and the script beside it.

use std::{fs::File, path::PathBuf, process::Command};

use anyhow::Result;

use super::super::{
    node::{Node, digest, packages, write},
    python::lock,
};

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
    node: Node,
    script: PathBuf,
}

impl Program {
    /// A command that runs it.
    pub fn command(&self) -> Command {
        let mut command = self.node.command();
        command.arg(&self.script);
        command
    }
}

/// The program; the first call on a machine installs what is missing, which is told on stderr.
pub(super) fn program() -> Result<Program> {
    let directory = packages("e2ee-client", &PACKAGE, |_, _| Ok(()))?;
    let sources = directory.join(digest(&SOURCES));
    let copied = sources.join("complete");
    if !copied.exists() {
        let _lock = lock(
            &directory.join("sources.lock"),
            "the end-to-end-encrypting client",
        )?;
        if !copied.exists() {
            write(&sources, &SOURCES)?;
            File::create(&copied)?;
        }
    }
    Ok(Program {
        node: Node::shared()?,
        script: sources.join("client.mjs"),
    })
}
