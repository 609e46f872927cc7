//! The post: what other Vizards write, to whom it concerns.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{answer, gate::Gate};
use crate::{
    e2ee::Mail,
    portal::Deps,
    sealed::{REQUEST_TYPE, RESPONSE_TYPE, Reply},
};

/// Requests that are answered at once; more wait, and what waits too long in the letterbox is dropped.
const AT_ONCE: usize = 16;

/// Reads the mail of all devices until cancelled.
pub async fn run(deps: Deps, stop: CancellationToken) {
    let Some(letters) = deps.e2ee.mail() else {
        return;
    };
    tokio::join!(
        read_answers(&deps, letters.answers, &stop),
        read_requests(&deps, letters.requests, &stop),
    );
}

async fn read_answers(deps: &Deps, mut letters: mpsc::Receiver<Mail>, stop: &CancellationToken) {
    while let Some(Some(mail)) = stop.run_until_cancelled(letters.recv()).await {
        if deps.config.invites.enabled && mail.kind == RESPONSE_TYPE {
            hand_over(deps, mail);
        }
    }
}

async fn read_requests(deps: &Deps, mut letters: mpsc::Receiver<Mail>, stop: &CancellationToken) {
    let settings = &deps.config.invites;
    let mut gate = Gate::new(settings.per_peer_day, settings.per_inviter_day);
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let tasks = TaskTracker::new();
    while let Some(Some(mail)) = stop.run_until_cancelled(letters.recv()).await {
        let is_ours = mail.kind == REQUEST_TYPE && mail.to == deps.bot.user;
        if !settings.enabled || !is_ours {
            continue;
        }
        let places = match gate.admit(deps, &mail.sender, deps.clock.now()).await {
            Ok(places) => places,
            Err(reason) => {
                answer::dropped(reason);
                continue;
            }
        };
        let slot = stop.run_until_cancelled(slots.clone().acquire_owned());
        let Some(Ok(slot)) = slot.await else { break };
        let (deps, stop) = (deps.clone(), stop.clone());
        tasks.spawn(async move {
            let answering = Box::pin(async {
                let (sent, left) = answer::respond(&deps, &mail).await?;
                // Others are answered while its user is told.
                drop((slot, places));
                if let Some(left) = left {
                    left.tell(&deps).await?;
                }
                sent
            });
            if let Some(Err(error)) = stop.run_until_cancelled(answering).await {
                metrics::counter!("vizard_failures_total", "class" => "invite_answer").increment(1);
                tracing::warn!(class = ?error.class(), "an invite request could not be answered");
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// Gives an answer to whoever asked. One that nobody waits for says nothing.
fn hand_over(deps: &Deps, mail: Mail) {
    let id = Reply::request_id(mail.content.get().as_bytes());
    let _ = id.is_some_and(|id| deps.answers.give(&id, mail));
}
