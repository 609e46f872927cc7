//! A Vizard, a user in a portal, and somebody to talk to.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sqlx::Connection as _;
use vizard::{clock::Clock, config::Config as Settings, crypto::MasterKey, portal::Deps, rng::Rng};

use crate::{
    fake::{Config, Fake, Keys, PATIENCE, world::World as Rooms},
    service::{Ground, Service},
};

pub const ALICE: &str = "@alice:a.example";
pub const BOB: &str = "@bob:b.example";
const BOT: &str = "@vizard:a.example";

/// How much faster the world's clock runs than the machine's.
const PACE: u32 = 250;

/// Everything that runs. Dropping it ends it.
pub struct World {
    pub fake: Fake,
    service: Option<Service>,
    ground: Ground,
    pub room: String,
    pub portal: String,
    pub chat: String,
    said: u64,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl World {
    /// A user in the portal of a room of this version.
    pub fn with_room(version: &str) -> Self {
        Self::with_settings(version, |_| {})
    }

    /// The same with other settings.
    pub fn with_settings(version: &str, change: impl FnOnce(&mut Settings)) -> Self {
        Self::begin(version, Keys::Unused, PACE, change)
    }

    /// The same on a homeserver that does this about keys.
    pub fn with_keys(keys: Keys) -> Self {
        Self::with_all(keys, |_| {})
    }

    /// The same with other settings on a homeserver that does this about keys.
    pub fn with_all(keys: Keys, change: impl FnOnce(&mut Settings)) -> Self {
        Self::begin("12", keys, PACE, change)
    }

    /// The same with a clock that runs so many times as fast as the machine's: for what must not be over before a busy machine
    /// has come to it.
    pub fn at_pace(pace: u32, keys: Keys, change: impl FnOnce(&mut Settings)) -> Self {
        Self::begin("12", keys, pace, change)
    }

    fn begin(version: &str, keys: Keys, pace: u32, change: impl FnOnce(&mut Settings)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let start = match keys {
            // By the machine's clock keys are made, and grow old.
            Keys::Kept => Clock::system().now(),
            _ => 1_700_000_000_000,
        };
        let clock = Clock::fast(start, pace);
        let fake = runtime.block_on(Fake::start(Config {
            clock: clock.clone(),
            keys,
            ..Config::default()
        }));
        fake.user(ALICE, "Alice");
        fake.user(BOB, "Bob");
        let body = json!({"preset": "public_chat", "name": "Tearoom", "room_version": version});
        let room = fake.create_room(BOB, &body).unwrap().to_string();
        let mut ground = Ground {
            url: format!("sqlite:{}", dir.path().join("db").display()),
            master: MasterKey::generate(&Rng::os()),
            clock,
            seed: 1,
            lives: 0,
        };
        let service = Some(Service::start(&mut ground, &fake, change));
        let chat = json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [BOT]});
        let chat = fake.create_room(ALICE, &chat).unwrap().to_string();
        let mut world = Self {
            fake,
            service,
            ground,
            room,
            portal: String::new(),
            chat,
            said: 0,
            runtime,
            _dir: dir,
        };
        world.until("the bot is in the chat", |rooms| {
            rooms.rooms[&world.chat].membership(BOT) == "join"
        });
        world
            .fake
            .text(
                ALICE,
                &world.chat,
                &format!("join {} b.example", world.room),
            )
            .unwrap();
        world.until("there is a portal", |rooms| portal(rooms).is_some());
        world.portal = world.fake.look(|rooms| portal(rooms).unwrap());
        world.fake.join(ALICE, &world.portal).unwrap();
        world.goes_on();
        world.rests();
        world
    }

    /// The rows of a table and the bytes that are sealed in them.
    pub fn stored(&self, table: &'static str) -> (i64, i64) {
        let query = format!("SELECT COUNT(*), COALESCE(SUM(LENGTH(sealed)), 0) FROM {table}");
        self.runtime.block_on(async {
            let mut database = sqlx::AnyConnection::connect(&self.ground.url)
                .await
                .unwrap();
            sqlx::query_as(sqlx::AssertSqlSafe(query))
                .fetch_one(&mut database)
                .await
                .unwrap()
        })
    }

    pub fn new() -> Self {
        Self::with_room("12")
    }

    /// Waits until something is so.
    pub fn until(&self, what: &str, so: impl Fn(&Rooms) -> bool) {
        let began = Instant::now();
        while !self.fake.look(|rooms| so(rooms)) {
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
            sleep(Duration::from_millis(2));
        }
    }

    /// A normal message goes through both ways, and nothing is left over.
    pub fn goes_on(&mut self) {
        self.said += 1;
        let (out, come) = (format!("out {}", self.said), format!("in {}", self.said));
        self.fake.text(ALICE, &self.portal, &out).unwrap();
        self.fake.text(BOB, &self.room, &come).unwrap();
        self.until("a normal message is in the room", |rooms| {
            says(rooms, &self.room, ALICE, &out)
        });
        self.until("a normal message is in the portal", |rooms| {
            says(rooms, &self.portal, BOB, &come)
        });
        let began = Instant::now();
        while self.inbox() > 0 {
            assert!(began.elapsed() < PATIENCE, "the inbox is not empty");
            sleep(Duration::from_millis(2));
        }
    }

    /// Waits until nothing is under way: what is asked of the homeserver from here on has another cause. What is due later than
    /// in a minute stays.
    pub fn rests(&self) {
        let began = Instant::now();
        // Twice: what ended during the first look may have begun something else.
        while !(self.is_at_rest() && self.is_at_rest()) {
            assert!(began.elapsed() < PATIENCE, "it does not come to rest");
            sleep(Duration::from_millis(2));
        }
    }

    /// Jobs before lanes: the end of a join wakes a lane.
    fn is_at_rest(&self) -> bool {
        let deps = self.deps();
        let soon = deps.clock.now() + 60_000;
        self.runtime.block_on(self.fake.wait_idle());
        self.inbox() == 0
            && self.ask(deps.store.due_jobs(soon, 1)).unwrap().is_empty()
            && self.service.as_ref().unwrap().app.lanes.idle()
    }

    pub fn inbox(&self) -> u64 {
        let store = self.deps().store;
        self.ask(async move { store.inbox_len().await.unwrap() })
    }

    /// Where its database is.
    pub fn database(&self) -> &str {
        &self.ground.url
    }

    /// What the running Vizard works with.
    pub fn deps(&self) -> Deps {
        self.service.as_ref().unwrap().app.deps.clone()
    }

    /// Asks the running Vizard something.
    pub fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        self.service.as_ref().unwrap().ask(question)
    }

    /// Where Vizard listens.
    pub fn url(&self) -> String {
        self.service.as_ref().unwrap().url.clone()
    }

    /// Kills Vizard; until [`World::start`] there is none.
    pub fn kill(&mut self) {
        if let Some(service) = self.service.take() {
            self.fake.set_appservice(None);
            service.kill(&self.fake);
        }
    }

    /// Starts it again, on what it left behind.
    pub fn start(&mut self, change: impl FnOnce(&mut Settings)) {
        let service = Service::start(&mut self.ground, &self.fake, change);
        self.service = Some(service);
        self.fake.retry_now();
    }

    /// From here on, its clock runs so many times as fast as the machine's: it is killed and started for that. What the
    /// homeserver waits for is as long as before.
    pub fn hurry(&mut self, factor: u32) -> Clock {
        self.kill();
        self.ground.clock = Clock::fast(self.ground.clock.now(), factor);
        self.start(|_| {});
        self.ground.clock.clone()
    }

    /// Pushes an event as the homeserver does, whatever it is.
    pub fn push(&self, event: Value) {
        self.fake.push_raw(event);
    }

    /// A request to Vizard's listener: status and JSON.
    pub fn request(
        &self,
        request: impl FnOnce(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    ) -> (u16, Value) {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let request = request(&client, &self.service.as_ref().unwrap().url);
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            (status, serde_json::from_str(&text).unwrap_or(Value::Null))
        })
    }

    /// Bodies of what the host or the bot said in a room, in reply to an event.
    pub fn replies(&self, room: &str, event: &str) -> Vec<String> {
        let events = self.fake.events(room);
        let replies = events
            .iter()
            .filter(|reply| reply["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == event);
        replies
            .map(|reply| {
                reply["content"]["body"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }

    /// Waits for an answer to an event.
    pub fn answer(&self, room: &str, event: &str) -> String {
        let began = Instant::now();
        loop {
            if let Some(reply) = self.replies(room, event).pop() {
                return reply;
            }
            assert!(began.elapsed() < PATIENCE, "no answer to {event}");
            sleep(Duration::from_millis(2));
        }
    }

    /// The mirrors' display names in the portal.
    pub fn mirrors(&self) -> Vec<String> {
        self.fake.look(|rooms| {
            let room = &rooms.rooms[&self.portal];
            room.joined()
                .filter(|user| user.starts_with("@_vizard_m_"))
                .filter_map(|user| {
                    let member = room.state("m.room.member", user)?;
                    member["displayname"].as_str().map(ToOwned::to_owned)
                })
                .collect()
        })
    }
}

/// Whether somebody else said this.
fn says(rooms: &Rooms, room: &str, not: &str, body: &str) -> bool {
    rooms.rooms[room]
        .events
        .iter()
        .any(|event| event["content"]["body"] == body && event["sender"] != not)
}

fn portal(rooms: &Rooms) -> Option<String> {
    let mut found = rooms.rooms.iter().filter(|(_, room)| {
        room.membership(ALICE) != "leave"
            && room.joined().any(|user| user.starts_with("@_vizard_p_"))
    });
    found.next().map(|(id, _)| id.clone())
}
