//! The keys of one Vizard and of those it knows, without the rest of it.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedServerName, ServerName, UserId};
use serde_json::Value;
use vizard::{
    clock::Clock,
    config::Config as Settings,
    crypto::{MasterKey, Secret},
    homeserver::{Actor, Homeserver, Settings as Client},
    keys::{self, OwnKeys, PROFILE_FIELD, Peers},
    peer::Fetcher,
    rng::Rng,
    store::Store,
};

use crate::{
    fake::{Config, Fake},
    service::{Ground, config},
    site::authority,
    testkit::scratch::Scratch,
};

pub const START: u64 = 1_800_000_000_000;
pub const HOUR: u64 = 60 * 60 * 1000;
pub const DAY: u64 = 24 * HOUR;

/// Moves a clock.
pub fn pass(clock: &Clock, millis: u64) {
    clock.advance(Duration::from_millis(millis));
}

/// The one that asks: a.example, with its homeserver.
pub struct Asking {
    pub peers: Peers,
    pub store: Store,
    pub clock: Clock,
    pub fake: Fake,
    settings: Settings,
    _scratch: Scratch,
}

impl Asking {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With other settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let scratch = Scratch::new("asking").unwrap();
        let clock = Clock::mock(START);
        let fake = Fake::start(Config {
            clock: clock.clone(),
            ..Config::default()
        })
        .await;
        fake.user("@vizard:a.example", "Vizard");
        let ground = Ground {
            url: format!("sqlite:{}", scratch.path().join("db").display()),
            master: MasterKey::generate(&Rng::os()),
            clock: clock.clone(),
            seed: 1,
            lives: 0,
        };
        let store = Store::open(&ground.url, &ground.master, clock.clone(), Rng::os())
            .await
            .unwrap();
        let mut config = config(&ground, &fake);
        config.keys.ca_file = Some(authority().to_owned());
        config.keys.private_addresses = true;
        change(&mut config);
        let peers = peers(&config, &store, &clock, &fake);
        Self {
            peers,
            store,
            clock,
            fake,
            settings: config,
            _scratch: scratch,
        }
    }

    /// The same database as it is used when the admin has changed the settings and started Vizard anew.
    pub fn restarted(&self, change: impl FnOnce(&mut Settings)) -> Peers {
        let mut config = self.settings.clone();
        change(&mut config);
        peers(&config, &self.store, &self.clock, &self.fake)
    }

    /// What the homeserver of a.example says is in the profile of another server's bot.
    pub fn relays(&self, server: &ServerName, document: &Value) {
        let bot = format!("@vizard:{server}");
        self.fake.set_profile(bot, PROFILE_FIELD, document.clone());
    }
}

fn peers(config: &Settings, store: &Store, clock: &Clock, fake: &Fake) -> Peers {
    let client = Client {
        url: fake.url().parse().unwrap(),
        as_token: Secret::new(fake.config().as_token.clone()),
        timeout: Duration::from_secs(30),
        join_timeout: Duration::from_secs(30),
        tries: 2,
    };
    let bot = Actor {
        user: UserId::parse("@vizard:a.example").unwrap(),
        device: None,
    };
    let fetcher = Fetcher::new(
        config.keys.ca_file.as_deref(),
        config.keys.private_addresses,
    )
    .unwrap();
    let homeserver = Homeserver::new(client, clock.clone(), Rng::os()).unwrap();
    Peers::new(
        store.clone(),
        homeserver,
        Arc::new(config.clone()),
        clock.clone(),
        bot,
        fetcher,
    )
}

/// The keys of another Vizard.
pub struct Published {
    pub keys: OwnKeys,
    _scratch: Scratch,
}

impl Published {
    /// Keys of their own for each call, whatever the name.
    pub async fn new(server: OwnedServerName, clock: &Clock) -> Self {
        Self::of("vizard", server, clock).await
    }

    /// With a bot of this name.
    pub async fn of(bot: &str, server: OwnedServerName, clock: &Clock) -> Self {
        let scratch = Scratch::new("published").unwrap();
        let url = format!("sqlite:{}", scratch.path().join("db").display());
        let master = MasterKey::generate(&Rng::os());
        let store = Store::open(&url, &master, clock.clone(), Rng::os())
            .await
            .unwrap();
        let settings = keys::Settings {
            bot: UserId::parse_with_server_name(bot, &server).unwrap(),
            server,
            prefix: "_vizard_".to_owned(),
            rotate_days: 30,
            overlap_days: 14,
        };
        let keys = OwnKeys::open(store, clock.clone(), Rng::os(), settings)
            .await
            .unwrap();
        Self {
            keys,
            _scratch: scratch,
        }
    }

    pub fn json(&self) -> Value {
        self.keys.document().json().clone()
    }
}
