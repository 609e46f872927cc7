//! Carrying out operations: people who talk, a homeserver and a network that misbehave, a Vizard that dies.

use std::{collections::BTreeSet, thread::sleep, time::Duration};

use serde_json::json;
use vizard::{clock::Clock, crypto::MasterKey, rng::Rng, store::Portal};

use crate::{
    check::{self, Finding},
    fake::{Config, Fake, faults::Faults},
    operation::{How, Op},
    service::{Ground, Service},
};

/// Users of Vizard: Matrix ID and display name.
pub const USERS: [(&str, &str); 2] = [
    ("@alicelot:a.example", "Alice Wonderlund"),
    ("@carolyne:a.example", "Carolyne Quuxley"),
];
/// Other members of the rooms; the first made them.
pub const MEMBERS: [&str; 2] = ["@bob:b.example", "@dave:c.example"];
pub const BOT: &str = "@vizard:a.example";

/// How many times as fast as ours Vizard's time goes: a receipt's three seconds are twelve milliseconds.
const PACE: u32 = 250;
/// How long the end is waited for. Nothing in a run takes a tenth of it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A run.
pub struct Story {
    pub fake: Fake,
    pub service: Option<Service>,
    ground: Ground,
    rng: Rng,
    rooms: Vec<String>,
    chats: Vec<String>,
    pub said: u64,
    /// Events that were never pushed.
    lost: BTreeSet<String>,
}

/// How a run is set up.
#[derive(Clone, Debug)]
pub struct Setting {
    pub seed: u64,
    /// The database.
    pub url: String,
    /// Whether the homeserver knows transaction ids again, as it should.
    pub deduplicate: bool,
}

