//! An invite has come for a ghost that was offered. Handled in one lane per room, so that an invite and its end keep their order;
//! each step is idempotent, and after a crash the invite is handled again.

use ruma::{OwnedUserId, UserId};

use super::facts::{is_one_of, keeps_out};
use crate::{
    event::Event,
    portal::{
        Deps, Offered, PortalError, UsedAddress,
        invited::{self, count},
    },
    pseudonym::Role,
    store::{Created, KeptOut, PortalState, Task, User, WithdrawTask},
};

/// How often an invite of one ghost is shown. Who takes it back and invites again may have erred, or wants to annoy.
const MOST_SHOWN: u32 = 3;
/// Invites that one user is shown at a time.
const MOST_AT_ONCE: usize = 25;

/// Somebody invited a ghost of ours to a room.
pub async fn arrived(deps: &Deps, event: &Event) -> Result<(), PortalError> {
    let Some(ghost) = ghost_of(deps, event) else {
        return Ok(());
    };
    if let Some(id) = deps.store.portal_of_ghost(&ghost).await? {
        let portal = deps.portals.get(id).await?;
        // A pseudonym that somebody has is invited back: `rejoin` finds that. Or the portal was not wholly open before a crash. An
        // invite that is sent once more, perhaps under another name, tells the user nothing: it would ring as often as somebody likes.
        let received = portal.received.as_ref();
        let shown = received.and_then(|received| received.event.as_ref());
        if portal.state == PortalState::Invited
            && portal.room == event.room_id
            && shown.is_none_or(|shown| *shown == event.event_id)
        {
            invited::open(deps, id, event).await?;
        }
        return Ok(());
    }
    let Some(offered) = Offered::of(deps, &ghost).await? else {
        count("unoffered");
        return Ok(());
    };
    if offered.room != event.room_id {
        count("mismatched");
        return Ok(());
    }
    // Whatever it is worth: all leave at a time that was drawn in the same way.
    let task = Task::Withdraw(WithdrawTask {
        ghost: ghost.clone(),
        room: offered.room.clone(),
    });
    let source = format!("withdraw {ghost}");
    deps.add_job(&source, offered.leave_at, task).await?;
    if offered.by_ghost && offered.inviter != event.sender {
        count("mismatched");
        return Ok(());
    }
    if offered.decoy {
        count("decoy");
        return Ok(());
    }
    if offered.declined
        || offered.shown >= MOST_SHOWN
        || deps.clock.now() >= offered.expires
        || !is_welcome(deps, &offered, event).await?
    {
        count("over");
        return Ok(());
    }
    if let Some(until) = offered.single_until
        && !UsedAddress::claim(deps, &offered.payload, until, &event.event_id).await?
    {
        count("over");
        return Ok(());
    }
    match invited::create(deps, &offered, event).await? {
        (id, Created::New) => invited::open(deps, id, event).await,
        (_, Created::AlreadyThere(_) | Created::Forgotten) => {
            count("over");
            Ok(())
        }
    }
}

/// Somebody removed a ghost of ours from a room, or took its invite back.
pub async fn taken_back(deps: &Deps, event: &Event) -> Result<(), PortalError> {
    let Some(ghost) = ghost_of(deps, event) else {
        return Ok(());
    };
    let Some(id) = deps.store.portal_of_ghost(&ghost).await? else {
        return Ok(());
    };
    invited::take_back(deps, id, "").await
}

fn ghost_of(deps: &Deps, event: &Event) -> Option<OwnedUserId> {
    let user = UserId::parse(event.state_key.as_deref()?).ok()?;
    (deps.namespace.role(&user) == Some(Role::Ghost)).then_some(user)
}

/// What may have changed since the answer, and what was not known then: who invites, if a bot asked, and which room the room
/// replaces.
async fn is_welcome(deps: &Deps, offered: &Offered, event: &Event) -> Result<bool, PortalError> {
    let replaced = invited::replaced(event);
    let user = deps.store.user(&offered.user).await?;
    let user = user.unwrap_or_else(|| User::new(offered.user.clone()));
    let is_there = |room: &ruma::RoomId| is_one_of(room, &offered.room, replaced.as_ref());
    if user.pseudonyms.iter().any(|known| is_there(&known.room)) {
        return Ok(false);
    }
    for room in [Some(&offered.room), replaced.as_ref()]
        .into_iter()
        .flatten()
    {
        if deps.store.is_forgotten(&user.mxid, room).await? {
            return Ok(false);
        }
    }
    // They take up pseudonyms that the user may want for other rooms.
    let most = (deps.config.access.max_pseudonyms / 4).clamp(1, MOST_AT_ONCE);
    if unanswered(deps, &user).await? >= most {
        return Ok(false);
    }
    let id = offered.address.as_ref().map(|(id, _)| *id);
    let servers = [&event.sender, &offered.inviter].map(|who| who.server_name().to_owned());
    let [theirs, asked] = servers.map(KeptOut::Server);
    let kept_out = keeps_out(&user, &KeptOut::User(event.sender.clone()))
        || keeps_out(&user, &KeptOut::User(offered.inviter.clone()))
        || keeps_out(&user, &theirs)
        || keeps_out(&user, &asked)
        || id.is_some_and(|id| keeps_out(&user, &KeptOut::Address(id)))
        || user
            .addresses
            .iter()
            .any(|address| Some(address.id) == id && address.revoked);
    let settings = &deps.config.invites;
    Ok(!kept_out && settings.enabled && settings.admits(event.sender.server_name()))
}

/// How many invites a user has not answered.
async fn unanswered(deps: &Deps, user: &User) -> Result<usize, PortalError> {
    let mut count = 0;
    for pseudonym in &user.pseudonyms {
        match deps.portals.get(pseudonym.portal).await {
            Ok(portal) => count += usize::from(portal.state == PortalState::Invited),
            Err(PortalError::Gone) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
