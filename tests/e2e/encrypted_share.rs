//! Members who are given no keys, and a Vizard that loses its encryption.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    encrypted::{Veiled, heard},
    ratchets::parlour,
    testkit::{
        client::Client,
        e2ee::{E2eeClient, Options, Report},
    },
    world::{PATIENCE, World},
};

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_read_is_named_and_nothing_is_said_in_clear() -> Result<()> {
    let mut world = World::start("encrypted-share", |vizard| {
        vizard
            .set("encryption.portal", "always")
            .set("encryption.share", "signed");
    })
    .await?;
    let unsigned = Options {
        unsigned: true,
        ..Options::default()
    };
    let bob = E2eeClient::register_with(&world.servers.b, "bob", unsigned).await?;
    let carol = E2eeClient::register(&world.servers.b, "carol").await?;
    let room = parlour(&bob).await?;
    carol.join(&room, &[]).await?;
    // Who has no keys at all could not read anybody, and needs no naming.
    let dave = Client::register(&world.servers.b, "dave").await?;
    dave.join(&room, &[]).await?;
    let via = format!("{room} {}", world.servers.b.server_name());
    // The user's own device need not be signed: what a room gets is not the portal's business.
    let alice = world.veil_unsigned("alice", &via).await?;
    for member in [&bob, &carol] {
        member.await_member(&room, &alice.ghost, "join").await?;
    }

    let first = alice.user.say(&alice.portal, "can you hear me").await?;
    heard(&carol, &room, "can you hear me")
        .await?
        .assert_trusted();
    let names_bob = |one: &Report| {
        one.room == alice.portal
            && one.body().contains("cannot read you")
            && one.body().contains(bob.device())
    };
    let notice = alice
        .user
        .wait_for("the notice", names_bob, PATIENCE)
        .await?;
    ensure!(notice.encrypted && notice.failure.is_none(), "{notice:#?}");
    ensure!(
        !notice.body().contains(carol.device()),
        "carol can: {}",
        notice.body()
    );
    let ghosts = |one: &Report| one.sender == alice.ghost && one.encrypted;
    let at_bob = bob.wait_for("the message", ghosts, PATIENCE).await?;
    bob.wait_unreadable(&at_bob.event_id, PATIENCE).await?;
    ensure!(!notice.body().contains("dave"), "{}", notice.body());
    alice.user.say(&alice.portal, "and now").await?;
    heard(&carol, &room, "and now").await?;
    world.vizard.restart().await?;
    alice.user.say(&alice.portal, "and after that").await?;
    heard(&carol, &room, "and after that").await?;
    let told = alice.user.timeline(&alice.portal);
    ensure!(
        told.iter().filter(|one| names_bob(one)).count() == 1,
        "not said once: {first}"
    );
    encryption_ends(&mut world, &bob, alice).await
}

/// Encryption is switched off. The portal of a room that was never encrypted stays as encrypted as it was.
async fn encryption_ends(world: &mut World, bob: &E2eeClient, alice: Veiled) -> Result<()> {
    let room = bob
        .create_room(json!({"preset": "public_chat", "name": "Open air"}))
        .await?;
    let via = format!("{room} {}", world.servers.b.server_name());
    let alice = world.enter(alice.user, alice.chat, &via).await?;
    bob.await_member(&room, &alice.ghost, "join").await?;
    bob.say(&room, "fresh air").await?;
    let shown = |one: &Report| one.room == alice.portal && one.body().ends_with("fresh air");
    alice.user.wait_for("the message", shown, PATIENCE).await?;

    world.vizard.stop().await?;
    world.vizard.set("encryption.enabled", "false");
    let before = alice.user.timeline(&alice.portal).len();
    world.vizard.start().await?;
    let mine = alice.user.say(&alice.portal, "is anybody there").await?;
    let fate = |one: &Report| one.room == alice.portal && one.relates_to() == mine;
    let fate = alice.user.wait_for("the fate", fate, PATIENCE).await?;
    ensure!(
        fate.body()
            .starts_with("Not sent: this portal is end-to-end encrypted")
            && !fate.encrypted,
        "{fate:#?}"
    );
    bob.say(&room, "a secret of the forest").await?;
    bob.say(&room, "another one").await?;
    let told = |one: &Report| one.room == alice.portal && one.body().contains("cannot be shown");
    alice.user.wait_for("the notice", told, PATIENCE).await?;
    bob.say(&room, "and a third").await?;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let after = alice.user.timeline(&alice.portal).split_off(before);
    let ours: Vec<_> = after
        .iter()
        .filter(|one| one.sender != alice.user.id() && one.state_key.is_none())
        .collect();
    ensure!(ours.len() == 2, "more was said: {ours:#?}");
    ensure!(
        !bob.timeline(&room)
            .iter()
            .any(|one| one.sender == alice.ghost && one.state_key.is_none()),
        "the ghost said something"
    );

    // And on again: what is said from now on arrives.
    world.vizard.stop().await?;
    world.vizard.set("encryption.enabled", "true");
    world.vizard.start().await?;
    bob.say(&room, "dawn").await?;
    let shown = |one: &Report| one.room == alice.portal && one.body().ends_with("dawn");
    let shown = alice.user.wait_for("the message", shown, PATIENCE).await?;
    shown.assert_trusted();
    Ok(())
}

impl World {
    async fn veil_unsigned(&self, localpart: &str, target: &str) -> Result<Veiled> {
        let options = Options {
            unsigned: true,
            ..Options::default()
        };
        self.veil(localpart, target, options).await
    }
}
