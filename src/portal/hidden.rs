//! What a room hides from servers: name, topic, picture in encrypted state (MSC4362). It is read with the ghost's keys and
//! said in the portal by the host, encrypted, because the portal's own state would tell it in clear.
//!
//! State whose key is missing is looked for again by a job. Keys of state that was made before the ghost came are never
//! given to it, as those of messages are not.

use serde_json::value::RawValue;

use super::{Deps, Outcome, PortalError, Way, room::show, state::RoomState};
use crate::{
    event::{Event, Trust, hidden_state},
    homeserver::Actor,
    media::{Class, Kind},
    rewrite::{Location, Scrubbed, clean_name},
    store::{Portal, PortalId, PortalState, ShownHidden, Task},
};

/// Looks for late keys, over about two weeks.
const LOOKS: u32 = 520;

/// The longest topic that is said, in characters.
const LONGEST: usize = 4000;

/// The encrypted state events among a room's state that are of any interest.
pub(super) fn encrypted(events: &[Box<RawValue>]) -> Vec<Event> {
    events
        .iter()
        .filter(|raw| raw.get().contains("m.room.encrypted"))
        .filter_map(|raw| Event::decode(raw))
        .filter(|event| event.kind == "m.room.encrypted")
        // Redacted: as if it were not there.
        .filter(|event| event.content.get().contains("ciphertext"))
        .filter(|event| {
            let packed = event.state_key.as_deref().and_then(hidden_state);
            packed.is_some_and(|(_, key)| key.is_empty())
        })
        .collect()
}

/// What an encrypted state event says. `None`: it cannot be read; then its sender is asked for the key.
pub(super) async fn open(
    deps: &Deps,
    actor: &Actor,
    event: &Event,
) -> Result<Option<Event>, PortalError> {
    if actor.device.is_none() {
        return Ok(None);
    }
    let opened = deps.e2ee.decrypt(actor, event).await?;
    if opened.trust == Trust::NoKey {
        deps.e2ee.ask_for_key(actor, event).await;
    }
    let readable = !(opened.trust.lacks_key() || opened.trust.is_void());
    Ok((readable && opened.trust != Trust::Broken).then_some(opened))
}

/// Says in the portal what the room hides, as far as that is new. Where the portal is not encrypted (yet), nothing.
pub(super) async fn tell(
    deps: &Deps,
    portal: &Portal,
    state: &RoomState,
) -> Result<ShownHidden, PortalError> {
    let before = &portal.shown.hidden;
    let now = shown(state, before.told);
    let Some(room) = &portal.portal_room else {
        return Ok(before.clone());
    };
    if now == *before {
        return Ok(now);
    }
    let host = deps.host(portal);
    match deps.encrypts(&host, room).await {
        Ok(true) => {}
        Ok(false) => return Ok(before.clone()),
        Err(error) if error.is_unencryptable() => return Ok(before.clone()),
        Err(error) => return Err(error),
    }
    if now.unread && !before.unread {
        let id = format!("look {}", portal.ghost.id);
        let task = Task::Look { portal: portal.id };
        deps.add_job(&id, deps.clock.now() + 1_000, task).await?;
    }
    let source = format!("hidden {}", portal.room);
    if let Some(text) = text(before, &now, state.hidden.doubtful) {
        let notice = Scrubbed::notice(&text);
        deps.say(&host, room, &notice, &source, "hidden", now.told)
            .await?;
    }
    if let Some(picture) = now.avatar.as_ref().filter(|_| now.avatar != before.avatar) {
        let ghost = deps.ghost(portal);
        let way = Way {
            reader: &ghost,
            owner: &host,
            encrypted: true,
            as_it_is: false,
            payer: None,
        };
        let _slot = deps.transfers.slot()?;
        let from = Location::Plain(picture.clone());
        if let Ok(copy) = deps.copy(way, &from, Kind::claimed(None, None)).await
            && copy.kind.class() == Class::Image
            && let Some(content) = Scrubbed::picture("The room's picture", &copy)
        {
            deps.say(&host, room, &content, &source, "hidden picture", now.told)
                .await?;
        }
    }
    Ok(ShownHidden {
        told: before.told + 1,
        ..now
    })
}

/// What the portal is to be told of the room's encrypted state.
fn shown(state: &RoomState, told: u32) -> ShownHidden {
    let clean = |kind: &str, text: &Option<String>| {
        let text = text.as_ref().filter(|_| state.hidden.has(kind));
        text.cloned()
    };
    ShownHidden {
        name: clean("m.room.name", &state.name).map(|name| clean_name(&name)),
        topic: clean("m.room.topic", &state.topic)
            .map(|topic| topic.chars().take(LONGEST).collect()),
        avatar: state
            .avatar
            .clone()
            .filter(|_| state.hidden.has("m.room.avatar")),
        unread: state.hidden.unread > 0,
        told,
    }
}

