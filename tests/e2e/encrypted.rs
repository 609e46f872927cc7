//! Both sides end-to-end encrypted, with a stock client on each end, which says itself what it thinks of what it gets.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    encrypted_devices::{a_second_device_comes, clear_text_is_marked, is_told},
    encrypted_files::of_all_kinds,
    encrypted_traces::{logs_are_silent, nothing_of_the_user_travels, published_keys_link_nobody},
    files::photo,
    testkit::{
        audit::{Needle, audit, linkage},
        e2ee::{E2eeClient, Options, Report},
    },
    world::{PATIENCE, Side, World},
};

/// A user with a stock client, in an encrypted portal.
pub struct Veiled {
    pub user: E2eeClient,
    pub chat: String,
    pub portal: String,
    pub ghost: String,
}

impl World {
    /// Two homeservers, each with a Vizard as an admin sets it up, with encryption; A without any experimental setting.
    pub async fn encrypted(label: &str) -> Result<Self> {
        Self::with_hints(label, |vizard| {
            vizard
                .set("encryption.portal", "always")
                .set("log.level", "debug");
        })
        .await
    }

    /// A stock client of A in an encrypted direct chat with the bot, and in a portal.
    pub async fn veil(&self, localpart: &str, target: &str, options: Options) -> Result<Veiled> {
        self.veil_on(Side::A, localpart, target, options).await
    }

    /// The same on either side.
    pub async fn veil_on(
        &self,
        side: Side,
        localpart: &str,
        target: &str,
        options: Options,
    ) -> Result<Veiled> {
        let user = E2eeClient::register_with(self.server(side), localpart, options).await?;
        let bot = bot_of(&user);
        let chat = user
            .create_room(json!({
                "preset": "trusted_private_chat", "is_direct": true, "invite": [bot],
                "initial_state": [{
                    "type": "m.room.encryption", "state_key": "",
                    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
                }],
            }))
            .await?;
        self.enter(user, chat, target).await
    }

    /// Joins a room by way of the bot, and accepts the invite to the portal.
    pub async fn enter(&self, user: E2eeClient, chat: String, target: &str) -> Result<Veiled> {
        let bot = bot_of(&user);
        user.await_member(&chat, &bot, "join").await?;
        let greeting =
            |one: &Report| one.room == chat && one.body().starts_with("Hello, I am Vizard");
        user.wait_for("the greeting", greeting, PATIENCE)
            .await?
            .assert_trusted();
        user.say(&chat, &format!("join {target}")).await?;
        let joined = |one: &Report| one.room == chat && one.body().contains("joined as ");
        user.wait_for("the join", joined, PATIENCE)
            .await?
            .assert_trusted();
        let portal = user.accept_invite(PATIENCE).await?;
        user.await_encryption(&portal).await?;
        user.say(&portal, "!vizard whoami").await?;
        let answer = |one: &Report| one.room == portal && one.body().contains("@_vizard_");
        let whoami = user
            .wait_for("an answer in the portal", answer, PATIENCE)
            .await?;
        whoami.assert_trusted();
        let at = whoami.body().find("@_vizard_").context("a ghost")?;
        let ghost: String = whoami.body()[at..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "@_.:-".contains(*c))
            .collect();
        Ok(Veiled {
            user,
            chat,
            portal,
            ghost: ghost.trim_end_matches(['.', ':']).to_owned(),
        })
    }
}

pub fn bot_of(user: &E2eeClient) -> String {
    let server = user.id().split_once(':').map_or("", |(_, server)| server);
    format!("@vizard:{server}")
}

impl Veiled {
    /// What a member said, as the portal shows it: encrypted, from a device that its owner signed, no warning.
    pub async fn hears(&self, text: &str) -> Result<Report> {
        heard(&self.user, &self.portal, text).await
    }
}

