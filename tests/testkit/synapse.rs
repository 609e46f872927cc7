//! A stock Synapse on a loopback address of its own, and two that federate.

mod config;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::{
    process::{Process, tail},
    python::{Python, SYNAPSE_VERSION},
    site::Site,
    tls,
};

/// What differs from one Synapse to another. `Options::default()` is a stock one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Registration files of application services.
    pub registrations: Vec<PathBuf>,
    /// Switches on the experimental features that hand to-device messages and device lists to application
    /// services. Vizard must not need them.
    pub experimental: bool,
    /// Logs at DEBUG rather than INFO.
    pub debug_log: bool,
    /// Further settings (an object), which replace the kit's own of the same name.
    pub extra: Value,
}

/// A user of a homeserver and how to act as them.
#[derive(Clone, Debug)]
pub struct Account {
    pub user_id: String,
    pub password: String,
    pub access_token: String,
    pub device_id: String,
    /// The homeserver's client API.
    pub url: String,
}

/// A Synapse. Dropping it kills it and removes its data (kept if the test panics).
#[derive(Debug)]
pub struct Synapse {
    // Before `site`, so that it is dead before its directory goes.
    process: Option<Process>,
    python: Python,
    secret: String,
    http: reqwest::Client,
    pub site: Site,
}

impl Synapse {
    /// Starts one at `site` and waits until it answers.
    pub async fn start(site: Site, options: &Options) -> Result<Self> {
        let mut synapse = Self::launch(site, options).await?;
        synapse.ready().await?;
        Ok(synapse)
    }

    /// Starts one without waiting, so that two come up at once. The first use on a machine installs it.
    pub async fn launch(site: Site, options: &Options) -> Result<Self> {
        let (site, options) = (site, options.clone());
        // Installing and making certificates block for long; other tasks go on.
        let (site, python, secret) = tokio::task::spawn_blocking(move || -> Result<_> {
            let python = Python::shared()?;
            let authority = tls::authority(&python)?;
            tls::certificate(&python, site.client.ip(), &site.path(""))?;
            let secret = config::write(&site, &authority, &options)?;
            Ok((site, python, secret))
        })
        .await??;
        let mut synapse = Self {
            process: None,
            python,
            secret,
            http: super::http(),
            site,
        };
        synapse.spawn()?;
        Ok(synapse)
    }

    fn spawn(&mut self) -> Result<()> {
        let mut command = self.python.command();
        command
            .args(["-m", "synapse.app.homeserver", "-c"])
            .arg(self.site.path("homeserver.yaml"))
            .current_dir(self.site.path(""));
        let name = format!("Synapse {SYNAPSE_VERSION} ({})", self.site.label);
        self.process = Some(Process::spawn(&name, command, &self.output())?);
        Ok(())
    }

    /// Waits until it answers.
    pub async fn ready(&mut self) -> Result<()> {
        let limit = Duration::from_mins(2);
        let since = Instant::now();
        let address = format!("{}/_matrix/client/versions", self.site.url());
        loop {
            let process = self.process.as_mut().context("this Synapse was stopped")?;
            process.check_alive().inspect_err(|_| self.site.keep())?;
            match self.http.get(&address).send().await {
                Ok(response) if response.status().is_success() => return Ok(()),
                _ if since.elapsed() > limit => {
                    self.site.keep();
                    bail!(
                        "Synapse {} did not answer within {limit:?}:\n{}",
                        self.site.label,
                        tail(&self.log(), 40)
                    );
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Stops it in good order (SIGTERM).
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(Duration::from_mins(1)).await?;
        }
        Ok(())
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it in good order and starts it again with the same data.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.resume().await
    }

    /// Starts it again after [`Synapse::stop`] or [`Synapse::kill`].
    pub async fn resume(&mut self) -> Result<()> {
        self.spawn()?;
        self.ready().await
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    pub fn server_name(&self) -> &str {
        &self.site.server_name
    }

    /// The client API's base URL.
    pub fn url(&self) -> String {
        self.site.url()
    }

    /// The SQLite file; `-wal` and `-shm` stand beside it.
    pub fn database(&self) -> PathBuf {
        self.site.path("homeserver.db")
    }

    /// The media store's directory.
    pub fn media(&self) -> PathBuf {
        self.site.path("media")
    }

    /// The log.
    pub fn log(&self) -> PathBuf {
        self.site.path("homeserver.log")
    }

    /// What it printed.
    pub fn output(&self) -> PathBuf {
        self.site.path("output.log")
    }

    /// Registers an ordinary user.
    pub async fn register(&self, localpart: &str, password: &str) -> Result<Account> {
        self.register_as(localpart, password, false).await
    }

    /// Registers a server admin.
    pub async fn register_admin(&self, localpart: &str, password: &str) -> Result<Account> {
        self.register_as(localpart, password, true).await
    }

    async fn register_as(&self, localpart: &str, password: &str, admin: bool) -> Result<Account> {
        let address = format!("{}/_synapse/admin/v1/register", self.url());
        let nonce: Value = self.http.get(&address).send().await?.json().await?;
        let nonce = nonce["nonce"]
            .as_str()
            .context("no nonce for a registration")?;
        let role = if admin { "admin" } else { "notadmin" };
        // The algorithm is Synapse's; it guards nothing but a test.
        let key = ring::hmac::Key::new(
            ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            self.secret.as_bytes(),
        );
        let mac = ring::hmac::sign(
            &key,
            [nonce, localpart, password, role].join("\0").as_bytes(),
        );
        let response = self
            .http
            .post(&address)
            .json(&json!({
                "nonce": nonce, "username": localpart, "password": password,
                "admin": admin, "mac": HEXLOWER.encode(mac.as_ref()),
            }))
            .send()
            .await?;
        let status = response.status();
        let answer: Value = response.json().await?;
        if !status.is_success() {
            bail!(
                "cannot register {localpart} on {}: {status} {answer}",
                self.site.label
            );
        }
        let field = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Ok(Account {
            user_id: field("user_id"),
            password: password.to_owned(),
            access_token: field("access_token"),
            device_id: field("device_id"),
            url: self.url(),
        })
    }

    /// What an auditor of this server's disk gets to see.
    pub fn evidence(&self) -> super::audit::Evidence {
        super::audit::Evidence {
            databases: vec![self.database()],
            directories: vec![self.media()],
            logs: vec![self.log(), self.output()],
        }
    }

    /// Keeps the data beyond the end.
    pub fn keep(&self) {
        self.site.keep();
    }

    /// The directory with everything.
    pub fn directory(&self) -> PathBuf {
        self.site.path("")
    }
}

/// Two that federate.
#[derive(Debug)]
pub struct SynapsePair {
    pub a: Synapse,
    pub b: Synapse,
}

impl SynapsePair {
    /// Starts both at once and waits for both.
    pub async fn start(a: (Site, Options), b: (Site, Options)) -> Result<Self> {
        let (one, two) = tokio::join!(Synapse::start(a.0, &a.1), Synapse::start(b.0, &b.1));
        Ok(Self { a: one?, b: two? })
    }

    /// Two stock ones without application services.
    pub async fn stock() -> Result<Self> {
        let site = Site::reserve;
        Self::start(
            (site("A")?, Options::default()),
            (site("B")?, Options::default()),
        )
        .await
    }
}
