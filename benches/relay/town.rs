//! A subject, its stub homeserver, and rooms with portals, made through the product's own path: each user
//! invites the bot, says `join !room:b.example` in the direct chat, and accepts the portal's invite.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{
    event,
    seal::Seal,
    stub::{
        Stub,
        world::{BOT, direct_chat_id, room_id, user_id},
    },
    subject::{Kind, Subject},
};

/// Join commands that are under way at once.
const JOINS_AT_ONCE: usize = 200;
/// How long nothing may happen before the set-up counts as stuck.
const STUCK: Duration = Duration::from_mins(1);

/// How large a town is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Rooms of the other homeserver.
    pub rooms: usize,
    /// Portals into each room, each of another user.
    pub portals_per_room: usize,
    /// People with an account here.
    pub users: usize,
    /// Members of each room who speak.
    pub members: u32,
}

/// A portal.
#[derive(Clone, Debug)]
pub struct Portal {
    pub room: usize,
    pub user: String,
    /// The portal's room id.
    pub id: String,
}

/// A subject and its homeserver.
#[derive(Debug)]
pub struct Town {
    pub size: Size,
    pub stub: Arc<Stub>,
    pub subject: Subject,
    pub portals: Vec<Portal>,
    /// How long it took to make the portals.
    pub set_up: Duration,
    /// Requests per portal that this took.
    pub requests_per_portal: f64,
    /// Runs so far.
    pub runs: u32,
    /// Rooms are encrypted, and these are its people's keys.
    pub keys: Option<Box<dyn Seal>>,
}

impl Town {
    /// An empty town; the subject is not running.
    pub async fn new(
        kind: Kind,
        vizard: &Path,
        directory: &Path,
        size: Size,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let stub = Stub::start().await?;
        std::fs::create_dir_all(directory)?;
        let subject = match kind {
            Kind::Vizard => Subject::vizard(vizard, directory, stub.address)?,
            Kind::Echo => Subject::echo(directory, stub.address)?,
        };
        let tokens = (subject.as_token.as_str(), subject.hs_token.as_str());
        stub.connect(subject.address, tokens, seed);
        Ok(Self {
            size,
            stub,
            subject,
            portals: Vec::new(),
            set_up: Duration::ZERO,
            requests_per_portal: 0.0,
            runs: 0,
            keys: None,
        })
    }

    /// Makes the portals of the first `rooms` rooms that have none yet, and leaves the subject running.
    pub async fn settle(&mut self, rooms: usize) -> anyhow::Result<()> {
        self.subject.start().await?;
        let begun = Instant::now();
        let first = self.portals.len() / self.size.portals_per_room;
        for room in first..rooms {
            let mut state = self.stub.state();
            state.world.add_remote_room(room, self.size.members);
            if self.keys.is_some() {
                state.world.encrypt(&room_id(room));
            }
        }
        if self.subject.kind == Kind::Echo {
            self.pretend(first..rooms);
            return Ok(());
        }
        if first == 0 {
            self.open_direct_chats().await?;
        }
        self.stub.state().ledger.reset();
        // Portals into one room are made one after the other, so that it is known whose ghost is whose.
        for wave in 0..self.size.portals_per_room {
            let rooms: Vec<usize> = (first..rooms).collect();
            for rooms in rooms.chunks(JOINS_AT_ONCE) {
                self.join(rooms, wave).await?;
            }
        }
        self.stub.quiet().await;
        self.set_up = begun.elapsed();
        let requests: u64 = self.stub.state().ledger.requests.values().sum();
        let made = (rooms - first) * self.size.portals_per_room;
        self.requests_per_portal = ratio(requests, made as u64);
        Ok(())
    }

    /// The user of a portal: another one for each portal into a room.
    fn user(&self, room: usize, wave: usize) -> usize {
        (room * self.size.portals_per_room + wave) % self.size.users
    }

    /// The echo makes nothing; its portals are rooms like any other.
    fn pretend(&mut self, rooms: std::ops::Range<usize>) {
        for room in rooms {
            for wave in 0..self.size.portals_per_room {
                let id = format!("!portal{}:a.example", self.portals.len());
                self.stub.state().world.add_room(&id);
                let user = user_id(self.user(room, wave));
                self.portals.push(Portal { room, user, id });
            }
        }
    }

    async fn open_direct_chats(&self) -> anyhow::Result<()> {
        for user in 0..self.size.users {
            let (room, name) = (direct_chat_id(user), user_id(user));
            let content = serde_json::json!({"membership": "invite", "is_direct": true});
            let mut state = self.stub.state();
            state.world.add_room(&room);
            state
                .world
                .set_state(&room, &name, ("m.room.member", BOT), content);
        }
        self.until("the bot joins the direct chats", || {
            let state = self.stub.state();
            let joined = state
                .world
                .joined
                .get(BOT)
                .map_or(0, std::collections::BTreeSet::len);
            (joined, joined >= self.size.users)
        })
        .await
    }

    async fn join(&mut self, rooms: &[usize], wave: usize) -> anyhow::Result<()> {
        let known = self.portals.len();
        {
            let mut state = self.stub.state();
            for room in rooms {
                let user = self.user(*room, wave);
                let content = event::text(&format!("join {}", room_id(*room)));
                let (chat, sender) = (direct_chat_id(user), user_id(user));
                let (id, now) = (state.world.event_id(), state.world.now());
                let json = event::message(&chat, &sender, &id, now, &content);
                state.world.queue.add(json);
            }
        }
        let wanted = known + rooms.len();
        self.until("portals are made", || {
            let state = self.stub.state();
            let ghosts: usize = state.world.ghosts.values().map(Vec::len).sum();
            let made = state.world.portals.len().min(ghosts);
            (made, made >= wanted)
        })
        .await?;
        let state = self.stub.state();
        for id in &state.world.portals[known..] {
            if let Some((user, Some(room))) = &state.world.rooms[id].portal {
                self.portals.push(Portal {
                    room: *room,
                    user: user.clone(),
                    id: id.clone(),
                });
            }
        }
        Ok(())
    }

    async fn until(
        &self,
        what: &str,
        mut progress: impl FnMut() -> (usize, bool),
    ) -> anyhow::Result<()> {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let (now, done) = progress();
            if done {
                return Ok(());
            }
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if since.elapsed() > STUCK {
                let state = self.stub.state();
                bail!(
                    "waiting until {what}: stuck at {now}\nrequests: {:?}\nunknown to the stub: {:?}\nlast said by bot and hosts: {:#?}\nlog: {}",
                    state.ledger.requests,
                    state.unknown,
                    state.notices,
                    self.subject.log_tail()
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A quotient of counts.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub fn ratio(count: u64, of: u64) -> f64 {
    count as f64 / (of.max(1)) as f64
}
