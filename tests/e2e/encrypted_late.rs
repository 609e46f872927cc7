//! Keys that come late or never, and ciphertext that comes twice, or from somebody else.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    encrypted::{Veiled, heard},
    files::photo,
    ratchets::parlour,
    testkit::{
        client::Client,
        e2ee::{DeviceKeys, E2eeClient, Options, Report},
        proxy::counted,
    },
    world::{PATIENCE, World},
};

#[tokio::test(flavor = "multi_thread")]
async fn late_keys_and_replays() -> Result<()> {
    let mut world = World::encrypted("encrypted-late").await?;
    // Bot, ghost, host and mirror: their keys leave memory and come back all the time.
    world.vizard.set("encryption.machines", "2");
    world.vizard.restart().await?;
    let bob = E2eeClient::register(&world.servers.b, "bob").await?;
    let room = parlour(&bob).await?;
    let via = format!("{room} {}", world.servers.b.server_name());
    let alice = world.veil("alice", &via, Options::default()).await?;
    bob.await_member(&room, &alice.ghost, "join").await?;

    a_late_key_replaces_its_placeholder(&mut world, &bob, &room, &alice).await?;
    a_late_edit_comes_beside_its_placeholder(&bob, &room, &alice).await?;
    a_lost_channel_is_called_so_and_mended(&bob, &room, &alice).await?;
    nothing_is_said_twice(&mut world, &bob, &room, &alice).await?;
    what_is_withheld_is_called_so(&bob, &room, &alice).await?;
    what_cannot_be_read_of_hers_is_not_sent(&bob, &room, &alice).await?;
    nobody_speaks_with_the_words_of_another(&mut world, &bob, &room, &alice).await
}

fn placeholders(alice: &Veiled) -> Vec<Report> {
    let mut all = alice.user.timeline(&alice.portal);
    all.retain(|one| one.body().starts_with('🔒') && one.content["m.new_content"].is_null());
    all
}

/// The placeholder that comes after so many others.
async fn placeholder(alice: &Veiled, known: usize) -> Result<Report> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = placeholders(alice).into_iter().nth(known) {
            return Ok(found);
        }
        ensure!(Instant::now() < end, "no placeholder came");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn a_late_key_replaces_its_placeholder(
    world: &mut World,
    bob: &E2eeClient,
    room: &str,
    alice: &Veiled,
) -> Result<()> {
    bob.hold_keys().await?;
    bob.discard_session(room).await?;
    let late = bob.say(room, "the tardy hare").await?;
    let text = placeholder(alice, 0).await?;
    text.assert_trusted();
    ensure!(text.body().contains("has not come yet"), "{}", text.body());
    let image = json!({"msgtype": "m.image", "body": "x.jpg", "info": {"mimetype": "image/jpeg"}});
    let late_file = bob.send_file(room, image, &photo("here")).await?;
    let file = placeholder(alice, 1).await?;

    // Bob, and nobody else, is asked for the key, once.
    let session = bob.look(&late).await?.wire_content["session_id"].clone();
    let asks = |one: &serde_json::Value| {
        one["type"] == "m.room_key_request"
            && one["sender"] == alice.ghost.as_str()
            && one["content"]["action"] == "request"
    };
    let asked = bob.wait_to_device("a key request", asks, PATIENCE).await?;
    let wanted = &asked["content"]["body"];
    ensure!(
        wanted["session_id"] == session && wanted["room_id"] == room,
        "another key is asked for: {asked:#?}"
    );
    ensure!(wanted["algorithm"] == "m.megolm.v1.aes-sha2", "{asked:#?}");

    ensure!(bob.release_keys().await? > 0, "no key was held back");
    let edits = |one: &Report| one.room == alice.portal && one.relates_to() == text.event_id;
    let edit = alice.user.wait_for("the text", edits, PATIENCE).await?;
    edit.assert_trusted();
    ensure!(edit.body() == "the tardy hare", "{edit:#?}");
    ensure!(
        edit.content["m.relates_to"]["rel_type"] == "m.replace" && edit.sender == text.sender,
        "not an edit of the mirror's: {edit:#?}"
    );
    let ends = |one: &serde_json::Value| {
        one["content"]["action"] == "request_cancellation"
            && one["content"]["request_id"] == asked["content"]["request_id"]
    };
    bob.wait_to_device("the end of the request", ends, PATIENCE)
        .await?;

    // A file comes beside its placeholder, which then goes.
    let is_file = |one: &Report| one.room == alice.portal && one.content["msgtype"] == "m.image";
    let shown = alice.user.wait_for("the file", is_file, PATIENCE).await?;
    shown.assert_trusted();
    alice.user.file_of(&shown.event_id).await?;
    let gone = |one: &Report| one.event_id == file.event_id && one.redacted;
    alice.user.wait_for("its place", gone, PATIENCE).await?;

    // Later words about either are about what is shown.
    bob.edit(room, &late, "the tardy tortoise").await?;
    let edit = alice.hears("the tardy tortoise").await?;
    ensure!(edit.relates_to() == text.event_id, "another was edited");
    bob.redact(room, &late_file).await?;
    let gone = |one: &Report| one.event_id == shown.event_id && one.redacted;
    alice
        .user
        .wait_for("the file's end", gone, PATIENCE)
        .await?;

    world.vizard.restart().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let all = alice.user.timeline(&alice.portal);
    let count = |fits: &dyn Fn(&Report) -> bool| all.iter().filter(|one| fits(one)).count();
    ensure!(
        count(&|one| one.body() == "the tardy hare") == 1,
        "said more than once"
    );
    ensure!(
        count(&|one| one.sender == shown.sender && one.redacted) == 2,
        "more was redacted than a placeholder and a file"
    );
    ensure!(placeholders(alice).len() <= 2, "another placeholder");
    Ok(())
}

