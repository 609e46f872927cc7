//! Hints that something waits for a device: the device asks for it soon, by its own `/sync`, which alone is believed.
//!
//! In memory only, because a lost hint costs nothing: whoever needs a key syncs by itself. Hints of one device become one
//! sync, a device rests between two, and few devices sync at once, so that a flood of hints is no flood of work. Lanes
//! neither wait for this nor are waited for.

mod queue;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::queue::Queue;
use crate::{
    clock::{Clock, UnixMillis},
    e2ee::{E2ee, Nudged},
    event::hints::{self, DeviceOf, Field},
    homeserver::Actor,
    portal::Deps,
    pseudonym::{Namespace, Role},
};

/// Devices that sync at once because of hints.
const AT_ONCE: usize = 4;

/// Takes hints and has devices sync. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hints(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    e2ee: E2ee,
    namespace: Arc<Namespace>,
    clock: Clock,
    queue: Mutex<Queue>,
    news: Notify,
}

fn count(outcome: &'static str, number: usize) {
    if number > 0 {
        metrics::counter!("vizard_hints_total", "outcome" => outcome).increment(number as u64);
    }
}

impl Hints {
    pub(super) fn new(deps: &Deps) -> Self {
        Self(Arc::new(Inner {
            e2ee: deps.e2ee.clone(),
            namespace: deps.namespace.clone(),
            clock: deps.clock.clone(),
            queue: Mutex::default(),
            news: Notify::new(),
        }))
    }

    /// Takes what a transaction hints at. Waits for nothing.
    pub(super) fn take(&self, fields: &[(Field, &RawValue)]) {
        let mut found = hints::Hints::default();
        for (field, raw) in fields {
            found.read(*field, raw);
        }
        count(
            "malformed",
            usize::try_from(found.malformed).unwrap_or(usize::MAX),
        );
        if self.0.e2ee.unavailable().is_some() {
            return;
        }
        count("changed", found.changed.len());
        self.0.e2ee.lists_changed(found.changed);
        let now = self.0.clock.now();
        let mut dropped = 0;
        let mut queue = self.queue();
        for device in found.waiting {
            if self.may_be_ours(&device) && !queue.put(device, now) {
                dropped += 1;
            }
        }
        for device in found.low {
            if self.may_be_ours(&device) && queue.is_low(&device, now) && !queue.put(device, now) {
                dropped += 1;
            }
        }
        drop(queue);
        count("dropped", dropped);
        self.0.news.notify_one();
    }

    fn may_be_ours(&self, (user, device): &DeviceOf) -> bool {
        let role = self.0.namespace.role(user);
        let ours = role.is_some_and(|role| role != Role::Other) && device.as_str().len() <= 255;
        if !ours {
            count("unknown", 1);
        }
        ours
    }

    /// Has devices sync, until cancelled.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&self) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let pause = {
                let now = self.0.clock.now();
                let mut queue = self.queue();
                while under_way.len() < AT_ONCE
                    && let Some((device, came)) = queue.take(now)
                {
                    under_way.push(self.nudge(device, came));
                }
                queue.next(now)
            };
            // Woken by whatever comes first; a device that could begin waits for one that ends.
            tokio::select! {
                Some(device) = under_way.next() => {
                    self.queue().rest(device, self.0.clock.now());
                }
                () = self.0.news.notified() => {}
                () = self.0.clock.sleep(pause) => {}
            }
        }
    }

    async fn nudge(&self, device: DeviceOf, came: UnixMillis) -> DeviceOf {
        let actor = Actor {
            user: device.0.clone(),
            device: Some(device.1.clone()),
        };
        let outcome = match self.0.e2ee.nudge(&actor, came).await {
            Ok(Nudged::Synced) => "synced",
            Ok(Nudged::Recent) => "recent",
            Ok(Nudged::Unknown) => "unknown",
            Err(error) => {
                tracing::debug!(class = ?error.class(), "a device could not sync when a hint came");
                "failed"
            }
        };
        count(outcome, 1);
        device
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest wait when nothing is due.
const IDLE: Duration = Duration::from_hours(1);
