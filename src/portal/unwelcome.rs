//! Rooms in which a ghost may not stay, which shows when it is in, or before.

use ruma::{OwnedRoomId, RoomId};

use super::{Deps, Outcome, PortalError, RoomState, leave::another_time, source_in};
use crate::{
    homeserver::Class,
    store::{JoinStage, JoinTask, Portal, PortalState, Task},
};

/// How many upgrades are followed back.
const LONGEST_CHAIN: usize = 10;

const REPLACES: &str = "This room says that it replaces one in which you forgot your pseudonym. That is final: there is no new one here, ever.";

/// Why a ghost may not stay.
enum Unwanted {
    /// The room does not want it, or cannot be relayed. It would be the same with anybody's.
    Anybody(String),
    /// The room says that it replaces one in which the user forgot theirs.
    Forgotten,
}

/// Whether the room is known, before anybody is in it, to be encrypted, and nothing can be encrypted here.
pub(super) async fn is_unreadable(deps: &Deps, task: &JoinTask, portal: &Portal) -> bool {
    if deps.e2ee.unavailable().is_none() || portal.shown.encrypted {
        return false;
    }
    let summary = deps
        .homeserver
        .summary(&deps.bot, &task.target, &task.via)
        .await;
    summary.ok().flatten().is_some_and(|summary| {
        ["encryption", "im.nheko.summary.encryption"]
            .iter()
            .any(|field| summary[field].is_string())
    })
}

/// Lets a ghost go that may not stay in the room which it has just entered. `None`: it may.
pub(super) async fn show_out(
    deps: &Deps,
    task: &mut JoinTask,
    portal: &Portal,
    state: &RoomState,
    room: &RoomId,
) -> Result<Option<Outcome>, PortalError> {
    let outcome = match unwanted(deps, portal, state, room).await? {
        None => return Ok(None),
        Some(Unwanted::Anybody(why)) => turn_back(deps, task, portal, room, &why).await?,
        Some(Unwanted::Forgotten) => slip_out(deps, task, portal, room).await?,
    };
    Ok(Some(outcome))
}

/// Leaves a room in which no pseudonym is wanted, or which is not wanted here. Whoever came to follow stays in the old one.
async fn turn_back(
    deps: &Deps,
    task: &mut JoinTask,
    portal: &Portal,
    room: &RoomId,
    why: &str,
) -> Result<Outcome, PortalError> {
    deps.homeserver.leave(&deps.ghost(portal), room).await?;
    task.stage = JoinStage::Asked;
    deps.portals
        .update(portal.id, |portal| {
            // It is on its way if it was outside the old room too.
            if portal.room == room || portal.state == PortalState::Joining {
                portal.state = PortalState::Left;
                portal.received = None;
            }
        })
        .await?;
    deps.report(&mut task.report, "refused", why).await?;
    Ok(Outcome::Done)
}

/// Lets the ghost go from a room that says it replaces one which its user forgot: at a drawn time, as anybody may leave any room.
/// Everybody can make a room that says so, and would be told by a departure at once that this user forgot the other one. Nothing is
/// relayed until then.
async fn slip_out(
    deps: &Deps,
    task: &mut JoinTask,
    portal: &Portal,
    room: &RoomId,
) -> Result<Outcome, PortalError> {
    let Some(due) = another_time(deps) else {
        return turn_back(deps, task, portal, room, REPLACES).await;
    };
    let leave = Task::Leave {
        portal: portal.id,
        forget: false,
        report: None,
        spread: true,
    };
    // The job waits until this one is through, and then finds what it is about.
    deps.add_job(&source_in(portal.id, "slips out"), due, leave)
        .await?;
    deps.report_if_possible(&mut task.report, "refused", &slips_out(deps, portal))
        .await?;
    deps.portals
        .update(portal.id, |portal| {
            if !matches!(portal.state, PortalState::Left | PortalState::Banned) {
                portal.state = PortalState::Leaving;
            }
            portal.received = None;
        })
        .await?;
    Ok(Outcome::Done)
}

/// What to say of a ghost that leaves a room which says that it replaces a forgotten one.
pub fn slips_out(deps: &Deps, portal: &Portal) -> String {
    format!(
        "{REPLACES} {} leaves it at some time within the next {} hours: if that happened at once, whoever made the room could tell what you forgot. Until then nothing is relayed.",
        portal.ghost.nick, deps.config.privacy.spread_hours
    )
}

/// Whether, and why, the ghost may not stay. What holds for anybody comes first: it tells nothing about the user.
async fn unwanted(
    deps: &Deps,
    portal: &Portal,
    state: &RoomState,
    room: &RoomId,
) -> Result<Option<Unwanted>, PortalError> {
    if let (true, false, Some(why)) = (
        state.encrypted,
        portal.shown.encrypted,
        deps.e2ee.unavailable(),
    ) {
        return Ok(Some(Unwanted::Anybody(format!(
            "This room is end-to-end encrypted, and this Vizard cannot encrypt: {why}. The ghost left again; nothing was said."
        ))));
    }
    if let Some(why) = state.refuses(&portal.ghost.id) {
        return Ok(Some(Unwanted::Anybody(why)));
    }
    let forgotten = replaces_forgotten(deps, portal, state, room).await?;
    Ok(forgotten.then_some(Unwanted::Forgotten))
}

/// Whether a new pseudonym would be one in a room that replaced one in which its user forgot theirs; directly, or by way of others
/// as far as these can be read. Then it is as if it had been forgotten in all of them.
async fn replaces_forgotten(
    deps: &Deps,
    portal: &Portal,
    state: &RoomState,
    room: &RoomId,
) -> Result<bool, PortalError> {
    // One that has been in a room is not new.
    if portal.joined_at != 0 {
        return Ok(false);
    }
    let mut chain = vec![room.to_owned()];
    let mut before = state.predecessor.clone();
    while let Some(room) = before.take()
        && chain.len() <= LONGEST_CHAIN
        && !chain.contains(&room)
    {
        if deps.store.is_forgotten(&portal.user, &room).await? {
            for room in &chain {
                deps.store.mark_forgotten(&portal.user, room).await?;
            }
            return Ok(true);
        }
        before = predecessor(deps, portal, &room).await?;
        chain.push(room);
    }
    Ok(false)
}

/// The room that another one replaced, if the homeserver shows it to the ghost.
async fn predecessor(
    deps: &Deps,
    portal: &Portal,
    room: &RoomId,
) -> Result<Option<OwnedRoomId>, PortalError> {
    let (ghost, kind) = (deps.ghost(portal), "m.room.create");
    let create = match deps.homeserver.state_event(&ghost, room, kind, "").await {
        Ok(create) => create,
        Err(error) if error.class() == Class::GiveUp => None,
        Err(error) => return Err(error.into()),
    };
    let mut state = RoomState::default();
    if let Some(create) = create {
        state.apply(kind, "", &create);
    }
    Ok(state.predecessor)
}
