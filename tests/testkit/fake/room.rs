//! One room: its events, its state, who may do what.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};

/// A room.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// The room version.
    pub version: String,
    /// All events in order.
    pub events: Vec<Arc<Value>>,
    /// Memberships.
    pub members: BTreeMap<String, String>,
    /// Joined users of the application service.
    pub(super) namespaced: BTreeSet<String>,
    state: BTreeMap<(String, String), usize>,
}

impl Room {
    pub(super) fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            ..Self::default()
        }
    }

    /// The current state event.
    #[must_use]
    pub fn state_event(&self, kind: &str, key: &str) -> Option<&Value> {
        let place = self.state.get(&(kind.to_owned(), key.to_owned()))?;
        Some(&self.events[*place])
    }

    /// Its content.
    #[must_use]
    pub fn state(&self, kind: &str, key: &str) -> Option<&Value> {
        self.state_event(kind, key).map(|event| &event["content"])
    }

    /// Takes a state event away, as no homeserver may.
    pub(super) fn forget_state(&mut self, kind: &str) {
        self.state.remove(&(kind.to_owned(), String::new()));
    }

    /// All current state events.
    pub fn all_state(&self) -> impl Iterator<Item = &Value> {
        self.state.values().map(|place| &*self.events[*place])
    }

    /// A membership; `leave` for strangers.
    #[must_use]
    pub fn membership(&self, user: &str) -> &str {
        self.members.get(user).map_or("leave", String::as_str)
    }

    /// Forgets a member.
    pub(super) fn reset_out(&mut self, user: &str) {
        self.members.remove(user);
        self.namespaced.remove(user);
        self.state
            .remove(&("m.room.member".to_owned(), user.to_owned()));
    }

    /// Who is joined.
    pub fn joined(&self) -> impl Iterator<Item = &str> {
        self.members
            .iter()
            .filter(|(_, membership)| *membership == "join")
            .map(|(user, _)| user.as_str())
    }

    /// The join rule.
    #[must_use]
    pub fn join_rule(&self) -> &str {
        self.state("m.room.join_rules", "")
            .and_then(|content| content["join_rule"].as_str())
            .unwrap_or("invite")
    }

    /// A user's power level. A version 12 room's creators stand above all levels.
    #[must_use]
    pub fn level(&self, user: &str) -> i64 {
        let create = self.state_event("m.room.create", "");
        let creator = create.is_some_and(|event| event["sender"] == user);
        if matches!(self.version.as_str(), "12" | "13") {
            let additional = create.is_some_and(|event| {
                event["content"]["additional_creators"]
                    .as_array()
                    .is_some_and(|users| users.iter().any(|id| id == user))
            });
            if creator || additional {
                return i64::MAX;
            }
        }
        match self.state("m.room.power_levels", "") {
            Some(levels) => levels["users"][user]
                .as_i64()
                .or(levels["users_default"].as_i64())
                .unwrap_or(0),
            None if creator => 100,
            None => 0,
        }
    }

    /// The level that an action needs: `invite`, `kick`, `ban`, `redact`.
    #[must_use]
    pub fn needed(&self, action: &str) -> i64 {
        let default = if action == "invite" { 0 } else { 50 };
        self.state("m.room.power_levels", "")
            .and_then(|levels| levels[action].as_i64())
            .unwrap_or(default)
    }

    /// The level that sending an event needs.
    #[must_use]
    pub fn needed_to_send(&self, kind: &str, is_state: bool) -> i64 {
        let Some(levels) = self.state("m.room.power_levels", "") else {
            return 0;
        };
        let (default, otherwise) = if is_state {
            ("state_default", 50)
        } else {
            ("events_default", 0)
        };
        levels["events"][kind]
            .as_i64()
            .or(levels[default].as_i64())
            .unwrap_or(otherwise)
    }

    /// What an invited user is shown.
    pub(super) fn stripped(&self, inviter: &str) -> Value {
        let shown = [
            "m.room.create",
            "m.room.join_rules",
            "m.room.canonical_alias",
            "m.room.avatar",
            "m.room.encryption",
            "m.room.name",
            "m.room.topic",
        ];
        let member = self.state_event("m.room.member", inviter);
        let events = shown
            .iter()
            .filter_map(|kind| self.state_event(kind, ""))
            .chain(member)
            .map(|event| {
                json!({
                    "type": event["type"],
                    "state_key": event["state_key"],
                    "sender": event["sender"],
                    "content": event["content"],
                })
            });
        events.collect()
    }

    /// Appends an event; returns its place.
    pub(super) fn push(&mut self, event: Value) -> usize {
        let place = self.events.len();
        if let (Some(kind), Some(key)) = (event["type"].as_str(), event["state_key"].as_str()) {
            if kind == "m.room.member" {
                let membership = event["content"]["membership"].as_str().unwrap_or("leave");
                self.members.insert(key.to_owned(), membership.to_owned());
            }
            self.state.insert((kind.to_owned(), key.to_owned()), place);
        }
        self.events.push(Arc::new(event));
        place
    }
}
