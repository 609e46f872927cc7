//! A database that went back in time, as it does when a backup is restored.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::{
    encrypted::{Veiled, heard},
    olm::Tap,
    ratchets::{no_step_is_used_twice, parlour},
    testkit::e2ee::{E2eeClient, Options},
    world::World,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_database_uses_no_ratchet_twice() -> Result<()> {
    let mut world = World::encrypted("encrypted-rollback").await?;
    world.vizard.stop().await?;
    let tap = Tap::start(&world.servers.a.url()).await?;
    world.vizard.set("homeserver.url", tap.between.url());
    world.vizard.start().await?;
    let bob = E2eeClient::register(&world.servers.b, "bob").await?;
    let room = parlour(&bob).await?;
    let via = format!("{room} {}", world.servers.b.server_name());
    let alice = world.veil("alice", &via, Options::default()).await?;
    bob.await_member(&room, &alice.ghost, "join").await?;
    talk(&alice, &bob, &room, "yesterday").await?;

    world.vizard.stop().await?;
    let copy = copied(&world)?;
    tap.olm.begin_life();
    world.vizard.start().await?;
    talk(&alice, &bob, &room, "today").await?;
    let before = devices(&world, &alice, &bob, &room).await?;
    // Until the homeserver was told that keys were used.
    tokio::time::sleep(Duration::from_secs(36)).await;
    talk(&alice, &bob, &room, "later").await?;

    world.vizard.stop().await?;
    for name in FILES {
        let path = world.vizard.directory().join(name);
        let _ = std::fs::remove_file(&path);
        if let Some((_, bytes)) = copy.iter().find(|(copied, _)| copied == name) {
            std::fs::write(&path, bytes)?;
        }
    }
    tap.olm.begin_life();
    world.vizard.start().await?;
    are_understood(&alice, &bob, &room).await?;
    talk(&alice, &bob, &room, "after").await?;
    talk(&alice, &bob, &room, "and after that").await?;
    let log = std::fs::read_to_string(world.vizard.log())?;
    ensure!(
        log.contains("all devices are made anew"),
        "the old copy was not noticed"
    );
    let after = devices(&world, &alice, &bob, &room).await?;
    for (user, devices) in &before {
        let now = after.iter().find(|(other, _)| other == user);
        let (_, now) = now.context("a user of Vizard is gone")?;
        ensure!(
            now.len() == 1 && !devices.contains(&now[0]),
            "{user} kept a device: {devices:?}, {now:?}"
        );
    }
    let between = tap.olm.no_step_is_used_twice()?;
    ensure!(
        between.messages > 0,
        "the audit saw nothing between devices"
    );
    no_step_is_used_twice(&world).await.map(drop)
}

const FILES: [&str; 3] = ["vizard.db", "vizard.db-wal", "vizard.db-shm"];

fn copied(world: &World) -> Result<Vec<(String, Vec<u8>)>> {
    let mut copy = Vec::new();
    for name in FILES {
        let path = world.vizard.directory().join(name);
        if path.exists() {
            copy.push((name.to_owned(), std::fs::read(path)?));
        }
    }
    ensure!(!copy.is_empty(), "no database to copy");
    Ok(copy)
}

/// Both speak until each has read the other. A client hears of new devices by its own sync, and what it says before that is for the
/// old ones, and never read.
pub async fn are_understood(alice: &Veiled, bob: &E2eeClient, room: &str) -> Result<()> {
    for number in 1..=12 {
        let (out, come) = (format!("can you? {number}"), format!("can I? {number}"));
        alice.user.say(&alice.portal, &out).await?;
        bob.say(room, &come).await?;
        let both = async { tokio::try_join!(heard(bob, room, &out), alice.hears(&come)) };
        let read = tokio::time::timeout(Duration::from_secs(10), both).await;
        if read.is_ok_and(|read| read.is_ok()) {
            return Ok(());
        }
    }
    anyhow::bail!("they do not read each other")
}

/// Both say something, which the other reads without a warning.
pub async fn talk(alice: &Veiled, bob: &E2eeClient, room: &str, when: &str) -> Result<()> {
    let text = format!("from the portal {when}");
    alice.user.say(&alice.portal, &text).await?;
    heard(bob, room, &text).await?.assert_trusted();
    let text = format!("from the room {when}");
    bob.say(room, &text).await?;
    alice.hears(&text).await?.assert_trusted();
    Ok(())
}

/// Curve25519 keys of the devices of the ghost, the bot, and whoever stands in the portal.
pub async fn devices(
    world: &World,
    alice: &Veiled,
    bob: &E2eeClient,
    room: &str,
) -> Result<Vec<(String, Vec<String>)>> {
    let mut users = vec![alice.ghost.clone(), world.bot()];
    for one in alice.user.timeline(&alice.portal) {
        if one.encrypted && one.sender != alice.user.id() && !users.contains(&one.sender) {
            users.push(one.sender);
        }
    }
    ensure!(
        users.len() >= 4,
        "no host or mirror in the portal of {room}"
    );
    let mut found = Vec::new();
    for user in users {
        let keys = bob_or(alice, bob, &user).keys_of(&user).await?;
        let keys = keys.devices.into_iter().map(|one| one.curve25519).collect();
        found.push((user, keys));
    }
    Ok(found)
}

fn bob_or<'a>(alice: &'a Veiled, bob: &'a E2eeClient, user: &str) -> &'a E2eeClient {
    if user == alice.ghost {
        bob
    } else {
        &alice.user
    }
}
