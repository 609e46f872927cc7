//! Devices that the homeserver lost, as when an admin deletes them or it prunes those that were silent.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    encrypted::{Veiled, heard},
    encrypted_rollback::{are_understood, devices, talk},
    olm::Tap,
    ratchets::{conversation, no_step_is_used_twice, parlour},
    testkit::e2ee::{E2eeClient, Options, Report},
    world::{PATIENCE, World},
};

#[tokio::test(flavor = "multi_thread")]
async fn lost_devices_are_made_anew_and_what_was_under_way_arrives_once() -> Result<()> {
    let mut world = World::encrypted("encrypted-pruned").await?;
    world.vizard.stop().await?;
    let tap = Tap::start(&world.servers.a.url()).await?;
    world.vizard.set("homeserver.url", tap.between.url());
    world.vizard.start().await?;
    let bob = E2eeClient::register(&world.servers.b, "bob").await?;
    let room = parlour(&bob).await?;
    let via = format!("{room} {}", world.servers.b.server_name());
    let alice = world.veil("alice", &via, Options::default()).await?;
    bob.await_member(&room, &alice.ghost, "join").await?;
    talk(&alice, &bob, &room, "before").await?;
    // Once more: the mirror is new, and Alice's client begins another room key for it.
    talk(&alice, &bob, &room, "long before").await?;
    let before = devices(&world, &alice, &bob, &room).await?;

    // What is under way is encrypted for devices that are then gone.
    world.vizard.stop().await?;
    alice.user.say(&alice.portal, "under way, out").await?;
    bob.say(&room, "under way, in").await?;
    alice.user.say(&alice.chat, "list").await?;
    // Bob's message crosses the federation.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (user, _) in &before {
        prune(&world, user).await?;
    }
    tap.olm.begin_life();
    world.vizard.start().await?;
    let arrived = heard(&bob, &room, "under way, out").await;
    let arrived = arrived.with_context(|| {
        let shown = alice.user.timeline(&alice.portal);
        let shown: Vec<_> = shown.iter().map(Report::body).collect();
        format!("the portal shows {shown:?}")
    })?;
    arrived.assert_trusted();
    alice.hears("under way, in").await?.assert_trusted();
    let listed = |one: &Report| one.room == alice.chat && one.body().contains("in the room");
    alice.user.wait_for("the list", listed, PATIENCE).await?;
    are_understood(&alice, &bob, &room).await?;
    talk(&alice, &bob, &room, "after").await?;

    // And while Vizard runs: whoever acts next finds it out.
    for (user, _) in &before {
        prune(&world, user).await?;
    }
    alice.user.say(&alice.chat, "version").await?;
    until_all_are_back(&world, &alice, &bob, &room).await?;
    are_understood(&alice, &bob, &room).await?;
    talk(&alice, &bob, &room, "in the end").await?;

    let after = devices(&world, &alice, &bob, &room).await?;
    for (user, devices) in &before {
        let now = after.iter().find(|(other, _)| other == user);
        let (_, now) = now.context("a user of Vizard is gone")?;
        ensure!(
            now.len() == 1 && !devices.contains(&now[0]),
            "{user} kept a device: {devices:?}, {now:?}"
        );
    }
    for (user, room, text) in [
        (&bob, &room, "under way, out"),
        (&alice.user, &alice.portal, "under way, in"),
    ] {
        let said = conversation(user, room).await?;
        let times = said.iter().filter(|one| one.text == text).count();
        ensure!(times == 1, "\"{text}\" came {times} times");
    }
    let between = tap.olm.no_step_is_used_twice()?;
    ensure!(
        between.messages > 0,
        "the audit saw nothing between devices"
    );
    no_step_is_used_twice(&world).await.map(drop)
}

/// Lets everybody speak, which makes Vizard's users act, and waits until each has a device again. What was said to nobody is
/// refused aloud.
async fn until_all_are_back(
    world: &World,
    alice: &Veiled,
    bob: &E2eeClient,
    room: &str,
) -> Result<()> {
    alice.user.say(&alice.portal, "still there?").await?;
    bob.say(room, "still here?").await?;
    let until = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = devices(world, alice, bob, room).await?;
        if now.iter().all(|(_, devices)| devices.len() == 1) {
            return Ok(());
        }
    }
    anyhow::bail!("somebody has no device")
}

/// Deletes all devices of one of Vizard's users.
async fn prune(world: &World, user: &str) -> Result<()> {
    let found = call(world, Method::GET, "devices", user, None).await?;
    let found = found["devices"].as_array().context("devices")?;
    for device in found {
        let id = device["device_id"].as_str().context("a device id")?;
        call(world, Method::DELETE, &format!("devices/{id}"), user, None).await?;
    }
    Ok(())
}

/// What the search for a message of a lost device rests on: made again, the device is shown its transaction ids.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_made_again_sees_its_transaction_ids() -> Result<()> {
    let world = World::encrypted("devices").await?;
    let user = format!("@_vizard_p_trial:{}", world.servers.a.server_name());
    let register = json!({
        "type": "m.login.application_service", "username": "_vizard_p_trial", "inhibit_login": true,
    });
    call(&world, Method::POST, "register", &user, Some(register)).await?;
    let device = "devices/TRIAL";
    call(&world, Method::PUT, device, &user, Some(json!({}))).await?;
    let made = call(&world, Method::POST, "createRoom", &user, Some(json!({}))).await?;
    let room = made["room_id"].as_str().context("a room")?.to_owned();
    let say = format!("rooms/{room}/send/m.room.message/txn1?device_id=TRIAL");
    let body = json!({"msgtype": "m.text", "body": "once"});
    let said = call(&world, Method::PUT, &say, &user, Some(body)).await?;
    call(&world, Method::DELETE, device, &user, None).await?;
    let history = format!("rooms/{room}/messages?dir=b&device_id=TRIAL");
    let refused = call(&world, Method::GET, &history, &user, None).await;
    let refused = format!("{:#}", refused.err().context("the device is gone")?);
    ensure!(refused.contains("M_UNKNOWN_DEVICE"), "{refused}");

    call(&world, Method::PUT, device, &user, Some(json!({}))).await?;
    let history = call(&world, Method::GET, &history, &user, None).await?;
    let events = history["chunk"].as_array().context("events")?;
    let found = events
        .iter()
        .find(|event| event["event_id"] == said["event_id"]);
    let found = found.context("the message")?;
    ensure!(found["unsigned"]["transaction_id"] == "txn1", "{found}");
    Ok(())
}

/// A request of the application service, as one of its users.
async fn call(
    world: &World,
    method: Method,
    path: &str,
    user: &str,
    body: Option<Value>,
) -> Result<Value> {
    let token = std::fs::read_to_string(world.vizard.directory().join("as_token"))?;
    let url = format!("{}/_matrix/client/v3/{path}", world.servers.a.url());
    let mut url = url::Url::parse(&url)?;
    if path != "register" {
        url.query_pairs_mut().append_pair("user_id", user);
    }
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()?;
    let request = client.request(method, url).bearer_auth(token.trim());
    let answer = request
        .json(&body.unwrap_or_else(|| json!({})))
        .send()
        .await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{status} {text}");
    Ok(serde_json::from_str(&text)?)
}
