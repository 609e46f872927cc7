//! When a masked user reads or types, nobody learns it: no receipt (not even a private one), no typing and no presence of a
//! ghost. What an ordinary user of the same homeserver does shows that Bob would notice.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    testkit::client::{Client, Received},
    world::{Masked, PATIENCE, World, hears},
};

/// What servers tell each other of users besides events.
const KINDS: [&str; 3] = ["m.receipt", "m.typing", "m.presence"];

/// The masked user reads, in public and in private, and types; then an ordinary user does, whom Bob sees doing it.
pub async fn reads_and_types(
    world: &World,
    masked: &Masked,
    bob: &Client,
    alias: &str,
) -> Result<()> {
    // What messages brought along has come.
    bob.settle(Duration::from_secs(3)).await?;
    let mark = bob.mark().await;
    bob.say(&masked.room, "who reads this").await?;
    let seen = masked.hears("who reads this").await?;
    does(&masked.user, &masked.portal, seen.id()).await?;

    let plain = Client::register(&world.servers.a, "plainuser").await?;
    let server = bob.id().split_once(':').map_or("", |(_, server)| server);
    let room = plain.join(alias, &[server]).await?;
    bob.say(&room, "and this").await?;
    let seen = hears(&plain, &room, "and this").await?;
    does(&plain, &room, seen.id()).await?;
    for kind in KINDS {
        let of_plain =
            |one: &Received| one.kind() == kind && one.event.to_string().contains(plain.id());
        bob.wait_for(&format!("the plain user's {kind}"), of_plain, PATIENCE)
            .await?;
    }
    plain.leave(&room).await?;
    bob.settle(Duration::from_secs(2)).await?;
    for (at, one) in bob.received().await.iter().enumerate() {
        let (kind, content) = (one.kind(), &one.event["content"]);
        if !KINDS.contains(&kind) || !one.event.to_string().contains("@_vizard_") {
            continue;
        }
        // Synapse tells by itself when somebody who is not online was active last, which is when they said something.
        let active = &content["currently_active"];
        let of_a_message = kind == "m.presence"
            && content["presence"] == "offline"
            && (active.is_null() || active == false);
        ensure!(at < mark && of_a_message, "Bob got {}", one.event);
    }

    // On their own homeserver too: what is not even there goes nowhere.
    let there = readers(&world.servers.a.database()).await?;
    ensure!(there.iter().any(|user| user == masked.user.id()));
    ensure!(there.iter().any(|user| user.starts_with("@_vizard_p_")));
    for database in [world.servers.a.database(), world.servers.b.database()] {
        for user in readers(&database).await? {
            ensure!(
                !user.starts_with("@_vizard_") || user.starts_with("@_vizard_p_"),
                "a receipt of {user} in {}",
                database.display()
            );
        }
    }
    Ok(())
}

/// Reads up to an event, twice, and types.
async fn does(user: &Client, room: &str, event: &str) -> Result<()> {
    user.read(room, event).await?;
    let path = ["v3", "rooms", room, "receipt", "m.read.private", event];
    user.call(Method::POST, &path, Some(json!({}))).await?;
    user.typing(room, true).await
}

/// Whose receipts a homeserver has, of whatever kind.
async fn readers(database: &Path) -> Result<Vec<String>> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .read_only(true)
        .busy_timeout(Duration::from_secs(30));
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let users: Vec<(String,)> = sqlx::query_as("SELECT user_id FROM receipts_linearized")
        .fetch_all(&mut connection)
        .await?;
    connection.close().await?;
    Ok(users.into_iter().map(|(user,)| user).collect())
}
