//! What the tests run: Node.js, the packages with which the page is built, and a browser.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::testkit::{
    node::{Node, packages, write},
    scratch::Scratch,
};

/// The page's sources, as they are committed, without the bundle.
pub const PAGE: [(&str, &str); 6] = [
    (
        "package.json",
        include_str!("../../src/http/seal/package.json"),
    ),
    (
        "package-lock.json",
        include_str!("../../src/http/seal/package-lock.json"),
    ),
    (".npmrc", include_str!("../../src/http/seal/.npmrc")),
    ("build.mjs", include_str!("../../src/http/seal/build.mjs")),
    ("page.mjs", include_str!("../../src/http/seal/page.mjs")),
    (
        "sealing.mjs",
        include_str!("../../src/http/seal/sealing.mjs"),
    ),
];

const BROWSER: [(&str, &str); 4] = [
    ("package.json", include_str!("package.json")),
    ("package-lock.json", include_str!("package-lock.json")),
    (".npmrc", include_str!(".npmrc")),
    ("unpack.mjs", include_str!("unpack.mjs")),
];

/// A copy of the page's sources with what `npm ci` installs for them.
pub fn sources() -> Result<Scratch> {
    let packages = packages("page-build", &PAGE[..3], |_, _| Ok(()))?;
    let scratch = Scratch::new("page")?;
    write(scratch.path(), &PAGE)?;
    std::os::unix::fs::symlink(
        packages.join("node_modules"),
        scratch.path().join("node_modules"),
    )?;
    Ok(scratch)
}

/// A headless browser.
#[derive(Debug)]
pub struct Browser {
    /// Where its driver's packages are.
    pub directory: PathBuf,
    pub program: PathBuf,
    /// What it needs in its environment.
    pub environment: Vec<(&'static str, PathBuf)>,
}

/// The browser: one from npm that brings its libraries and fonts along, or the Chromium that `VIZARD_TESTKIT_CHROMIUM`
/// names.
pub fn browser() -> Result<Browser> {
    let named = std::env::var_os("VIZARD_TESTKIT_CHROMIUM").map(PathBuf::from);
    let portable = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    if named.is_none() && !portable {
        bail!(
            "the Chromium from npm is for Linux on x86-64; VIZARD_TESTKIT_CHROMIUM names another Chromium or Chrome"
        );
    }
    let directory = packages("page-browser", &BROWSER, |node, directory| {
        if !portable {
            return Ok(());
        }
        let mut unpack = node.command();
        let output = unpack.arg("unpack.mjs").current_dir(directory).output()?;
        if !output.status.success() {
            bail!(
                "the browser could not be unpacked:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    })?;
    let home = directory.join("browser");
    if let Some(program) = named {
        return Ok(Browser {
            directory,
            program,
            environment: Vec::new(),
        });
    }
    Ok(Browser {
        directory,
        program: home.join("chromium"),
        environment: vec![
            ("LD_LIBRARY_PATH", home.join("lib")),
            ("FONTCONFIG_FILE", home.join("fonts.conf")),
            ("HOME", home),
        ],
    })
}

/// Runs a script with a job as JSON on its stdin, to its end; what it wrote is JSON too.
pub fn run(script: &Path, job: &Value) -> Result<Value> {
    let mut command = Node::shared()?.command();
    let mut child = command
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("no stdin")?;
    let job = job.to_string();
    // A thread of its own, so that neither side waits for the other with its pipe full.
    let writer = std::thread::spawn(move || input.write_all(job.as_bytes()));
    let output = child.wait_with_output()?;
    let _ = writer.join();
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{} failed ({}):\n{errors}", script.display(), output.status);
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("no JSON; {errors}"))
}
