//! A headless browser, and scripts that use it: for the sealing page, which nothing but a browser can try.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::{
    node::{Node, packages, write},
    scratch::Scratch,
};

const PACKAGE: [(&str, &str); 4] = [
    ("package.json", include_str!("browser/package.json")),
    (
        "package-lock.json",
        include_str!("browser/package-lock.json"),
    ),
    (".npmrc", include_str!("browser/.npmrc")),
    ("unpack.mjs", include_str!("browser/unpack.mjs")),
];

/// What each script may import from beside it.
const DRIVER: (&str, &str) = ("driver.mjs", include_str!("browser/driver.mjs"));

/// A headless browser.
#[derive(Debug)]
pub struct Browser {
    /// Where its driver's packages are.
    directory: PathBuf,
    program: PathBuf,
    /// What it needs in its environment.
    environment: Vec<(&'static str, PathBuf)>,
}

impl Browser {
    /// One from npm that brings its libraries and fonts along, or the Chromium that `VIZARD_TESTKIT_CHROMIUM` names. The
    /// first call on a machine installs what is missing, which is told on stderr.
    pub fn shared() -> Result<Self> {
        let named = std::env::var_os("VIZARD_TESTKIT_CHROMIUM").map(PathBuf::from);
        let portable = cfg!(all(target_os = "linux", target_arch = "x86_64"));
        if named.is_none() && !portable {
            bail!(
                "the Chromium from npm is for Linux on x86-64; VIZARD_TESTKIT_CHROMIUM names another Chromium or Chrome"
            );
        }
        let directory = packages("page-browser", &PACKAGE, |node, directory| {
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
        if let Some(program) = named {
            return Ok(Self {
                directory,
                program,
                environment: Vec::new(),
            });
        }
        let home = directory.join("browser");
        Ok(Self {
            directory,
            program: home.join("chromium"),
            environment: vec![
                ("LD_LIBRARY_PATH", home.join("lib")),
                ("FONTCONFIG_FILE", home.join("fonts.conf")),
                ("HOME", home),
            ],
        })
    }

    /// Runs a script, which gets the job and where the browser is, to its end; what it wrote is JSON.
    pub fn run(&self, script: &str, mut job: Value) -> Result<Value> {
        let environment: Map<String, Value> = self
            .environment
            .iter()
            .map(|(name, path)| ((*name).to_owned(), json!(path)))
            .collect();
        job["packages"] = json!(self.directory);
        job["program"] = json!(self.program);
        job["environment"] = environment.into();
        let scratch = Scratch::new("browser")?;
        write(scratch.path(), &[DRIVER, ("script.mjs", script)])?;
        Node::shared()?.run(&scratch.path().join("script.mjs"), &job)
    }

    /// Seals a Matrix ID on the page of its server, as a person does, and returns what the page shows to be copied.
    pub fn seal(&self, page: &str, user: &str) -> Result<String> {
        let job = json!({"url": page, "user": user});
        let report = self.run(include_str!("browser/seal.mjs"), job)?;
        match report["address"].as_str() {
            Some(address) => Ok(address.to_owned()),
            None => bail!("the page says: {}", report["error"]),
        }
    }
}