/// What is new, for a person.
fn text(before: &ShownHidden, now: &ShownHidden, doubtful: bool) -> Option<String> {
    let mut lines = Vec::new();
    if before.name != now.name {
        lines.push(match &now.name {
            Some(name) => format!("The room's name: {name}"),
            None => "The room's name is no longer the one that was told here.".to_owned(),
        });
    }
    if before.topic != now.topic {
        lines.push(match &now.topic {
            Some(topic) => format!("The room's topic: {topic}"),
            None => "The room's topic is no longer the one that was told here.".to_owned(),
        });
    }
    if now.unread && !before.unread {
        lines.push("More about the room is encrypted (its name, topic or picture), and its key has not come. It is told here if it does; what was set before you came stays unreadable until somebody sets it again.".to_owned());
    }
    if lines.is_empty() {
        return None;
    }
    if doubtful {
        lines.push("⚠ Some of this was set from a device that its owner has not verified, so it may be somebody else's.".to_owned());
    }
    if before.told == 0 {
        lines.insert(0, "🔒 This room keeps its name and the like from servers. So they are told here, and the portal is not named after the room.".to_owned());
    }
    Some(lines.join("\n"))
}

/// Looks once more for the keys of a room's encrypted state.
pub async fn look(deps: &Deps, id: PortalId, attempts: u32) -> Result<Outcome, PortalError> {
    let portal = deps.portals.get(id).await?;
    if portal.state != PortalState::Joined || !portal.shown.hidden.unread {
        return Ok(Outcome::Done);
    }
    let state = RoomState::fetch(deps, &deps.ghost(&portal), &portal.room).await?;
    show(deps, &portal, &state).await?;
    Ok(if state.hidden.unread > 0 && attempts < LOOKS {
        Outcome::Later
    } else {
        Outcome::Done
    })
}

/// A portal for tests.
#[cfg(test)]
pub(super) fn sample() -> Portal {
    let (id, seed) = ([0_u8; 16], [0_u8; 32]);
    let record = serde_json::json!({
        "id": id,
        "user": "@alice:x", "room": "!room:x", "state": "joined", "created": 0,
        "ghost": {"id": "@_vizard_a:x", "seed": seed, "nick": "Quiet Heron"},
        "host": {"id": "@_vizard_p_a:x"},
    });
    serde_json::from_value(record).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: Option<&str>, unread: bool, told: u32) -> ShownHidden {
        ShownHidden {
            name: name.map(ToOwned::to_owned),
            unread,
            told,
            ..ShownHidden::default()
        }
    }

    #[test]
    fn only_news_are_told() {
        let nothing = ShownHidden::default();
        let first = text(&nothing, &told(Some("Salon"), false, 0), false).unwrap();
        assert!(first.starts_with("🔒") && first.ends_with("The room's name: Salon"));
        let again = told(Some("Salon"), false, 1);
        assert_eq!(text(&again, &again, true), None);
        let changed = text(&again, &told(Some("Parlour"), false, 1), true).unwrap();
        assert!(changed.starts_with("The room's name: Parlour\n⚠"));
        let unread = text(&again, &told(None, true, 1), false).unwrap();
        assert!(unread.contains("no longer") && unread.contains("key has not come"));
    }

    #[test]
    fn only_state_that_is_read_is_opened() {
        let events: Vec<_> = [
            ("m.room.encrypted", "m.room.name:", r#"{"ciphertext":""}"#),
            ("m.room.encrypted", "m.room.name:", "{}"),
            ("m.room.encrypted", "m.room.name:x", r#"{"ciphertext":""}"#),
            ("m.room.encrypted", "m.room.member:@a:x", r#"{"ciphertext":""}"#),
            ("m.room.encrypted", "m.room.power_levels:", r#"{"ciphertext":""}"#),
            ("m.room.encrypted", "", r#"{"ciphertext":""}"#),
            ("m.room.name", "m.room.encrypted:", r#"{"ciphertext":""}"#),
        ]
        .iter()
        .map(|(kind, key, content)| {
            RawValue::from_string(format!(
                r#"{{"event_id":"$e","room_id":"!r:x","sender":"@b:x","type":"{kind}","state_key":"{key}","content":{content}}}"#
            ))
            .unwrap()
        })
        .collect();
        assert_eq!(encrypted(&events).len(), 1);
    }
}
