//! A pseudonym of another server who invites, played by the test.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, UserId};
use serde_json::{Value, json, value::to_raw_value};
use vizard::{
    e2ee::Mail,
    event::Event,
    portal::Offered,
    pseudonym::{Namespace, SenderKey},
    rng::Rng,
    sealed::{RequestDraft, SealedAddress, Sealing, seal},
    store::{Task, WithdrawTask},
};

use crate::{
    fake::post::Posted,
    steps::{handled, wait},
    world::World,
};

pub const CAROL: &str = "@carol:a.example";
pub const HOUR: u64 = 3_600_000;

pub struct Inviter {
    pub key: SenderKey,
    pub id: OwnedUserId,
    pub room: OwnedRoomId,
}

impl Inviter {
    /// In a room of their own that nobody can join unasked.
    pub fn new(world: &World, seed: u64) -> Self {
        Self::of(world, seed, "b.example")
    }

    /// The same on this server.
    pub fn of(world: &World, seed: u64, server: &str) -> Self {
        let key = SenderKey::generate(&Rng::seeded(seed));
        let server = server.try_into().unwrap();
        let namespace = Namespace::new(server, "_vizard_", "vizard").unwrap();
        let id = namespace.ghost(&key.id());
        world.fake.user(&id, "Amber Finch");
        let body = json!({"preset": "private_chat", "name": "Salon", "topic": "Their topic"});
        let room = world.fake.create_room(&id, &body).unwrap();
        Self { key, id, room }
    }

    /// Seals somebody for this room.
    pub fn seal(&self, world: &World, user: &str) -> SealedAddress {
        let user = UserId::parse(user).unwrap();
        let sealing = Sealing::Bound {
            user: &user,
            room: &self.room,
            inviter: self.key.id().into(),
        };
        sealed(world, sealing)
    }

    /// A signed request for an address, in this room.
    pub fn request(&self, world: &World, address: &SealedAddress) -> Value {
        let draft = RequestDraft {
            sealed: address,
            room: &self.room,
            expires_ts: world.deps().clock.now() + 24 * HOUR,
        };
        let signed = draft.sign_as_ghost(&Rng::os(), &self.id, &self.key);
        signed.content
    }

    /// A request as Vizard gets it.
    pub fn mail(&self, world: &World, request: &Value) -> Mail {
        let deps = world.deps();
        Mail {
            to: deps.bot.user.clone(),
            sender: self.id.clone(),
            kind: "org.vizard.invite_request".to_owned(),
            content: to_raw_value(request).unwrap(),
            received: deps.clock.now(),
        }
    }

    /// Hands a request to Vizard; the answer, once it is sent.
    pub fn ask(&self, world: &World, request: &Value) -> Option<Posted> {
        let deps = world.deps();
        let before = world.fake.look(|rooms| rooms.posted.len());
        let mail = self.mail(world, request);
        world
            .ask(vizard::invite::answer::request(&deps, &mail))
            .unwrap();
        world.fake.look(|rooms| {
            let mut answers = rooms.posted[before..].iter();
            answers.find(|one| one.to == self.id.as_str()).cloned()
        })
    }

    /// The ghost that stands for somebody here.
    pub fn ghost_of(&self, world: &World, user: &str) -> OwnedUserId {
        let request = self.request(world, &self.seal(world, user));
        ghost(&self.ask(world, &request).unwrap().content)
    }

    /// Invites a ghost.
    pub fn invite(&self, world: &World, ghost: &UserId) -> OwnedEventId {
        world.fake.invite(&self.id, &self.room, ghost).unwrap()
    }
}

/// Seals to the world's Vizard.
pub fn sealed(world: &World, sealing: Sealing<'_>) -> SealedAddress {
    let deps = world.deps();
    let now = deps.clock.now();
    let key = deps.keys.document().sealing_key(now).unwrap();
    seal(&Rng::os(), &key, sealing, now + 240 * HOUR).unwrap()
}

/// The ghost in an answer.
pub fn ghost(answer: &Value) -> OwnedUserId {
    UserId::parse(answer["ghost"].as_str().unwrap()).unwrap()
}

/// What is on record of an offered ghost.
pub fn offered(world: &World, ghost: &UserId) -> Option<Offered> {
    let deps = world.deps();
    world.ask(Offered::of(&deps, ghost)).unwrap()
}

/// An event as it was pushed.
pub fn event(world: &World, id: &str) -> Event {
    Event::decode(&to_raw_value(&world.fake.event(id).unwrap()).unwrap()).unwrap()
}

/// The portals to which somebody is invited, or in which they are: room and membership.
pub fn portals(world: &World, user: &str) -> BTreeMap<String, String> {
    world.fake.look(|rooms| {
        let mine = rooms.rooms.iter().filter(|(_, room)| {
            ["invite", "join"].contains(&room.membership(user))
                && room.joined().any(|user| user.starts_with("@_vizard_p_"))
        });
        mine.map(|(id, room)| (id.clone(), room.membership(user).to_owned()))
            .collect()
    })
}

/// The end of an invite that is on its way.
pub fn withdrawal(world: &World, ghost: &UserId) -> Option<(u64, WithdrawTask)> {
    let deps = world.deps();
    let jobs = world.ask(deps.store.due_jobs(u64::MAX >> 2, 1000)).unwrap();
    jobs.into_iter().find_map(|job| match job.task {
        Task::Withdraw(task) if task.ghost == ghost => Some((job.due, task)),
        _ => None,
    })
}

/// Lets that end come now.
pub fn withdraw(world: &World, ghost: &UserId) {
    let (_, task) = withdrawal(world, ghost).unwrap();
    let deps = world.deps();
    world
        .ask(vizard::invite::withdraw::run(&deps, &task, 0))
        .unwrap();
}

/// Whether the homeserver knows this user, and what was asked of it as them.
pub fn requests_as(world: &World, user: &UserId) -> (bool, Vec<&'static str>) {
    let known = world
        .fake
        .look(|rooms| rooms.users.contains_key(user.as_str()));
    let seen = world.fake.requests();
    let asked = seen
        .iter()
        .filter(|seen| seen.user.as_deref() == Some(user.as_str()));
    (known, asked.map(|seen| seen.endpoint).collect())
}

/// Somebody, and the ghost of Carol that they have invited: she has a portal for it.
pub fn carol_is_invited() -> (World, Inviter, OwnedUserId) {
    let world = World::new();
    world.fake.user(CAROL, "Carol");
    let inviter = Inviter::new(&world, 1);
    let ghost = inviter.ghost_of(&world, CAROL);
    inviter.invite(&world, &ghost);
    wait(&world, "there is a portal", |world| {
        portals(world, CAROL).len() == 1
    });
    handled(&world);
    (world, inviter, ghost)
}
