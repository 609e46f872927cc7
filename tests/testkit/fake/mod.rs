//! A homeserver that is not one: in memory, in this process, on a free loopback port.
//!
//! It behaves as Synapse does for all that Vizard uses of it, so that simulations and benchmarks need no
//! real one. The application service's requests come in by HTTP ([`serve`], [`routes`] and the
//! endpoints below); everybody else is driven by the methods of [`Fake`] in [`people`]. What happens in
//! rooms is pushed to the application service as Synapse pushes it ([`push`]); faults are injected on
//! both ways ([`faults`]). Everything is recorded and can be read back.
//!
//! Servers are not simulated: a remote user is one whose id names another server, and remote rooms are
//! rooms.

#![allow(dead_code, reason = "each test binary uses a part of the kit")]
#![allow(clippy::unnecessary_wraps, reason = "all endpoints have one signature")]

mod account;
mod create;
mod events;
pub mod faults;
#[path = "../../../benches/relay/stub/keys.rs"]
pub mod kept;
mod keys;
mod media;
mod membership;
mod people;
pub mod post;
pub mod push;
mod record;
mod room;
mod rooms;
mod routes;
mod serve;
pub mod world;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ruma::OwnedEventId;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use vizard::{clock::Clock, rng::Rng};

pub use keys::Keys;

use self::{
    faults::{Fault, Faults},
    push::{Outbox, Retry},
    world::World,
};

/// How long a test waits for what is to happen: far longer than that takes on a machine on which others are busy.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// What the homeserver is and which application service it knows.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its server name.
    pub server: String,
    /// The token the application service shows.
    pub as_token: String,
    /// The token the homeserver shows.
    pub hs_token: String,
    /// The registration's id.
    pub appservice_id: String,
    /// What localparts in the namespace begin with.
    pub prefix: String,
    /// The bot's localpart, also in the namespace.
    pub bot: String,
    /// The version of rooms that name none.
    pub room_version: String,
    /// Tells the time of events, and waits where a fault delays.
    pub clock: Clock,
    /// Decides about faults.
    pub seed: u64,
    /// Whether [`Fake::requests`] remembers each request.
    pub record: bool,
    /// Whether it knows a transaction id again. Only a test that wants to see doubles switches it off.
    pub deduplicate: bool,
    /// What it has for devices' keys.
    pub keys: Keys,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: "a.example".into(),
            as_token: "as_token".into(),
            hs_token: "hs_token".into(),
            appservice_id: "vizard".into(),
            prefix: "_vizard_".into(),
            bot: "vizard".into(),
            room_version: "12".into(),
            clock: Clock::system(),
            seed: 0,
            record: true,
            deduplicate: true,
            keys: Keys::default(),
        }
    }
}

/// A request that arrived, answered or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The endpoint's name, as in [`routes`].
    pub endpoint: &'static str,
    /// Method, path and query.
    pub line: String,
    /// Who acted.
    pub user: Option<String>,
    /// As which device.
    pub device: Option<String>,
    /// The fault that struck it.
    pub fault: Option<Fault>,
}

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where.
    pub room: String,
    /// Whose.
    pub user: String,
    /// Up to where.
    pub event: String,
    /// `m.read` or `m.read.private`.
    pub kind: String,
}

/// What an endpoint or a person is refused with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Matrix error code.
    pub errcode: &'static str,
    /// Why.
    pub message: String,
}

impl Refused {
    fn new(status: u16, errcode: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            errcode,
            message: message.into(),
        }
    }
    fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "M_FORBIDDEN", message)
    }
    fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "M_NOT_FOUND", message)
    }
    fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "M_BAD_JSON", message)
    }
}

/// The fake homeserver. Cheap to clone; it stops when the last clone is dropped.
#[derive(Clone)]
pub struct Fake {
    inner: Arc<Inner>,
    tasks: Arc<Tasks>,
}

struct Inner {
    config: Config,
    rng: Rng,
    world: Mutex<World>,
    outbox: Mutex<Outbox>,
    log: Mutex<Log>,
    changes: watch::Sender<u64>,
    /// There may be something to push.
    work: Notify,
    /// The pusher shall not wait any longer before it tries again.
    retry: Notify,
    http: reqwest::Client,
}

#[derive(Default)]
struct Log {
    faults: Faults,
    next: Vec<(&'static str, Fault)>,
    /// Rooms into which the application service cannot send.
    broken: Vec<String>,
    deactivated: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
    seen: Vec<Seen>,
    /// Who is sending now, each with a number.
    sending: Vec<(u64, String)>,
    sends: u64,
    /// Who sent while who was sending.
    overlaps: std::collections::BTreeSet<(String, String)>,
}

struct Tasks {
    running: Vec<tokio::task::JoinHandle<()>>,
    url: String,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.running {
            task.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Changes the world, queues what the application service must hear of it, wakes who waits.
    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = lock(&self.world);
        let result = change(&mut world);
        let news = std::mem::take(&mut world.news);
        if !news.is_empty() {
            // Under the world's lock, so that the order of events is the order of the queue.
            lock(&self.outbox).queue.extend(news);
            self.work.notify_one();
        }
        drop(world);
        self.touch();
        result
    }

