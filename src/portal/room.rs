//! The portal room: made by its host, named after the room, and kept in step with it.

use std::sync::Arc;

use ruma::OwnedRoomId;
use serde_json::{Value, json};

use super::{Deps, PortalError, avatars::copy_avatar, hidden, state::RoomState};
use crate::{
    config::EncryptPortals,
    e2ee::E2eeError,
    homeserver::Actor,
    rewrite::{Bridge, PortalEvent, Scrubbed},
    store::{Portal, PortalState, Shown, ShownHidden},
};

/// Makes sure that the host, its device and the portal room exist, that the user is invited, and that the room
/// shows what `state` says.
pub(super) async fn open(
    deps: &Deps,
    portal: &Portal,
    state: &RoomState,
) -> Result<Arc<Portal>, PortalError> {
    let device = deps.device_id();
    let mut portal = deps
        .portals
        .update(portal.id, |portal| {
            portal.host.device.get_or_insert(device);
        })
        .await?;
    let host = deps.host(&portal);
    if portal.portal_room.is_none() {
        if let Some(device) = &portal.host.device {
            deps.settle(&portal.host.id, device).await?;
        }
        deps.homeserver.set_displayname(&host, "Vizard").await?;
        let room = if let Some(room) = made_before_crash(deps, &portal, &host).await? {
            room
        } else {
            deps.portals
                .update(portal.id, |portal| portal.creating_room = true)
                .await?;
            let encrypted = encrypts(deps, state);
            if encrypted {
                // Before the user writes: their client encrypts for the devices that it knows by then.
                deps.e2ee.settle(&host).await?;
            }
            deps.homeserver
                .create_room(&host, &creation(&portal, state, encrypted))
                .await?
        };
        let name = state.title(&portal);
        portal = deps
            .portals
            .update(portal.id, |portal| {
                portal.portal_room = Some(room);
                portal.creating_room = false;
                portal.shown = Shown {
                    name: Some(name.clone()),
                    topic: state.shown_topic().cloned(),
                    alias: state.shown_alias().cloned(),
                    avatar: None,
                    encrypted: state.encrypted,
                    hidden: ShownHidden::default(),
                    bridge: 0,
                };
                portal.shown.bridge = mark(deps, bridge(portal, &name));
            })
            .await?;
    } else if let (false, Some(room)) = (portal.user_joined, &portal.portal_room)
        && portal.state != PortalState::Invited
    {
        deps.homeserver.invite(&host, room, &portal.user).await?;
        // What is said next is for them as well.
        deps.e2ee.forget_room(room);
    }
    if encrypts(deps, state) {
        // It may have been made for a room that was not encrypted then, or for another one.
        encrypt(deps, &portal).await?;
    }
    let portal = deps
        .portals
        .update(portal.id, |portal| {
            portal.shown.encrypted |= state.encrypted;
        })
        .await?;
    show(deps, &portal, state).await
}

/// Finds a portal room whose id was lost: before anything else of a join, because the rest may fail, and the user may be in it.
pub(super) async fn adopt(deps: &Deps, portal: &Portal) -> Result<(), PortalError> {
    if portal.portal_room.is_some() {
        return Ok(());
    }
    if let Some(room) = made_before_crash(deps, portal, &deps.host(portal)).await? {
        deps.portals
            .update(portal.id, |portal| {
                portal.portal_room = Some(room);
                portal.creating_room = false;
            })
            .await?;
    }
    Ok(())
}

/// The host owns one room only, so a room that it is in is the portal whose id was lost in a crash.
async fn made_before_crash(
    deps: &Deps,
    portal: &Portal,
    host: &Actor,
) -> Result<Option<OwnedRoomId>, PortalError> {
    if !portal.creating_room {
        return Ok(None);
    }
    Ok(deps.homeserver.joined_rooms(host).await?.into_iter().next())
}

/// Whether the portal of a room is encrypted: as the admin chose, and always when the room is.
fn encrypts(deps: &Deps, state: &RoomState) -> bool {
    deps.e2ee.unavailable().is_none()
        && match deps.config.encryption.portal {
            EncryptPortals::Always => true,
            EncryptPortals::Match | EncryptPortals::Never => state.encrypted,
        }
}

/// Encrypts the portal from now on: its room is encrypted now.
pub async fn encrypt(deps: &Deps, portal: &Portal) -> Result<(), PortalError> {
    let Some(room) = &portal.portal_room else {
        return Ok(());
    };
    let host = deps.host(portal);
    if deps.e2ee.unavailable().is_some() {
        return Ok(());
    }
    match deps.e2ee.is_encrypted(&host, room).await {
        Ok(true) => return Ok(()),
        // What was taken away is put back.
        Ok(false) | Err(E2eeError::Downgraded) => {}
        Err(error) => return Err(error.into()),
    }
    deps.e2ee.settle(&host).await?;
    let state = Scrubbed::portal_state(PortalEvent::Encryption);
    deps.homeserver.send_state(&host, room, &state, "").await?;
    deps.e2ee.hears(room, "m.room.encryption", "");
    Ok(())
}

pub(super) fn encryption() -> Value {
    PortalEvent::Encryption.content()
}

