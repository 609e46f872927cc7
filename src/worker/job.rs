//! One attempt at a job, and how it ends.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;

use super::{
    Lanes,
    end::{End, as_before},
};
use crate::{
    homeserver::Class,
    invite::{ask, whisper, withdraw},
    portal::{Deps, Outcome, PortalError, create, hidden, join, leave},
    relay,
    store::{Job, PortalState, Task},
};

/// Attempts after which a job that the database or homeserver keeps refusing is dropped (about a day). A ghost that is to leave
/// leaves, whenever that may be.
const GIVE_UP: u32 = 100;
/// The same for one that breaks off, which is a bug.
const BROKEN: u32 = 5;
/// How long it is at most until it is tried once more to write down how a job ended.
const LONGEST: Duration = Duration::from_mins(1);

/// The same for one job. What looks for a late key counts its looks: they are no failures, and go on for two weeks.
fn most(task: &Task) -> u32 {
    match task {
        Task::Reopen(_) | Task::Look { .. } => relay::LOOKS + GIVE_UP,
        _ => GIVE_UP,
    }
}

/// One attempt at a job. It is over when how it ended is written: else the job would run again at once, and again.
pub(super) async fn one(deps: &Deps, lanes: &Arc<Lanes>, mut job: Job) {
    let before = job.clone();
    let attempt = AssertUnwindSafe(attempt(deps, lanes, &mut job));
    let end = if let Ok(end) = attempt.catch_unwind().await {
        end
    } else {
        job = before;
        broke_off(deps, lanes, &mut job).await
    };
    let mut wait = Duration::from_secs(1);
    while let Err(error) = end.write(deps, &job).await {
        tracing::error!(%error, "a job's end could not be stored; trying again");
        deps.clock.sleep(wait).await;
        wait = (wait * 2).min(LONGEST);
    }
}

/// Runs a job, step by step, each on top of what the one before it stored.
async fn steps(deps: &Deps, job: &mut Job) -> Result<Outcome, PortalError> {
    loop {
        let outcome = step(deps, job).await?;
        if outcome != Outcome::Again {
            return Ok(outcome);
        }
        deps.store.add_job(job).await?;
    }
}

async fn step(deps: &Deps, job: &mut Job) -> Result<Outcome, PortalError> {
    #[cfg(debug_assertions)]
    match &job.task {
        Task::Join(task) => crate::trap::spring(task.target.as_str()),
        Task::Reopen(task) => crate::trap::spring(&task.event),
        _ => {}
    }
    match &mut job.task {
        Task::Join(task) => join::run(deps, task, job.attempts).await,
        // As one of its own: the compiler follows no deeper.
        Task::Reopen(task) => relay::reopen(deps, task, job.attempts).boxed().await,
        Task::Look { portal } => hidden::look(deps, *portal, job.attempts).await,
        Task::Leave {
            portal,
            forget,
            report,
            spread,
        } => match leave::drawn_anew(deps, job.due).filter(|_| *spread) {
            Some(due) => Ok(Outcome::At(due)),
            None => leave::run(deps, *portal, *forget, report, job.attempts).await,
        },
        Task::Invite(task) => ask::run(deps, task, job.attempts).await,
        Task::Create(task) => create::run(deps, task, job.attempts).await,
        Task::Withdraw(task) => withdraw::run(deps, task, job.attempts).await,
        Task::Tell(task) => whisper::run(deps, task).await,
    }
}

async fn attempt(deps: &Deps, lanes: &Arc<Lanes>, job: &mut Job) -> End {
    let before = as_before(job);
    let result = steps(deps, job).await;
    if let Err(error) = &result
        && let Err(error) = mend(deps, error, &job.task).await
    {
        tracing::warn!(%error, "a device that was lost could not be made anew; trying again");
    }
    job.attempts += 1;
    match result {
        Ok(Outcome::Done) => End::Finish,
        Ok(Outcome::Joined(portal)) => {
            tracing::info!(%portal, "a pseudonym joined its room");
            // What came before the portal was known is looked for now.
            lanes.visit(portal);
            End::Finish
        }
        Ok(Outcome::Linked(portal, link)) => {
            lanes.relearn(portal, *link);
            End::Finish
        }
        Ok(Outcome::Moved(portal)) => {
            lanes.look_again(portal);
            End::Finish
        }
        Ok(Outcome::Arrived(portal)) => {
            lanes.look_again(portal);
            put_off(deps, job);
            End::Put
        }
        Err(error) if is_hopeless(job, &error) || has_left(deps, job).await => {
            let why = match error {
                PortalError::Gone => Why::Gone,
                _ => Why::Refused,
            };
            give_up(deps, lanes, job, why).await.if_still(before)
        }
        Ok(Outcome::At(due)) => {
            job.due = due;
            End::Put
        }
        Ok(Outcome::Later | Outcome::Again) | Err(_) => {
            put_off(deps, job);
            End::Put.if_still(before)
        }
    }
}

