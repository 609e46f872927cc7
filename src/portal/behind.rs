//! The rooms that an upgrade left behind a ghost: nobody hears them any more, and the ghost leaves them. That one of them cannot be
//! left holds nothing up: it is tried again beside whatever the ghost and its user do next.

use ruma::OwnedRoomId;

use super::{Deps, Outcome, PortalError};
use crate::{
    homeserver::{Actor, Class, Error},
    store::{Portal, PortalId},
};

/// How often a job tries, in about half an hour. Later it is tried when the ghost leaves or is forgotten.
pub(super) const TRIES: u32 = 12;

/// The room behind a portal that has just moved, or has lately; `before` is where it led until now.
/// Not before the record says so: from then on the word that the ghost left is the last that is taken from there. An error passes.
pub(super) async fn leave_last(
    deps: &Deps,
    ghost: &Actor,
    portal: &Portal,
    before: Option<&OwnedRoomId>,
) -> Result<(), Error> {
    let moved = portal.moved.as_ref().map(|moved| &moved.room);
    match moved.or(before) {
        Some(room) => leave(deps, ghost, room).await,
        None => Ok(()),
    }
}

/// All rooms that a portal's room replaced and in which its ghost still is. That one cannot be left keeps it in no other; an error
/// passes.
pub(super) async fn leave_all(deps: &Deps, portal: &Portal) -> Result<(), Error> {
    let ghost = deps.ghost(portal);
    if portal.replaced.is_empty() || !portal.ghost.ready {
        return Ok(());
    }
    let inside = passing(deps.homeserver.joined_rooms(&ghost).await)?.unwrap_or_default();
    let mut result = Ok(());
    for room in inside {
        // Rooms may say of each other that they replaced them.
        if room != portal.room && portal.replaced.contains(&room) {
            result = leave(deps, &ghost, &room).await.and(result);
        }
    }
    result
}

/// One attempt of a job of which nothing else is left to do, wherever the ghost went since. Nobody else works on the portal.
pub(super) async fn carry_on(
    deps: &Deps,
    portal: &Portal,
    attempts: u32,
) -> Result<Outcome, PortalError> {
    match leave_all(deps, portal).await {
        Err(error) if attempts < TRIES => {
            deps.mend_device(&error.into(), &[portal.id]).await?;
            Ok(Outcome::Later)
        }
        _ => Ok(Outcome::Done),
    }
}

/// What is left of a join after the arrival. Where the ghost is by then, and whether, is not the join's any more.
pub(super) async fn look_back(
    deps: &Deps,
    id: PortalId,
    attempts: u32,
) -> Result<Outcome, PortalError> {
    let _alone = deps.portals.alone(id).await;
    match deps.portals.get(id).await {
        Err(PortalError::Gone) => Ok(Outcome::Done),
        portal => carry_on(deps, &*portal?, attempts).await,
    }
}

/// Leaves a room; that it is refused for good is as well.
pub(super) async fn leave(deps: &Deps, ghost: &Actor, room: &OwnedRoomId) -> Result<(), Error> {
    passing(deps.homeserver.leave(ghost, room).await).map(drop)
}

/// What was answered; `None`: it was refused for good.
fn passing<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(error) if error.class() == Class::GiveUp => Ok(None),
        other => other.map(Some),
    }
}