fn creation(portal: &Portal, state: &RoomState, encrypted: bool) -> Value {
    // An invite with a reason is made by itself.
    let invited = (portal.state != PortalState::Invited).then_some(&portal.user);
    let mut body = json!({
        "preset": "private_chat",
        "visibility": "private",
        "name": state.title(portal),
        "invite": invited.as_slice(),
        "creation_content": {"m.federate": true},
        "power_level_content_override": {
            "users_default": 0,
            "events_default": 0,
            "state_default": 100,
            "invite": 100,
            "kick": 100,
            "ban": 100,
            "redact": 50,
            "notifications": {"room": 0},
            "events": {"m.room.redaction": 0, "m.reaction": 0},
        },
        "initial_state": [
            {"type": "m.room.guest_access", "content": {"guest_access": "forbidden"}},
            {"type": "m.room.history_visibility", "content": {"history_visibility": "invited"}},
        ],
    });
    if let Some(topic) = state.shown_topic() {
        body["topic"] = json!(topic);
    }
    if let Some(initial) = body["initial_state"].as_array_mut() {
        let name = state.title(portal);
        let mut set = |event: PortalEvent<'_>, key: &str| {
            let (kind, content) = (event.event_type(), event.content());
            initial.push(json!({"type": kind, "state_key": key, "content": content}));
        };
        for event in both(bridge(portal, &name)) {
            set(event, &bridge_key(portal));
        }
        if encrypted {
            set(PortalEvent::Encryption, "");
        }
    }
    if portal.user.server_name() == portal.host.id.server_name() {
        body["creation_content"]["m.federate"] = json!(false);
    }
    body
}

fn bridge_key(portal: &Portal) -> String {
    format!("org.vizard://{}", portal.host.id.localpart())
}

/// MSC2346 bridge information under both of its types.
fn both(about: Bridge<'_>) -> [PortalEvent<'_>; 2] {
    [
        PortalEvent::Bridge(about),
        PortalEvent::UnstableBridge(about),
    ]
}

/// MSC2346 bridge information, about a room that is called `name`.
fn bridge<'a>(portal: &'a Portal, name: &'a str) -> Bridge<'a> {
    Bridge {
        host: &portal.host.id,
        room: &portal.room,
        via: &portal.via,
        name,
        ghost: &portal.ghost.id,
        nick: &portal.ghost.nick,
    }
}

/// What tells one bridge information from another.
fn mark(deps: &Deps, about: Bridge<'_>) -> u64 {
    let text = about.content().to_string();
    deps.store.derive_number("bridge", &[text.as_bytes()])
}

/// Writes the bridge information of a portal whose room is called `name`, unless it stands there already. Returns its mark.
async fn describe(deps: &Deps, portal: &Portal, name: &str) -> Result<u64, PortalError> {
    let about = bridge(portal, name);
    let mark = mark(deps, about);
    if let (true, Some(room)) = (mark != portal.shown.bridge, &portal.portal_room) {
        let (host, key) = (deps.host(portal), bridge_key(portal));
        for event in both(about) {
            let state = Scrubbed::portal_state(event);
            deps.homeserver
                .send_state(&host, room, &state, &key)
                .await?;
        }
    }
    Ok(mark)
}

/// Writes the differences between what the portal room shows and what the room's state says; but whether the room is encrypted,
/// which is written down when the portal is encrypted too.
pub async fn show(
    deps: &Deps,
    portal: &Portal,
    state: &RoomState,
) -> Result<Arc<Portal>, PortalError> {
    let Some(room) = &portal.portal_room else {
        return deps.portals.get(portal.id).await;
    };
    let host = deps.host(portal);
    let mut shown = portal.shown.clone();
    let host = &host;
    let set = |state: Scrubbed| async move {
        let set = deps.homeserver.send_state(host, room, &state, "").await;
        set.map(|_| ())
    };
    let name = state.title(portal);
    let (topic, avatar) = (state.shown_topic(), state.shown_avatar());
    if shown.name.as_ref() != Some(&name) {
        set(Scrubbed::portal_state(PortalEvent::Name(&name))).await?;
        shown.name = Some(name.clone());
    }
    shown.bridge = describe(deps, portal, &name).await?;
    if shown.topic.as_ref() != topic {
        let event = PortalEvent::Topic(topic.map_or("", String::as_str));
        set(Scrubbed::portal_state(event)).await?;
        shown.topic = topic.cloned();
    }
    if shown.avatar.as_ref().map(|(remote, _)| remote) != avatar {
        let copy = match avatar {
            Some(remote) => copy_avatar(deps, &deps.ghost(portal), host, remote).await?,
            None => None,
        };
        // A new picture that cannot be had takes the old one down all the same.
        if copy.is_some() || shown.avatar.is_some() {
            let event = PortalEvent::Avatar(copy.as_deref());
            set(Scrubbed::portal_state(event)).await?;
        }
        shown.avatar = avatar.cloned().zip(copy);
    }
    shown.alias = state.shown_alias().cloned();
    shown.hidden = hidden::tell(deps, portal, state).await?;
    deps.portals
        .update(portal.id, |portal| {
            shown.encrypted = portal.shown.encrypted;
            portal.shown = shown;
        })
        .await
}
