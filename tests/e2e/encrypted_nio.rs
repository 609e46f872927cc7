//! A member with another stock client, matrix-nio, which shares no code with Vizard's cryptography in how it drives it.

use anyhow::{Result, ensure};

use crate::{
    encrypted::heard,
    ratchets::parlour,
    testkit::e2ee::{E2eeClient, Options, Report, Shield},
    world::{PATIENCE, World},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_nio_reads_the_ghost_and_is_read() -> Result<()> {
    let world = World::encrypted("nio").await?;
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
    let marked = |one: &Report| {
        one.room == alice.portal && one.body().ends_with("I hardly know") && one.failure.is_none()
    };
    let shown = alice.user.wait_for("the answer", marked, PATIENCE).await?;
    shown.assert_trusted();
    ensure!(shown.body().starts_with('⚠'), "not marked: {shown:#?}");
    heard(&owner, &room, "I hardly know").await?;
    Ok(())
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
