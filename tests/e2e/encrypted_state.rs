//! Rooms that hide their name from servers (MSC4362): read, and said where servers cannot read it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    encrypted::Veiled,
    testkit::{
        audit::{Needle, audit},
        client::{Client, picture},
        e2ee::{E2eeClient, Options, Report},
    },
    world::{PATIENCE, World},
};

const BEFORE: &str = "Salon of the seven whispers";
const TOPIC: &str = "what the dormouse said";
const AFTER: &str = "Salon of the eighth whisper";
const NEW_TOPIC: &str = "what the hatter heard";
const LATE_TOPIC: &str = "what the hare slept through";

#[tokio::test(flavor = "multi_thread")]
async fn hidden_names_are_said_in_the_portal_alone() -> Result<()> {
    let mut world = World::encrypted("encrypted-state").await?;
    let hiding = Options {
        encrypted_state: true,
        ..Options::default()
    };
    let bob = E2eeClient::register_with(&world.servers.b, "bob", hiding).await?;
    let room = bob.create_room(hidden_room()).await?;
    set(
        &bob,
        &room,
        "m.room.name",
        json!({"name": "Before anybody came"}),
    )
    .await?;
    let via = format!("{room} {}", world.servers.b.server_name());
    let user = E2eeClient::register(&world.servers.a, "alice").await?;
    let alice = knock(&mut world, &bob, user, &room, &via).await?;

    // What was set before the join, and could be read by whoever was invited.
    let first = says(&alice, &[BEFORE, TOPIC]).await?;
    first.assert_trusted();
    ensure!(first.body().starts_with("🔒"), "not why: {}", first.body());
    let nick = named_neutrally(&alice).await?;

    // What is set later.
    set(&bob, &room, "m.room.name", json!({"name": AFTER})).await?;
    says(&alice, &[AFTER]).await?.assert_trusted();
    set(&bob, &room, "m.room.topic", json!({"topic": NEW_TOPIC})).await?;
    says(&alice, &[NEW_TOPIC]).await?.assert_trusted();
    let plain = Client::new(bob.account.clone());
    let avatar = plain.upload(&picture("whisper"), "image/png", "").await?;
    set(&bob, &room, "m.room.avatar", json!({"url": avatar})).await?;
    let shown = |one: &Report| one.room == alice.portal && one.content["msgtype"] == "m.image";
    let shown = alice.user.wait_for("the picture", shown, PATIENCE).await?;
    shown.assert_trusted();
    let bytes = alice.user.file_of(&shown.event_id).await?;
    ensure!(bytes.starts_with(b"\x89PNG"), "no picture");

    a_late_key_of_state_is_waited_for(&bob, &room, &alice).await?;

    // A server that serves an old name as a new one changes nothing.
    let old = bob
        .timeline(&room)
        .into_iter()
        .rfind(|one| one.kind == "m.room.name" && one.content["name"] == AFTER)
        .context("the client does not read its own state")?;
    set(
        &bob,
        &room,
        "m.room.name",
        json!({"name": "A passing name"}),
    )
    .await?;
    says(&alice, &["A passing name"]).await?;
    plain
        .set_state(&room, "m.room.encrypted", "m.room.name:", old.wire_content)
        .await?;
    bob.say(&room, "did you hear").await?;
    alice.hears("did you hear").await?;
    let told = alice.user.timeline(&alice.portal);
    let again = told.iter().filter(|one| one.body().contains(AFTER));
    ensure!(again.count() == 1, "an old name was told as new");
    ensure!(named_neutrally(&alice).await? == nick, "another name");

    let words = [
        BEFORE,
        TOPIC,
        AFTER,
        NEW_TOPIC,
        LATE_TOPIC,
        "Before anybody came",
        "A passing name",
    ];
    let needles: Vec<Needle> = words
        .iter()
        .map(|text| Needle::text("hidden state", text))
        .collect();
    for server in [&world.servers.a, &world.servers.b] {
        audit(&server.evidence(), &needles).await?.assert_clean();
    }
    Ok(())
}

