//! Leaving a room, and forgetting the pseudonym: a job.

use super::{Deps, Outcome, PortalError, behind, sent};
use crate::{
    clock::UnixMillis,
    homeserver::Class,
    rewrite::Scrubbed,
    store::{Portal, PortalId, PortalState, Report, Route},
};

/// How long a ghost that cannot leave keeps a forgotten pseudonym alive.
const FORGET_TRIES: u32 = 20;
/// How much later than its time a departure may be, in milliseconds.
const LATE: u64 = 300_000;

/// Another time for a departure whose time was drawn, if it is long past: while Vizard was away the times of others of the same user
/// may have passed too, and all would leave together now.
pub fn drawn_anew(deps: &Deps, due: UnixMillis) -> Option<UnixMillis> {
    let late = deps.clock.now().saturating_sub(due) > LATE;
    another_time(deps).filter(|_| late)
}

/// A time for a departure that is to be at one of its own; `None`: the admin wants no such.
pub fn another_time(deps: &Deps) -> Option<UnixMillis> {
    let span = u64::from(deps.config.privacy.spread_hours) * 3_600_000;
    (span > 0).then(|| deps.clock.now() + deps.rng.below(span))
}

/// The ghost leaves; afterwards the pseudonym is kept, or destroyed.
pub async fn run(
    deps: &Deps,
    id: PortalId,
    forget: bool,
    report: &mut Option<Report>,
    attempts: u32,
) -> Result<Outcome, PortalError> {
    let _alone = deps.portals.alone(id).await;
    let portal = match deps.portals.get(id).await {
        Err(PortalError::Gone) => {
            // Forgotten before a crash, which came before the word of it.
            if let (true, Some(report)) = (forget, report) {
                let text = "forgotten: the pseudonym is gone, and its keys are erased.";
                deps.report_if_possible(report, "forgotten", text).await?;
            }
            return Ok(Outcome::Done);
        }
        other => other?,
    };
    if portal.state != PortalState::Leaving && !forget {
        // Perhaps this job did it, and stopped before it could say so.
        if let (PortalState::Left, Some(report)) = (&portal.state, &mut *report) {
            let text = left(deps, &portal).await?;
            deps.report_if_possible(report, "left", &text).await?;
        }
        return behind(deps, &portal, report, attempts).await;
    }
    let ghost = deps.ghost(&portal);
    if portal.ghost.ready
        && let Err(error) = behind::leave(deps, &ghost, &portal.room).await
        && !(forget && attempts >= FORGET_TRIES)
    {
        deps.mend_device(&error.into(), &[id]).await?;
        return Ok(Outcome::Later);
    }
    if forget {
        // Later there is no ghost any more that could leave them.
        if let Err(error) = behind::leave_all(deps, &portal).await
            && attempts < behind::TRIES
        {
            deps.mend_device(&error.into(), &[id]).await?;
            return Ok(Outcome::Later);
        }
        if portal.ghost.device.is_some()
            && let Err(error) = deps.homeserver.delete_device(&ghost).await
            && error.class() == Class::Retry
            && attempts < FORGET_TRIES
        {
            return Ok(Outcome::Later);
        }
        let days = u64::from(deps.config.abuse.escrow_days);
        let escrow: Option<UnixMillis> = (days > 0).then(|| deps.clock.now() + days * 86_400_000);
        let nick = &portal.ghost.nick;
        // In its own portal it is told while that is open, that it will be; elsewhere when it is true.
        let (inside, outside) = match report {
            Some(report) if report.portal == Some(id) => (Some(report), None),
            report => (None, report.as_mut()),
        };
        if let Some(report) = inside {
            let text = format!(
                "\"{nick}\" has left and is being forgotten: this portal closes now, and then its keys are erased. You get no new one in that room."
            );
            deps.report_if_possible(report, "forgotten", &text).await?;
        }
        close(deps, &portal).await?;
        // After the host's last word, which would make it new keys.
        for user in [&portal.ghost.id, &portal.host.id] {
            deps.e2ee.destroy(user).await?;
        }
        for mirror in deps.store.mirrors(id).await? {
            deps.e2ee.destroy(&mirror.puppet.id).await?;
        }
        sent::clear(deps, id).await?;
        // As long as it is on record that there is something to unlearn; and once more for two that go at the same time.
        unlearn(deps, &portal).await?;
        deps.portals
            .destroy(id, |portal| async move {
                deps.store.forget_portal(&portal, escrow).await
            })
            .await?;
        unlearn(deps, &portal).await?;
        if let Some(report) = outside {
            let text = format!(
                "forgotten: \"{nick}\" is gone, and its keys are erased. The room's portal is closed."
            );
            deps.report_if_possible(report, "forgotten", &text).await?;
        }
        return Ok(Outcome::Done);
    }
    let portal = deps
        .portals
        .update(id, |portal| portal.state = PortalState::Left)
        .await?;
    let text = left(deps, &portal).await?;
    match &mut *report {
        Some(report) => deps.report_if_possible(report, "left", &text).await?,
        None => tell(deps, &portal, &text).await?,
    }
    behind(deps, &portal, report, attempts).await
}

