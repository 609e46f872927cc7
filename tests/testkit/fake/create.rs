//! Creating a room.

use serde_json::{Map, Value, json};

use super::{
    Refused,
    world::{New, Room, World},
};

/// A state event of a room that is being made: type, state key, content.
type Initial = (String, String, Value);

impl World {
    /// `POST /createRoom`.
    pub(super) fn create_room(&mut self, creator: &str, body: &Value) -> Result<String, Refused> {
        let version = body["room_version"]
            .as_str()
            .unwrap_or(&self.config.room_version)
            .to_owned();
        let invited: Vec<String> = strings(&body["invite"]);
        if invited.iter().any(|id| ruma::UserId::parse(id).is_err()) {
            return Err(Refused::new(400, "M_INVALID_PARAM", "Invalid user_id"));
        }
        let alias = body["room_alias_name"].as_str().map(|name| {
            let server = creator.split_once(':').map_or("", |(_, server)| server);
            format!("#{name}:{server}")
        });
        if alias
            .as_ref()
            .is_some_and(|alias| self.aliases.contains_key(alias))
        {
            return Err(Refused::new(
                400,
                "M_ROOM_IN_USE",
                "Room alias already taken",
            ));
        }
        let preset = body["preset"]
            .as_str()
            .unwrap_or(match body["visibility"].as_str() {
                Some("public") => "public_chat",
                _ => "private_chat",
            });

        // Version 12 ids have no domain.
        let name = self.fresh();
        let id = if matches!(version.as_str(), "12" | "13") {
            format!("!{name}")
        } else {
            format!("!{}:{}", &name[..18], self.config.server)
        };
        self.rooms.insert(id.clone(), Room::new(&version));

        let mut create = object(&body["creation_content"]);
        create.insert("room_version".into(), version.clone().into());
        let trusted = preset == "trusted_private_chat";
        if trusted && id.find(':').is_none() {
            create.insert("additional_creators".into(), json!(invited));
        }
        self.initial(
            &id,
            creator,
            ("m.room.create".into(), String::new(), Value::Object(create)),
        );
        self.set_membership(&id, creator, creator, "join", json!({}))?;
        let levels = levels(creator, &invited, trusted, &id, body);
        self.initial(
            &id,
            creator,
            ("m.room.power_levels".into(), String::new(), levels),
        );
        if let Some(alias) = alias {
            self.initial(
                &id,
                creator,
                (
                    "m.room.canonical_alias".into(),
                    String::new(),
                    json!({ "alias": alias }),
                ),
            );
            self.aliases.insert(alias, id.clone());
        }
        for event in settings(preset, body) {
            self.initial(&id, creator, event);
        }
        for user in &invited {
            let mut content = json!({});
            if body["is_direct"] == true {
                content["is_direct"] = true.into();
            }
            self.set_membership(&id, creator, user, "invite", content)?;
        }
        Ok(id)
    }

    fn initial(&mut self, room: &str, sender: &str, (kind, key, content): Initial) {
        self.append(New {
            room,
            sender,
            kind: &kind,
            key: Some(&key),
            content,
            ts: None,
            redacts: None,
        });
    }
}

fn levels(creator: &str, invited: &[String], trusted: bool, id: &str, body: &Value) -> Value {
    let mut users = Map::new();
    // In version 12, creators must not be listed.
    if id.contains(':') {
        users.insert(creator.to_owned(), 100.into());
        if trusted {
            users.extend(invited.iter().map(|user| (user.clone(), 100.into())));
        }
    }
    let mut levels = json!({
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50, "m.room.power_levels": 100, "m.room.history_visibility": 100,
            "m.room.canonical_alias": 50, "m.room.avatar": 50, "m.room.tombstone": 100,
            "m.room.server_acl": 100, "m.room.encryption": 100,
        },
        "events_default": 0, "state_default": 50,
        "ban": 50, "kick": 50, "redact": 50, "invite": 0, "historical": 100,
    });
    for (field, value) in object(&body["power_level_content_override"]) {
        levels[field] = value;
    }
    levels
}

/// The preset's settings, overridden by `initial_state`, then name and topic.
fn settings(preset: &str, body: &Value) -> Vec<Initial> {
    let public = preset == "public_chat";
    let join_rule = if public { "public" } else { "invite" };
    let guests = if public { "forbidden" } else { "can_join" };
    let mut events: Vec<Initial> = Vec::new();
    let preset = [
        ("m.room.join_rules", json!({ "join_rule": join_rule })),
        (
            "m.room.history_visibility",
            json!({"history_visibility": "shared"}),
        ),
        ("m.room.guest_access", json!({ "guest_access": guests })),
    ];
    for (kind, content) in preset {
        events.push((kind.into(), String::new(), content));
    }
    for event in body["initial_state"].as_array().into_iter().flatten() {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let (kind, key) = (text("type"), text("state_key"));
        events.retain(|(old, old_key, _)| (old, old_key) != (&kind, &key));
        events.push((kind, key, event["content"].clone()));
    }
    for field in ["name", "topic"] {
        if let Some(value) = body[field].as_str() {
            let content = Value::Object(Map::from_iter([(field.to_owned(), value.into())]));
            events.push((format!("m.room.{field}"), String::new(), content));
        }
    }
    events
}

fn strings(value: &Value) -> Vec<String> {
    let values = value.as_array().into_iter().flatten();
    values
        .filter_map(|value| value.as_str().map(ToOwned::to_owned))
        .collect()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
