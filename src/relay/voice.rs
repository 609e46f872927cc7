//! Whether the ghost may speak in its room, told when that changes; and pinned messages, of which the user is told once that they
//! are not shown.

use ruma::UserId;
use serde_json::{Value, value::RawValue};

use super::{Done, Relay};
use crate::{
    event::Event,
    homeserver::Class,
    portal::{Deps, PortalError},
    store::Portal,
};

/// From this version on a room's creators are above its power levels.
const CREATORS_REIGN: u32 = 12;

const PINS: &str = "Messages are pinned in this room. Pinned messages are not supported yet: this portal does not show which they are.";

impl Relay {
    /// The room's power levels changed: may the ghost speak, and might it before?
    pub(super) async fn power(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Done, PortalError> {
        let kind = if portal.shown.encrypted {
            "m.room.encrypted"
        } else {
            "m.room.message"
        };
        let may = |content: &RawValue| {
            let levels = serde_json::from_str(content.get()).unwrap_or_default();
            may_send(&levels, &portal.ghost.id, kind)
        };
        let now = may(&event.content);
        let before = event.unsigned.prev_content.as_deref().is_none_or(may);
        if now == before || reigns(deps, portal).await? {
            return Ok(Done::default());
        }
        let nick = &portal.ghost.nick;
        let (leg, text) = if now {
            ("voice", format!("{nick} may speak in this room again."))
        } else {
            (
                "no voice",
                format!(
                    "{nick} may not speak in this room any more: a moderator changed who may. What you write here is not sent until that changes again."
                ),
            )
        };
        self.tell(deps, portal, &event.event_id, leg, &text).await
    }

    /// Messages were pinned: said once, whatever is pinned later.
    pub(super) async fn pins(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Done, PortalError> {
        let content: Value = serde_json::from_str(event.content.get()).unwrap_or_default();
        let any = content["pinned"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        if portal.told_pins || !any {
            return Ok(Done::default());
        }
        let done = self
            .tell(deps, portal, &event.event_id, "pins", PINS)
            .await?;
        deps.portals
            .update(portal.id, |portal| portal.told_pins = true)
            .await?;
        Ok(done)
    }
}

/// Whether the ghost is one of the room's creators, where those are above all power levels.
async fn reigns(deps: &Deps, portal: &Portal) -> Result<bool, PortalError> {
    let state = match deps
        .homeserver
        .state(&deps.ghost(portal), &portal.room)
        .await
    {
        Ok(state) => state,
        Err(error) if error.class() == Class::GiveUp => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let events = state
        .iter()
        .filter(|event| event.get().contains("m.room.create"))
        .filter_map(|event| serde_json::from_str::<Value>(event.get()).ok());
    let mut creation = events.filter(|event| event["type"] == "m.room.create");
    Ok(creation.any(|event| is_creator(&event, &portal.ghost.id)))
}

fn is_creator(creation: &Value, ghost: &UserId) -> bool {
    let content = &creation["content"];
    let version = content["room_version"].as_str().unwrap_or("1");
    let version: u32 = version.parse().unwrap_or_default();
    let also = content["additional_creators"].as_array();
    let mut creators = also.into_iter().flatten().chain([&creation["sender"]]);
    version >= CREATORS_REIGN && creators.any(|creator| *creator == ghost.as_str())
}

/// Whether power levels let a user send events of this type.
fn may_send(levels: &Value, user: &UserId, kind: &str) -> bool {
    // Old rooms have levels that are text.
    let level = |value: &Value| {
        let text = || value.as_str().and_then(|text| text.trim().parse().ok());
        value.as_i64().or_else(text)
    };
    let one_of = |special: &Value, general: &Value| {
        let found = level(special).or_else(|| level(general));
        found.unwrap_or_default()
    };
    let has = one_of(&levels["users"][user.as_str()], &levels["users_default"]);
    has >= one_of(&levels["events"][kind], &levels["events_default"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_may_speak() {
        let ghost = ruma::user_id!("@_vizard_a:a.example");
        for (levels, may) in [
            (json!({}), true),
            (json!(null), true),
            (json!({"events_default": 1}), false),
            (json!({"events_default": "50", "users_default": 50}), true),
            (json!({"users": {"@_vizard_a:a.example": -1}}), false),
            (
                json!({"users": {"@_vizard_a:a.example": 5}, "events_default": 5}),
                true,
            ),
            (json!({"events": {"m.room.message": 50}}), false),
            (json!({"events": {"m.room.encrypted": 50}}), true),
        ] {
            assert_eq!(may_send(&levels, ghost, "m.room.message"), may, "{levels}");
        }
    }

    #[test]
    fn creators_of_new_rooms_always_may() {
        let ghost = ruma::user_id!("@_vizard_a:a.example");
        for (creation, is) in [
            (
                json!({"sender": ghost, "content": {"room_version": "12"}}),
                true,
            ),
            (
                json!({"sender": ghost, "content": {"room_version": "11"}}),
                false,
            ),
            (json!({"sender": ghost, "content": {}}), false),
            (
                json!({"sender": "@b:x", "content": {"room_version": "12"}}),
                false,
            ),
            (
                json!({"sender": "@b:x", "content": {"room_version": "12", "additional_creators": [ghost]}}),
                true,
            ),
        ] {
            assert_eq!(is_creator(&creation, ghost), is, "{creation}");
        }
    }
}
