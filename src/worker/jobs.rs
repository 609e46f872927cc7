//! Durable jobs: joins and leaves, run beside the lanes, carried on after a crash.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedUserId, UserId};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Lanes, turns::Turns};
use crate::{
    clock::UnixMillis,
    homeserver::Class,
    invite::{ask, whisper, withdraw},
    portal::{Deps, Outcome, PortalError, create, hidden, join, leave},
    relay,
    store::{Job, PortalId, PortalState, StoreError, Task},
};

/// Jobs that are read at once.
const PAGE: u32 = 64;
/// How often the store is asked even when nothing was heard.
const LOOK: Duration = Duration::from_mins(1);
/// How many users' turns the ghosts have that leave, and as many the looks for late keys.
const WITHDRAWING: u8 = 3;
/// Attempts after which a job that the database or homeserver keeps refusing is dropped (about a day). A ghost that is to leave
/// leaves, whenever that may be.
const GIVE_UP: u32 = 100;

/// The same for one job. What looks for a late key counts its looks: they are no failures, and go on for two weeks.
fn most(task: &Task) -> u32 {
    match task {
        Task::Reopen(_) | Task::Look { .. } => relay::LOOKS + GIVE_UP,
        _ => GIVE_UP,
    }
}

/// Runs jobs until cancelled; then waits for those under way.
pub async fn run(deps: Deps, lanes: Arc<Lanes>, stop: CancellationToken) {
    // Invites wait for other servers, perhaps for a minute each: what only waits for this one does not wait for them.
    let (turns, abroad) = (Turns::default(), Turns::default());
    let tasks = TaskTracker::new();
    while !stop.is_cancelled() {
        let now = deps.clock.now();
        let begun = begin(&deps, &lanes, &stop, [&turns, &abroad], &tasks, now).await;
        // What is due and has no turn is looked at when a turn ends.
        let wait = match (begun, deps.store.next_job_after(now).await) {
            (Ok(()), Ok(next)) => next.map_or(LOOK, |due| {
                let wait = due.saturating_sub(deps.clock.now()).max(200);
                Duration::from_millis(wait).min(LOOK)
            }),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "the jobs cannot be read; trying again");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = deps.jobs.notified() => {}
            () = deps.clock.sleep(wait) => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// Begins what is due and has a turn. Whoever had to wait is looked at again when a turn ends.
async fn begin(
    deps: &Deps,
    lanes: &Arc<Lanes>,
    stop: &CancellationToken,
    [turns, abroad]: [&Turns; 2],
    tasks: &TaskTracker,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let mut last = None;
    // All that is due: those whose users have no turn left may be many, and before the others.
    while !(stop.is_cancelled() || turns.are_out() && abroad.are_out()) {
        let due = deps.store.due_jobs_after(now, last.as_ref(), PAGE).await?;
        last = due.last().cloned();
        if last.is_none() {
            break;
        }
        for job in due {
            let turns = match job.task {
                Task::Invite(_) => abroad,
                _ => turns,
            };
            if turns.has(job.id) {
                continue;
            }
            let Some(turn) = turns.take(job.id, user_of(deps, &job).await) else {
                continue;
            };
            let (deps, lanes, stop) = (deps.clone(), lanes.clone(), stop.clone());
            tasks.spawn(async move {
                // It may have ended between the look and its turn.
                if let Ok(Some(job)) = deps.store.job(job.id).await
                    && job.due <= now
                {
                    // On the heap: a join's future is large.
                    stop.run_until_cancelled(Box::pin(one(&deps, &lanes, job)))
                        .await;
                }
                drop(turn);
                deps.jobs.notify_one();
            });
        }
    }
    Ok(())
}

/// On whose behalf a job is done.
async fn user_of(deps: &Deps, job: &Job) -> OwnedUserId {
    let portal = match &job.task {
        Task::Join(task) => return task.user.clone(),
        Task::Invite(task) => return task.user.clone(),
        Task::Create(task) => return task.user.clone(),
        Task::Withdraw(task) => return withdrawing(deps, &task.ghost),
        // Strangers choose how many keys are late.
        Task::Reopen(task) => return looking(deps, task.portal),
        Task::Tell(task) => task.portal,
        Task::Look { portal } | Task::Leave { portal, .. } => *portal,
    };
    match deps.portals.get(portal).await {
        Ok(portal) => portal.user.clone(),
        // It is forgotten: what is left to do is done at once.
        Err(_) => deps.bot.user.clone(),
    }
}

/// Ghosts that leave share the turns of a few users whom there are not: strangers choose how many ghosts there are, and how long
/// their servers take.
fn withdrawing(deps: &Deps, ghost: &UserId) -> OwnedUserId {
    let last = ghost.localpart().bytes().last().unwrap_or_default();
    deps.namespace.mirror(&[last % WITHDRAWING; 16])
}

/// Looks for late keys share turns as well.
fn looking(deps: &Deps, portal: PortalId) -> OwnedUserId {
    deps.namespace
        .mirror(&[0x80 + portal.0[0] % WITHDRAWING; 16])
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
    match &mut job.task {
        Task::Join(task) => join::run(deps, task, job.attempts).await,
        Task::Reopen(task) => relay::reopen(deps, task, job.attempts).await,
        Task::Look { portal } => hidden::look(deps, *portal, job.attempts).await,
        Task::Leave {
            portal,
            forget,
            report,
        } => leave::run(deps, *portal, *forget, report, job.attempts).await,
        Task::Invite(task) => ask::run(deps, task, job.attempts).await,
        Task::Create(task) => create::run(deps, task, job.attempts).await,
        Task::Withdraw(task) => withdraw::run(deps, task, job.attempts).await,
        Task::Tell(task) => whisper::run(deps, task).await,
    }
}

/// One attempt at a job.
async fn one(deps: &Deps, lanes: &Arc<Lanes>, mut job: Job) {
    let before = matches!(job.task, Task::Reopen(_)).then(|| job.clone());
    let result = steps(deps, &mut job).await;
    if let Err(error) = &result
        && let Err(error) = mend(deps, error, &job.task).await
    {
        tracing::warn!(%error, "a device that was lost could not be made anew; trying again");
    }
    job.attempts += 1;
    let written = match result {
        Ok(Outcome::Done) => deps.store.finish_job(job.id).await,
        Ok(Outcome::Joined(portal)) => {
            tracing::info!(%portal, "a pseudonym joined its room");
            // What came before the portal was known is looked for now.
            lanes.visit(portal);
            deps.store.finish_job(job.id).await
        }
        Ok(Outcome::Linked(portal, link)) => {
            lanes.relearn(portal, *link);
            deps.store.finish_job(job.id).await
        }
        Ok(Outcome::Moved(portal)) => {
            lanes.look_again(portal);
            deps.store.finish_job(job.id).await
        }
        Err(error) if is_hopeless(&job, &error) || has_left(deps, &job).await => {
            metrics::counter!("vizard_failures_total", "class" => "job").increment(1);
            if !matches!(error, PortalError::Gone) {
                tracing::warn!(attempts = job.attempts, "a job was given up");
            }
            let told = match &mut job.task {
                Task::Join(task) => join::abandon(deps, task).await,
                Task::Invite(task) => ask::abandon(deps, task).await.map(|()| None),
                Task::Create(task) => create::abandon(deps, task).await.map(|()| None),
                // Nobody waits for these.
                _ => Ok(None),
            };
            match told {
                // Somebody waits for the answer: once more, as long again, in which it may even succeed.
                Err(error) if error.class() == Class::Retry && job.attempts < 2 * GIVE_UP => {
                    put_off(deps, &mut job).await
                }
                // Its room may have been made, and used, before that was known.
                Ok(Some(portal)) => {
                    lanes.visit(portal);
                    deps.store.finish_job(job.id).await
                }
                Ok(None) => deps.store.finish_job(job.id).await,
                Err(error) => {
                    tracing::warn!(%error, "the end of a job could not be told");
                    deps.store.finish_job(job.id).await
                }
            }
        }
        Ok(Outcome::At(due)) => {
            job.due = due;
            deps.store.add_job(&job).await
        }
        // A look for a key that was ended, or changed, while it ran is not put back.
        Ok(Outcome::Later) | Err(_) if was_changed(deps, before.as_ref()).await => Ok(()),
        Ok(Outcome::Later | Outcome::Again) | Err(_) => put_off(deps, &mut job).await,
    };
    if let Err(error) = written {
        tracing::error!(%error, "a job's end could not be stored; it runs again");
    }
}

/// Puts a job back, to be tried again later each time.
async fn put_off(deps: &Deps, job: &mut Job) -> Result<(), StoreError> {
    let longest = match job.task {
        // A key that is late may be so for days.
        Task::Reopen(_) | Task::Look { .. } => 11,
        // Whatever is in the way of it stays there.
        Task::Leave { .. } if job.attempts >= GIVE_UP => 12,
        _ => 9,
    };
    let wait = 1000 * (1u64 << job.attempts.min(longest));
    job.due = deps.clock.now() + wait + deps.rng.below(wait / 4 + 1);
    deps.store.add_job(job).await
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

/// Whether a job stands otherwise in the store by now; one that is not given does not.
async fn was_changed(deps: &Deps, before: Option<&Job>) -> bool {
    let Some(before) = before else { return false };
    let now = deps.store.job(before.id).await;
    now.is_ok_and(|now| now.as_ref() != Some(before))
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
    use crate::homeserver;

    #[test]
    fn a_ghost_that_is_to_leave_is_never_given_up() {
        let portal = PortalId([1; 16]);
        let job = |attempts, task| Job {
            id: [0; 16],
            due: 0,
            attempts,
            task,
        };
        let leave = |attempts| {
            let (forget, report) = (true, None);
            let task = Task::Leave {
                portal,
                forget,
                report,
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
}
