//! The homeserver client against the fake homeserver: each proves the other.

#[path = "../testkit/fake/mod.rs"]
mod fake;

mod client;
mod faults;
mod push;
mod rules;

use std::time::Duration;

use fake::{Config, Fake};
use ruma::{OwnedUserId, owned_user_id};
use vizard::{
    clock::Clock,
    crypto::Secret,
    homeserver::{Actor, Homeserver, Settings},
    rng::Rng,
};

/// Somebody elsewhere.
const BOB: &str = "@bob:b.example";

/// A client of the fake. Its clock is a mock: pauses between tries take no time.
fn client(fake: &Fake, tries: u32) -> Homeserver {
    let settings = Settings {
        url: fake.url().parse().unwrap(),
        as_token: Secret::new(fake.config().as_token.clone()),
        timeout: Duration::from_mins(1),
        join_timeout: Duration::from_mins(1),
        tries,
    };
    Homeserver::new(settings, Clock::mock(1_700_000_000_000), Rng::seeded(7)).unwrap()
}

/// A registered ghost with a device.
async fn ghost(client: &Homeserver, name: &str) -> Actor {
    let user: OwnedUserId = format!("@_vizard_{name}:a.example").try_into().unwrap();
    client.register(&user).await.unwrap();
    client.create_device(&user, "DEV".into()).await.unwrap();
    Actor {
        user,
        device: Some("DEV".into()),
    }
}

async fn fake() -> Fake {
    Fake::start(Config {
        clock: Clock::mock(1_700_000_000_000),
        ..Config::default()
    })
    .await
}

/// An actor that was never registered.
fn stranger() -> Actor {
    Actor {
        user: owned_user_id!("@_vizard_nobody:a.example"),
        device: None,
    }
}
