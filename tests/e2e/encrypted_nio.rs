//! A member with another stock client, matrix-nio, which shares no code with Vizard's cryptography in how it drives it.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;

use crate::{
    encrypted::{Veiled, heard},
    encrypted_devices::is_marked,
    ratchets::parlour,
    testkit::{
        client::Client,
        e2ee::{E2eeClient, Options, Report, Shield},
    },
    world::World,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_nio_reads_the_ghost_and_is_read() -> Result<()> {
    let mut world = World::encrypted("nio").await?;
    let owner = E2eeClient::register(&world.servers.b, "owner").await?;
    let room = parlour(&owner).await?;
    let bob = E2eeClient::register_nio(&world.servers.b, "bob").await?;
    bob.join(&room, &[]).await?;
    bob.await_encryption(&room).await?;
    let via = format!("{room} {}", world.servers.b.server_name());
    let alice = world.veil("alice", &via, Options::default()).await?;
    bob.await_member(&room, &alice.ghost, "join").await?;
    owner.await_member(&room, &alice.ghost, "join").await?;
    owner.await_member(&room, bob.id(), "join").await?;

    // He knows the device; it is not verified until he has compared its keys.
    alice.user.say(&alice.portal, "who are you").await?;
    let first = heard(&bob, &room, "who are you").await?;
    read_by_a_known_device(&first, &alice.ghost)?;
    ensure!(first.shield == Some(Shield::Grey), "verified by nobody");
    ensure!(bob.verify(&alice.ghost).await? == 1, "not one device");
    alice
        .user
        .say(&alice.portal, "said the caterpillar")
        .await?;
    let second = heard(&bob, &room, "said the caterpillar").await?;
    read_by_a_known_device(&second, &alice.ghost)?;
    ensure!(
        second.shield == Some(Shield::None),
        "from another device than the one that was verified: {second:#?}"
    );
    ensure!(second.sender_key == first.sender_key, "another device");

    // His device is signed by nobody, because his client cannot, and the portal says so.
    bob.say(&room, "I hardly know").await?;
    let why = "comes from a device that its owner has not verified, so it may be somebody else's";
    is_marked(&alice, "I hardly know", why).await?;
    heard(&owner, &room, "I hardly know").await?;
    a_device_that_is_gone_is_called_so(&mut world, &room, &alice).await
}

/// Somebody speaks and logs out before the ghost's device hears of theirs.
async fn a_device_that_is_gone_is_called_so(
    world: &mut World,
    room: &str,
    alice: &Veiled,
) -> Result<()> {
    let cat = E2eeClient::register_nio(&world.servers.b, "cat").await?;
    cat.join(room, &[]).await?;
    cat.await_encryption(room).await?;
    cat.await_member(room, &alice.ghost, "join").await?;
    cat.verify(&alice.ghost).await?;
    world.vizard.stop().await?;
    cat.say(room, "we are all mad here").await?;
    Client::new(cat.account.clone())
        .call(Method::POST, &["v3", "logout"], Some(json!({})))
        .await?;
    world.vizard.start().await?;
    let why = "comes from a device that is not known, or not any more";
    is_marked(alice, "we are all mad here", why).await
}

fn read_by_a_known_device(report: &Report, sender: &str) -> Result<()> {
    ensure!(
        report.encrypted
            && report.failure.is_none()
            && report.sender == sender
            && report.sender_key.is_some()
            && report.sender_device.is_some(),
        "not read, or from a device that is not known: {report:#?}"
    );
    Ok(())
}