/// The key of a new topic comes some time after it.
async fn a_late_key_of_state_is_waited_for(
    bob: &E2eeClient,
    room: &str,
    alice: &Veiled,
) -> Result<()> {
    bob.hold_keys().await?;
    bob.discard_session(room).await?;
    set(bob, room, "m.room.topic", json!({"topic": LATE_TOPIC})).await?;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let told = |all: &[Report]| all.iter().any(|one| one.body().contains(LATE_TOPIC));
    ensure!(
        !told(&alice.user.timeline(&alice.portal)),
        "told without a key"
    );
    ensure!(bob.release_keys().await? > 0, "no key was held back");
    says(alice, &[LATE_TOPIC]).await?.assert_trusted();
    Ok(())
}

fn hidden_room() -> Value {
    json!({
        "preset": "private_chat",
        "initial_state": [
            {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}},
            {"type": "m.room.encryption", "state_key": "", "content": {
                "algorithm": "m.megolm.v1.aes-sha2",
                "io.element.msc4362.encrypt_state_events": true,
            }},
        ],
    })
}

/// Sets state, and sees to it that it went out encrypted.
async fn set(bob: &E2eeClient, room: &str, kind: &str, content: Value) -> Result<()> {
    let event = bob.send_state(room, kind, "", content).await?;
    let seen = bob.wait_readable(&event, PATIENCE).await?;
    ensure!(seen.wire_type == "m.room.encrypted", "in clear: {seen:#?}");
    Ok(())
}

/// A ghost knocks and is invited while Vizard is away; name and topic are set before it joins.
async fn knock(
    world: &mut World,
    bob: &E2eeClient,
    user: E2eeClient,
    room: &str,
    via: &str,
) -> Result<Veiled> {
    let chat = user.create_encrypted_room(&[&world.bot()]).await?;
    user.await_member(&chat, &world.bot(), "join").await?;
    user.say(&chat, &format!("knock {via}")).await?;
    let knocked = |one: &Report| one.room == chat && one.body().contains("knocked as ");
    user.wait_for("the knock", knocked, PATIENCE).await?;
    let plain = Client::new(bob.account.clone());
    let ghost = loop {
        let members = plain.members(room).await?;
        let knocks = |one: &&Value| one["content"]["membership"] == "knock";
        if let Some(one) = members.iter().find(knocks) {
            break one["state_key"].as_str().context("nobody")?.to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    world.vizard.stop().await?;
    bob.invite(room, &ghost).await?;
    bob.await_member(room, &ghost, "invite").await?;
    bob.discard_session(room).await?;
    set(bob, room, "m.room.name", json!({"name": BEFORE})).await?;
    set(bob, room, "m.room.topic", json!({"topic": TOPIC})).await?;
    world.vizard.start().await?;
    let portal = user.accept_invite(PATIENCE).await?;
    user.await_encryption(&portal).await?;
    bob.await_member(room, &ghost, "join").await?;
    Ok(Veiled {
        user,
        chat,
        portal,
        ghost,
    })
}

async fn says(alice: &Veiled, words: &[&str]) -> Result<Report> {
    let fits = |one: &Report| {
        one.room == alice.portal
            && one.sender.starts_with("@_vizard_p_")
            && words.iter().all(|word| one.body().contains(word))
    };
    let what = format!("the host's word of {words:?}");
    alice.user.wait_for(&what, fits, PATIENCE).await
}

/// The portal's own state tells nothing. Returns its name.
async fn named_neutrally(alice: &Veiled) -> Result<String> {
    let plain = Client::new(alice.user.account.clone());
    let state = plain.full_state(&alice.portal).await?;
    let find = |kind: &str| state.iter().find(|one| one["type"] == kind);
    let name = find("m.room.name").context("no name")?;
    let name = name["content"]["name"].as_str().unwrap_or_default();
    ensure!(name.starts_with("Encrypted room ("), "named {name}");
    for kind in ["m.room.topic", "m.room.avatar"] {
        let content = find(kind).map(|one| one["content"].to_string());
        let empty =
            content.is_none_or(|content| !content.contains("whisper") && !content.contains("mxc"));
        ensure!(empty, "{kind} tells something");
    }
    Ok(name.to_owned())
}
