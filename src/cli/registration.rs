//! The registration: what the homeserver must know of Vizard.
//!
//! Specified keys only: a stock homeserver takes it without any experimental setting.

use serde::Serialize;

use super::failure::Failure;
use crate::config::Config;

const HEAD: &str = "\
# The registration of Vizard, made from its configuration (`vizard registration`). It holds two secrets.
# Synapse: name this file under app_service_config_files in homeserver.yaml, and restart Synapse.
";

/// Keys of experimental features that bring hints sooner (MSC3202), and what Synapse asks of whoever has devices (MSC4190).
const OPTIONAL: [&str; 2] = ["org.matrix.msc3202", "io.element.msc4190"];

/// What stands in the place of the optional keys.
const WITHOUT: &str = "\
# Optional: hints that a device has something to fetch. They need experimental settings of the homeserver too, see
# docs/admin.md; `vizard registration --to-device-hints` switches both keys on.
# org.matrix.msc3202: true
# io.element.msc4190: true
";

/// The file's content, see the Application Service API, \"Registration\".
#[derive(Serialize)]
struct Registration<'a> {
    id: &'a str,
    url: String,
    as_token: &'a str,
    hs_token: &'a str,
    sender_localpart: String,
    /// Vizard has limits of its own, per user.
    rate_limited: bool,
    receive_ephemeral: bool,
    namespaces: Namespaces,
}

#[derive(Serialize)]
struct Namespaces {
    users: [Namespace; 2],
    aliases: [Namespace; 0],
    rooms: [Namespace; 0],
}

#[derive(Serialize)]
struct Namespace {
    exclusive: bool,
    regex: String,
}

/// The registration as YAML, with the keys that bring hints if `hints` says so.
pub(super) fn render(config: &Config, hints: bool) -> Result<String, Failure> {
    let yaml = serde_norway::to_string(&build(config))
        .map_err(|error| Failure::internal(format!("cannot write the registration: {error}")))?;
    let optional = if hints {
        OPTIONAL.map(|key| format!("{key}: true\n")).concat()
    } else {
        WITHOUT.to_owned()
    };
    Ok(format!("{HEAD}{yaml}{optional}"))
}

/// Whether a registration asks for hints. One that cannot be read does not.
pub(super) fn asks_for_hints(yaml: &str) -> bool {
    let found: Option<serde_json::Value> = serde_norway::from_str(yaml).ok();
    let found = found.unwrap_or_default();
    found.get(OPTIONAL[0]) == Some(&true.into())
}

/// The top-level keys in which a registration file differs from what the configuration asks for. Further keys in the
/// file (hints such as those of experimental features) do no harm.
pub(super) fn differences(config: &Config, yaml: &str) -> Result<Vec<String>, String> {
    let found: serde_json::Value = serde_norway::from_str(yaml).map_err(|error| {
        error.location().map_or_else(
            || "it is not YAML".to_owned(),
            |at| format!("it is not YAML (line {})", at.line()),
        )
    })?;
    let wanted = serde_json::to_value(build(config)).map_err(|error| error.to_string())?;
    let wanted = wanted.as_object().into_iter().flatten();
    Ok(wanted
        .filter(|(key, value)| found.get(key) != Some(value))
        .map(|(key, _)| key.clone())
        .collect())
}

/// The bot's Matrix ID.
pub(super) fn bot(config: &Config) -> String {
    format!(
        "@{}:{}",
        config.appservice.bot, config.homeserver.server_name
    )
}

fn build(config: &Config) -> Registration<'_> {
    let server = escape(config.homeserver.server_name.as_str());
    let users = |localpart: String| Namespace {
        exclusive: true,
        regex: format!("^@{localpart}:{server}$"),
    };
    Registration {
        id: &config.appservice.id,
        url: config.appservice_url(),
        as_token: config.as_token(),
        hs_token: config.hs_token(),
        sender_localpart: config.sender_localpart(),
        rate_limited: false,
        receive_ephemeral: true,
        namespaces: Namespaces {
            users: [
                users(format!("{}.*", escape(&config.appservice.prefix))),
                users(escape(&config.appservice.bot)),
            ],
            aliases: [],
            rooms: [],
        },
    }
}

/// Escapes what a regular expression would take for more than itself.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if r"\.+*?()|[]{}^$".contains(char) {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{EXAMPLE, Environment};

    /// The example configuration in a directory of its own, with tokens that are no secret.
    pub(in crate::cli) fn example(dir: &Path) -> crate::config::Loaded {
        for name in ["as_token", "hs_token"] {
            let token = format!("write-here-the-{name}-that-vizard-init-made\n");
            std::fs::write(dir.join(name), token).unwrap();
        }
        std::fs::write(dir.join("vizard.toml"), EXAMPLE).unwrap();
        Config::load(&dir.join("vizard.toml"), &Environment::new()).unwrap()
    }

    #[test]
    fn the_example_registration_is_that_of_the_example_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let yaml = render(&example(dir.path()).config, false).unwrap();
        assert_eq!(
            yaml,
            include_str!("../../registration.yaml.example"),
            "write this into registration.yaml.example:\n{yaml}"
        );
    }

    #[test]
    fn differences_are_named_by_key_and_additions_are_let_be() {
        let dir = tempfile::tempdir().unwrap();
        let config = example(dir.path()).config;
        let yaml = render(&config, false).unwrap();
        assert_eq!(differences(&config, &yaml).unwrap(), Vec::<String>::new());
        assert!(!asks_for_hints(&yaml) && !asks_for_hints("a: ["));
        let more = render(&config, true).unwrap();
        assert!(more.ends_with("\norg.matrix.msc3202: true\nio.element.msc4190: true\n"));
        assert_eq!(differences(&config, &more).unwrap(), Vec::<String>::new());
        assert!(asks_for_hints(&more));
        let other = yaml
            .replace("exclusive: true", "exclusive: false")
            .replace("as_token: w", "as_token: v");
        assert_eq!(
            differences(&config, &other).unwrap(),
            ["as_token", "namespaces"]
        );
        assert!(differences(&config, "a: [").is_err());
        assert_eq!(differences(&config, "").unwrap().len(), 8);
    }

    #[test]
    fn regular_expressions_are_escaped() {
        assert_eq!(escape("[::1]:8448"), r"\[::1\]:8448");
        assert_eq!(escape("a.b-c+d_"), r"a\.b-c\+d_");
    }
}