/// A job panicked, which is a bug: it is tried a few times more, as after a crash.
async fn broke_off(deps: &Deps, lanes: &Arc<Lanes>, job: &mut Job) -> End {
    metrics::counter!("vizard_failures_total", "class" => "bug").increment(1);
    tracing::error!("a job broke off: this is a bug, please report it; it is tried again");
    match deps.store.job(job.id).await {
        // As its last step stored it.
        Ok(Some(stored)) => *job = stored,
        Ok(None) => return End::Finish,
        Err(_) => {}
    }
    let before = as_before(job);
    job.attempts += 1;
    job.broken += 1;
    if !is_broken(job) {
        put_off(deps, job);
        return End::Put.if_still(before);
    }
    let given_up = AssertUnwindSafe(give_up(deps, lanes, job, Why::Broke));
    let end = given_up.catch_unwind().await.unwrap_or(End::Finish);
    end.if_still(before)
}

/// Whether a job that panics is given up for it. How often it failed, or looked for what does not come, says nothing about that.
fn is_broken(job: &Job) -> bool {
    // An invited ghost that did not leave would be known for what it is.
    let leaves = matches!(job.task, Task::Leave { .. } | Task::Withdraw(_));
    job.broken >= BROKEN && !leaves
}

/// Why a job is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// What it is about is gone.
    Gone,
    /// It was refused, or it failed for too long.
    Refused,
    /// It panicked, which is a bug.
    Broke,
}

impl Why {
    /// For whoever waits: what it was, and what to do.
    fn words(self) -> &'static str {
        match self {
            Self::Gone | Self::Refused => {
                "your homeserver did not do a step of the way. Try the same command again later; if it keeps failing, tell its admin"
            }
            Self::Broke => "Vizard broke off at it, which is a bug. Please tell its administrator",
        }
    }
}

/// Gives a job up, and tells whoever waits for it.
async fn give_up(deps: &Deps, lanes: &Arc<Lanes>, job: &mut Job, why: Why) -> End {
    metrics::counter!("vizard_failures_total", "class" => "job").increment(1);
    if why != Why::Gone {
        tracing::warn!(attempts = job.attempts, "a job was given up");
    }
    let told = match &mut job.task {
        Task::Reopen(_) if why == Why::Gone => Ok(None),
        Task::Reopen(task) => relay::give_up_key(deps, task, why == Why::Broke)
            .await
            .map(|()| None),
        Task::Join(task) => join::abandon(deps, task, why.words()).await,
        Task::Invite(task) => ask::abandon(deps, task).await.map(|()| None),
        Task::Create(task) => create::abandon(deps, task, why.words())
            .await
            .map(|()| None),
        // Nobody waits for these.
        _ => Ok(None),
    };
    match told {
        // Somebody waits for the answer: once more, as long again, in which it may even succeed.
        Err(error) if error.class() == Class::Retry && job.attempts < most(&job.task) + GIVE_UP => {
            put_off(deps, job);
            End::Put
        }
        // Its room may have been made, and used, before that was known.
        Ok(Some(portal)) => {
            lanes.visit(portal);
            End::Finish
        }
        Ok(None) => End::Finish,
        Err(error) => {
            tracing::warn!(%error, "the end of a job could not be told");
            End::Finish
        }
    }
}

