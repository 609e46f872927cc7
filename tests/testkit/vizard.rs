//! The built `vizard` program, set up as an admin sets it up.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    process::{self, Process, tail},
    site::Site,
};

/// One Vizard: its program, its directory, its process while it runs. Dropping it kills the process; the
/// directory belongs to the [`Site`].
#[derive(Debug)]
pub struct Vizard {
    program: PathBuf,
    directory: PathBuf,
    label: String,
    url: String,
    metrics: String,
    environment: Vec<(String, String)>,
    http: reqwest::Client,
    process: Option<Process>,
}

/// What differs from one set-up to another.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Where the homeserver calls, if not at Vizard itself.
    pub url: Option<String>,
    /// The registration asks for hints.
    pub hints: bool,
}

impl Vizard {
    /// Runs `vizard init` for the homeserver at `site`. Tests pass `env!("CARGO_BIN_EXE_vizard")`, the demo
    /// what [`program_beside_example`] returns.
    pub fn init(program: impl AsRef<Path>, site: &Site) -> Result<Self> {
        Self::init_with(program, site, &Setup::default())
    }

    /// The same with differences.
    pub fn init_with(program: impl AsRef<Path>, site: &Site, setup: &Setup) -> Result<Self> {
        let vizard = Self {
            program: program.as_ref().to_owned(),
            directory: site.path("vizard"),
            label: site.label.clone(),
            url: format!("http://{}", site.vizard),
            metrics: format!("http://{}", site.metrics),
            environment: vec![
                (
                    "VIZARD__METRICS__LISTEN".to_owned(),
                    site.metrics.to_string(),
                ),
                // The plain client of the test kit reads no ciphertext; tests of encryption set this anew.
                ("VIZARD__ENCRYPTION__PORTAL".to_owned(), "never".to_owned()),
            ],
            http: super::http(),
            process: None,
        };
        let mut command = vizard.command();
        command
            .arg("init")
            .arg("--dir")
            .arg(&vizard.directory)
            .args([
                "--server-name",
                &site.server_name,
                "--homeserver-url",
                &site.url(),
            ])
            .args([
                "--listen",
                &site.vizard.to_string(),
                "--appservice-url",
                setup.url.as_ref().unwrap_or(&vizard.url),
            ]);
        if setup.hints {
            command.arg("--to-device-hints");
        }
        let output = process::output(&mut command)
            .with_context(|| format!("cannot run {}", vizard.program.display()))?;
        if !output.status.success() {
            bail!(
                "vizard init failed ({}):\n{}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        for path in [vizard.config(), vizard.registration()] {
            if !path.exists() {
                bail!("vizard init did not write {}", path.display());
            }
        }
        Ok(vizard)
    }

    /// Sets a key of the configuration through the environment, for starts from now on:
    /// `set("relay.gap_limit", "50")`.
    pub fn set(&mut self, key: &str, value: &str) -> &mut Self {
        let name = format!("VIZARD__{}", key.to_uppercase().replace('.', "__"));
        self.environment.retain(|(set, _)| *set != name);
        self.environment.push((name, value.to_owned()));
        self
    }

    /// A command that runs the program with this Vizard's settings in its environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            // A developer's own settings are not the test's.
            if name.to_string_lossy().starts_with("VIZARD__")
                || name.to_string_lossy().to_lowercase().ends_with("_proxy")
            {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("NO_COLOR", "1");
        command
    }

    /// Starts `vizard run` and waits until it is ready.
    pub async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.ready().await
    }

    /// Starts `vizard run` without waiting.
    pub fn spawn(&mut self) -> Result<()> {
        if self
            .process
            .as_mut()
            .is_some_and(|process| process.exited().is_none())
        {
            bail!("Vizard {} runs already", self.label);
        }
        let mut command = self.command();
        command
            .arg("run")
            .arg("--config")
            .arg(self.config())
            .current_dir(&self.directory);
        self.process = Some(Process::spawn(
            &format!("vizard ({})", self.label),
            command,
            &self.log(),
        )?);
        Ok(())
    }

