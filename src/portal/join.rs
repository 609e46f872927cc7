//! The join, from the request to "joined as Quiet Heron": a job that can stop at any line and be carried on.
//!
//! Each step writes down what it is about to use (keys, ids, "creating the room") before it uses it, and every
//! request is idempotent or is checked first, so that running the whole again changes nothing that was done.

use ruma::{OwnedRoomId, OwnedServerName, RoomId, RoomOrAliasId};

use super::{
    Deps, PortalError, WasHere, behind, chat,
    ghost::{entered, existing, member_extra, pseudonym, ready_ghost, replaces, set_out},
    invited, refusal, room,
    state::RoomState,
    unwelcome::{is_unreadable, show_out},
};
use crate::{
    clock::UnixMillis,
    homeserver::{self, Actor, Class},
    store::{JoinStage, JoinTask, Link, Moved, Portal, PortalId, PortalState},
};

/// How many times a server that does not answer is asked.
const TRIES: u32 = 4;

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is over, well or explained.
    Done,
    /// The ghost is in its room, and this portal is ready.
    Joined(PortalId),
    /// The same, in another room than before: what was said there in between has not been heard.
    Moved(PortalId),
    /// The same, and the job goes on later, with a task that is stored again: it could not leave all rooms behind the ghost.
    Arrived(PortalId),
    /// An event was sent anew, as another one than before.
    Linked(PortalId, Box<Link>),
    /// It goes on later; the task may have changed and is stored again.
    Later,
    /// It goes on at this time.
    At(UnixMillis),
    /// A step is done: the task is stored as it is now, and goes on at once.
    Again,
}

/// Carries a join as far as it goes. `attempts` counts earlier tries of the same job.
pub async fn run(deps: &Deps, task: &mut JoinTask, attempts: u32) -> Result<Outcome, PortalError> {
    if let JoinStage::Arrived(portal) = task.stage {
        return behind::look_back(deps, portal, attempts).await;
    }
    if is_pointless(deps, task).await {
        return Ok(Outcome::Done);
    }
    hush(deps, task).await?;
    let (target, via) = match resolve(deps, task).await {
        Ok(found) => found,
        Err(error) => return failed(deps, task, None, attempts, error).await,
    };
    if let Some(text) = refusal::denied(deps, &target, &via) {
        return refusal::deny(deps, task, &target, text).await;
    }
    let Some(portal) = pseudonym(deps, task, &target, &via).await? else {
        return Ok(Outcome::Done);
    };
    let _alone = deps.portals.alone(portal.id).await;
    room::adopt(deps, &*deps.portals.get(portal.id).await?).await?;
    if let Some(outcome) = set_out(deps, task, portal.id).await? {
        return Ok(outcome);
    }
    let ghost = ready_ghost(deps, &portal).await?;
    let portal = deps.portals.get(portal.id).await?;
    if portal.state != PortalState::Joined || portal.room != target {
        if task.knock {
            return knock(deps, task, &portal, &ghost, attempts).await;
        }
        // A room that would be left again at once had better never see the ghost.
        if attempts == 0 && is_unreadable(deps, task, &portal).await {
            return keep_out(deps, task, &portal).await;
        }
        let extra = member_extra(deps, &portal, &target);
        let via = with_inviters(&portal, via);
        if let Err(error) = deps
            .homeserver
            .join(&ghost, <&RoomOrAliasId>::from(&*target), &via, &extra)
            .await
        {
            return failed(deps, task, Some(&portal), attempts, error.into()).await;
        }
        // Nobody of ours may have been there to hear what changed.
        deps.e2ee.forget_room(&target);
    }
    let state = RoomState::fetch(deps, &ghost, &target).await?;
    if let Some(outcome) = show_out(deps, task, &portal, &state, &target).await? {
        return Ok(outcome);
    }
    let before = portal.room.clone();
    let moved = before != target;
    if moved {
        // Before the record forgets it: there is never a second pseudonym there.
        WasHere::note(deps, &portal.user, &before, portal.id).await?;
    }
    let portal = deps
        .portals
        .update(portal.id, |portal| {
            move_on(portal, &target, &state, deps.clock.now());
            portal.successor = None;
            portal.received = None;
            if portal.state == PortalState::Knocking {
                portal.state = PortalState::Joining;
            }
        })
        .await?;
    let behind = behind::leave_last(deps, &ghost, &portal, moved.then_some(&before)).await;
    if portal.state == PortalState::Leaving {
        return Ok(Outcome::Done);
    }
    let portal = room::open(deps, &portal, &state).await?;
    let portal = deps
        .portals
        .update(portal.id, |portal| {
            if portal.state == PortalState::Joining {
                portal.state = PortalState::Joined;
                entered(portal, &state);
            }
        })
        .await?;
    if portal.state != PortalState::Joined {
        let text = "The ghost was in the room, but was removed again before your portal was ready.";
        deps.report(&mut task.report, "removed", text).await?;
        return Ok(Outcome::Joined(portal.id));
    }
    announce(deps, task, &portal).await?;
    if behind.is_err() && attempts < behind::TRIES {
        task.stage = JoinStage::Arrived(portal.id);
        return Ok(Outcome::Arrived(portal.id));
    }
    // Also if it had moved when this was tried before.
    Ok(if moved || task.successor_of == Some(portal.id) {
        Outcome::Moved(portal.id)
    } else {
        Outcome::Joined(portal.id)
    })
}

