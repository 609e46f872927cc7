//! Durable jobs: joins and leaves, run beside the lanes, carried on after a crash.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedUserId, UserId};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Lanes, job, turns::Turns};
use crate::{
    clock::UnixMillis,
    portal::Deps,
    store::{Job, PortalId, StoreError, Task},
};

/// Jobs that are read at once.
const PAGE: u32 = 64;
/// How often the store is asked even when nothing was heard.
const LOOK: Duration = Duration::from_mins(1);
/// How many users' turns the ghosts have that leave, and as many the looks for late keys.
const WITHDRAWING: u8 = 3;
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
                let attempt = async {
                    // It may have ended between the look and its turn.
                    match deps.store.job(job.id).await {
                        // On the heap: a join's future is large.
                        Ok(Some(job)) if job.due <= now => {
                            Box::pin(job::one(&deps, &lanes, job)).await;
                        }
                        Ok(_) => {}
                        Err(error) => {
                            tracing::warn!(%error, "a job cannot be read; trying again");
                            deps.clock.sleep(Duration::from_secs(1)).await;
                        }
                    }
                };
                stop.run_until_cancelled(attempt).await;
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
