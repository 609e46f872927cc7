//! Who may become what in a room.

use serde_json::{Value, json};

use super::{
    Refused,
    world::{New, Room, World},
};

impl World {
    /// A room in which the user is joined.
    pub(super) fn room_of(&self, room: &str, user: &str) -> Result<&Room, Refused> {
        self.rooms
            .get(room)
            .filter(|known| known.membership(user) == "join")
            .ok_or_else(|| Refused::forbidden(format!("User {user} not in room {room}")))
    }

    /// Follows an alias.
    pub(super) fn resolve(&self, room_or_alias: &str) -> Option<String> {
        if room_or_alias.starts_with('#') {
            self.aliases.get(room_or_alias).cloned()
        } else {
            Some(room_or_alias.to_owned())
        }
    }

    /// Changes a membership, where the room's rules allow it. `content` is what the member event carries
    /// besides.
    pub(super) fn set_membership(
        &mut self,
        room_id: &str,
        sender: &str,
        target: &str,
        membership: &str,
        mut content: Value,
    ) -> Result<String, Refused> {
        let room = self
            .rooms
            .get(room_id)
            .ok_or_else(|| Refused::not_found("Can't find that room on any known server"))?;
        match membership {
            "join" => self.check_join(room, sender, target)?,
            "knock" => check_knock(room, sender, target)?,
            "invite" => check_invite(room, sender, target)?,
            "leave" if sender == target => {
                if !matches!(room.membership(target), "join" | "invite" | "knock") {
                    return Err(Refused::forbidden(format!("User {target} not in room")));
                }
            }
            "leave" | "ban" => check_removal(room, sender, target, membership)?,
            _ => return Err(Refused::bad("no such membership")),
        }
        if !content.is_object() {
            content = json!({});
        }
        content["membership"] = membership.into();
        if matches!(membership, "join" | "invite" | "knock") {
            self.member_profile(target, &mut content);
        }
        Ok(self.put_state(New {
            room: room_id,
            sender,
            kind: "m.room.member",
            key: Some(target),
            content,
            ts: None,
            redacts: None,
        }))
    }

    /// Appends a state event, unless it says what the sender said last.
    pub(super) fn put_state(&mut self, new: New<'_>) -> String {
        let room = &self.rooms[new.room];
        if let Some(old) = room.state_event(new.kind, new.key.unwrap_or_default())
            && old["sender"] == new.sender
            && old["content"] == new.content
        {
            return old["event_id"].as_str().unwrap().to_owned();
        }
        self.append(new)
    }

    fn check_join(&self, room: &Room, sender: &str, target: &str) -> Result<(), Refused> {
        if sender != target {
            return Err(Refused::forbidden("Cannot force another user to join."));
        }
        match room.membership(target) {
            "join" | "invite" => return Ok(()),
            "ban" => {
                return Err(Refused::forbidden("You are banned from this room"));
            }
            _ => {}
        }
        let allowed = match room.join_rule() {
            "public" => true,
            "restricted" | "knock_restricted" => {
                let rule = room.state("m.room.join_rules", "");
                let rooms = rule.and_then(|content| content["allow"].as_array());
                rooms.into_iter().flatten().any(|allow| {
                    allow["room_id"]
                        .as_str()
                        .and_then(|id| self.rooms.get(id))
                        .is_some_and(|other| other.membership(target) == "join")
                })
            }
            // Nobody is in yet but the room's creator.
            _ => {
                room.members.is_empty()
                    && room
                        .state_event("m.room.create", "")
                        .is_some_and(|create| create["sender"] == target)
            }
        };
        if allowed {
            Ok(())
        } else {
            Err(Refused::forbidden("You are not invited to this room."))
        }
    }
}

fn check_knock(room: &Room, sender: &str, target: &str) -> Result<(), Refused> {
    let possible = matches!(room.join_rule(), "knock" | "knock_restricted");
    if sender == target && possible && matches!(room.membership(target), "leave" | "knock") {
        Ok(())
    } else {
        Err(Refused::forbidden("You don't have permission to knock"))
    }
}

fn check_invite(room: &Room, sender: &str, target: &str) -> Result<(), Refused> {
    if room.membership(sender) != "join" {
        return Err(Refused::forbidden(format!("{sender} not in room")));
    }
    match room.membership(target) {
        "join" => Err(Refused::forbidden(format!(
            "{target} is already in the room."
        ))),
        "ban" => Err(Refused::forbidden(format!(
            "{target} is banned from the room"
        ))),
        _ if room.level(sender) < room.needed("invite") => Err(Refused::forbidden(
            "You don't have permission to invite users",
        )),
        _ => Ok(()),
    }
}

/// A kick, a ban, or the end of a ban.
fn check_removal(room: &Room, sender: &str, target: &str, membership: &str) -> Result<(), Refused> {
    if room.membership(sender) != "join" {
        return Err(Refused::forbidden(format!("{sender} not in room")));
    }
    let was = room.membership(target);
    if membership == "leave" && was == "leave" {
        return Err(Refused::forbidden("The target user is not in the room"));
    }
    let action = if membership == "ban" || was == "ban" {
        "ban"
    } else {
        "kick"
    };
    let level = room.level(sender);
    if level < room.needed(action) || (level <= room.level(target) && sender != target) {
        return Err(Refused::forbidden(format!("You cannot {action} {target}.")));
    }
    Ok(())
}