/// A message with this text from somebody else.
pub async fn heard(user: &E2eeClient, room: &str, text: &str) -> Result<Report> {
    let fits = |one: &Report| {
        one.room == room && one.sender != user.id() && one.failure.is_none() && one.body() == text
    };
    user.wait_for(&format!("\"{text}\""), fits, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_clients_read_each_other_without_a_warning() -> Result<()> {
    let mut world = World::encrypted("veil").await?;
    let bob = E2eeClient::register(&world.servers.b, "bob").await?;
    let room = bob
        .create_room(json!({
            "preset": "public_chat", "name": "Parlour",
            "initial_state": [{
                "type": "m.room.encryption", "state_key": "",
                "content": {"algorithm": "m.megolm.v1.aes-sha2"},
            }],
        }))
        .await?;
    let via = format!("{room} {}", world.servers.b.server_name());
    let strict = Options {
        only_signed: true,
        ..Options::default()
    };
    let alice = world.veil("alice", &via, strict).await?;
    let second = bob
        .create_room(json!({"preset": "public_chat", "name": "Second parlour"}))
        .await?;

    // Another user of A, whose client excludes nothing: what all masks of A have in common links no two.
    let carol = world.veil("carol", &via, Options::default()).await?;

    bob.await_member(&room, &alice.ghost, "join").await?;
    bob.await_member(&room, &carol.ghost, "join").await?;
    let from_bob = bob.say(&room, "the walrus said").await?;
    alice.hears("the walrus said").await?.assert_trusted();
    let from_alice = alice
        .user
        .say(&alice.portal, "of cabbages and kings")
        .await?;
    let at_bob = heard(&bob, &room, "of cabbages and kings").await?;
    at_bob.assert_trusted();
    ensure!(at_bob.sender == alice.ghost, "said by somebody else");
    carol.hears("of cabbages and kings").await?.assert_trusted();
    carol
        .user
        .say(&carol.portal, "we cannot do with more than four")
        .await?;
    alice
        .hears("we cannot do with more than four")
        .await?
        .assert_trusted();

    a_mask_of_b_joins_in(&world, &bob, &room, &alice).await?;

    let (here, there) = (from_alice.as_str(), at_bob.event_id.as_str());
    events_refer_to_each_other(&bob, &room, &alice, &from_bob, [here, there]).await?;
    clear_text_is_marked(&bob, &room, &alice).await?;

    // Encryption that is switched on later; a second mask of the same user.
    let via = format!("{second} {}", world.servers.b.server_name());
    let again = world.enter(alice.user, alice.chat.clone(), &via).await?;
    ensure!(again.ghost != alice.ghost, "one mask in two rooms");
    bob.await_member(&second, &again.ghost, "join").await?;
    let three = json!({"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 3});
    bob.enable_encryption(&second, three).await?;
    bob.await_encryption(&second).await?;
    let told =
        |one: &Report| one.room == again.portal && one.body().contains("now end-to-end encrypted");
    again.user.wait_for("the notice", told, PATIENCE).await?;
    bob.say(&second, "curtains drawn").await?;
    again.hears("curtains drawn").await?.assert_trusted();
    again.user.say(&again.portal, "and the lamps lit").await?;
    heard(&bob, &second, "and the lamps lit")
        .await?
        .assert_trusted();

    no_room_key_serves_for_more_than_three(&bob, &second, &again).await?;

    files_both_ways(&alice.portal, &again, &bob, [&room, &second]).await?;
    of_all_kinds(&again, &bob, &second).await?;
    a_second_device_comes(&bob, &second, &again).await?;
    new_identity_is_marked(&bob, &second, &again).await?;
    let ghosts = [&alice.ghost, &again.ghost];
    nothing_is_in_clear(&world, &bob, ghosts, &again).await?;
    nothing_of_the_user_travels(&world, &again.user, PLANTED, FILE_NAME).await?;
    published_keys_link_nobody(&world.servers.a.database(), &ghosts).await?;
    let everybody = [&bob, &again.user, &carol.user];
    logs_are_silent(&mut world, &everybody, &[&again, &carol], &ghosts).await?;
    no_key_outlives_forgetting(&world, &bob, &second, &again).await
}

/// The room wants a new room key after every three messages, of the ghost too.
async fn no_room_key_serves_for_more_than_three(
    bob: &E2eeClient,
    room: &str,
    alice: &Veiled,
) -> Result<()> {
    let mut uses: HashMap<String, usize> = HashMap::new();
    for n in 0..10 {
        let text = format!("turn and turn about {n}");
        alice.user.say(&alice.portal, &text).await?;
        let shown = heard(bob, room, &text).await?;
        shown.assert_trusted();
        let session = shown.wire_content["session_id"].as_str();
        *uses
            .entry(session.context("no session")?.to_owned())
            .or_default() += 1;
    }
    ensure!(
        uses.len() >= 4 && uses.values().all(|count| *count <= 3),
        "room keys were used so often: {:?}",
        uses.values()
    );
    Ok(())
}

/// `forget`: the ghost's device and its keys are gone, on the homeserver and in the database.
async fn no_key_outlives_forgetting(
    world: &World,
    bob: &E2eeClient,
    room: &str,
    alice: &Veiled,
) -> Result<()> {
    let before = machines(world)?;
    let commands = ["!vizard forget", "!vizard forget confirm"];
    for (command, said) in commands.into_iter().zip(["Do you want to forget", ""]) {
        alice.user.say(&alice.portal, command).await?;
        let answer = |one: &Report| one.room == alice.portal && one.body().contains(said);
        alice.user.wait_for(command, answer, PATIENCE).await?;
    }
    bob.await_member(room, &alice.ghost, "leave").await?;
    let end = Instant::now() + PATIENCE;
    loop {
        let keys = bob.keys_of(&alice.ghost).await?;
        // Ghost, host, and the mirror of Bob.
        if keys.devices.is_empty() && machines(world)? + 3 <= before {
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "there still are {keys:#?}, and {} devices with keys of {before}",
            machines(world)?
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// How many devices have keys at A, as `doctor` counts them.
fn machines(world: &World) -> Result<u64> {
    let vizard = &world.vizard;
    let mut doctor = vizard.command();
    doctor.arg("doctor").arg("--config").arg(vizard.config());
    let said = String::from_utf8(doctor.output()?.stdout)?;
    let count = said
        .split_once("devices with encryption keys: ")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    count.with_context(|| format!("doctor counts no devices:\n{said}"))
}

/// Replies, edits, reactions and redactions both ways, about a message of each; hers stands `here` in the portal and `there` in
/// the room.
async fn events_refer_to_each_other(
    bob: &E2eeClient,
    room: &str,
    alice: &Veiled,
    from_bob: &str,
    [here, there]: [&str; 2],
) -> Result<()> {
    // Refusing devices that their owners did not sign changes nothing.
    bob.only_signed_devices(true).await?;
    let shown = alice.hears("the walrus said").await?;
    let oyster = alice
        .user
        .reply(&alice.portal, &shown.event_id, "an oyster replies")
        .await?;
    let reply = heard(bob, room, "an oyster replies").await?;
    reply.assert_trusted();
    ensure!(reply.relates_to() == from_bob, "a reply to something else");
    bob.reply(room, there, "the time has come").await?;
    let answer = alice.hears("the time has come").await?;
    answer.assert_trusted();
    ensure!(answer.relates_to() == here, "a reply to something else");
    bob.edit(room, from_bob, "the carpenter said").await?;
    let edit = alice.hears("the carpenter said").await?;
    edit.assert_trusted();
    ensure!(
        edit.relates_to() == shown.event_id,
        "an edit of something else"
    );
    alice
        .user
        .edit(&alice.portal, here, "of sealing wax")
        .await?;
    let edit = heard(bob, room, "of sealing wax").await?;
    edit.assert_trusted();
    ensure!(edit.relates_to() == there, "an edit of something else");
    alice
        .user
        .react(&alice.portal, &shown.event_id, "🦪")
        .await?;
    let reaction = |one: &Report| one.kind == "m.reaction" && one.sender == alice.ghost;
    let reaction = bob.wait_for("the reaction", reaction, PATIENCE).await?;
    ensure!(
        reaction.relates_to() == from_bob,
        "a reaction to something else"
    );
    bob.react(room, there, "🎩").await?;
    let reaction = |one: &Report| {
        one.room == alice.portal && one.kind == "m.reaction" && one.sender != alice.user.id()
    };
    let reaction = alice
        .user
        .wait_for("his reaction", reaction, PATIENCE)
        .await?;
    ensure!(
        reaction.relates_to() == here && reaction.content["m.relates_to"]["key"] == "🎩",
        "another reaction, or to something else: {reaction:#?}"
    );
    bob.redact(room, from_bob).await?;
    let gone = |one: &Report| one.event_id == shown.event_id && one.redacted;
    alice.user.wait_for("the redaction", gone, PATIENCE).await?;
    alice.user.redact(&alice.portal, &oyster).await?;
    let gone = |one: &Report| one.event_id == reply.event_id && one.redacted;
    bob.wait_for("her redaction", gone, PATIENCE).await?;
    Ok(())
}

/// A user of B, behind a mask of B's own Vizard, whose homeserver gives hints, talks to a mask of A.
async fn a_mask_of_b_joins_in(
    world: &World,
    bob: &E2eeClient,
    room: &str,
    alice: &Veiled,
) -> Result<()> {
    let strict = Options {
        only_signed: true,
        ..Options::default()
    };
    let dora = world.veil_on(Side::B, "dora", room, strict).await?;
    bob.await_member(room, &dora.ghost, "join").await?;
    dora.user
        .say(&dora.portal, "a pleasant walk, a pleasant talk")
        .await?;
    let at_bob = heard(bob, room, "a pleasant walk, a pleasant talk").await?;
    at_bob.assert_trusted();
    ensure!(at_bob.sender == dora.ghost, "said by somebody else");
    alice
        .hears("a pleasant walk, a pleasant talk")
        .await?
        .assert_trusted();
    alice
        .user
        .say(&alice.portal, "along the briny beach")
        .await?;
    dora.hears("along the briny beach").await?.assert_trusted();
    bob.say(room, "the sun was shining on the sea").await?;
    dora.hears("the sun was shining on the sea")
        .await?
        .assert_trusted();
    let hints = world.hinted()?.proxy.passed();
    ensure!(hints > 0, "B gives no hints");
    Ok(())
}

/// Bob throws his identity away: what he says next, once his server has told, is marked, and what comes after that is not.
async fn new_identity_is_marked(bob: &E2eeClient, room: &str, alice: &Veiled) -> Result<()> {
    bob.renew_identity().await?;
    let mut marked = Vec::new();
    for n in 0..8 {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let text = format!("a new coat {n}");
        bob.say(room, &text).await?;
        let shown = |one: &Report| one.room == alice.portal && one.body().ends_with(&text);
        let shown = alice.user.wait_for(&text, shown, PATIENCE).await?;
        marked.push(shown.body().starts_with('⚠'));
        if marked.ends_with(&[true, false]) {
            // For this, and not for a device that is not known yet.
            return is_told(alice, "comes from somebody whose identity has changed").await;
        }
        // The ghost's device looks for new devices before it speaks.
        let seen = format!("seen {n}");
        alice.user.say(&alice.portal, &seen).await?;
        heard(bob, room, &seen).await?;
    }
    anyhow::bail!("a new identity was not noticed, or always is: {marked:?}")
}

/// The same picture in two rooms, from both sides.
async fn files_both_ways(
    first: &str,
    again: &Veiled,
    bob: &E2eeClient,
    rooms: [&String; 2],
) -> Result<()> {
    let mut copies = Vec::new();
    for (portal, room) in [first, &again.portal].into_iter().zip(rooms) {
        copies.push(file(&again.user, portal, bob, room).await?);
        copies.push(file(bob, room, &again.user, portal).await?);
    }
    no_two_have_anything_in_common(&copies)
}

const PLANTED: &str = "GPS of the looking-glass house";
const FILE_NAME: &str = "me at home.jpg";

/// A picture that says where it was taken goes over encrypted, and arrives without. Returns where, and its key and hash.
async fn file(from: &E2eeClient, here: &str, to: &E2eeClient, there: &str) -> Result<[String; 3]> {
    let content =
        json!({"msgtype": "m.image", "body": FILE_NAME, "info": {"mimetype": "image/jpeg"}});
    let before = to.timeline(there).len();
    from.send_file(here, content, &photo(PLANTED)).await?;
    let arrived = |one: &Report| one.room == there && one.content["msgtype"] == "m.image";
    to.wait_for(
        "the picture",
        |one| arrived(one) && one.sender != to.id(),
        PATIENCE,
    )
    .await?;
    let shown = to.timeline(there).into_iter().skip(before).find(arrived);
    let shown = shown.context("another picture")?;
    shown.assert_trusted();
    let bytes = to.file_of(&shown.event_id).await?;
    ensure!(bytes.starts_with(&[0xff, 0xd8]), "no picture");
    let found = bytes
        .windows(PLANTED.len())
        .any(|part| part == PLANTED.as_bytes());
    ensure!(!found, "the picture says where it was taken");
    ensure!(shown.body() == "image.jpg", "its name: {}", shown.body());
    let file = &shown.content["file"];
    let part = |value: &serde_json::Value| value.as_str().map(str::to_owned).context("no file");
    Ok([
        part(&file["url"])?,
        part(&file["key"]["k"])?,
        part(&file["hashes"]["sha256"])?,
    ])
}

fn no_two_have_anything_in_common(copies: &[[String; 3]]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for part in copies.iter().flatten() {
        ensure!(seen.insert(part), "two copies share {part}");
    }
    Ok(())
}

/// No plaintext on either disk; nothing of Alice on B's; two masks share no key.
async fn nothing_is_in_clear(
    world: &World,
    bob: &E2eeClient,
    ghosts: [&String; 2],
    alice: &Veiled,
) -> Result<()> {
    let said = [
        "the walrus said",
        "we cannot do with more than four",
        "a pleasant walk, a pleasant talk",
        "along the briny beach",
        "the time has come",
        "turn and turn about",
        "both hands are welcome",
        "the sun was shining on the sea",
        "of cabbages and kings",
        "an oyster replies",
        "the carpenter said",
        "of sealing wax",
        "curtains drawn",
        "and the lamps lit",
    ];
    let spoken: Vec<Needle> = said
        .iter()
        .map(|text| Needle::text("a message", text))
        .collect();
    for server in [&world.servers.a, &world.servers.b] {
        audit(&server.evidence(), &spoken).await?.assert_clean();
    }
    let mut needles = Needle::user("the user", alice.user.id());
    needles.push(Needle::text("the user's device", alice.user.device()));
    needles.extend(Needle::id("a portal", &alice.portal));
    needles.extend(Needle::id("the chat", &alice.chat));
    audit(&world.servers.b.evidence(), &needles)
        .await?
        .assert_clean();
    let ids: Vec<&str> = ghosts.iter().map(|ghost| ghost.as_str()).collect();
    let links = linkage(&world.servers.b.database(), &ids).await?;
    ensure!(
        links.is_empty(),
        "B can link two masks of one user: {links:#?}"
    );

    let mut seen = std::collections::HashSet::new();
    for ghost in ghosts {
        let keys = bob.keys_of(ghost).await?;
        ensure!(keys.devices.len() == 1, "not one device: {keys:#?}");
        let device = &keys.devices[0];
        ensure!(device.display_name.is_none(), "a device with a name");
        let all = [
            Some(device.device_id.clone()),
            Some(device.curve25519.clone()),
            Some(device.ed25519.clone()),
            keys.master,
            keys.self_signing,
        ];
        for key in all {
            let key = key.context("a key is missing")?;
            ensure!(seen.insert(key), "two masks share a key");
        }
    }
    Ok(())
}
