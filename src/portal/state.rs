//! What Vizard reads of a room's state: its name, what its portal shows, and whether it wants us.

use std::collections::{BTreeSet, HashMap};

use ruma::{OwnedMxcUri, RoomId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Deps, PortalError, hidden};
use crate::{
    clock::UnixMillis,
    config::matches_glob,
    event::{Event, Trust, hidden_state},
    homeserver::Actor,
    rewrite::clean_name,
    store::Portal,
};

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
    /// What of this came encrypted.
    pub hidden: Hidden,
    /// When the member event of whoever asked was made.
    pub entered: UnixMillis,
}

/// What an invite shows of its room, as far as a portal shows it before it is accepted: no picture, which would have to be fetched
/// from afar, and no topic, whose place is taken.
pub(super) fn of_invite(event: &Event) -> RoomState {
    let mut state = RoomState::default();
    for stripped in event.invite_state() {
        let kind = stripped.kind.as_str();
        let shown = matches!(
            kind,
            "m.room.name" | "m.room.canonical_alias" | "m.room.encryption" | "m.room.create"
        );
        if shown {
            state.apply(kind, &stripped.state_key, &stripped.content);
        }
    }
    // Strangers choose them.
    let clean = |name: String| Some(clean_name(&name)).filter(|name| !name.is_empty());
    state.name = state.name.and_then(clean);
    state.alias = state.alias.and_then(clean);
    state
}

/// Which state is encrypted (MSC4362), so that it must not stand in clear anywhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// The types.
    pub kinds: BTreeSet<String>,
    /// How many of them cannot be read (yet).
    pub unread: usize,
    /// Something comes from a device that its owner has not signed, or that is not known.
    pub doubtful: bool,
}

impl Hidden {
    /// Whether this type of state is encrypted.
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.kinds.contains(kind)
    }
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
        let events = deps.homeserver.state(actor, room).await?;
        // When the state was made that came in clear.
        let mut clear: HashMap<String, UnixMillis> = HashMap::new();
        for event in &events {
            if let Ok(event) = serde_json::from_str::<Envelope<'_>>(event.get()) {
                if state.apply(&event.kind, &event.state_key, event.content) {
                    clear.insert(event.kind.to_string(), event.origin_server_ts);
                }
                if event.kind == "m.room.member" && event.state_key == actor.user.as_str() {
                    state.entered = event.origin_server_ts;
                }
            }
        }
        if state.encrypted {
            // Before anything shows it: nothing is said there in clear from now on.
            deps.e2ee.saw_encrypted(room).await?;
        }
        // Of the same state in clear and encrypted the later one counts.
        for event in hidden::encrypted(&events) {
            let (kind, _) = event
                .state_key
                .as_deref()
                .and_then(hidden_state)
                .unwrap_or_default();
            if clear
                .get(kind)
                .is_none_or(|made| *made <= event.origin_server_ts)
            {
                let opened = hidden::open(deps, actor, &event).await?;
                state.hide(kind, opened.as_ref());
            }
        }
        Ok(state)
    }

    /// Takes in an encrypted state event of this type; `None`: it cannot be read.
    fn hide(&mut self, kind: &str, opened: Option<&Event>) {
        self.hidden.kinds.insert(kind.to_owned());
        if let Some(event) = opened {
            self.apply(kind, "", &event.content);
            self.hidden.doubtful |= event.trust != Trust::Signed;
            return;
        }
        self.hidden.unread += 1;
        // What stood there before in clear is not what it says now.
        if !matches!(kind, "m.room.tombstone" | "org.vizard.policy") {
            self.apply(kind, "", RawValue::NULL);
        }
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

    /// What to call the room where servers can read it: nothing that the room encrypts.
    #[must_use]
    pub fn title(&self, portal: &Portal) -> String {
        if self.hidden.has("m.room.name") {
            return format!("Encrypted room ({})", portal.ghost.nick);
        }
        let alias = self.shown_alias().cloned();
        let name = self.name.clone().or(alias);
        name.unwrap_or_else(|| {
            portal.room.server_name().map_or_else(
                || "A room".to_owned(),
                |server| format!("A room on {server}"),
            )
        })
    }

    /// What the room is called by its name and its address, also what of these it encrypts: for the guard.
    #[must_use]
    pub fn called(&self) -> Vec<String> {
        self.name.iter().chain(&self.alias).cloned().collect()
    }

    /// The topic, unless the room encrypts it.
    #[must_use]
    pub fn shown_topic(&self) -> Option<&String> {
        let hidden = self.hidden.has("m.room.topic");
        self.topic.as_ref().filter(|_| !hidden)
    }

    /// The avatar, unless the room encrypts it.
    #[must_use]
    pub fn shown_avatar(&self) -> Option<&OwnedMxcUri> {
        let hidden = self.hidden.has("m.room.avatar");
        self.avatar.as_ref().filter(|_| !hidden)
    }

    /// The alias, unless the room encrypts it.
    #[must_use]
    pub fn shown_alias(&self) -> Option<&String> {
        let hidden = self.hidden.has("m.room.canonical_alias");
        self.alias.as_ref().filter(|_| !hidden)
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

    fn opened(kind: &str, content: &str, trust: Trust) -> Event {
        let raw = format!(
            r#"{{"event_id":"$e","room_id":"!r:x","sender":"@bob:x","type":"{kind}","state_key":"","content":{content}}}"#
        );
        let raw = RawValue::from_string(raw).expect("JSON");
        let mut event = Event::decode(&raw).expect("an event");
        event.trust = trust;
        event
    }

    #[test]
    fn what_is_hidden_is_not_shown() {
        let portal = crate::portal::hidden::sample();
        let mut state = state(&[
            ("m.room.name", r#"{"name":"Old and clear"}"#),
            ("m.room.topic", r#"{"topic":"clear"}"#),
            ("m.room.canonical_alias", r##"{"alias":"#clear:x"}"##),
        ]);
        assert_eq!(state.title(&portal), "Old and clear");
        let name = opened("m.room.name", r#"{"name":"Secret"}"#, Trust::Signed);
        state.hide("m.room.name", Some(&name));
        assert_eq!(state.name.as_deref(), Some("Secret"));
        assert_eq!(state.title(&portal), "Encrypted room (Quiet Heron)");
        assert_eq!(state.shown_topic().map(String::as_str), Some("clear"));
        assert!(!state.hidden.doubtful && state.hidden.unread == 0);

        let avatar = r#"{"url":"mxc://x/y"}"#;
        let avatar = opened("m.room.avatar", avatar, Trust::UnsignedDevice);
        state.hide("m.room.avatar", Some(&avatar));
        assert!(state.avatar.is_some() && state.shown_avatar().is_none());
        assert!(state.hidden.doubtful);
        // Not readable: what stood there before is not what it is now.
        state.hide("m.room.topic", None);
        assert_eq!(state.hidden.unread, 1);
        assert!(state.topic.is_none() && state.shown_topic().is_none());
        state.hide("m.room.canonical_alias", None);
        assert!(state.shown_alias().is_none());
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
