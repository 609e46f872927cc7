//! A user with a stock end-to-end-encrypting client: matrix-js-sdk with its Rust crypto in a process of its
//! own (`e2ee_client/`), spoken to in lines of JSON.
//!
//! Nothing of Vizard's takes part in how it encrypts, decrypts or judges; its verdicts are the SDK's own
//! ([`Report`]). Its store is in memory: a client that was stopped is gone for good.

mod commands;
mod install;
mod nio;
mod report;
mod wire;

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use self::wire::Wire;
use super::{
    process::{Process, tail},
    scratch::Scratch,
    synapse::{Account, Synapse},
};

pub use commands::{DeviceKeys, UserKeys, UserStatus};
pub use report::{Report, Shield};

/// How long one command may take: longer than the client itself waits for anything.
const COMMAND: Duration = Duration::from_mins(4);

/// What differs from one client to another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Leaves the user without cross-signing: the device is signed by nobody.
    pub unsigned: bool,
    /// Refuses devices that their owners did not sign: neither encrypts to them nor shows what they say.
    pub only_signed: bool,
    /// Reads encrypted state (MSC4362).
    pub encrypted_state: bool,
}

/// One user on one encrypting device. Dropping it kills its process.
#[derive(Debug)]
pub struct E2eeClient {
    /// Its token works for a [`super::client::Client`] too, which then acts as the same device.
    pub account: Account,
    // Before `scratch`, so that it is dead before its log goes.
    process: std::sync::Mutex<Process>,
    wire: Wire,
    scratch: Scratch,
}

impl E2eeClient {
    /// Registers a user on a homeserver (the password is the localpart's) and starts a client whose device is
    /// signed by the user.
    pub async fn register(server: &Synapse, localpart: &str) -> Result<Self> {
        Self::register_with(server, localpart, Options::default()).await
    }

    /// The same with options.
    pub async fn register_with(
        server: &Synapse,
        localpart: &str,
        options: Options,
    ) -> Result<Self> {
        let account = server
            .register(localpart, &format!("password of {localpart}"))
            .await?;
        let client =
            Self::login(&account.url, &account.user_id, &account.password, options).await?;
        if !options.unsigned {
            client.bootstrap_cross_signing().await?;
        }
        Ok(client)
    }

    /// Registers a user with another client, matrix-nio, which knows some of the commands and no cross-signing.
    pub async fn register_nio(server: &Synapse, localpart: &str) -> Result<Self> {
        let password = format!("password of {localpart}");
        let account = server.register(localpart, &password).await?;
        let command = tokio::task::spawn_blocking(nio::command).await??;
        let options = Options::default();
        Self::begin(command, &account.url, &account.user_id, &password, options).await
    }

    /// Logs in with a password, which makes a new device, and starts to sync. Cross-signing is left as it is.
    pub async fn login(url: &str, user: &str, password: &str, options: Options) -> Result<Self> {
        let program = tokio::task::spawn_blocking(install::program).await??;
        Self::begin(program.command(), url, user, password, options).await
    }

    /// The same user on one more device, which is not signed.
    pub async fn second_device(&self) -> Result<Self> {
        let Account {
            url,
            user_id,
            password,
            ..
        } = &self.account;
        Self::login(url, user_id, password, Options::default()).await
    }

    async fn begin(
        mut program: Command,
        url: &str,
        user: &str,
        password: &str,
        options: Options,
    ) -> Result<Self> {
        let scratch = Scratch::new("e2ee-client")?;
        program.env("TMPDIR", scratch.path());
        let (process, stdin, stdout) = Process::converse(
            "the end-to-end-encrypting client",
            program,
            &scratch.path().join("client.log"),
        )?;
        let mut client = Self {
            account: Account {
                user_id: user.to_owned(),
                password: password.to_owned(),
                access_token: String::new(),
                device_id: String::new(),
                url: url.to_owned(),
            },
            process: std::sync::Mutex::new(process),
            wire: Wire::new(stdin, stdout)?,
            scratch,
        };
        let identity = client
            .call(
                "login",
                json!({
                    "url": url, "user": user, "password": password,
                    "encrypted_state": options.encrypted_state,
                }),
            )
            .await?;
        let field = |name: &str| {
            let value = identity[name].as_str();
            value.map(str::to_owned).context("a login without identity")
        };
        client.account.user_id = field("user_id")?;
        client.account.access_token = field("access_token")?;
        client.account.device_id = field("device_id")?;
        client.call("start", json!({})).await?;
        if options.only_signed {
            client.only_signed_devices(true).await?;
        }
        Ok(client)
    }

    /// The user's Matrix ID.
    pub fn id(&self) -> &str {
        &self.account.user_id
    }

    /// The device's ID.
    pub fn device(&self) -> &str {
        &self.account.device_id
    }

    /// The client's own log.
    pub fn log(&self) -> PathBuf {
        self.scratch.path().join("client.log")
    }

    /// Ends it in good order. Its device stays on the server, its keys are gone.
    pub async fn stop(self) -> Result<()> {
        self.call("stop", json!({})).await?;
        let mut process = self
            .process
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        process.stop(Duration::from_mins(1)).await.map(drop)
    }

    /// One command and its answer; an error says which, and shows the end of the client's log.
    async fn call(&self, command: &str, arguments: Value) -> Result<Value> {
        let shown: String = arguments.to_string().chars().take(200).collect();
        let failure = match tokio::time::timeout(COMMAND, self.wire.call(command, arguments)).await
        {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {COMMAND:?}"),
        };
        bail!(
            "{} {} ({command} {shown}): {failure}\nThe end of its log:\n{}",
            self.id(),
            self.device(),
            tail(&self.log(), 25)
        )
    }
}
