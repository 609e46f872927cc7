//! Every key there is: its kind, and whether it must be written.
//!
//! Tests hold this table against the structs in [`super::sections`] and against the example file.

use super::kind::Kind;

/// Whether a key must be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// There is no configuration without it.
    Required,
    /// It may be absent, and has no default value.
    Optional,
    /// It has a default value.
    Defaulted,
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
}

impl Key {
    /// `section.key`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

const fn key(section: &'static str, name: &'static str, kind: Kind, presence: Presence) -> Key {
    Key {
        section,
        name,
        kind,
        presence,
    }
}

const fn whole(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max }
}

const U32: u64 = u32::MAX as u64;

use Presence::{Defaulted, Optional, Required};

/// The table, in the order of the example file.
pub(super) const KEYS: &[Key] = &[
    key("homeserver", "server_name", Kind::ServerName, Required),
    key("homeserver", "url", Kind::BaseUrl, Required),
    key("homeserver", "timeout", whole(1, 3600), Defaulted),
    key("homeserver", "join_timeout", whole(1, 3600), Defaulted),
    key("appservice", "id", Kind::Word, Defaulted),
    key("appservice", "listen", Kind::Address, Defaulted),
    key("appservice", "url", Kind::BaseUrl, Optional),
    key("appservice", "prefix", Kind::Localpart, Defaulted),
    key("appservice", "bot", Kind::Localpart, Defaulted),
    key("appservice", "as_token", Kind::Token, Optional),
    key("appservice", "as_token_file", Kind::Path, Optional),
    key("appservice", "hs_token", Kind::Token, Optional),
    key("appservice", "hs_token_file", Kind::Path, Optional),
    key("appservice", "max_body", whole(1024, 1 << 30), Defaulted),
    key("appservice", "ping_after", whole(1, 86_400), Defaulted),
    key("database", "url", Kind::DatabaseUrl, Required),
    key("database", "url_file", Kind::Path, Optional),
    key("secrets", "master_key_file", Kind::Path, Required),
    key("access", "users", Kind::Users, Defaulted),
    key("access", "denied_users", Kind::UserPatterns, Defaulted),
    key("access", "admins", Kind::UserIds, Defaulted),
    key("access", "max_pseudonyms", whole(1, U32), Defaulted),
    key("access", "joins_per_hour", whole(1, U32), Defaulted),
    key("access", "messages_per_minute", whole(1, U32), Defaulted),
    key("access", "media_mib_per_day", whole(1, U32), Defaulted),
    key("access", "denied_rooms", Kind::Rooms, Defaulted),
    key("access", "denied_servers", Kind::Servers, Defaulted),
    key("portal", "command_prefix", Kind::Word, Defaulted),
    key("portal", "max_mirrors", whole(1, 10_000), Defaulted),
    key("portal", "membership", Kind::Bool, Defaulted),
    key("portal", "max_avatar_kib", whole(1, 102_400), Defaulted),
    key("relay", "link_days", whole(1, 36_500), Defaulted),
    key("relay", "gap_limit", whole(1, 1_000_000), Defaulted),
    key("relay", "max_in_memory", whole(1, 10_000_000), Defaulted),
    key("relay", "concurrency", whole(1, 10_000), Defaulted),
    key("encryption", "enabled", Kind::Bool, Defaulted),
    key("encryption", "portal", Kind::EncryptPortals, Defaulted),
    key("encryption", "share", Kind::ShareKeys, Defaulted),
    key("encryption", "machines", whole(1, 1_000_000), Defaulted),
    key("media", "max_size", whole(1, 1024), Defaulted),
    key("media", "concurrency", whole(1, 1000), Defaulted),
    key("media", "directory", Kind::Path, Optional),
    key("media", "unknown", Kind::UnknownMedia, Defaulted),
    key("keys", "anchor", Kind::Anchor, Defaulted),
    key("keys", "rotate_days", whole(1, 3650), Defaulted),
    key("keys", "overlap_days", whole(1, 365), Defaulted),
    key("keys", "ca_file", Kind::Path, Optional),
    key("keys", "private_addresses", Kind::Bool, Defaulted),
    key("invites", "enabled", Kind::Bool, Defaulted),
    key("invites", "per_peer_day", whole(1, U32), Defaulted),
    key("invites", "per_inviter_day", whole(1, U32), Defaulted),
    key("invites", "per_invitee_day", whole(1, U32), Defaulted),
    key("invites", "answer_after_ms", whole(0, 60_000), Defaulted),
    key("invites", "timeout", whole(1, 3600), Defaulted),
    key("invites", "expire_hours", whole(1, 168), Defaulted),
    key("invites", "spread_minutes", whole(1, 10_080), Defaulted),
    key("invites", "allowed_servers", Kind::Servers, Defaulted),
    key("invites", "denied_servers", Kind::Servers, Defaulted),
    key("privacy", "outbound_delay_ms", whole(0, 600_000), Defaulted),
    key("privacy", "spread_hours", whole(0, 720), Defaulted),
    key("abuse", "escrow_days", whole(0, 3650), Defaulted),
    key("log", "level", Kind::LogLevel, Defaulted),
    key("log", "format", Kind::LogFormat, Defaulted),
    key("metrics", "listen", Kind::Address, Optional),
];

/// A key by section and name.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter()
        .find(|key| key.section == section && key.name == name)
}

/// Whether there is such a section.
pub(super) fn is_section(section: &str) -> bool {
    KEYS.iter().any(|key| key.section == section)
}

/// The known key that an unknown one most resembles: the same name in another section, else the nearest name in its
/// own section, else the nearest of all.
pub(super) fn nearest(section: &str, name: &str) -> &'static Key {
    let resemblance = |key: &Key| {
        if key.name == name {
            // Only its place is wrong; the nearer the place, the better.
            return 10.0 + strsim::jaro_winkler(key.section, section);
        }
        let home = if key.section == section { 1.0 } else { 0.0 };
        home + strsim::jaro_winkler(key.name, name)
            + strsim::jaro_winkler(key.section, section) / 2.0
    };
    KEYS.iter()
        .max_by(|a, b| resemblance(a).total_cmp(&resemblance(b)))
        .unwrap_or(&KEYS[0])
}

/// The known section whose name an unknown one most resembles.
pub(super) fn nearest_section(section: &str) -> &'static str {
    KEYS.iter()
        .map(|key| key.section)
        .max_by(|a, b| {
            strsim::jaro_winkler(a, section).total_cmp(&strsim::jaro_winkler(b, section))
        })
        .unwrap_or("homeserver")
}