/// The ghost has left its room, or stays. Those that it could not leave when an upgrade was followed keep nobody waiting: the job goes
/// on with them, and says no more.
async fn behind(
    deps: &Deps,
    portal: &Portal,
    report: &mut Option<Report>,
    attempts: u32,
) -> Result<Outcome, PortalError> {
    *report = None;
    behind::carry_on(deps, portal, attempts).await
}

/// Nothing is left of the rooms of a portal that goes or is gone, unless others of ours are there.
async fn unlearn(deps: &Deps, portal: &Portal) -> Result<(), PortalError> {
    let former = portal.moved.as_ref().map(|moved| &moved.room);
    let rooms = portal.portal_room.iter().chain([&portal.room]);
    for room in rooms.chain(former) {
        let others = match deps.store.route(room).await? {
            Route::Portal(other) => other != portal.id,
            Route::Room(portals) => portals.iter().any(|other| *other != portal.id),
            Route::Unknown => false,
        };
        if !others {
            deps.e2ee.unlearn_room(room).await?;
        }
    }
    Ok(())
}

async fn left(deps: &Deps, portal: &Portal) -> Result<String, PortalError> {
    let nick = &portal.ghost.nick;
    if portal.forgetting {
        return Ok(format!("left. \"{nick}\" is being forgotten."));
    }
    if portal.joined_at == 0 && deps.store.is_forgotten(&portal.user, &portal.room).await? {
        return Ok(format!(
            "left. \"{nick}\" does not go back: you forgot your pseudonym in a room that this one says it replaced, or that says this one replaced it."
        ));
    }
    Ok(format!(
        "left. \"{nick}\" is kept: `rejoin` brings you back behind the same mask."
    ))
}

/// Says in the portal what no command is waiting to hear.
async fn tell(deps: &Deps, portal: &Portal, text: &str) -> Result<(), PortalError> {
    let (true, Some(room)) = (portal.user_joined, &portal.portal_room) else {
        return Ok(());
    };
    let source = format!("left {}", deps.clock.now() / 60_000);
    match deps
        .say(
            &deps.host(portal),
            room,
            &Scrubbed::notice(text),
            &source,
            "left",
            0,
        )
        .await
    {
        Err(error) if error.class() == Class::Retry => Err(error),
        _ => Ok(()),
    }
}

/// Closes the portal room: the user is removed and the host leaves.
async fn close(deps: &Deps, portal: &Portal) -> Result<(), PortalError> {
    let Some(room) = &portal.portal_room else {
        return Ok(());
    };
    let host = deps.host(portal);
    for mirror in deps.store.mirrors(portal.id).await? {
        deps.dismiss_mirror(portal, mirror).await?;
    }
    for step in [
        deps.homeserver.kick(&host, room, &portal.user).await,
        deps.homeserver.leave(&host, room).await,
    ] {
        if let Err(error) = step
            && error.class() == Class::Retry
        {
            return Err(error.into());
        }
    }
    Ok(())
}
