//! The Vizard of another server, played by the test: it has keys, and answers when it is told to.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use ruma::{OwnedServerName, OwnedUserId, RoomId, UserId};
use serde_json::Value;
use vizard::{
    config::{Anchor, Config, Peer as Known},
    keys::PROFILE_FIELD,
    pseudonym::{Mapping, Namespace, SenderKey, ServerKey},
    rng::Rng,
    sealed::{
        DocumentDraft, HpkeKey, HpkeKeys, InviteRequest, InviteSecret, KeyDocument, ListedKey,
        OldKey, Opened, REQUEST_TYPE, RESPONSE_TYPE, RequestDraft, SealedAddress,
        UnverifiedRequest, answer, open, refuse,
    },
};

use crate::{
    fake::{Keys, PATIENCE, post::Posted},
    steps::wait,
    world::World,
};

const DAY: u64 = 24 * 60 * 60 * 1000;

pub struct Peer {
    server: OwnedServerName,
    namespace: Namespace,
    server_key: ServerKey,
    hpke: HpkeKey,
    secret: InviteSecret,
    document: KeyDocument,
}

impl Peer {
    /// The Vizard of a server, at a time.
    pub fn new(server: &str, seed: u64, now: u64) -> Self {
        let rng = Rng::seeded(seed);
        let server: OwnedServerName = server.try_into().unwrap();
        let namespace = Namespace::new(&server, "_vizard_", "vizard").unwrap();
        let (server_key, hpke) = (ServerKey::generate(&rng), HpkeKey::generate(&rng));
        let document = sign(&namespace, 1, &server_key, &[], &hpke, now);
        Self {
            secret: InviteSecret::generate(&rng),
            hpke,
            server,
            namespace,
            server_key,
            document,
        }
    }

    /// The same with another server key, for which the one before vouches.
    pub fn rotated(&self, now: u64) -> Self {
        let server_key = ServerKey::generate(&Rng::seeded(now));
        let old = OldKey {
            key: self.server_key.public(),
            expired_ts: now,
            signs: Some(self.server_key.clone()),
        };
        let document = sign(&self.namespace, 2, &server_key, &[old], &self.hpke, now);
        Self {
            server: self.server.clone(),
            namespace: self.namespace.clone(),
            server_key,
            hpke: self.hpke.clone(),
            secret: InviteSecret::from_bytes(*self.secret.bytes().expose()),
            document,
        }
    }

    pub fn publishes(&self, world: &World) {
        let document = self.document.json().clone();
        world.fake.set_profile(self.bot(), PROFILE_FIELD, document);
    }

    /// What stands in the member event of a pseudonym of this server.
    pub fn mapping(&self, key: &SenderKey, room: &RoomId) -> Value {
        Mapping::sign(key, &self.server, room, &self.server_key)
    }

    pub fn document(&self) -> &KeyDocument {
        &self.document
    }

    pub fn bot(&self) -> OwnedUserId {
        self.namespace.bot().to_owned()
    }

    /// A request as this Vizard reads it, and whom it is for.
    pub fn read(&self, world: &World, posted: &Posted) -> (InviteRequest, Opened) {
        let deps = world.deps();
        let sender = UserId::parse(&posted.sender).unwrap();
        let content = posted.content.to_string();
        let request =
            UnverifiedRequest::parse(content.as_bytes(), &sender, &self.server, deps.clock.now())
                .unwrap();
        let request = request.verify(Some(&deps.keys.document())).unwrap();
        let opened = open(
            &request.sealed,
            &self.server,
            &HpkeKeys::new(vec![self.hpke.clone()]),
            &request.room,
            &request.inviter_key,
        );
        let opened = opened.unwrap();
        (request, opened)
    }

    /// The ghost, and the content of the answer.
    pub fn answer(&self, world: &World, posted: &Posted) -> (OwnedUserId, Value) {
        let (request, _) = self.read(world, posted);
        let prepared = answer(&request, &self.secret, &self.namespace, &self.server_key);
        (prepared.ghost, prepared.content)
    }

