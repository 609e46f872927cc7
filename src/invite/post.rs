//! The post: what other Vizards write, to whom it concerns.

use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedServerName, ServerName};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::answer;
use crate::{
    clock::UnixMillis,
    e2ee::Mail,
    portal::Deps,
    sealed::{REQUEST_TYPE, RESPONSE_TYPE, Reply},
};

/// Requests that are answered at once; more wait, and what waits too long in the letterbox is dropped.
const AT_ONCE: usize = 16;
/// Requests of one server that are answered at once; more are dropped, so that others find room.
const EACH: usize = 8;
/// Servers whose requests are counted.
const SERVERS: usize = 10_000;
const HOUR: UnixMillis = 60 * 60 * 1000;

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
    // Twice as many in an hour as are looked into in a day: beyond that not even a decoy is worth the homeserver's time, and who
    // asks so much learns nothing but that.
    let mut flood = Flood::new(deps.config.invites.per_peer_day.saturating_mul(2).max(100));
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut servers: HashMap<OwnedServerName, Arc<Semaphore>> = HashMap::new();
    let tasks = TaskTracker::new();
    while let Some(Some(mail)) = stop.run_until_cancelled(letters.recv()).await {
        let is_ours = mail.kind == REQUEST_TYPE && mail.to == deps.bot.user;
        if !deps.config.invites.enabled || !is_ours {
            continue;
        }
        let server = mail.sender.server_name();
        servers.retain(|_, slots| slots.available_permits() < EACH);
        let own = servers
            .entry(server.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(EACH)));
        let Ok(own) = own.clone().try_acquire_owned() else {
            answer::dropped("busy");
            continue;
        };
        if !flood.takes(server, deps.clock.now()) {
            answer::dropped("flood");
            continue;
        }
        let slot = stop.run_until_cancelled(slots.clone().acquire_owned());
        let Some(Ok(slot)) = slot.await else { break };
        let (deps, stop) = (deps.clone(), stop.clone());
        tasks.spawn(async move {
            let answering = Box::pin(answer::request(&deps, &mail));
            if let Some(Err(error)) = stop.run_until_cancelled(answering).await {
                metrics::counter!("vizard_failures_total", "class" => "invite_answer").increment(1);
                tracing::warn!(class = ?error.class(), "an invite request could not be answered");
            }
            drop((slot, own));
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// How often each server asked in the present hour.
struct Flood {
    most: u32,
    hour: UnixMillis,
    asked: HashMap<OwnedServerName, u32>,
}

impl Flood {
    fn new(most: u32) -> Self {
        Self {
            most,
            hour: 0,
            asked: HashMap::new(),
        }
    }

    /// Whether another request of a server is answered.
    fn takes(&mut self, server: &ServerName, now: UnixMillis) -> bool {
        let hour = now / HOUR;
        if self.hour != hour || self.asked.len() >= SERVERS && !self.asked.contains_key(server) {
            self.hour = hour;
            self.asked.clear();
        }
        let asked = self.asked.entry(server.to_owned()).or_default();
        *asked = asked.saturating_add(1);
        *asked <= self.most
    }
}

/// Gives an answer to whoever asked. One that nobody waits for says nothing.
fn hand_over(deps: &Deps, mail: Mail) {
    let id = Reply::request_id(mail.content.get().as_bytes());
    let _ = id.is_some_and(|id| deps.answers.give(&id, mail));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_server_is_not_answered() {
        let mut flood = Flood::new(3);
        let [a, b] = ["a.example", "b.example"].map(|name| <&ServerName>::try_from(name).unwrap());
        let taken = (0..10_000).filter(|_| flood.takes(a, HOUR)).count();
        assert_eq!(taken, 3);
        assert!(flood.takes(b, HOUR), "another server's requests are");
        assert!(flood.takes(a, 2 * HOUR), "in the next hour they are again");
        for number in 0..2 * SERVERS {
            let name = OwnedServerName::try_from(format!("s{number}.example")).unwrap();
            assert!(flood.takes(&name, 2 * HOUR));
        }
        assert!(flood.asked.len() <= SERVERS);
    }
}
