//! Leaving rooms, for good or not: what `leave`, `cancel` and `forget` have in common. The leaving itself is a
//! job.

use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::{
    call::{Call, room_title},
    reply::{Answer, Reply},
};
use crate::{
    clock::UnixMillis,
    homeserver::Class,
    portal::{PortalError, invited, source_in},
    store::{Portal, PortalId, PortalState, Task},
};

/// How long a departure that is under way keeps a command waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a ghost has something to leave.
pub fn is_in(state: &PortalState) -> bool {
    match state {
        PortalState::Joining
        | PortalState::Knocking
        | PortalState::Joined
        | PortalState::Leaving => true,
        PortalState::Left | PortalState::Banned | PortalState::Invited => false,
    }
}

/// One pseudonym leaves now.
pub async fn one(call: &Call<'_>, portal: &Portal, forget: bool) -> Result<Answer, PortalError> {
    mark_leaving(call, portal, forget).await?;
    let mut report = call.new_report();
    let room = room_title(portal);
    let text = if forget {
        format!("Forgetting “{}” in {room}…", portal.ghost.nick)
    } else {
        format!("“{}” is leaving {room}…", portal.ghost.nick)
    };
    let told = call.deps.report(&mut report, "leaving", &text).await;
    // What passes is tried again, with all of this. But what is on record as leaving leaves, whoever cannot be told.
    if !matches!(&told, Err(error) if error.class() == Class::Retry) {
        let task = Task::Leave {
            portal: portal.id,
            forget,
            report: Some(report),
            spread: false,
        };
        let (event, now) = (call.invocation.event.as_str(), call.deps.clock.now());
        call.deps.add_job(event, now, task).await?;
    }
    match told {
        // Where nothing can be encrypted, that is said in clear.
        Err(error) if error.class() == Class::Retry || error.is_unencryptable() => Err(error),
        _ => Ok(Answer::none()),
    }
}

/// An invite that was not answered is declined.
pub async fn decline(call: &Call<'_>, portal: &Portal) -> Result<Answer, PortalError> {
    let room = room_title(portal);
    let text = if invited::decline(call.deps, portal.id).await? {
        "Declined: the invite to “"
    } else {
        "There is no invite any more to “"
    };
    Ok(Reply::say(text)
        .quote(&room)
        .and("”. Nobody there learns of it.")
        .into())
}

/// All pseudonyms leave, each at a time of its own, so that nobody can tell by it that they belong together.
pub async fn all(call: &Call<'_>, forget: bool) -> Result<Answer, PortalError> {
    let mut leaving = Vec::new();
    for pseudonym in &call.user.pseudonyms {
        match call.deps.portals.get(pseudonym.portal).await {
            Ok(portal) if forget || is_in(&portal.state) && !portal.forgetting => {
                leaving.push(portal);
            }
            Ok(_) | Err(PortalError::Gone) => {}
            Err(error) => return Err(error),
        }
    }
    match &leaving[..] {
        [] => return Ok(Reply::say("You are in no room.").into()),
        [only] => return one(call, only, forget).await,
        _ => {}
    }
    let now = call.deps.clock.now();
    let hours = call.deps.config.privacy.spread_hours;
    let event = call.invocation.event.as_str();
    for portal in &leaving {
        mark_leaving(call, portal, forget).await?;
        // Derived, not drawn: a command that is handled twice spreads its jobs the same way.
        let parts: [&[u8]; 2] = [event.as_bytes(), &portal.id.0];
        let due = spread(now, hours, call.deps.store.derive_number("spread", &parts));
        let source = source_in(portal.id, event);
        let task = Task::Leave {
            portal: portal.id,
            forget,
            report: None,
            spread: true,
        };
        call.deps.add_job(&source, due, task).await?;
    }
    let fate = if forget {
        "leave and are forgotten"
    } else {
        "leave their rooms"
    };
    let count = leaving.len();
    Ok(Reply::say(&format!(
        "Your {count} pseudonyms {fate}, each at a random time within the next {hours} hours: if they went together, people could tell that they belong together. `list` shows how far it is.",
    ))
    .into())
}

/// A pseudonym that is leaving and is still in its room. Nobody else works on it meanwhile.
pub struct StillThere {
    portal: PortalId,
    _alone: OwnedMutexGuard<()>,
}

/// `None`: it has left, or is about to.
pub async fn still_there(
    call: &Call<'_>,
    portal: PortalId,
) -> Result<Option<StillThere>, PortalError> {
    let deps = call.deps;
    let alone = tokio::select! {
        alone = deps.portals.alone(portal) => alone,
        () = deps.clock.sleep(PATIENCE) => return Ok(None),
    };
    let portal = deps.portals.get(portal).await?;
    let rooms = match deps.homeserver.joined_rooms(&deps.ghost(&portal)).await {
        Ok(rooms) => rooms,
        Err(error) if error.class() == Class::GiveUp => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // It has a portal, unless its join was not through.
    let is_there = portal.joined_at != 0 && rooms.contains(&portal.room);
    Ok(is_there.then(|| StillThere {
        portal: portal.id,
        _alone: alone,
    }))
}

impl StillThere {
    /// It stays. `false`: it does not.
    pub async fn call_off(self, call: &Call<'_>) -> Result<bool, PortalError> {
        // The job that waits finds that there is nothing to leave.
        let calling_off = call.deps.portals.update(self.portal, |portal| {
            if portal.state == PortalState::Leaving && !portal.forgetting {
                portal.state = PortalState::Joined;
            }
        });
        Ok(calling_off.await?.state == PortalState::Joined)
    }
}

/// A time within `hours` from `now`, uniform in `derived`.
fn spread(now: UnixMillis, hours: u32, derived: u64) -> UnixMillis {
    let span = u64::from(hours) * 3_600_000;
    now + derived.checked_rem(span).unwrap_or(0)
}

async fn mark_leaving(call: &Call<'_>, portal: &Portal, forget: bool) -> Result<(), PortalError> {
    call.deps
        .portals
        .update(portal.id, |portal| {
            portal.forgetting |= forget;
            if is_in(&portal.state) {
                portal.state = PortalState::Leaving;
            }
        })
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_over_the_hours() {
        let due = |number| spread(1000, 12, number) - 1000;
        assert!(
            [u64::MAX, 1 << 40, 12 * 3_600_000]
                .map(due)
                .iter()
                .all(|wait| *wait < 12 * 3_600_000)
        );
        assert_eq!(due(7), due(7));
        assert_ne!(due(7), due(8));
        assert_eq!(spread(1000, 0, 9), 1000);
    }
}