    /// Sends the answer; the ghost.
    pub fn answers(&self, world: &World, posted: &Posted) -> OwnedUserId {
        let (ghost, content) = self.answer(world, posted);
        self.says(world, posted, content);
        ghost
    }

    /// A request by its bot, for somebody who is no pseudonym.
    pub fn asks(&self, world: &World, address: &SealedAddress, room: &RoomId) -> Value {
        let draft = RequestDraft {
            sealed: address,
            room,
            expires_ts: world.deps().clock.now() + DAY,
        };
        draft
            .sign_as_bot(&Rng::os(), &self.bot(), &self.server_key)
            .content
    }

    /// Sends the one error.
    pub fn refuses(&self, world: &World, posted: &Posted) {
        let (request, _) = self.read(world, posted);
        let content = refuse(&request.reply_to, &self.namespace, &self.server_key);
        self.says(world, posted, content);
    }

    pub fn says(&self, world: &World, posted: &Posted, content: Value) {
        world
            .fake
            .post(self.bot().as_str(), &posted.sender, RESPONSE_TYPE, content);
    }
}

/// A world in which the Vizard of b.example is known; so many seconds are waited for an answer.
pub fn world(keys: Keys, timeout: u64) -> (World, Peer) {
    let world = World::with_all(keys, |config| settings(config, timeout));
    let peer = Peer::new("b.example", 7, world.deps().clock.now());
    peer.publishes(&world);
    (world, peer)
}

fn sign(
    namespace: &Namespace,
    sequence: u64,
    server_key: &ServerKey,
    old: &[OldKey],
    hpke: &HpkeKey,
    now: u64,
) -> KeyDocument {
    let listed = ListedKey {
        key: hpke.public(),
        expires_ts: now + 20 * DAY,
    };
    let draft = DocumentDraft {
        server: namespace.server(),
        bot: namespace.bot(),
        prefix: "_vizard_",
        sequence,
        valid_until_ts: now + 20 * DAY,
        verify_keys: std::slice::from_ref(server_key),
        old_verify_keys: old,
        hpke_keys: &[listed],
    };
    draft.sign(now).unwrap()
}

/// Nothing can be fetched over TLS.
pub fn settings(config: &mut Config, timeout: u64) {
    config.keys.anchor = Anchor::Federation;
    config.keys.private_addresses = true;
    config.invites.timeout = timeout;
    let nowhere = Known {
        server_key: None,
        url: Some("http://127.0.0.1:1".parse().unwrap()),
    };
    config
        .peers
        .insert("b.example".try_into().unwrap(), nowhere);
}

/// The requests that were sent.
pub fn requests(world: &World) -> Vec<Posted> {
    let mut posted = world.fake.posted();
    posted.retain(|message| message.kind == REQUEST_TYPE);
    posted
}

/// Waits until so many were sent; the last of them.
pub fn request(world: &World, count: usize) -> Posted {
    wait(world, "a request is sent", |world| {
        requests(world).len() >= count
    });
    requests(world).remove(count - 1)
}

/// What the report on a command says, one after the other.
pub fn progress(world: &World, room: &str, command: &str) -> Vec<String> {
    let events = world.fake.events(room);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let first = events
        .iter()
        .find(|event| event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == command);
    let Some(first) = first else {
        return Vec::new();
    };
    let edits = events.iter().filter(|event| {
        let relation = &event["content"]["m.relates_to"];
        relation["rel_type"] == "m.replace" && relation["event_id"] == first["event_id"]
    });
    std::iter::once(text(&first["content"]["body"]))
        .chain(edits.map(|edit| text(&edit["content"]["m.new_content"]["body"])))
        .collect()
}

/// Waits until the report says this.
pub fn told(world: &World, room: &str, command: &str, part: &str) -> String {
    let began = Instant::now();
    loop {
        let said = progress(world, room, command);
        if let Some(text) = said.iter().find(|text| text.contains(part)) {
            return text.clone();
        }
        assert!(began.elapsed() < PATIENCE, "not told: {part}; but {said:?}");
        sleep(Duration::from_millis(2));
    }
}