/// Lets a job wait, longer each time.
fn put_off(deps: &Deps, job: &mut Job) {
    if let Task::Leave { spread: true, .. } = job.task
        && let Some(due) = leave::another_time(deps)
    {
        // All that could not leave meanwhile would leave at about the same time.
        job.due = due;
        return;
    }
    let longest = match job.task {
        // A key that is late may be so for days.
        Task::Reopen(_) | Task::Look { .. } => 11,
        // Whatever is in the way of it stays there.
        Task::Leave { .. } | Task::Withdraw(_) if job.attempts >= GIVE_UP => 12,
        _ => 9,
    };
    let wait = 1000 * (1u64 << job.attempts.min(longest));
    job.due = deps.clock.now() + wait + deps.rng.below(wait / 4 + 1);
}

/// Whether a job that was tried for long has brought a ghost out of its room, and only cannot say so.
async fn has_left(deps: &Deps, job: &Job) -> bool {
    match job.task {
        Task::Leave {
            portal,
            forget: false,
            ..
        } if job.attempts >= GIVE_UP => {
            let portal = deps.portals.get(portal).await;
            portal.is_ok_and(|portal| portal.state == PortalState::Left)
        }
        _ => false,
    }
}

/// Whether a job is given up. One by which a ghost leaves never is, as long as there is the ghost: its user was told that it leaves.
fn is_hopeless(job: &Job, error: &PortalError) -> bool {
    match (&job.task, error) {
        (_, PortalError::Gone) => true,
        (Task::Leave { .. }, _) => false,
        _ => error.class() == Class::GiveUp || job.attempts >= most(&job.task),
    }
}

/// Makes a device anew, if that it is lost is what is wrong: one of a portal that the job is about.
async fn mend(deps: &Deps, error: &PortalError, task: &Task) -> Result<bool, PortalError> {
    if error.lost_device().is_none() {
        return Ok(false);
    }
    let portals = match task {
        Task::Join(task) => {
            let user = deps.store.user(&task.user).await?;
            let known = user.map(|user| user.pseudonyms).unwrap_or_default();
            known.iter().map(|pseudonym| pseudonym.portal).collect()
        }
        Task::Reopen(task) => vec![task.portal],
        Task::Tell(task) => vec![task.portal],
        Task::Look { portal } | Task::Leave { portal, .. } => vec![*portal],
        Task::Invite(task) => task.portal.into_iter().collect(),
        Task::Create(_) | Task::Withdraw(_) => Vec::new(),
    };
    deps.mend_device(error, &portals).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        homeserver,
        store::{PortalId, WithdrawTask},
    };

    #[test]
    fn a_ghost_that_is_to_leave_is_never_given_up() {
        let portal = PortalId([1; 16]);
        let job = |attempts, task| Job {
            id: [0; 16],
            due: 0,
            attempts,
            broken: 0,
            task,
        };
        let leave = |attempts| {
            let (forget, report) = (true, None);
            let task = Task::Leave {
                portal,
                forget,
                report,
                spread: false,
            };
            job(attempts, task)
        };
        let look = |attempts| job(attempts, Task::Look { portal });
        let passes = || PortalError::NotReady;
        let refused = || PortalError::Homeserver(homeserver::Error::Answer("odd"));
        assert_eq!(refused().class(), Class::GiveUp);
        for (job, error, expected) in [
            (look(relay::LOOKS + GIVE_UP - 1), passes(), false),
            (look(relay::LOOKS + GIVE_UP), passes(), true),
            (look(1), refused(), true),
            (leave(GIVE_UP * 100), passes(), false),
            (leave(1), refused(), false),
            (leave(1), PortalError::Gone, true),
        ] {
            assert_eq!(is_hopeless(&job, &error), expected, "{job:?} {error}");
        }
    }

    #[test]
    fn what_counts_for_a_bug_is_how_often_it_struck() {
        let portal = PortalId([1; 16]);
        let withdraw = Task::Withdraw(WithdrawTask {
            ghost: ruma::owned_user_id!("@ghost:a.example"),
            room: ruma::owned_room_id!("!room:b.example"),
            leave_at: None,
        });
        for (task, attempts, broken, expected) in [
            (Task::Look { portal }, 400, 1, false),
            (Task::Look { portal }, 400, BROKEN, true),
            (withdraw, 400, BROKEN, false),
        ] {
            let job = Job {
                id: [0; 16],
                due: 0,
                attempts,
                broken,
                task,
            };
            assert_eq!(is_broken(&job), expected, "{job:?}");
        }
    }
}
