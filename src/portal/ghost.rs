//! The pseudonym with which a user enters a room: found again, or made and dressed.

use std::sync::Arc;

use ruma::{OwnedServerName, RoomId, UserId};
use serde_json::json;

use super::{Deps, Outcome, PortalError, RoomState, WasHere, refusal};
use crate::{
    homeserver::Actor,
    pseudonym::{Mapping, SenderKey, nick_of},
    store::{
        Created, GhostRecord, JoinStage, JoinTask, Portal, PortalId, PortalState, Puppet, Shown,
    },
};

const FORGOTTEN: &str = "You forgot your pseudonym in this room, or in one that says it was upgraded to this one or from it. That is final: there is no new one here, ever.";

/// The portal with its pseudonym: the one the user has in this room, the one of its predecessor, or a new one.
pub(super) async fn pseudonym(
    deps: &Deps,
    task: &mut JoinTask,
    room: &RoomId,
    via: &[OwnedServerName],
) -> Result<Option<Arc<Portal>>, PortalError> {
    let known = here(deps, task, room).await?;
    if known.is_none() && is_over(deps, task, room).await? {
        return Ok(None);
    }
    let id = match known.or(task.successor_of) {
        Some(id) => id,
        None if at_cap(deps, task).await? => {
            let text = format!(
                "You have {} pseudonyms, as many as this Vizard allows. `forget` one to make room.",
                deps.config.access.max_pseudonyms
            );
            deps.report(&mut task.report, "cap", &text).await?;
            return Ok(None);
        }
        None => match create(deps, task, room, via).await? {
            Created::New => {
                task.fresh = true;
                match here(deps, task, room).await? {
                    Some(id) => id,
                    None => return Err(PortalError::Gone),
                }
            }
            Created::AlreadyThere(id) => id,
            Created::Forgotten => {
                deps.report(&mut task.report, "forgotten", FORGOTTEN)
                    .await?;
                return Ok(None);
            }
        },
    };
    let portal = deps.portals.get(id).await?;
    if task.successor_of != Some(id) && portal.room != room {
        return Ok(None);
    }
    // It was shown out, or has never been there and what it would replace was forgotten since.
    let outside = matches!(portal.state, PortalState::Left | PortalState::Banned);
    if outside && portal.joined_at == 0 && deps.store.is_forgotten(&task.user, room).await? {
        deps.report(&mut task.report, "forgotten", FORGOTTEN)
            .await?;
        return Ok(None);
    }
    Ok(Some(portal))
}

/// Whether the user had a pseudonym in this room, which is gone or went along to another room, and is told so. Who follows into the
/// room is no exception: it would see two of one user.
async fn is_over(deps: &Deps, task: &mut JoinTask, room: &RoomId) -> Result<bool, PortalError> {
    if deps.store.is_forgotten(&task.user, room).await? {
        deps.report(&mut task.report, "forgotten", FORGOTTEN)
            .await?;
        return Ok(true);
    }
    let was_here = WasHere::of(deps, &task.user, room).await?;
    if was_here.is_some_and(|was| task.successor_of != Some(was.portal)) {
        let text = "Your pseudonym was in this room and went along to the one that replaced it. There is no second one here, ever.";
        deps.report(&mut task.report, "moved", text).await?;
        return Ok(true);
    }
    Ok(false)
}

pub(super) async fn existing(
    deps: &Deps,
    task: &JoinTask,
    room: &RoomId,
) -> Result<Option<PortalId>, PortalError> {
    // Whoever has a pseudonym in the new room already keeps to that one: a room never sees two of one user.
    Ok(here(deps, task, room).await?.or(task.successor_of))
}

/// The portal with the user's pseudonym in this room.
async fn here(
    deps: &Deps,
    task: &JoinTask,
    room: &RoomId,
) -> Result<Option<PortalId>, PortalError> {
    let user = deps.store.user(&task.user).await?;
    Ok(user.and_then(|user| {
        user.pseudonyms
            .iter()
            .find(|entry| entry.room == room)
            .map(|entry| entry.portal)
    }))
}

async fn at_cap(deps: &Deps, task: &JoinTask) -> Result<bool, PortalError> {
    let user = deps.store.user(&task.user).await?;
    Ok(user.is_some_and(|user| user.pseudonyms.len() >= deps.config.access.max_pseudonyms))
}

async fn create(
    deps: &Deps,
    task: &JoinTask,
    room: &RoomId,
    via: &[OwnedServerName],
) -> Result<Created, PortalError> {
    let key = SenderKey::generate(&deps.rng);
    let mut portal = new_portal(deps, &task.user, room, &key, task.nick.as_deref());
    portal.via = via.to_vec();
    Ok(deps.portals.create(&portal).await?)
}