/// The portal leads into this room from now on, if it did not before.
fn move_on(portal: &mut Portal, target: &RoomId, state: &RoomState, at: UnixMillis) {
    if portal.room == target {
        return;
    }
    let room = std::mem::replace(&mut portal.room, target.to_owned());
    replaces(portal, &room);
    // Who was outside the old room already hears nothing of it.
    let inside = portal.state == PortalState::Joined;
    portal.moved = inside.then_some(Moved { room, at });
    if inside {
        entered(portal, state);
    }
}

/// What nobody asked for is not said in a chat in which somebody else listens, but in the one that the user has by now, if they are
/// alone there: in another one with a message of its own.
async fn hush(deps: &Deps, task: &mut JoinTask) -> Result<(), PortalError> {
    let report = &mut task.report;
    if report.unasked && report.portal.is_none() {
        let chat = chat::private(deps, &task.user).await?;
        report.silent = chat.is_none();
        if let Some(chat) = chat.filter(|chat| *chat != report.room) {
            (report.room, report.message) = (chat, None);
        }
    }
    Ok(())
}

/// Whether the portal in which it was asked for is gone: nobody is left to be told, and an invite that was accepted went with it.
async fn is_pointless(deps: &Deps, task: &JoinTask) -> bool {
    let Some(id) = task.report.portal else {
        return false;
    };
    matches!(deps.portals.get(id).await, Err(PortalError::Gone))
}

/// An encrypted room is not entered at all.
async fn keep_out(
    deps: &Deps,
    task: &mut JoinTask,
    portal: &Portal,
) -> Result<Outcome, PortalError> {
    let left = |portal: &mut Portal| {
        if portal.state == PortalState::Joining {
            portal.state = PortalState::Left;
        }
    };
    let text = format!(
        "This room is end-to-end encrypted, and this Vizard cannot encrypt: {}. It was not entered.",
        deps.e2ee.unavailable().unwrap_or_default()
    );
    if portal.received.is_some() {
        return invited::gone(deps, task, portal, &text).await;
    }
    if !(task.fresh && discard(deps, portal).await?) {
        task.stage = JoinStage::Asked;
        deps.portals.update(portal.id, left).await?;
    }
    deps.report(&mut task.report, "encrypted", &text).await?;
    Ok(Outcome::Done)
}

/// Tells the user that it worked, and where.
async fn announce(deps: &Deps, task: &mut JoinTask, portal: &Portal) -> Result<(), PortalError> {
    let link = portal
        .portal_room
        .as_deref()
        .map(|room| room.matrix_to_uri().to_string());
    let name = portal
        .shown
        .name
        .clone()
        .unwrap_or_else(|| "the room".to_owned());
    let next = if portal.user_joined {
        "Your portal"
    } else {
        "Accept the invitation to your private portal, where you read and write"
    };
    let text = format!(
        "joined as {}\n{name}. {next}: {}",
        portal.ghost.nick,
        link.unwrap_or_default()
    );
    hush(deps, task).await?; // once more: the way here may have taken minutes
    deps.report(&mut task.report, "joined", &text).await
}

/// The room's id and servers that know it.
async fn resolve(
    deps: &Deps,
    task: &JoinTask,
) -> Result<(OwnedRoomId, Vec<OwnedServerName>), PortalError> {
    if let Ok(room) = <&RoomId>::try_from(&*task.target) {
        return Ok((room.to_owned(), task.via.clone()));
    }
    let alias = <&ruma::RoomAliasId>::try_from(&*task.target)
        .map_err(|_| homeserver::Error::Answer("neither a room id nor an alias"))?;
    let (room, mut via) = deps.homeserver.resolve_alias(&deps.bot, alias).await?;
    via.truncate(10);
    Ok((room, via))
}

fn with_inviters(portal: &Portal, mut via: Vec<OwnedServerName>) -> Vec<OwnedServerName> {
    for server in &portal.via {
        if !via.contains(server) {
            via.push(server.clone());
        }
    }
    via
}

