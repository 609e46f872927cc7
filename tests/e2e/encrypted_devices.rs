//! What comes from a device that is not its owner's for sure, or from none at all, is marked, with the reason; and devices that
//! come later read what is said from then on.

use anyhow::{Result, bail, ensure};

use crate::{
    encrypted::{Veiled, heard},
    testkit::{
        client::Client,
        e2ee::{E2eeClient, Report},
    },
    world::PATIENCE,
};

/// A message is marked in the portal, and the reason was told there.
pub async fn is_marked(alice: &Veiled, text: &str, why: &str) -> Result<()> {
    let shown = |one: &Report| {
        one.room == alice.portal && one.sender != alice.user.id() && one.body().ends_with(text)
    };
    let shown = alice.user.wait_for(text, shown, PATIENCE).await?;
    shown.assert_trusted();
    ensure!(shown.body().starts_with('⚠'), "not marked: {shown:#?}");
    is_told(alice, why).await
}

/// The host says what the mark is for.
pub async fn is_told(alice: &Veiled, why: &str) -> Result<()> {
    let notice = format!("⚠ What is marked so here {why}.");
    let told = |one: &Report| {
        one.room == alice.portal
            && one.sender.starts_with("@_vizard_p_")
            && one.failure.is_none()
            && one.body() == notice
    };
    let told = alice.user.wait_for(&notice, told, PATIENCE).await?;
    told.assert_trusted();
    Ok(())
}

/// A client that does not encrypt speaks in the encrypted room.
pub async fn clear_text_is_marked(bob: &E2eeClient, room: &str, alice: &Veiled) -> Result<()> {
    let plain = Client::new(bob.account.clone());
    plain.say(room, "on an open postcard").await?;
    let why = "was sent unencrypted, so the servers could read and change it";
    is_marked(alice, "on an open postcard", why).await
}

/// A member logs in once more, after the ghost spoke.
pub async fn a_second_device_comes(bob: &E2eeClient, room: &str, alice: &Veiled) -> Result<()> {
    let second = bob.second_device().await?;
    second.await_encryption(room).await?;
    second.await_member(room, &alice.ghost, "join").await?;
    second.await_device(&alice.ghost).await?;
    second.say(room, "my hands are new").await?;
    let why = "comes from a device that its owner has not verified, so it may be somebody else's";
    is_marked(alice, "my hands are new", why).await?;
    alice
        .user
        .say(&alice.portal, "both hands are welcome")
        .await?;
    for one in [bob, &second] {
        heard(one, room, "both hands are welcome")
            .await?
            .assert_trusted();
    }
    // Once it is signed, and its server has told, nothing is marked any more.
    bob.sign_device(second.device()).await?;
    for n in 0..10 {
        let text = format!("shaken {n}");
        second.say(room, &text).await?;
        let shown = |one: &Report| {
            one.room == alice.portal && one.sender != alice.user.id() && one.body().ends_with(&text)
        };
        let shown = alice.user.wait_for(&text, shown, PATIENCE).await?;
        if shown.body() == text {
            return second.stop().await;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    bail!("a device that its owner signed is marked on and on")
}
