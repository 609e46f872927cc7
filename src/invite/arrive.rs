//! An invite has come for a ghost that was offered. Handled in one lane per room, so that an invite and its end keep their order;
//! each step is idempotent, and after a crash the invite is handled again.

use ruma::{OwnedUserId, RoomId, RoomOrAliasId, UserId};

use super::{
    answer,
    facts::{is_one_of, keeps_out},
    quota, whisper,
};
use crate::{
    event::Event,
    portal::{
        Deps, Offered, PortalError, UsedAddress, WasHere, access,
        invited::{self, count},
    },
    pseudonym::Role,
    sealed::MAX_REQUEST_AHEAD_MS,
    store::{Created, KeptOut, PortalState, Task, User, Where, WithdrawTask},
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
        return stray(deps, &ghost, event).await;
    };
    if offered.room != event.room_id {
        count("mismatched");
        return Ok(());
    }
    // Whatever it is worth: all leave at a time that was drawn in the same way.
    leaves(deps, &ghost, event, offered.leave_at).await?;
    if offered.by_ghost && offered.inviter != event.sender {
        count("mismatched");
        return Ok(());
    }
    if offered.decoy {
        count("decoy");
        return Ok(());
    }
    if offered.declined || offered.shown >= MOST_SHOWN || deps.clock.now() >= offered.expires {
        count("over");
        return Ok(());
    }
    // It may have to wait for keys; the user's other invites do not.
    let vouched = invited::is_vouched_for(deps, &offered, event).await?;
    // Each room has a lane of its own. What is counted here is counted before another invite of the same user is looked at.
    let alone = deps.portals.alone_for(&offered.user).await;
    if !quota::may_reach(deps, &offered.user, deps.clock.now()).await?
        || !is_welcome(deps, &offered, event).await?
    {
        count("over");
        return Ok(());
    }
    if let Some(until) = offered.single_until
        && !UsedAddress::claim(deps, &offered.payload, until, &ghost, &offered.room).await?
    {
        count("over");
        return Ok(());
    }
    match invited::create(deps, &offered, event, vouched).await? {
        (id, Created::New) => {
            quota::reached(deps, &offered.user, deps.clock.now()).await?;
            drop(alone);
            invited::open(deps, id, event).await
        }
        (_, Created::AlreadyThere(_) | Created::Forgotten) => {
            count("over");
            Ok(())
        }
    }
}

/// Nothing is on record of the ghost: a quota was used up when it was asked for, or nobody ever asked, which cannot be told once
/// Vizard was restarted. It leads nowhere, and leaves as all others do: when it was to leave, as far as that is remembered, and else
/// so late as any may.
async fn stray(deps: &Deps, ghost: &OwnedUserId, event: &Event) -> Result<(), PortalError> {
    let known = deps.beyond.of(ghost);
    if known.as_ref().is_some_and(|it| it.room != event.room_id) {
        count("mismatched");
        return Ok(());
    }
    count("unoffered");
    let now = deps.clock.now();
    if deps.has_job(&source_of(ghost)).await?
        || !quota::may_leave(deps, event.sender.server_name(), now).await?
    {
        return Ok(());
    }
    let latest = || now + MAX_REQUEST_AHEAD_MS + deps.rng.below(answer::spread(deps));
    let leave_at = known.map_or_else(latest, |it| it.leave_at);
    leaves(deps, ghost, event, leave_at).await
}

/// Queues the end of an invite.
async fn leaves(
    deps: &Deps,
    ghost: &OwnedUserId,
    event: &Event,
    leave_at: u64,
) -> Result<(), PortalError> {
    let task = Task::Withdraw(WithdrawTask {
        ghost: ghost.clone(),
        room: event.room_id.clone(),
        leave_at: Some(leave_at),
    });
    deps.add_job(&source_of(ghost), leave_at, task).await
}

fn source_of(ghost: &OwnedUserId) -> String {
    format!("withdraw {ghost}")
}

/// Somebody removed a ghost of ours from a room, or took its invite back, if it is the room to which it is invited.
pub async fn taken_back(deps: &Deps, event: &Event) -> Result<(), PortalError> {
    let Some(ghost) = ghost_of(deps, event) else {
        return Ok(());
    };
    let Some(id) = deps.store.portal_of_ghost(&ghost).await? else {
        return Ok(());
    };
    match deps.portals.get(id).await {
        // Anybody can remove a ghost from a room of their own, in which it never was.
        Ok(portal) if portal.room != event.room_id => {
            if portal.state == PortalState::Invited {
                count("mismatched");
            }
            Ok(())
        }
        Ok(_) => invited::take_back(deps, id, "").await,
        Err(PortalError::Gone) => Ok(()),
        Err(error) => Err(error),
    }
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
    if !is_admitted(deps, offered, event, &user) {
        return Ok(false);
    }
    let is_there = |room: &RoomId| is_one_of(room, &offered.room, replaced.as_ref());
    if let Some(known) = user.pseudonyms.iter().find(|it| is_there(&it.room)) {
        // Which room this one replaces was not known when it was asked for, so that they were not told.
        if known.room != offered.room {
            let portal = deps.portals.get(known.portal).await?;
            let (who, place) = (&event.sender, Where::Predecessor);
            whisper::about(deps, &portal, who, &offered.room, place).await?;
        }
        return Ok(false);
    }
    for room in [Some(&offered.room), replaced.as_ref()]
        .into_iter()
        .flatten()
    {
        if deps.store.is_forgotten(&user.mxid, room).await?
            || WasHere::of(deps, &user.mxid, room).await?.is_some()
        {
            return Ok(false);
        }
    }
    let cap = deps.config.access.max_pseudonyms;
    // They take up pseudonyms that the user may want for other rooms.
    let most = (cap / 4).clamp(1, MOST_AT_ONCE);
    Ok(user.pseudonyms.len() < cap && unanswered(deps, &user).await? < most)
}

/// Whether neither the admin nor the user has anything against it by now.
fn is_admitted(deps: &Deps, offered: &Offered, event: &Event, user: &User) -> bool {
    let (access, settings) = (&deps.config.access, &deps.config.invites);
    let servers = [&event.sender, &offered.inviter].map(|who| who.server_name().to_owned());
    let room = <&RoomOrAliasId>::from(&*offered.room);
    let denied = servers
        .iter()
        .any(|server| access.denial(room, std::slice::from_ref(server)).is_some());
    let id = offered.address.as_ref().map(|(id, _)| *id);
    let [theirs, asked] = servers.map(KeptOut::Server);
    let kept_out = keeps_out(user, &KeptOut::User(event.sender.clone()))
        || keeps_out(user, &KeptOut::User(offered.inviter.clone()))
        || keeps_out(user, &theirs)
        || keeps_out(user, &asked)
        || id.is_some_and(|id| keeps_out(user, &KeptOut::Address(id)))
        || user
            .addresses
            .iter()
            .any(|address| Some(address.id) == id && address.revoked);
    !kept_out
        && !denied
        && access::may_use(access, &deps.namespace, &user.mxid)
        && !access::is_banned(access, &user.mxid)
        && settings.enabled
        && settings.admits(event.sender.server_name())
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