/// The message could be read, and the key of an edit of it comes late.
async fn a_late_edit_comes_beside_its_placeholder(
    bob: &E2eeClient,
    room: &str,
    alice: &Veiled,
) -> Result<()> {
    let known = placeholders(alice).len();
    let first = bob.say(room, "a fair copy").await?;
    let shown = alice.hears("a fair copy").await?;
    bob.hold_keys().await?;
    bob.discard_session(room).await?;
    bob.edit(room, &first, "a fairer copy").await?;
    let place = placeholder(alice, known).await?;
    ensure!(bob.release_keys().await? > 0, "no key was held back");
    let edit = alice.hears("a fairer copy").await?;
    edit.assert_trusted();
    ensure!(
        edit.relates_to() == shown.event_id && edit.sender == shown.sender,
        "another was edited: {edit:#?}"
    );
    let gone = |one: &Report| one.event_id == place.event_id && one.redacted;
    alice.user.wait_for("its place", gone, PATIENCE).await?;
    Ok(())
}

/// A device says that it has no secure channel to the ghost's (`m.no_olm`), and finds one later.
async fn a_lost_channel_is_called_so_and_mended(
    bob: &E2eeClient,
    room: &str,
    alice: &Veiled,
) -> Result<()> {
    let known = placeholders(alice).len();
    let keys = bob.keys_of(bob.id()).await?;
    let own = |one: &&DeviceKeys| one.device_id == bob.device();
    let own = keys.devices.iter().find(own).context("no own device")?;
    bob.hold_keys().await?;
    bob.discard_session(room).await?;
    let notice = json!({
        "algorithm": "m.megolm.v1.aes-sha2", "code": "m.no_olm", "sender_key": own.curve25519,
        "reason": "Unable to establish a secure channel.",
    });
    let server = Client::new(bob.account.clone());
    server
        .send_to_devices(&alice.ghost, "m.room_key.withheld", &notice)
        .await?;
    bob.say(room, "through the fog").await?;
    let place = placeholder(alice, known).await?;
    place.assert_trusted();
    ensure!(
        place.body().contains("no secure channel"),
        "not why: {}",
        place.body()
    );
    ensure!(bob.release_keys().await? > 0, "no key was held back");
    let edit = alice.hears("through the fog").await?;
    edit.assert_trusted();
    ensure!(
        edit.relates_to() == place.event_id && edit.content["m.new_content"].is_object(),
        "not in its place: {edit:#?}"
    );
    Ok(())
}

