//! The homeserver's queue of events for the application service, pushed as Synapse does: one transaction in
//! flight, up to 100 events in each, the next one after a 200, the same one again until then.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::Notify;

use crate::stub::wire::Client;

/// The most events in one transaction.
const BATCH: usize = 100;
/// How long to wait before a refused transaction is pushed again.
const RETRY: Duration = Duration::from_millis(20);

/// Events that wait, and what became of the pushed ones.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<VecDeque<String>>,
    rung: Notify,
    /// One acknowledged transaction in this many is followed by an old one again; 0: none.
    pub redeliver: AtomicU64,
    pub transactions: AtomicU64,
    pub redelivered: AtomicU64,
    pub failed: AtomicU64,
    idle: AtomicBool,
}

impl Queue {
    /// Adds an event.
    pub fn add(&self, event: String) {
        self.add_all([event]);
    }

    /// Adds events, none of which is pushed before all are there.
    pub fn add_all(&self, events: impl IntoIterator<Item = String>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.idle.store(false, Ordering::Relaxed);
        waiting.extend(events);
        drop(waiting);
        self.rung.notify_one();
    }

    /// Whether everything was acknowledged.
    pub fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    async fn next(&self) -> Vec<String> {
        loop {
            {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let count = waiting.len().min(BATCH);
                if count > 0 {
                    return waiting.drain(..count).collect();
                }
                self.idle.store(true, Ordering::Relaxed);
            }
            self.rung.notified().await;
        }
    }

    /// Pushes for ever.
    pub async fn run(&self, address: SocketAddr, hs_token: &str, seed: u64) {
        let mut client = Client::new(address, hs_token);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut acknowledged: Vec<String> = Vec::new();
        let mut number = 0;
        loop {
            let body = format!(r#"{{"events":[{}]}}"#, self.next().await.join(","));
            number += 1;
            self.deliver(&mut client, number, &body).await;
            self.transactions.fetch_add(1, Ordering::Relaxed);
            let one_in = self.redeliver.load(Ordering::Relaxed);
            if one_in == 0 {
                acknowledged.clear();
                continue;
            }
            acknowledged.push(body);
            if rng.random_ratio(1, u32::try_from(one_in).unwrap_or(u32::MAX)) {
                let old = rng.random_range(0..acknowledged.len());
                let age = (acknowledged.len() - 1 - old) as u64;
                self.deliver(&mut client, number - age, &acknowledged[old])
                    .await;
                self.redelivered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn deliver(&self, client: &mut Client, number: u64, body: &str) {
        let path = format!("/_matrix/app/v1/transactions/{number}");
        while !matches!(client.request("PUT", &path, body).await, Ok(200)) {
            self.failed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(RETRY).await;
        }
    }
}