/// The record of a portal behind whose pseudonym nobody has been yet.
pub(super) fn new_portal(
    deps: &Deps,
    user: &UserId,
    room: &RoomId,
    key: &SenderKey,
    nick: Option<&str>,
) -> Portal {
    Portal {
        id: PortalId(deps.rng.bytes()),
        user: user.to_owned(),
        room: room.to_owned(),
        via: Vec::new(),
        state: PortalState::Joining,
        ghost: GhostRecord {
            id: deps.namespace.ghost(&key.id()),
            seed: key.seed().into(),
            device: None,
            former: None,
            nick: nick.map_or_else(|| nick_of(&key.id()), ToOwned::to_owned),
            ready: false,
        },
        host: Puppet {
            id: deps.namespace.host(&deps.rng),
            device: None,
            former: None,
        },
        portal_room: None,
        creating_room: false,
        user_joined: false,
        shown: Shown::default(),
        created: deps.clock.now(),
        successor: None,
        joined_at: 0,
        called: Vec::new(),
        told_pins: false,
        told_unread: Vec::new(),
        floors: Vec::new(),
        received: None,
        forgetting: false,
        replaced: Vec::new(),
        moved: None,
    }
}

/// Lets the ghost go on its way, once. `Some`: that is how far the join goes now. It is over if anybody ended it meanwhile.
pub(super) async fn set_out(
    deps: &Deps,
    task: &mut JoinTask,
    id: PortalId,
) -> Result<Option<Outcome>, PortalError> {
    let first = task.stage == JoinStage::Asked;
    let portal = deps
        .portals
        .update(id, |portal| {
            if first && !portal.forgetting {
                head_out(portal, task);
            }
        })
        .await?;
    if portal.state == PortalState::Leaving || portal.forgetting {
        return Ok(Some(Outcome::Done)); // cancelled, or left meanwhile
    }
    if matches!(portal.state, PortalState::Left | PortalState::Banned) {
        return refusal::over(deps, task, &portal).await.map(Some);
    }
    // Stored before anything takes long: what becomes of the ghost meanwhile is the last word, also after a crash.
    task.stage = JoinStage::UnderWay;
    Ok(first.then_some(Outcome::Again))
}

/// From now on the ghost is on its way.
fn head_out(portal: &mut Portal, task: &JoinTask) {
    match portal.state {
        PortalState::Left | PortalState::Banned => portal.state = PortalState::Joining,
        PortalState::Invited => {
            portal.state = PortalState::Joining;
            // Nobody has seen the ghost under another name.
            if let Some(nick) = &task.nick {
                portal.ghost.nick.clone_from(nick);
            }
        }
        _ => {}
    }
}

/// The ghost is in the room: since when, and what that is called.
pub(super) fn entered(portal: &mut Portal, state: &RoomState) {
    portal.joined_at = state.entered;
    portal.called = state.called();
    if let Some(predecessor) = &state.predecessor {
        replaces(portal, predecessor);
    }
}

/// The portal's room replaced another one.
pub(super) fn replaces(portal: &mut Portal, room: &RoomId) {
    if !portal.replaced.iter().any(|known| known == room) {
        portal.replaced.push(room.to_owned());
    }
}

/// Registers the ghost, gives it a device, and sets its profile, once: a later change of the profile would make
/// Synapse write the member event again without the mapping.
pub(super) async fn ready_ghost(deps: &Deps, portal: &Portal) -> Result<Actor, PortalError> {
    let device = deps.device_id();
    let portal = deps
        .portals
        .update(portal.id, |portal| {
            portal.ghost.device.get_or_insert(device);
        })
        .await?;
    let ghost = deps.ghost(&portal);
    if !portal.ghost.ready {
        deps.e2ee.revive(&ghost.user);
        if let Some(device) = &portal.ghost.device {
            deps.settle(&portal.ghost.id, device).await?;
        }
        deps.homeserver
            .set_displayname(&ghost, &portal.ghost.nick)
            .await?;
        // Before anybody sees the ghost: the first that they write is for its device as well.
        deps.e2ee.settle(&ghost).await?;
        deps.portals
            .update(portal.id, |portal| portal.ghost.ready = true)
            .await?;
    }
    Ok(ghost)
}

/// What goes into the ghost's member event besides the membership.
pub(super) fn member_extra(deps: &Deps, portal: &Portal, room: &RoomId) -> serde_json::Value {
    json!({
        "displayname": portal.ghost.nick,
        "org.matrix.msc4014.mxid_mapping": mapping(deps, portal, room),
    })
}

/// The ghost's signed mapping for a room.
pub(super) fn mapping(deps: &Deps, portal: &Portal, room: &RoomId) -> serde_json::Value {
    let key = SenderKey::from_seed(&portal.ghost.seed);
    Mapping::sign(&key, deps.namespace.server(), room, &deps.keys.server_key())
}
