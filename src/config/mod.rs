//! Settings: a TOML file, overridden by `VIZARD__SECTION__KEY` environment variables.
//!
//! [`Config::load`] reads both, resolves relative paths against the file's directory, reads the `*_file`
//! secrets, and reports *every* problem it finds, each with what to write instead. Unknown keys are errors that
//! name the nearest known key. Every key is documented in `config/vizard.example.toml`, which tests hold against
//! `schema` and the defaults. Called by `cli`; the rest of the crate is handed the finished [`Config`]. Never
//! touches the network or the database.

mod denied;
mod environment;
mod hidden;
mod inviting;
mod kind;
mod load;
mod peers;
mod problem;
mod schema;
mod sections;
#[cfg(test)]
mod tests;
mod validate;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ruma::OwnedServerName;
use serde::Deserialize;

pub use denied::{Denial, matches_glob};
pub use hidden::Hidden;
pub use inviting::*;
pub use load::Loaded;
pub use problem::{ConfigError, Problem};
pub use sections::*;

use crate::crypto::{MasterKey, MasterKeyError};

/// The documented example: the template of the file that `vizard init` writes.
pub const EXAMPLE: &str = include_str!("../../config/vizard.example.toml");

/// Environment variables as `(name, value)`, so that tests own them.
pub type Environment = BTreeMap<String, String>;

/// The whole configuration, parsed and validated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The homeserver.
    pub homeserver: Homeserver,
    /// How the homeserver reaches Vizard.
    #[serde(default)]
    pub appservice: AppService,
    /// Where everything is remembered.
    pub database: Database,
    /// The master key.
    pub secrets: Secrets,
    /// Who may use Vizard, and how much.
    #[serde(default)]
    pub access: Access,
    /// Portal rooms.
    #[serde(default)]
    pub portal: Portal,
    /// Relaying.
    #[serde(default)]
    pub relay: Relay,
    /// End-to-end encryption.
    #[serde(default)]
    pub encryption: Encryption,
    /// Files that people attach.
    #[serde(default)]
    pub media: Media,
    /// Keys of this Vizard and of others.
    #[serde(default)]
    pub keys: Keys,
    /// Sealed invites.
    #[serde(default)]
    pub invites: Invites,
    /// Other Vizards, by server name.
    #[serde(default)]
    pub peers: BTreeMap<OwnedServerName, Peer>,
    /// Privacy choices.
    #[serde(default)]
    pub privacy: Privacy,
    /// Abuse handling.
    #[serde(default)]
    pub abuse: Abuse,
    /// Logs.
    #[serde(default)]
    pub log: Log,
    /// Metrics.
    #[serde(default)]
    pub metrics: Metrics,
}

impl Config {
    /// The token that Vizard shows to the homeserver. Empty only in a config that was not loaded from a file.
    #[must_use]
    pub fn as_token(&self) -> &str {
        exposed(self.appservice.as_token.as_ref())
    }

    /// The token that the homeserver shows to Vizard. Empty only in a config that was not loaded from a file; whoever
    /// compares it must refuse an empty one.
    #[must_use]
    pub fn hs_token(&self) -> &str {
        exposed(self.appservice.hs_token.as_ref())
    }

    /// Reads the master key from its file.
    pub fn master_key(&self) -> Result<MasterKey, MasterKeyError> {
        MasterKey::read(&self.secrets.master_key_file)
    }

    /// The URL at which the homeserver reaches Vizard, without a final slash.
    #[must_use]
    pub fn appservice_url(&self) -> String {
        if let Some(url) = &self.appservice.url {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        let mut listen = self.appservice.listen;
        if listen.ip().is_unspecified() {
            // "Every address" is where to listen, not where to call.
            listen.set_ip(if listen.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("http://{listen}")
    }

    /// The database's URL, its path absolute.
    #[must_use]
    pub fn database_url(&self) -> &str {
        self.database.url.expose()
    }

    /// The database's file, if it is SQLite.
    #[must_use]
    pub fn database_path(&self) -> Option<PathBuf> {
        let path = sqlite_path(self.database_url())?.to_str()?;
        Some(path.replace("%3F", "?").replace("%25", "%").into())
    }

    /// Where files wait while they are copied: as configured, else beside the database.
    #[must_use]
    pub fn media_directory(&self) -> PathBuf {
        let beside = || Some(self.database_path()?.parent()?.to_owned());
        let directory = self.media.directory.clone().or_else(beside);
        directory.unwrap_or_else(std::env::temp_dir)
    }

    /// The registration's `sender_localpart`: within the namespace, and never used, because Synapse fails on some
    /// calls made as the sender.
    #[must_use]
    pub fn sender_localpart(&self) -> String {
        format!("{}appservice", self.appservice.prefix)
    }
}

fn exposed(token: Option<&Hidden>) -> &str {
    token.map_or("", Hidden::expose)
}

/// The path in `sqlite:PATH` or `sqlite://PATH`.
fn sqlite_path(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?;
    Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
}

/// The URL of a path, in which `%` and `?` would mean something else.
fn sqlite_url(path: &Path) -> String {
    let path = path.display().to_string();
    format!("sqlite:{}", path.replace('%', "%25").replace('?', "%3F"))
}