impl Story {
    /// A homeserver with rooms and people, and a Vizard without a past.
    pub fn begin(setting: &Setting, runtime: &tokio::runtime::Runtime) -> Self {
        let clock = Clock::fast(1_700_000_000_000, PACE);
        let rng = Rng::seeded(setting.seed);
        let fake = runtime.block_on(Fake::start(Config {
            clock: clock.clone(),
            seed: setting.seed,
            record: false,
            deduplicate: setting.deduplicate,
            hs_token: format!("hs_token {}", setting.url),
            ..Config::default()
        }));
        for (user, name) in USERS {
            fake.user(user, name);
        }
        for member in MEMBERS {
            fake.user(member, &member[1..4]);
        }
        let rooms = ["12", "11"]
            .iter()
            .map(|version| {
                let body =
                    json!({"preset": "public_chat", "name": "Tearoom", "room_version": version});
                let room = fake.create_room(MEMBERS[0], &body).unwrap();
                fake.join(MEMBERS[1], &room).unwrap();
                room.to_string()
            })
            .collect();
        let mut ground = Ground {
            url: setting.url.clone(),
            master: MasterKey::generate(&rng),
            clock,
            seed: setting.seed,
            lives: 0,
        };
        let service = start(&mut ground, &fake);
        let chats = USERS
            .iter()
            .map(|(user, _)| {
                let body =
                    json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [BOT]});
                fake.create_room(user, &body).unwrap().to_string()
            })
            .collect();
        Self {
            fake,
            service: Some(service),
            ground,
            rng,
            rooms,
            chats,
            said: 0,
            lost: BTreeSet::new(),
        }
    }

    /// Carries out one operation; what is impossible at the moment is left out.
    pub fn act(&mut self, op: Op) {
        self.accept_invites(self.rng.below(4) > 0);
        match op {
            Op::Join { user, room } => self.join(user, room),
            Op::Say { portal, how, pick } => {
                if let Some((room, user)) = pick_of(&self.portals(), portal) {
                    self.speak(&user, &room, how, pick, "out");
                }
            }
            Op::Speak {
                room,
                member,
                how,
                pick,
            } => {
                let room = pick_of(&self.rooms, room).unwrap();
                let member = pick_of(&MEMBERS, member).unwrap();
                self.speak(member, &room, how, pick, "in");
            }
            Op::Command { portal, text } => {
                if let Some((room, user)) = pick_of(&self.portals(), portal) {
                    let _ = self.fake.text(user, room, &format!("!vizard {text}"));
                }
            }
            Op::Kick { portal } => {
                if let Some(portal) = pick_of(&self.records(), portal) {
                    let _ = self.fake.kick(MEMBERS[0], &portal.room, &portal.ghost.id);
                }
            }
            Op::Mute { portal, on } => {
                if let Some(portal) = pick_of(&self.records(), portal) {
                    self.mute(&portal, on);
                }
            }
            Op::ComeAndGo { room, member } => {
                let room = pick_of(&self.rooms, room).unwrap();
                let member = pick_of(&MEMBERS[1..], member).unwrap();
                let _ = self.fake.leave(member, &room);
                let _ = self.fake.join(member, &room);
            }
            Op::Duplicate(pick) => {
                self.fake.duplicate_accepted(pick);
            }
            Op::Redeliver(pick) => {
                let (last, _) = self.fake.transactions();
                self.fake.redeliver(pick % (last + 1));
            }
            Op::Crash { after } => {
                sleep(Duration::from_micros(after * 100));
                self.crash();
            }
            Op::Restart => {
                if let Some(service) = self.service.take() {
                    service.stop();
                }
                self.service = Some(start(&mut self.ground, &self.fake));
            }
            Op::Faults(often) => self.fake.set_faults(faults(often)),
            Op::Fail(endpoint, fault) => self.fake.fail_next(endpoint, fault),
            Op::HomeserverRestart => self.fake.restart(),
            Op::PowerCut => {
                if let Some(service) = self.service.take() {
                    service.kill(&self.fake);
                }
                self.lost.extend(self.fake.lose_pushes());
                self.fake.restart();
                self.service = Some(start(&mut self.ground, &self.fake));
            }
            Op::Hold => self.fake.hold(),
            Op::Release => self.fake.release(),
            Op::Wait(millis) => sleep(Duration::from_millis(millis)),
            Op::Rest => self.rest(),
        }
    }

    /// Kills Vizard and starts it again.
    pub fn crash(&mut self) {
        if let Some(service) = self.service.take() {
            service.kill(&self.fake);
        }
        self.service = Some(start(&mut self.ground, &self.fake));
    }

    /// Ends all disturbance, waits until nothing is missing any more, and says what is wrong. `None`: nothing.
    pub fn end(&mut self) -> Option<String> {
        self.fake.set_faults(Faults::default());
        self.fake.release();
        if let Some(wrong) = self.come_to_rest() {
            return Some(wrong);
        }
        // No lane is stuck: everybody who can says one more thing.
        for (room, user) in self.portals() {
            self.speak(&user, &room, How::Text, 0, "out");
        }
        for room in self.rooms.clone() {
            self.speak(MEMBERS[0], &room, How::Text, 0, "in");
        }
        if let Some(wrong) = self.come_to_rest() {
            return Some(wrong);
        }
        // Nothing that a restart digs out is new.
        if self.rng.below(4) == 0 {
            self.crash();
            sleep(Duration::from_millis(50));
            if let Some(wrong) = self.come_to_rest() {
                return Some(format!("after another crash: {wrong}"));
            }
        }
        if let Some(service) = self.service.take() {
            service.stop();
        }
        None
    }

    /// Waits until nothing is under way. What is wrong is found at the end.
    fn rest(&mut self) {
        // Twice: an invite may be accepted at the end of the first time.
        for _ in 0..2 {
            let service = self.service.as_ref().expect("it runs");
            service.ask(self.fake.wait_idle());
            let _ = self.come_to_rest();
        }
    }

    /// Waits until nothing is missing.
    fn come_to_rest(&mut self) -> Option<String> {
        let began = std::time::Instant::now();
        loop {
            self.accept_invites(true);
            let findings = self.findings();
            let late = began.elapsed() > PATIENCE;
            if findings.is_empty() {
                // What comes too often comes a little later.
                sleep(Duration::from_millis(2));
                let findings = self.findings();
                if findings.is_empty() {
                    return None;
                }
            }
            if late || findings.iter().any(Finding::is_final) {
                let texts: Vec<String> = findings
                    .iter()
                    // What is missing early may be on its way.
                    .filter(|finding| late || finding.is_final())
                    .map(ToString::to_string)
                    .collect();
                return Some(texts.join("\n  "));
            }
            sleep(Duration::from_millis(3));
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let portals = self.records();
        let service = self.service.as_ref().expect("it runs");
        let deps = &service.app.deps;
        let mut findings = self.fake.look(|world| {
            check::look(
                world,
                &check::Known {
                    portals: &portals,
                    rooms: &self.rooms,
                    chats: &self.chats,
                    lost: &self.lost,
                    overlaps: &self.fake.overlaps(),
                },
            )
        });
        let counts = service.ask(deps.store.counts()).unwrap();
        if counts.inbox > 0 {
            findings.push(Finding::missing(format!("inbox holds {}", counts.inbox)));
        }
        if counts.jobs > 0 {
            findings.push(Finding::missing(format!("{} jobs left", counts.jobs)));
        }
        if !service.app.lanes.idle() {
            findings.push(Finding::missing("a lane has not ended".into()));
        }
        findings
    }

    /// Vizard's own records of portals.
    fn records(&self) -> Vec<Portal> {
        let Some(service) = &self.service else {
            return Vec::new();
        };
        let store = service.app.deps.store.clone();
        service.ask(async move {
            let mut found = Vec::new();
            for (user, _) in USERS {
                let user = store.user(user.try_into().unwrap()).await.unwrap();
                for pseudonym in user.iter().flat_map(|user| &user.pseudonyms) {
                    found.extend(store.portal(pseudonym.portal).await.unwrap());
                }
            }
            found
        })
    }

    /// Portal rooms that a user is in, with the user.
    fn portals(&self) -> Vec<(String, String)> {
        self.fake.look(|world| {
            let mut found = check::portal_rooms(world);
            found.retain(|(room, user)| world.rooms[room].membership(user) == "join");
            found
        })
    }

    fn accept_invites(&self, now: bool) {
        if !now {
            return;
        }
        let invited: Vec<(String, String)> = self.fake.look(|world| {
            let mut found = check::portal_rooms(world);
            found.retain(|(room, user)| world.rooms[room].membership(user) == "invite");
            found
        });
        for (room, user) in invited {
            let _ = self.fake.join(user, room);
        }
    }

    fn join(&mut self, user: u64, room: u64) {
        let room = pick_of(&self.rooms, room).unwrap();
        let place = usize::try_from(user).unwrap() % USERS.len();
        let (user, chat) = (USERS[place].0, self.chats[place].clone());
        let bot_is_in = || self.fake.membership(&chat, BOT).as_deref() == Some("join");
        self.fake.release();
        for _ in 0..500 {
            if bot_is_in() {
                break;
            }
            sleep(Duration::from_millis(1));
        }
        if bot_is_in() {
            let _ = self
                .fake
                .text(user, &chat, &format!("join {room} b.example"));
        }
    }

    fn mute(&self, portal: &Portal, on: bool) {
        let levels = self.fake.state_of(&portal.room, "m.room.power_levels", "");
        let Some(mut levels) = levels else { return };
        levels["users"][portal.ghost.id.as_str()] = if on { -1 } else { 0 }.into();
        let _ = self
            .fake
            .send_state(MEMBERS[0], &portal.room, "m.room.power_levels", "", levels);
    }
}

/// Starts Vizard; in every third run with room for so little in memory that lanes fall behind.
fn start(ground: &mut Ground, fake: &Fake) -> Service {
    let seed = ground.seed;
    Service::start(ground, fake, |config| {
        if seed.is_multiple_of(3) {
            config.relay.max_in_memory = usize::try_from(1 + seed / 3 % 32).unwrap();
        }
    })
}

fn faults(often: u64) -> Faults {
    Faults {
        limited: often,
        retry_after_ms: 50,
        error_before: often,
        error_after: often,
        drop_before: often,
        drop_after: often,
        delay: often,
        delay_ms: 500,
        push_lost: often * 2,
        push_old: often * 2,
        push_duplicate: often * 2,
    }
}

/// One of a list, by any number.
pub fn pick_of<T: Clone>(from: &[T], pick: u64) -> Option<T> {
    let place = usize::try_from(pick).unwrap().checked_rem(from.len())?;
    from.get(place).cloned()
}
