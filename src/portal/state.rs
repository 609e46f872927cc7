//! What Vizard reads of a room's state: its name, what its portal shows, and whether it wants us.

use ruma::{OwnedMxcUri, RoomId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Deps, PortalError};
use crate::{clock::UnixMillis, config::matches_glob, homeserver::Actor};

/// The parts of a room's state that matter here.
#[derive(Clone, Debug, Default)]
pub struct RoomState {
    /// `m.room.name`.
    pub name: Option<String>,
    /// `m.room.topic`.
    pub topic: Option<String>,
    /// `m.room.avatar`.
    pub avatar: Option<OwnedMxcUri>,
    /// `m.room.canonical_alias`.
    pub alias: Option<String>,
    /// Whether the room is encrypted.
    pub encrypted: bool,
    /// The room that this one replaced.
    pub predecessor: Option<ruma::OwnedRoomId>,
    /// The room that replaced this one.
    pub successor: Option<ruma::OwnedRoomId>,
    /// `org.vizard.policy`: the room does not want pseudonyms.
    pub opted_out: bool,
    /// `m.room.server_acl`.
    pub acl: Option<ServerAcl>,
    /// Entities of `m.policy.rule.user` bans, with wildcards.
    pub banned_users: Vec<String>,
    /// Entities of `m.policy.rule.server` bans, with wildcards.
    pub banned_servers: Vec<String>,
    /// When the member event of whoever asked was made.
    pub entered: UnixMillis,
}

/// `m.room.server_acl` content.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServerAcl {
    allow: Vec<String>,
    deny: Vec<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(default, borrow)]
    state_key: std::borrow::Cow<'a, str>,
    #[serde(default)]
    origin_server_ts: UnixMillis,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    name: Option<String>,
    topic: Option<String>,
    url: Option<OwnedMxcUri>,
    alias: Option<String>,
    algorithm: Option<String>,
    pseudonyms: Option<String>,
    entity: Option<String>,
    recommendation: Option<String>,
    predecessor: Option<Predecessor>,
    replacement_room: Option<ruma::OwnedRoomId>,
}

#[derive(Deserialize)]
struct Predecessor {
    room_id: ruma::OwnedRoomId,
}

impl RoomState {
    /// Reads a room's current state.
    pub async fn fetch(deps: &Deps, actor: &Actor, room: &RoomId) -> Result<Self, PortalError> {
        let mut state = Self::default();
        for event in deps.homeserver.state(actor, room).await? {
            if let Ok(event) = serde_json::from_str::<Envelope<'_>>(event.get()) {
                state.apply(&event.kind, &event.state_key, event.content);
                if event.kind == "m.room.member" && event.state_key == actor.user.as_str() {
                    state.entered = event.origin_server_ts;
                }
            }
        }
        Ok(state)
    }

    /// Takes in one state event. Returns whether it is of a kind that a portal shows or obeys.
    pub fn apply(&mut self, kind: &str, key: &str, raw: &RawValue) -> bool {
        if kind == "m.room.member" || !key.is_empty() && !kind.starts_with("m.policy.rule.") {
            return false;
        }
        let content: Content = serde_json::from_str(raw.get()).unwrap_or_default();
        let said = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        match kind {
            "m.room.name" => self.name = said(content.name),
            "m.room.topic" => self.topic = said(content.topic),
            "m.room.avatar" => self.avatar = content.url,
            "m.room.canonical_alias" => self.alias = said(content.alias),
            "m.room.create" => self.predecessor = content.predecessor.map(|room| room.room_id),
            "m.room.tombstone" => self.successor = content.replacement_room,
            "m.room.encryption" => self.encrypted |= content.algorithm.is_some(),
            "org.vizard.policy" => self.opted_out = content.pseudonyms.as_deref() == Some("deny"),
            "m.room.server_acl" => self.acl = serde_json::from_str(raw.get()).ok(),
            "m.policy.rule.user" if content.recommendation.as_deref() == Some("m.ban") => {
                self.banned_users.extend(content.entity);
            }
            "m.policy.rule.server" if content.recommendation.as_deref() == Some("m.ban") => {
                self.banned_servers.extend(content.entity);
            }
            _ => return false,
        }
        true
    }

    /// Why the room does not want this ghost, for the user; `None` when it does not say so.
    #[must_use]
    pub fn refuses(&self, ghost: &UserId) -> Option<String> {
        let server = ghost.server_name().host();
        if self.opted_out {
            return Some("This room asks not to be joined behind a pseudonym (org.vizard.policy). The ghost left again.".to_owned());
        }
        if self.acl.as_ref().is_some_and(|acl| !acl.allows(server)) {
            return Some("This room does not let your server in (its access list).".to_owned());
        }
        if self
            .banned_users
            .iter()
            .any(|pattern| matches_glob(pattern, ghost.as_str()))
            || self
                .banned_servers
                .iter()
                .any(|pattern| matches_glob(pattern, server))
        {
            return Some(
                "This room's ban list names your server's pseudonyms. The ghost left again."
                    .to_owned(),
            );
        }
        None
    }

    /// What a person calls the room.
    #[must_use]
    pub fn display_name(&self, room: &RoomId) -> String {
        self.name
            .clone()
            .or_else(|| self.alias.clone())
            .unwrap_or_else(|| {
                room.server_name().map_or_else(
                    || "A room".to_owned(),
                    |server| format!("A room on {server}"),
                )
            })
    }
}

impl ServerAcl {
    fn allows(&self, host: &str) -> bool {
        !self.deny.iter().any(|pattern| matches_glob(pattern, host))
            && self.allow.iter().any(|pattern| matches_glob(pattern, host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(events: &[(&str, &str)]) -> RoomState {
        let mut state = RoomState::default();
        for (kind, content) in events {
            let key = if kind.starts_with("m.policy") {
                "rule"
            } else {
                ""
            };
            state.apply(
                kind,
                key,
                &RawValue::from_string((*content).to_owned()).expect("JSON"),
            );
        }
        state
    }

    #[test]
    fn a_room_is_obeyed() {
        let ghost = ruma::user_id!("@_vizard_abc:a.example");
        for (kind, content, refused) in [
            ("org.vizard.policy", r#"{"pseudonyms":"deny"}"#, true),
            ("org.vizard.policy", r#"{"pseudonyms":"allow"}"#, false),
            (
                "m.room.server_acl",
                r#"{"allow":["*"],"deny":["a.exa*"]}"#,
                true,
            ),
            (
                "m.room.server_acl",
                r#"{"allow":["*"],"deny":["b.example"]}"#,
                false,
            ),
            ("m.room.server_acl", r#"{"allow":["b.example"]}"#, true),
            (
                "m.policy.rule.user",
                r#"{"entity":"@_vizard_*:*","recommendation":"m.ban"}"#,
                true,
            ),
            (
                "m.policy.rule.user",
                r#"{"entity":"@bob:*","recommendation":"m.ban"}"#,
                false,
            ),
            (
                "m.policy.rule.server",
                r#"{"entity":"*.example","recommendation":"m.ban"}"#,
                true,
            ),
            ("m.room.name", r#"{"name":3}"#, false),
            ("m.room.name", "[]", false),
        ] {
            assert_eq!(
                state(&[(kind, content)]).refuses(ghost).is_some(),
                refused,
                "{kind} {content}"
            );
        }
    }
}
