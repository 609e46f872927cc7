//! `vizard init`: a configuration, a registration and fresh keys.

use std::{fmt::Write as _, io::ErrorKind, path::Path};

use data_encoding::BASE64URL_NOPAD;

use super::{
    args::Init,
    failure::{Exit, Failure},
    files::{PRIVATE, PUBLIC, Staged},
    print, registration, template,
};
use crate::{
    config::{Config, ConfigError, EXAMPLE, Environment},
    crypto::{MasterKey, Secret},
    rng::Rng,
};

/// What is written, and what must not be there: a database of an earlier set-up would not open with a new key.
const FILES: [&str; 6] = [
    "vizard.toml",
    "registration.yaml",
    "as_token",
    "hs_token",
    "master.key",
    "vizard.db",
];

pub(super) fn init(options: &Init) -> Result<Exit, Failure> {
    let taken: Vec<_> = FILES
        .into_iter()
        .filter(|name| options.dir.join(name).symlink_metadata().is_ok())
        .collect();
    if !taken.is_empty() {
        return Err(exists(options, &taken.join(", ")));
    }
    let server_name = write(options, &Rng::os())?;
    print(&next_steps(options, &server_name));
    Ok(Exit::Success)
}

fn exists(options: &Init, names: &str) -> Failure {
    Failure::usage(
        format!(
            "{} holds {names} already; nothing was written",
            options.dir.display()
        ),
        "choose another --dir, or move what is there away (a master key may be the only one that opens its database)",
    )
}

/// Writes everything. Returns the bot's Matrix ID.
fn write(options: &Init, rng: &Rng) -> Result<String, Failure> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => exists(options, "one of the files"),
        _ => Failure::usage(
            format!("cannot write to {}: {error}", options.dir.display()),
            "choose a --dir in which you may write (its parent directory must exist)",
        ),
    };
    let mut staged = Staged::begin(&options.dir, rng).map_err(failed)?;
    for token in ["as_token", "hs_token"] {
        let text = Secret::new(format!("{}\n", BASE64URL_NOPAD.encode(&rng.bytes::<32>())));
        staged.add(token, text.expose(), PRIVATE).map_err(failed)?;
    }
    let key = MasterKey::generate(rng).to_text();
    staged
        .add("master.key", key.expose(), PRIVATE)
        .map_err(failed)?;
    staged
        .add("vizard.toml", &configuration(options)?, PUBLIC)
        .map_err(failed)?;
    // What was written is read as it will be later, so that a wrong option is found by the same checks.
    let config = Config::load(&staged.staging().join("vizard.toml"), &Environment::new())
        .map_err(|error| misused(options, error))?
        .config;
    staged
        .add(
            "registration.yaml",
            &registration::render(&config, options.hints.asked_for)?,
            PRIVATE,
        )
        .map_err(failed)?;
    staged.finish().map_err(failed)?;
    Ok(registration::bot(&config))
}

/// The example with this set-up's values.
fn configuration(options: &Init) -> Result<String, Failure> {
    let listen = options.listen.map(|listen| listen.to_string());
    let values = [
        ("homeserver", "server_name", Some(&options.server_name)),
        ("homeserver", "url", Some(&options.homeserver_url)),
        ("appservice", "listen", listen.as_ref()),
        ("appservice", "url", options.appservice_url.as_ref()),
    ];
    let mut toml = EXAMPLE.to_owned();
    for (section, key, value) in values {
        if let Some(value) = value {
            toml = template::set(&toml, section, key, value)
                .ok_or_else(|| Failure::internal(format!("the template lacks {section}.{key}")))?;
        }
    }
    Ok(toml)
}

/// Names problems after the options that caused them; the file they were found in is gone by now.
fn misused(options: &Init, error: ConfigError) -> Failure {
    match error {
        ConfigError::Invalid { mut problems, .. } => {
            for problem in &mut problems {
                let option = match problem.key.as_str() {
                    "homeserver.server_name" => "--server-name",
                    "homeserver.url" => "--homeserver-url",
                    "appservice.listen" => "--listen",
                    "appservice.url" => "--appservice-url",
                    _ => continue,
                };
                option.clone_into(&mut problem.key);
            }
            ConfigError::Invalid {
                path: options.dir.clone(),
                problems,
            }
            .into()
        }
        other => other.into(),
    }
}

fn next_steps(options: &Init, bot: &str) -> String {
    let absolute = |name: &str| {
        let path = options.dir.join(name);
        std::path::absolute(&path).unwrap_or(path)
    };
    let (registration, config) = (absolute("registration.yaml"), absolute("vizard.toml"));
    let config = quoted(&config);
    let mut out = String::new();
    let _ = write!(
        out,
        "\
Wrote vizard.toml, registration.yaml, as_token, hs_token and master.key to {dir}.
Keep a copy of master.key in a safe place: without it the database is worthless.

Next:
1. Give the registration to the homeserver. Synapse: add to homeserver.yaml

     app_service_config_files:
       - {registration}

   let Synapse read that file (it has mode 0600; copy it if Synapse is another user or machine), and restart Synapse.
2. Try the set-up:
     vizard doctor --config {config}
3. Start Vizard, then start a chat with {bot} and say `help`:
     vizard run --config {config}
",
        dir = options.dir.display(),
        registration = registration.display(),
    );
    out
}

/// A path as it can be pasted into a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