async fn knock(
    deps: &Deps,
    task: &mut JoinTask,
    portal: &Portal,
    ghost: &Actor,
    attempts: u32,
) -> Result<Outcome, PortalError> {
    let via = with_inviters(portal, task.via.clone());
    match deps.homeserver.knock(ghost, &portal.room, &via).await {
        Ok(()) => {
            deps.portals
                .update(portal.id, |portal| portal.state = PortalState::Knocking)
                .await?;
            let text = format!(
                "knocked as {}. When a member lets you in, you are in the room and hear of it here. Of a refusal your homeserver may never be told: `{}` takes the knock back.",
                portal.ghost.nick,
                refusal::typed(deps, task, "cancel"),
            );
            deps.report(&mut task.report, "knocked", &text).await?;
            Ok(Outcome::Done)
        }
        Err(error) => failed(deps, task, Some(portal), attempts, error.into()).await,
    }
}

/// A join is given up: whoever asked is told why, and may ask again. Returns the portal, if there is one. Who had arrived by then has
/// been told so, and stays.
pub async fn abandon(
    deps: &Deps,
    task: &mut JoinTask,
    why: &str,
) -> Result<Option<PortalId>, PortalError> {
    if let JoinStage::Arrived(_) = task.stage {
        return Ok(None);
    }
    task.stage = JoinStage::Asked;
    let mut found = None;
    if let Ok(room) = <&RoomId>::try_from(&*task.target)
        && let Some(id) = existing(deps, task, room).await?
    {
        found = Some(id);
        let _alone = deps.portals.alone(id).await;
        deps.portals
            .update(id, |portal| {
                if portal.state == PortalState::Joining {
                    portal.state = PortalState::Left;
                }
            })
            .await?;
    }
    let text = format!("That did not work: {why}.");
    deps.report_if_possible(&mut task.report, "abandoned", &text)
        .await?;
    Ok(found)
}

/// A step failed: wait and go on later, or explain.
async fn failed(
    deps: &Deps,
    task: &mut JoinTask,
    portal: Option<&Portal>,
    attempts: u32,
    error: PortalError,
) -> Result<Outcome, PortalError> {
    let known: Vec<_> = portal.iter().map(|portal| portal.id).collect();
    if deps.mend_device(&error, &known).await? {
        return Ok(Outcome::Later);
    }
    let PortalError::Homeserver(error) = error else {
        return Err(error);
    };
    hush(deps, task).await?;
    if error.class() == Class::Retry && attempts + 1 < TRIES {
        let text = "no answer yet; trying again…";
        deps.report(&mut task.report, &format!("retry{attempts}"), text)
            .await?;
        return Ok(Outcome::Later);
    }
    // From here on it is this job that ends it.
    task.stage = JoinStage::Asked;
    let why = refusal::Why::of(&error);
    if let Some(portal) = portal.filter(|portal| portal.received.is_some()) {
        let text = refusal::gone(portal, why);
        return invited::gone(deps, task, portal, &text).await;
    }
    if let Some(portal) = portal
        && !(task.fresh && why.is_hopeless() && discard(deps, portal).await?)
    {
        deps.portals
            .update(portal.id, |portal| {
                if portal.state == PortalState::Joining {
                    portal.state = match why {
                        refusal::Why::Banned => PortalState::Banned,
                        _ => PortalState::Left,
                    };
                }
            })
            .await?;
    }
    let text = refusal::explain(deps, task, portal, why, &error).await;
    deps.report(&mut task.report, "failed", &text).await?;
    Ok(Outcome::Done)
}

/// Undoes a pseudonym that was made for a room which nobody can join, and which nobody has seen: it would only stand
/// in the user's list. `false`: it has to stay, because the homeserver cannot say that the ghost is outside.
async fn discard(deps: &Deps, portal: &Portal) -> Result<bool, PortalError> {
    let ghost = deps.ghost(portal);
    // A join whose answer was lost may still be under way; the homeserver lets the leave wait for it.
    if deps.homeserver.leave(&ghost, &portal.room).await.is_err() {
        return Ok(false);
    }
    // A device without a pseudonym is of no use, and does no harm either. Its keys are destroyed below.
    let _ = deps.homeserver.delete_device(&ghost).await;
    // As long as it is on record whose they are. Whoever still has the record makes no new ones.
    for user in [&portal.ghost.id, &portal.host.id] {
        deps.e2ee.destroy(user).await?;
    }
    deps.portals
        .destroy(portal.id, |portal| async move {
            deps.store.discard_portal(&portal).await
        })
        .await?;
    Ok(true)
}