/// A server sends a ciphertext once more under another event id, in the room and in the portal.
async fn nothing_is_said_twice(
    world: &mut World,
    bob: &E2eeClient,
    room: &str,
    alice: &Veiled,
) -> Result<()> {
    let once = bob.say(room, "once upon a time").await?;
    alice.hears("once upon a time").await?;
    let spoken = alice.user.say(&alice.portal, "a tale is told").await?;
    heard(bob, room, "a tale is told").await?;
    let server = Client::new(bob.account.clone());
    let ours = Client::new(alice.user.account.clone());
    let again = bob.look(&once).await?.wire_content;
    let spoken = alice.user.look(&spoken).await?.wire_content;
    for (round, word) in ["and then", "after all"].into_iter().enumerate() {
        if round == 1 {
            // What was heard is remembered by more than memory.
            world.vizard.restart().await?;
        }
        server.send(room, "m.room.encrypted", again.clone()).await?;
        ours.send(&alice.portal, "m.room.encrypted", spoken.clone())
            .await?;
        bob.say(room, word).await?;
        alice.hears(word).await?;
        let back = format!("{word}, she said");
        alice.user.say(&alice.portal, &back).await?;
        heard(bob, room, &back).await?;
        let metrics = world.vizard.metrics().await?;
        ensure!(
            metrics.contains(r#"class="replay""#),
            "replays are not counted:\n{metrics}"
        );
    }
    let mirrored =
        |one: &&Report| one.sender != alice.user.id() && one.body() == "once upon a time";
    let all = alice.user.timeline(&alice.portal);
    ensure!(all.iter().filter(mirrored).count() == 1, "said twice");
    let all = bob.timeline(room);
    let said = |one: &&Report| one.sender == alice.ghost && one.body() == "a tale is told";
    ensure!(
        all.iter().filter(said).count() == 1,
        "the ghost said it twice"
    );
    Ok(())
}

/// A member sends a ciphertext of Bob's as his own, and the ghost's device has the key and has not seen Bob's.
async fn nobody_speaks_with_the_words_of_another(
    world: &mut World,
    bob: &E2eeClient,
    room: &str,
    alice: &Veiled,
) -> Result<()> {
    let mallory = Client::register(&world.servers.b, "mallory").await?;
    mallory.join(room, &[]).await?;
    bob.await_member(room, mallory.id(), "join").await?;
    bob.say(room, "he comes in quietly").await?;
    alice.hears("he comes in quietly").await?;
    world.vizard.stop().await?;
    let said = bob.say(room, "off with his head").await?;
    let forged = bob.look(&said).await?.wire_content;
    // Unseen, so that it is no replay.
    bob.redact(room, &said).await?;
    mallory.send(room, "m.room.encrypted", forged).await?;
    world.vizard.start().await?;
    bob.say(room, "the cat is gone").await?;
    alice.hears("the cat is gone").await?.assert_trusted();
    let metrics = world.vizard.metrics().await?;
    ensure!(
        counted(&metrics, &[r#"class="undecryptable""#])? > 0
            && counted(&metrics, &[r#"class="replay""#])? == 0,
        "not dropped for its sender:\n{metrics}"
    );
    // A late delivery would come behind what was looked up after the start.
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Neither the words nor a placeholder or a warning for them; what Bob took back is his own affair.
    let his = alice.hears("the cat is gone").await?.sender;
    let all = alice.user.timeline(&alice.portal);
    let mut shown = all
        .iter()
        .skip_while(|one| one.body() != "he comes in quietly");
    let other = shown.find(|one| {
        one.kind == "m.room.message"
            && ![his.as_str(), alice.user.id()].contains(&one.sender.as_str())
            || one.body().contains("off with his head")
    });
    ensure!(other.is_none(), "something else is shown: {other:#?}");
    Ok(())
}

/// The user's own client keeps the key from Vizard, or is late with it: she reads why nothing was sent, and nothing is sent
/// later.
async fn what_cannot_be_read_of_hers_is_not_sent(
    bob: &E2eeClient,
    room: &str,
    alice: &Veiled,
) -> Result<()> {
    let user = &alice.user;
    user.hold_keys().await?;
    user.discard_session(&alice.portal).await?;
    let kept = "it is encrypted, and your client did not give Vizard its key. Send it again";
    is_not_sent(alice, "a muffled tea", kept).await?;
    ensure!(user.release_keys().await? > 0, "no key was held back");
    user.say(&alice.portal, "a louder tea").await?;
    heard(bob, room, "a louder tea").await?.assert_trusted();

    user.only_verified(true).await?;
    user.discard_session(&alice.portal).await?;
    let refused = "it is encrypted, and your client gives its keys to verified people only (see its settings)";
    is_not_sent(alice, "tea for friends", refused).await?;
    user.only_verified(false).await?;
    user.discard_session(&alice.portal).await?;
    user.say(&alice.portal, "tea for all").await?;
    heard(bob, room, "tea for all").await?.assert_trusted();
    let unsent = ["a muffled tea", "tea for friends"];
    let said = bob.timeline(room);
    let said = said.iter().find(|one| unsent.contains(&one.body()));
    ensure!(said.is_none(), "sent after all: {said:#?}");
    Ok(())
}

async fn is_not_sent(alice: &Veiled, text: &str, why: &str) -> Result<()> {
    let said = alice.user.say(&alice.portal, text).await?;
    let fate = |one: &Report| one.room == alice.portal && one.relates_to() == said;
    let fate = alice.user.wait_for("its fate", fate, PATIENCE).await?;
    fate.assert_trusted();
    ensure!(
        fate.body().contains(&format!("Not sent: {why}.")),
        "not why: {}",
        fate.body()
    );
    Ok(())
}

async fn what_is_withheld_is_called_so(bob: &E2eeClient, room: &str, alice: &Veiled) -> Result<()> {
    let known = placeholders(alice).len();
    bob.only_verified(true).await?;
    bob.discard_session(room).await?;
    bob.say(room, "for friends only").await?;
    let shown = placeholder(alice, known).await?;
    ensure!(
        shown.body().contains("withheld") && shown.body().contains("verified"),
        "not why: {}",
        shown.body()
    );
    bob.only_verified(false).await?;
    bob.discard_session(room).await?;
    bob.say(room, "for everybody").await?;
    alice.hears("for everybody").await?.assert_trusted();
    Ok(())
}
