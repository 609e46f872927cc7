//! The sections of the file, one struct each, and the defaults of their keys.
//!
//! What a value must look like is said in [`super::schema`], not here: these structs only hold values that were
//! found sound.

use std::{net::SocketAddr, path::PathBuf};

use ruma::{OwnedServerName, OwnedUserId};
use serde::Deserialize;

use super::Hidden;

/// `[homeserver]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Homeserver {
    /// The server name, the part after the colon of its users' IDs.
    pub server_name: OwnedServerName,
    /// The client API's base URL, without `/_matrix`.
    pub url: url::Url,
    /// Seconds that one request may take (joins have `join_timeout`).
    #[serde(default = "defaults::timeout")]
    pub timeout: u64,
    /// Seconds that one attempt to join may take.
    #[serde(default = "defaults::join_timeout")]
    pub join_timeout: u64,
}

/// `[appservice]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppService {
    /// The id in the registration.
    pub id: String,
    /// Where Vizard listens.
    pub listen: SocketAddr,
    /// Where the homeserver reaches it; by default `http://` and `listen`.
    pub url: Option<url::Url>,
    /// The prefix of ghosts', hosts' and mirrors' localparts.
    pub prefix: String,
    /// The bot's localpart.
    pub bot: String,
    /// The token Vizard shows to the homeserver.
    pub as_token: Option<Hidden>,
    /// A file with that token.
    pub as_token_file: Option<PathBuf>,
    /// The token the homeserver shows to Vizard.
    pub hs_token: Option<Hidden>,
    /// A file with that token.
    pub hs_token_file: Option<PathBuf>,
    /// The largest transaction, in bytes.
    pub max_body: usize,
    /// Seconds of silence after which Vizard asks the homeserver for a ping.
    pub ping_after: u64,
}

/// `[database]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH` (relative to the file) or `postgres://USER:PASSWORD@HOST/NAME`.
    pub url: Hidden,
    /// A file with that URL.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
}

/// `[secrets]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The master key's file.
    pub master_key_file: PathBuf,
}

/// `[access]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Who may use Vizard: Matrix IDs, server names, or `*`. Empty: everybody on `homeserver.server_name`.
    pub users: Vec<String>,
    /// Matrix IDs of those who may not, whatever `users` says; `*` and `?` are wild.
    pub denied_users: Vec<String>,
    /// Matrix IDs of admins.
    pub admins: Vec<OwnedUserId>,
    /// Pseudonyms per user, those of left rooms included.
    pub max_pseudonyms: usize,
    /// Joins per user and hour.
    pub joins_per_hour: u32,
    /// Outbound messages per user and minute.
    pub messages_per_minute: u32,
    /// Outbound media per user and day, in MiB.
    pub media_mib_per_day: u32,
    /// Room ids and aliases that may not be joined; `*` and `?` are wild.
    pub denied_rooms: Vec<String>,
    /// Servers whose rooms may not be joined; `*` and `?` are wild.
    pub denied_servers: Vec<String>,
}

/// `[portal]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Portal {
    /// What a command in a portal begins with.
    pub command_prefix: String,
    /// How many mirrors are in a portal room at once.
    pub max_mirrors: usize,
    /// Whether joins and leaves of members are told in the portal.
    pub membership: bool,
    /// The largest avatar that is copied, in KiB.
    pub max_avatar_kib: usize,
}

/// `[relay]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relay {
    /// Days after which a relayed message can no longer be edited, answered or redacted across the portal.
    pub link_days: u32,
    /// The most missed events that are fetched for a room after a pause.
    pub gap_limit: u32,
    /// Events in memory beyond which the rest waits in the database.
    pub max_in_memory: usize,
    /// Events processed at once over all portals.
    pub concurrency: usize,
}

/// `[encryption]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Encryption {
    /// Whether devices get keys at all. Without, encrypted rooms are not entered.
    pub enabled: bool,
    /// Which portals are encrypted.
    pub portal: EncryptPortals,
    /// Which devices of a room's members get the keys of what a ghost says.
    pub share: ShareKeys,
    /// Devices whose keys are kept in memory.
    pub machines: usize,
}

/// Which portals are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncryptPortals {
    /// All.
    Always,
    /// Those of encrypted rooms.
    Match,
    /// As few as possible: those of encrypted rooms alone, which always are.
    Never,
}

/// Which devices get keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareKeys {
    /// All devices of the members.
    All,
    /// Those that their owner's cross-signing identity has signed (MSC4153).
    Signed,
}

/// `[media]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// The largest file that is relayed, in MiB.
    pub max_size: u32,
    /// Messages whose files are copied at once, over all portals.
    pub concurrency: usize,
    /// Where larger files wait while they are copied. `None`: beside the database, or beside the configuration where the
    /// database is elsewhere.
    pub directory: Option<PathBuf>,
    /// What becomes of an outbound file that cannot be cleaned of metadata.
    pub unknown: UnknownMedia,
}

/// What becomes of an outbound file that cannot be cleaned of metadata.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum UnknownMedia {
    /// It is held back, and the user decides.
    Ask,
    /// It is sent as it is.
    Send,
    /// It is not sent.
    Refuse,
}

/// `[privacy]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// Upper bound of a random delay before each outbound message, in milliseconds. 0: none.
    pub outbound_delay_ms: u64,
    /// Hours over which actions that concern several ghosts of one user are spread.
    pub spread_hours: u32,
}

/// `[abuse]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Abuse {
    /// Days for which the operator can still open a forgotten link; 0: not at all.
    pub escrow_days: u32,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A `tracing` filter, such as `info` or `vizard=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a person.
    Human,
    /// One JSON object a line.
    Json,
}

/// `[metrics]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where Prometheus metrics are served; not at all by default.
    pub listen: Option<SocketAddr>,
}

mod defaults {
    pub(super) fn timeout() -> u64 {
        60
    }
    pub(super) fn join_timeout() -> u64 {
        300
    }
}

impl Default for AppService {
    fn default() -> Self {
        Self {
            id: "vizard".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 29350)),
            url: None,
            prefix: "_vizard_".to_owned(),
            bot: "vizard".to_owned(),
            as_token: None,
            as_token_file: None,
            hs_token: None,
            hs_token_file: None,
            max_body: 64 << 20,
            ping_after: 300,
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            denied_users: Vec::new(),
            admins: Vec::new(),
            max_pseudonyms: 100,
            joins_per_hour: 20,
            messages_per_minute: 120,
            media_mib_per_day: 200,
            denied_rooms: Vec::new(),
            denied_servers: Vec::new(),
        }
    }
}

impl Default for Portal {
    fn default() -> Self {
        Self {
            command_prefix: "!vizard".to_owned(),
            max_mirrors: 100,
            membership: true,
            max_avatar_kib: 1024,
        }
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            link_days: 365,
            gap_limit: 1000,
            max_in_memory: 2000,
            concurrency: 64,
        }
    }
}

impl Default for Encryption {
    fn default() -> Self {
        Self {
            enabled: true,
            portal: EncryptPortals::Always,
            share: ShareKeys::All,
            machines: 512,
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            max_size: 50,
            concurrency: 4,
            directory: None,
            unknown: UnknownMedia::Ask,
        }
    }
}

impl Default for Privacy {
    fn default() -> Self {
        Self {
            outbound_delay_ms: 0,
            spread_hours: 12,
        }
    }
}

impl Default for Abuse {
    fn default() -> Self {
        Self { escrow_days: 14 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Human,
        }
    }
}