    fn touch(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Fake {
    /// Starts on a free port. Nothing is pushed until [`Fake::set_appservice`].
    pub async fn start(config: Config) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .tls_certs_only([])
            .timeout(Duration::from_mins(1))
            .build()
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            rng: Rng::seeded(config.seed),
            world: Mutex::new(World::new(&config)),
            outbox: Mutex::default(),
            log: Mutex::default(),
            changes: watch::Sender::new(0),
            work: Notify::new(),
            retry: Notify::new(),
            http,
            config,
        });
        let running = vec![
            tokio::spawn(serve::serve(inner.clone(), listener)),
            tokio::spawn(push::run(inner.clone())),
        ];
        Self {
            inner,
            tasks: Arc::new(Tasks { running, url }),
        }
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.tasks.url
    }

    /// How it was configured.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    // --- the application service ---

    /// Where the application service listens; `None` stops pushing without marking it down.
    pub fn set_appservice(&self, url: Option<&str>) {
        lock(&self.inner.outbox).url = url.map(|url| url.trim_end_matches('/').to_owned());
        self.inner.work.notify_one();
        self.inner.retry.notify_one();
    }

    /// How a failed transaction is tried again.
    pub fn set_retry(&self, retry: Retry) {
        lock(&self.inner.outbox).retry = retry;
    }

    /// Tries a failed transaction again now.
    pub fn retry_now(&self) {
        self.inner.retry.notify_one();
    }

    /// Holds everything back, to be pushed together after [`Fake::release`].
    pub fn hold(&self) {
        lock(&self.inner.outbox).held = true;
    }

    /// Pushes what was held back.
    pub fn release(&self) {
        lock(&self.inner.outbox).held = false;
        self.inner.work.notify_one();
    }

    /// Delivers a transaction once more under its old number, before anything newer. Whether it is known.
    pub fn redeliver(&self, txn_id: u64) -> bool {
        let found = lock(&self.inner.outbox).redeliver(txn_id);
        self.inner.work.notify_one();
        found
    }

    /// Delivers an event once more, in a new transaction.
    pub fn duplicate(&self, event: impl AsRef<str>) {
        let place = lock(&self.inner.world).by_id.get(event.as_ref()).cloned();
        let (room, index) = place.expect("an event of this homeserver");
        lock(&self.inner.outbox)
            .queue
            .push_back(push::Item::Event(room, index));
        self.inner.work.notify_one();
    }

    /// Delivers one of the events that were accepted lately once more, in a new transaction. Whether there is one.
    pub fn duplicate_accepted(&self, pick: u64) -> bool {
        let mut outbox = lock(&self.inner.outbox);
        let found = outbox.accepted_item(pick);
        let there = found.is_some();
        outbox.queue.extend(found);
        self.inner.work.notify_one();
        there
    }

    /// Delivers anything at all as an event.
    pub fn push_raw(&self, event: Value) {
        lock(&self.inner.outbox)
            .queue
            .push_back(push::Item::Raw(Arc::new(event)));
        self.inner.work.notify_one();
    }

    /// Number of the last transaction that was made, and how many deliveries were answered 200.
    #[must_use]
    pub fn transactions(&self) -> (u64, u64) {
        let outbox = lock(&self.inner.outbox);
        (outbox.last_txn, outbox.accepted)
    }

    /// Waits until everything that is not held back is pushed and answered; panics after [`PATIENCE`].
    pub async fn wait_idle(&self) {
        let wait = self.wait(|| lock(&self.inner.outbox).idle());
        let came = tokio::time::timeout(PATIENCE, wait).await;
        assert!(came.is_ok(), "waited in vain until all was pushed");
    }

    /// Waits until the world is so; panics with `what` after [`PATIENCE`].
    pub async fn until(&self, what: &str, so: impl Fn(&World) -> bool) {
        let wait = self.wait(|| so(&lock(&self.inner.world)));
        let came = tokio::time::timeout(PATIENCE, wait).await;
        assert!(came.is_ok(), "waited in vain until {what}");
    }

    async fn wait(&self, so: impl Fn() -> bool) {
        let mut changes = self.inner.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if so() || changes.changed().await.is_err() {
                return;
            }
        }
    }

    // --- faults ---

    /// From now on these faults happen at random.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.inner.log).faults = faults;
    }

    /// The next request to `endpoint` meets this fault. Calls add up, in order.
    pub fn fail_next(&self, endpoint: &'static str, fault: Fault) {
        lock(&self.inner.log).next.push((endpoint, fault));
    }

    /// No fault that was ordered happens any more.
    pub fn forget_faults(&self) {
        lock(&self.inner.log).next.clear();
    }

    /// Forgets what it has not yet pushed, as a Synapse that is killed does. Returns the ids of those events.
    pub fn lose_pushes(&self) -> Vec<String> {
        let world = lock(&self.inner.world);
        let items = lock(&self.inner.outbox).lose();
        items
            .iter()
            .filter_map(|item| match item {
                push::Item::Event(room, place) => {
                    let event = world.rooms.get(room)?.events.get(*place)?;
                    event["event_id"].as_str().map(ToOwned::to_owned)
                }
                push::Item::Raw(_) => None,
            })
            .collect()
    }

    /// Forgets all transaction ids, as Synapse does after a day. Which one an event had is kept with the event.
    pub fn forget_transactions(&self) {
        self.restart();
        lock(&self.inner.world).sent_by_device.clear();
    }

    /// Forgets what a restart of Synapse forgets: the de-duplication of sends that named no device.
    pub fn restart(&self) {
        lock(&self.inner.world).sent_by_path.clear();
    }
}

/// An event id that this kit made.
fn event_id(id: String) -> OwnedEventId {
    id.try_into().unwrap()
}
