//! Durable jobs: joins and leaves, run beside the lanes, carried on after a crash.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Lanes;
use crate::{
    homeserver::Class,
    portal::{Deps, Outcome, PortalError, hidden, join, leave},
    relay,
    store::{Job, Task},
};

/// Jobs under way at once.
const CONCURRENT: usize = 16;
/// How often the store is asked even when nothing was heard.
const LOOK: Duration = Duration::from_mins(1);
/// Attempts after which a job that the database or homeserver keeps refusing is dropped (about a day).
const GIVE_UP: u32 = 100;

/// Runs jobs until cancelled; then waits for those under way.
pub async fn run(deps: Deps, lanes: Arc<Lanes>, stop: CancellationToken) {
    let running: Arc<Mutex<HashSet<[u8; 16]>>> = Arc::default();
    let slots = Arc::new(Semaphore::new(CONCURRENT));
    let tasks = TaskTracker::new();
    while !stop.is_cancelled() {
        let due = deps
            .store
            .due_jobs(deps.clock.now(), 64)
            .await
            .unwrap_or_default();
        for job in due {
            if !running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(job.id)
            {
                continue;
            }
            let (deps, lanes) = (deps.clone(), lanes.clone());
            let (running, slots, stop) = (running.clone(), slots.clone(), stop.clone());
            tasks.spawn(async move {
                let id = job.id;
                if let Some(Ok(_slot)) = stop.run_until_cancelled(slots.acquire()).await {
                    // On the heap: a join's future is large.
                    stop.run_until_cancelled(Box::pin(one(&deps, &lanes, job)))
                        .await;
                }
                running
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&id);
                deps.jobs.notify_one();
            });
        }
        let next = deps.store.next_job().await.ok().flatten();
        let now = deps.clock.now();
        let wait = next
            .map_or(LOOK, |due| {
                Duration::from_millis(due.saturating_sub(now).max(200))
            })
            .min(LOOK);
        tokio::select! {
            () = stop.cancelled() => {}
            () = deps.jobs.notified() => {}
            () = deps.clock.sleep(wait) => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// One attempt at a job.
async fn one(deps: &Deps, lanes: &Arc<Lanes>, mut job: Job) {
    let result = match &mut job.task {
        Task::Join(task) => join::run(deps, task, job.attempts).await,
        Task::Reopen(task) => relay::reopen(deps, task, job.attempts).await,
        Task::Look { portal } => hidden::look(deps, *portal, job.attempts).await,
        Task::Leave {
            portal,
            forget,
            report,
        } => leave::run(deps, *portal, *forget, report, job.attempts).await,
    };
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
        Err(error) if error.class() == Class::GiveUp || job.attempts >= GIVE_UP => {
            metrics::counter!("vizard_failures_total", "class" => "job").increment(1);
            if !matches!(error, PortalError::Gone) {
                tracing::warn!(attempts = job.attempts, "a job was given up");
            }
            if let Task::Join(task) = &mut job.task {
                match join::abandon(deps, task).await {
                    // Its room may have been made, and used, before that was known.
                    Ok(Some(portal)) => lanes.visit(portal),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, "the end of a join could not be told");
                    }
                }
            }
            deps.store.finish_job(job.id).await
        }
        Ok(Outcome::Later) | Err(_) => {
            // A key that is late may be so for days.
            let longest = if matches!(job.task, Task::Reopen(_) | Task::Look { .. }) {
                11
            } else {
                9
            };
            let wait = 1000 * (1u64 << job.attempts.min(longest));
            job.due = deps.clock.now() + wait + deps.rng.below(wait / 4 + 1);
            deps.store.add_job(&job).await
        }
    };
    if let Err(error) = written {
        tracing::error!(%error, "a job's end could not be stored; it runs again");
    }
}
