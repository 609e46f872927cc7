//! One Synapse with a Vizard, portals made through the product's own path, and rooms for direct senders.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::json;

use crate::{
    gate::Gate,
    run::DEVICE,
    testkit::{
        client::{Client, Received, Source},
        site::Site,
        synapse::{Account, Options, Synapse},
        vizard::Vizard,
    },
};

/// How long anything of the set-up may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// The limits per user are lifted: one user has all the portals here. A held send must not time out.
const SETTINGS: [(&str, &str); 6] = [
    ("access.max_pseudonyms", "1000"),
    ("access.joins_per_hour", "100000"),
    ("access.messages_per_minute", "10000000"),
    ("homeserver.timeout", "3600"),
    ("homeserver.join_timeout", "3600"),
    ("log.level", "warn"),
];

/// A room, its portal, and the two rooms of ordinary people that are like them.
#[derive(Debug)]
pub struct Lane {
    pub room: String,
    pub portal: String,
    pub ghost: String,
    pub mirror: String,
    /// A direct sender.
    pub person: Client,
    /// Where that one speaks: with as many members as the room has, and as the portal has.
    pub plain_room: String,
    pub plain_portal: String,
}

/// Everything. Dropping it stops it.
#[derive(Debug)]
pub struct World {
    pub vizard: Vizard,
    pub synapse: Synapse,
    pub gate: Gate,
    /// Has the portals. Speaks past the gate.
    pub alice: Client,
    /// Has the rooms. Speaks past the gate.
    pub bob: Client,
    pub lanes: Vec<Lane>,
    /// The application service's token.
    pub token: String,
}

impl World {
    /// Starts a Synapse and a Vizard with `lanes` portals, in all of which everybody has spoken once.
    pub async fn start(program: &Path, lanes: usize) -> Result<Self> {
        let site = Site::reserve("bench")?;
        let gate = Gate::start(site.client).await?;
        let mut vizard = Vizard::init(program, &site)?;
        vizard.set("homeserver.url", &gate.url());
        for (key, value) in SETTINGS {
            vizard.set(key, value);
        }
        let token = std::fs::read_to_string(vizard.directory().join("as_token"))?;
        let options = Options {
            registrations: vec![vizard.registration()],
            ..Options::default()
        };
        let synapse = Synapse::start(site, &options).await?;
        vizard.start().await?;
        let mut world = Self {
            alice: Client::register(&synapse, "alice").await?,
            bob: Client::register(&synapse, "bob").await?,
            token: token.trim().to_owned(),
            lanes: Vec::new(),
            vizard,
            synapse,
            gate,
        };
        world.settle(lanes).await?;
        Ok(world)
    }

    async fn settle(&mut self, lanes: usize) -> Result<()> {
        let bot = format!("@vizard:{}", self.synapse.server_name());
        let chat = self.alice.direct_chat(&bot).await?;
        let greeted = |one: &Received| one.room == chat && one.sender() == bot && one.is_message();
        self.alice
            .wait_for("the bot's greeting", greeted, PATIENCE)
            .await?;
        let listeners = [
            Client::register(&self.synapse, "listener1").await?,
            Client::register(&self.synapse, "listener2").await?,
        ];
        for number in 0..lanes {
            let lane = self.open(number, &chat, &listeners).await?;
            self.lanes.push(lane);
        }
        Ok(())
    }

    async fn open(&self, number: usize, chat: &str, listeners: &[Client; 2]) -> Result<Lane> {
        let (alice, bob) = (&self.alice, &self.bob);
        let name = format!("Saloon {number}");
        let (room, alias) = bob
            .create_public_room(&format!("saloon{number}"), &name)
            .await?;
        let mark = alice.mark().await;
        alice.say(chat, &format!("join {alias}")).await?;
        let invited = |one: &Received| {
            one.source == Source::Invite
                && one.sender().starts_with("@_vizard_p_")
                && one.event["state_key"] == alice.id()
        };
        let invite = alice
            .wait_after(mark, "the invite to a portal", invited, PATIENCE)
            .await?;
        let portal = alice.join(&invite.room, &[]).await?;
        let joined = |one: &Received| one.room == chat && one.body().contains("joined as ");
        alice
            .wait_after(mark, "the bot's \"joined as …\"", joined, PATIENCE)
            .await?;

        // Everybody says something, so that mirror, devices, connections and caches are there.
        bob.say(&room, "good morning").await?;
        let mirror = hears(alice, &portal, "good morning").await?;
        alice.say(&portal, "good evening").await?;
        let ghost = hears(bob, &room, "good evening").await?;

        for user in [&ghost, &mirror] {
            self.give_device(user).await?;
        }

        let person = self
            .synapse
            .register(&format!("person{number}"), "password")
            .await?;
        let person = Client::new(Account {
            url: self.gate.url(),
            ..person
        });
        let mut plain = Vec::new();
        for (kind, listeners) in [("room", &listeners[..1]), ("portal", &listeners[..])] {
            let alias = format!("plain-{kind}{number}");
            let (id, _) = person.create_public_room(&alias, &alias).await?;
            for listener in listeners {
                listener.join(&id, &[]).await?;
            }
            person.say(&id, "good morning").await?;
            plain.push(id);
        }
        let plain_portal = plain.pop().context("two rooms were made")?;
        let plain_room = plain.pop().context("two rooms were made")?;
        Ok(Lane {
            room,
            portal,
            ghost,
            mirror,
            person,
            plain_room,
            plain_portal,
        })
    }

    /// Makes the device with which the bare service speaks as `user`.
    async fn give_device(&self, user: &str) -> Result<()> {
        let service = Client::new(Account {
            user_id: user.to_owned(),
            password: String::new(),
            access_token: self.token.clone(),
            device_id: String::new(),
            url: self.gate.url(),
        });
        let (path, query) = (["v3", "devices", DEVICE], [("user_id", user)]);
        let made = service.call_with(Method::PUT, &path, &query, Some(json!({})));
        made.await.map(|_| ())
    }

    /// A counter or gauge of Vizard's; 0 when it was never touched.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let text = self.vizard.metrics().await?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Ok(value.unwrap_or(0))
    }
}

/// Waits for a message and returns who sent it.
async fn hears(listener: &Client, room: &str, text: &str) -> Result<String> {
    let fits = |one: &Received| {
        one.room == room && one.is_message() && one.body() == text && one.sender() != listener.id()
    };
    let heard = listener
        .wait_for(&format!("\"{text}\""), fits, PATIENCE)
        .await?;
    Ok(heard.sender().to_owned())
}