    /// Waits until `/health/ready` answers 200.
    pub async fn ready(&mut self) -> Result<()> {
        let limit = Duration::from_mins(1);
        let since = Instant::now();
        let address = format!("{}/health/ready", self.url);
        let mut last = String::from("no answer");
        loop {
            self.process
                .as_mut()
                .context("this Vizard was stopped")?
                .check_alive()?;
            match self.http.get(&address).send().await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => {
                    last = format!(
                        "{} {}",
                        response.status(),
                        response.text().await.unwrap_or_default()
                    );
                }
                Err(_) => {}
            }
            if since.elapsed() > limit {
                bail!(
                    "Vizard {} was not ready within {limit:?} ({last}):\n{}",
                    self.label,
                    tail(&self.log(), 40)
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops it in good order (SIGTERM); an exit status other than success is an error.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            let status = process.stop(Duration::from_secs(30)).await?;
            if !status.success() {
                bail!(
                    "Vizard {} ended with {status}:\n{}",
                    self.label,
                    tail(&self.log(), 40)
                );
            }
        }
        Ok(())
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it in good order and starts it again.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// An error with the end of the log, if it has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check_alive)
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Where the homeserver reaches it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The metrics as they stand now.
    pub async fn metrics(&self) -> Result<String> {
        let address = format!("{}/metrics", self.metrics);
        Ok(self
            .http
            .get(address)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?)
    }

    /// Its signed key document, as others get it.
    pub async fn key_document(&self) -> Result<serde_json::Value> {
        let address = format!("{}/_vizard/v1/server_keys", self.url);
        let answer = self.http.get(address).send().await?.error_for_status()?;
        Ok(answer.json().await?)
    }

    /// Pins another Vizard's key by hand, for the next start.
    pub async fn pin(&self, other: &Self) -> Result<()> {
        use std::io::Write as _;

        let document = other.key_document().await?;
        let keys = document["verify_keys"].as_object();
        let key = keys
            .and_then(|keys| keys.values().next()?["key"].as_str())
            .context("a document without a key")?;
        let mut config = std::fs::OpenOptions::new()
            .append(true)
            .open(self.config())?;
        writeln!(
            config,
            "\n[peers.{}]\nserver_key = \"{key}\"",
            document["server_name"]
        )?;
        Ok(())
    }

    /// Seals a Matrix ID of this Vizard's homeserver as `vizard seal` does, for whoever gets the address.
    pub async fn seal(&self, user: &str) -> Result<String> {
        let document = self.directory.join("keys.json");
        std::fs::write(&document, self.key_document().await?.to_string())?;
        let mut command = self.command();
        command.args(["seal", user, "--keys"]).arg(&document);
        let output = process::output(&mut command)?;
        if !output.status.success() {
            bail!("vizard seal: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn config(&self) -> PathBuf {
        self.directory.join("vizard.toml")
    }

    /// The registration file for the homeserver.
    pub fn registration(&self) -> PathBuf {
        self.directory.join("registration.yaml")
    }

    /// All it ever printed, over all its starts.
    pub fn log(&self) -> PathBuf {
        self.directory.join("output.log")
    }
}

/// The `vizard` beside the running example called `name`, in the example's own profile. Cargo does not
/// build it for an example, so this does; it is quick when nothing has changed. `VIZARD_TESTKIT_PROGRAM` names another.
pub fn program_beside_example(name: &str) -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("VIZARD_TESTKIT_PROGRAM") {
        return Ok(program.into());
    }
    let example = std::env::current_exe()?;
    let directory = example
        .parent()
        .and_then(Path::parent)
        .context("an example lies in target/PROFILE/examples")?;
    let program = directory.join("vizard");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args([
        "build",
        "--bin",
        "vizard",
        // Named as well, so that the features of shared dependencies, and thus their builds, are the same.
        "--example",
        name,
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    // What `cargo run` says of this package: build scripts of some crates watch it, and all that depends on them would be
    // built once more.
    for (name, _) in std::env::vars_os() {
        let said = |start: &str| name.to_string_lossy().starts_with(start);
        if said("CARGO_PKG_") || said("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    if directory.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    if let Some(target) = directory.parent() {
        command.arg("--target-dir").arg(target);
    }
    let status = command
        .status()
        .context("cannot run cargo to build vizard")?;
    if !status.success() {
        bail!("cargo build --bin vizard failed ({status})");
    }
    Ok(program)
}
