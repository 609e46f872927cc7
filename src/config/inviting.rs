//! The sections about sealed invites: keys, invites, peers. As in [`super::sections`], what values must look like is said in
//! [`super::schema`].

use std::path::PathBuf;

use ruma::ServerName;
use serde::Deserialize;

use super::matches_glob;

/// `[keys]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// What must vouch for another server's keys.
    pub anchor: Anchor,
    /// Days after which a new key to seal to is made.
    pub rotate_days: u32,
    /// Days for which the one before stays published.
    pub overlap_days: u32,
    /// A PEM file of certificate authorities that are trusted when keys are fetched, besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether keys may be fetched from addresses that are not public.
    pub private_addresses: bool,
}

/// What must vouch for another server's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anchor {
    /// TLS to that server.
    Tls,
    /// One's own homeserver, at first sight.
    Federation,
}

/// `[invites]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Invites {
    /// Whether sealed invites are sent and answered.
    pub enabled: bool,
    /// Requests of one server that are looked into in a day.
    pub per_peer_day: u32,
    /// Invites of one inviter that reach people here in a day.
    pub per_inviter_day: u32,
    /// Invites that reach one person here in a day.
    pub per_invitee_day: u32,
    /// Milliseconds from a request to its answer, whatever the answer is.
    pub answer_after_ms: u64,
    /// Seconds for which an answer is waited for.
    pub timeout: u64,
    /// Hours for which an invite is good.
    pub expire_hours: u32,
    /// Minutes after its end within which a ghost that was not accepted leaves, each at a time of its own.
    pub spread_minutes: u32,
    /// Servers whose Vizards may invite people here; `*` and `?` are wild. Empty: all.
    pub allowed_servers: Vec<String>,
    /// Servers whose Vizards may not; `*` and `?` are wild.
    pub denied_servers: Vec<String>,
}

impl Invites {
    /// Whether the Vizard of this server may invite people here.
    #[must_use]
    pub fn admits(&self, server: &ServerName) -> bool {
        // A port does not make it another server.
        let named = |patterns: &[String]| {
            patterns.iter().any(|pattern| {
                matches_glob(pattern, server.as_str()) || matches_glob(pattern, server.host())
            })
        };
        (self.allowed_servers.is_empty() || named(&self.allowed_servers))
            && !named(&self.denied_servers)
    }
}

/// `[peers."b.example"]`: what is known of another Vizard beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peer {
    /// Its server key, in unpadded base64, as its admin reads it out.
    pub server_key: Option<String>,
    /// Where its key document is, instead of below its server name.
    pub url: Option<url::Url>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            anchor: Anchor::Tls,
            rotate_days: 30,
            overlap_days: 14,
            ca_file: None,
            private_addresses: false,
        }
    }
}

impl Default for Invites {
    fn default() -> Self {
        Self {
            enabled: true,
            per_peer_day: 1000,
            per_inviter_day: 20,
            per_invitee_day: 20,
            answer_after_ms: 50,
            timeout: 60,
            expire_hours: 72,
            spread_minutes: 360,
            allowed_servers: Vec::new(),
            denied_servers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_admitted() {
        let invites = |allowed: &[&str], denied: &[&str]| Invites {
            allowed_servers: allowed.iter().map(ToString::to_string).collect(),
            denied_servers: denied.iter().map(ToString::to_string).collect(),
            ..Invites::default()
        };
        for (allowed, denied, server, expected) in [
            (&[][..], &[][..], "a.example", true),
            (&[], &["a.example"], "a.example:8448", false),
            (&[], &["*.example"], "b.test", true),
            (&["*.example"], &[], "a.example", true),
            (&["*.example"], &[], "b.test", false),
            (&["*"], &["a.*"], "a.example", false),
        ] {
            let server = <&ServerName>::try_from(server).unwrap();
            assert_eq!(
                invites(allowed, denied).admits(server),
                expected,
                "{server}"
            );
        }
    }
}
