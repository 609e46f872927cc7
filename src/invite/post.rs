//! The post: what other Vizards write, to whom it concerns.

use std::{collections::HashMap, sync::Arc};

use ruma::OwnedServerName;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::answer;
use crate::{
    e2ee::Mail,
    portal::Deps,
    sealed::{REQUEST_TYPE, RESPONSE_TYPE, Reply},
};

/// Requests that are answered at once; more wait, and what waits too long in the letterbox is dropped.
const AT_ONCE: usize = 16;
/// Requests of one server that are answered at once; more are dropped, so that others find room.
const EACH: usize = 8;

/// Reads the mail of all devices until cancelled.
pub async fn run(deps: Deps, stop: CancellationToken) {
    let Some(mut letterbox) = deps.e2ee.mail() else {
        return;
    };
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut servers: HashMap<OwnedServerName, Arc<Semaphore>> = HashMap::new();
    let tasks = TaskTracker::new();
    while let Some(Some(mail)) = stop.run_until_cancelled(letterbox.recv()).await {
        if !deps.config.invites.enabled {
            continue;
        }
        match mail.kind.as_str() {
            RESPONSE_TYPE => hand_over(&deps, mail),
            REQUEST_TYPE if mail.to == deps.bot.user => {
                servers.retain(|_, slots| slots.available_permits() < EACH);
                let own = servers
                    .entry(mail.sender.server_name().to_owned())
                    .or_insert_with(|| Arc::new(Semaphore::new(EACH)));
                let Ok(own) = own.clone().try_acquire_owned() else {
                    answer::dropped("busy");
                    continue;
                };
                let slot = stop.run_until_cancelled(slots.clone().acquire_owned());
                let Some(Ok(slot)) = slot.await else { break };
                let (deps, stop) = (deps.clone(), stop.clone());
                tasks.spawn(async move {
                    let answering = Box::pin(answer::request(&deps, &mail));
                    if let Some(Err(error)) = stop.run_until_cancelled(answering).await {
                        metrics::counter!("vizard_failures_total", "class" => "invite_answer")
                            .increment(1);
                        tracing::warn!(class = ?error.class(), "an invite request could not be answered");
                    }
                    drop((slot, own));
                });
            }
            _ => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// Gives an answer to whoever asked. One that nobody waits for says nothing.
fn hand_over(deps: &Deps, mail: Mail) {
    let id = Reply::request_id(mail.content.get().as_bytes());
    let _ = id.is_some_and(|id| deps.answers.give(&id, mail));
}
