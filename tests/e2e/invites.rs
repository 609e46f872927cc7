//! Sealed invites between two Vizards over stock homeservers: three people meet, and no homeserver learns of whom it need not.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use vizard::{
    rng::Rng,
    sealed::{KeyDocument, Sealing, seal},
};

use crate::{
    encrypted::{bot_of, heard},
    testkit::{
        audit::{Needle, Report as Audit, audit},
        browser::Browser,
        client::Client,
        e2ee::{E2eeClient, Options, Report},
        site::Site,
        synapse::{Options as Stock, Synapse},
        vizard::Vizard,
    },
    world::{PATIENCE, Side, World},
};

/// Two homeservers without any experimental setting, each with a Vizard that takes the other's keys through its homeserver.
pub async fn peers(label: &str, portals: &str) -> Result<World> {
    World::peers(label, |vizard| {
        vizard
            .set("encryption.portal", portals)
            .set("keys.anchor", "federation")
            .set("log.level", "debug");
    })
    .await
}

/// The key document of a Vizard, as its page has it.
pub async fn document(vizard: &Vizard, server: &Synapse) -> Result<KeyDocument> {
    let address = format!("{}/_vizard/v1/server_keys", vizard.url());
    let json = crate::testkit::http()
        .get(address)
        .send()
        .await?
        .bytes()
        .await?;
    let name = <&ruma::ServerName>::try_from(server.server_name())?;
    Ok(KeyDocument::parse(&json, name, now())?)
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    vizard::clock::Clock::system().now()
}

/// Seals a Matrix ID for whoever gets the address.
pub fn seal_contact(document: &KeyDocument, user: &str) -> Result<String> {
    let user = ruma::UserId::parse(user)?;
    let key = document.sealing_key(now()).context("no key to seal to")?;
    let sealing = Sealing::Contact { user: &user };
    Ok(seal(&Rng::os(), &key, sealing, now() + 86_400_000)?.to_string())
}

/// Seals a Matrix ID as somebody else does: in a browser, on the page that the Vizard of that server shows.
async fn seal_on_page(vizard: &Vizard, user: &str) -> Result<String> {
    let (page, user) = (format!("{}/seal", vizard.url()), user.to_owned());
    tokio::task::spawn_blocking(move || Browser::shared()?.seal(&page, &user)).await?
}

/// Invites somebody, and waits until the ghosts that were named so far are `count`.
async fn invites(user: &E2eeClient, portal: &str, whom: &str, count: usize) -> Result<()> {
    user.say(portal, &format!("!vizard invite {whom}")).await?;
    let named = |one: &&Report| one.body().contains("invited as ");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while user.timeline(portal).iter().filter(named).count() < count {
        ensure!(
            tokio::time::Instant::now() < deadline,
            "no ghost number {count}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Accepts an invite, and waits until the ghost is there. The portal.
async fn comes(user: &E2eeClient) -> Result<String> {
    let portal = user.accept_invite(PATIENCE).await?;
    user.await_encryption(&portal).await?;
    told(user, &portal, &["joined as "]).await?;
    Ok(portal)
}

/// A stock client in an encrypted direct chat with the bot of its homeserver.
pub async fn acquainted(server: &Synapse, localpart: &str) -> Result<(E2eeClient, String)> {
    let user = E2eeClient::register_with(server, localpart, Options::default()).await?;
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
    let greeting = |one: &Report| one.room == chat && one.body().starts_with("Hello, I am Vizard");
    user.wait_for("the greeting", greeting, PATIENCE).await?;
    Ok((user, chat))
}

/// Waits for something that Vizard says in a room.
pub async fn told(user: &E2eeClient, room: &str, parts: &[&str]) -> Result<Report> {
    let fits = |one: &Report| {
        one.room == room
            && one.sender != user.id()
            && parts.iter().all(|part| one.body().contains(part))
    };
    user.wait_for(&format!("{parts:?}"), fits, PATIENCE).await
}

/// The ghost that `whoami` names.
pub async fn ghost_of(user: &E2eeClient, portal: &str) -> Result<String> {
    user.say(portal, "!vizard whoami").await?;
    let answer = told(user, portal, &["Matrix ID: "]).await?;
    let (_, rest) = answer.body().split_once("Matrix ID: ").context("a ghost")?;
    let ghost: String = rest
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "@_.:-".contains(*c))
        .collect();
    Ok(ghost.trim_end_matches(['.', ':']).to_owned())
}

/// All that runs in a process, as far as it can be read.
fn memory_of(vizard: &Vizard) -> Result<PathBuf> {
    use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

    let id = vizard.id().context("it does not run")?;
    let into = vizard.directory().join("memory");
    std::fs::create_dir_all(&into)?;
    let mut dump = std::fs::File::create(into.join("dump"))?;
    let mut memory = std::fs::File::open(format!("/proc/{id}/mem"))?;
    let maps = std::fs::read_to_string(format!("/proc/{id}/maps"))?;
    let mut read = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else {
            continue;
        };
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').context("a range")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        memory.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        // What is mapped and not there cannot be read.
        let _ = (&mut memory).take(to - from).read_to_end(&mut bytes);
        dump.write_all(&bytes)?;
        read += bytes.len();
    }
    ensure!(read > 1 << 20, "only {read} bytes of memory were read");
    Ok(into)
}

/// What is on the disk of a Vizard, and in its memory.
fn evidence_of(vizard: &Vizard, with_memory: bool) -> Result<crate::testkit::audit::Evidence> {
    let mut directories = Vec::new();
    if with_memory {
        directories.push(memory_of(vizard)?);
    }
    Ok(crate::testkit::audit::Evidence {
        databases: vec![vizard.directory().join("vizard.db")],
        directories,
        logs: vec![vizard.log()],
    })
}

async fn clean(evidence: &crate::testkit::audit::Evidence, needles: &[Needle]) -> Result<Audit> {
    let report = audit(evidence, needles).await?;
    report.assert_clean();
    Ok(report)
}

#[cfg_attr(not(target_os = "linux"), ignore = "reads a process's memory")]
#[tokio::test(flavor = "multi_thread")]
async fn three_people_meet_and_no_server_learns_whom_it_need_not() -> Result<()> {
    let mut world = peers("invites", "always").await?;
    let stock = Stock::default();
    let third = Synapse::start(Site::reserve("invites-C")?, &stock);
    let (a, b) = (&world.servers.a, &world.servers.b);
    let (alice, chat) = acquainted(a, "alicelapwing").await?;
    // They have never heard of Vizard.
    let bob = E2eeClient::register_with(b, "bobbittern", Options::default()).await?;
    let carol = E2eeClient::register_with(b, "carolcurlew", Options::default()).await?;
    let erin = E2eeClient::register_with(b, "erinegret", Options::default()).await?;
    // One whose Matrix ID is known, one who was sealed where neither homeserver nor Vizard of the inviter could look.
    let other = &world.other.as_ref().context("B")?.vizard;
    let sealed = seal_on_page(other, carol.id()).await?;

    alice.say(&chat, "create Secret garden --encrypted").await?;
    told(&alice, &chat, &["created", " as "]).await?;
    let portal = alice.accept_invite(PATIENCE).await?;
    alice.await_encryption(&portal).await?;
    let mask = ghost_of(&alice, &portal).await?;

    invites(&alice, &portal, bob.id(), 1).await?;
    invites(&alice, &portal, &sealed, 2).await?;

    let (bobs, carols) = (comes(&bob).await?, comes(&carol).await?);
    // One more of a server whose users are in the room already.
    invites(&alice, &portal, erin.id(), 3).await?;
    let erins = comes(&erin).await?;
    told(&alice, &portal, &["joined"]).await?;
    let masks = [
        ghost_of(&bob, &bobs).await?,
        ghost_of(&carol, &carols).await?,
        ghost_of(&erin, &erins).await?,
    ];
    let different: std::collections::BTreeSet<_> = masks.iter().collect();
    ensure!(different.len() == 3, "one mask for two");

    let everybody = [
        (&alice, &portal),
        (&bob, &bobs),
        (&carol, &carols),
        (&erin, &erins),
    ];
    for (number, (speaker, place)) in everybody.into_iter().enumerate() {
        let text = format!("word {number} of the garden");
        speaker.say(place, &text).await?;
        for (listener, there) in everybody {
            if listener.id() != speaker.id() {
                heard(listener, there, &text).await?.assert_trusted();
            }
        }
    }

    // Who is in the room already is answered for like anybody, by a ghost that nobody will be: nothing comes of it.
    invites(&alice, &portal, bob.id(), 4).await?;
    let reason = "vizard_invite_requests_total{outcome=\"decoy\",reason=\"in_room\"} 1";
    ensure!(other.metrics().await?.contains(reason), "no decoy");

    // Nobody's name where it need not be.
    let invitees = [bob.id(), carol.id(), erin.id()]
        .map(|id| Needle::user("an invitee", id))
        .concat();
    let mut inviter = Needle::user("the inviter", alice.id());
    inviter.extend(Needle::id("the inviter's portal", &portal));
    inviter.extend(Needle::id("the inviter's chat", &chat));
    inviter.push(Needle::text("the inviter's device", alice.device()));
    clean(&a.evidence(), &invitees).await?;
    clean(&b.evidence(), &inviter).await?;
    // Who was sealed elsewhere is not known to the inviter's Vizard either: not on its disk, not in its memory.
    let hers = Needle::user("who sealed herself", carol.id());
    let hers_at_a = evidence_of(&world.vizard, true)?;
    clean(&hers_at_a, &hers).await?;
    // The same search finds who is in that memory.
    let own = audit(&hers_at_a, &[Needle::text("the inviter", alice.id())]).await?;
    ensure!(
        !own.findings.is_empty(),
        "the search finds nobody in memory"
    );
    clean(&evidence_of(other, true)?, &inviter).await?;

    // A homeserver without Vizard comes in by an ordinary invite.
    let third = third.await?;
    let dave = Client::register(&third, "davedotterel").await?;
    alice
        .say(&portal, &format!("!vizard invite {} --plain", dave.id()))
        .await?;
    let invite = dave
        .wait_for(
            "the invite",
            |one| one.event["state_key"] == dave.id() && one.sender() == mask,
            PATIENCE,
        )
        .await?;
    // The inviting homeserver has it on record only after the invited one.
    told(&alice, &portal, &["invited openly"]).await?;
    let room = dave.join(&invite.room, &[]).await?;
    let mut members = dave.joined_members(&room).await?;
    members.sort();
    let mut expected = [vec![dave.id().to_owned(), mask], masks.to_vec()].concat();
    expected.sort();
    ensure!(members == expected, "others are in the room: {members:?}");
    bob.say(&bobs, "and who are you").await?;
    let came = |one: &crate::testkit::client::Received| {
        one.room == room && one.kind() == "m.room.encrypted"
    };
    dave.wait_for("a message", came, PATIENCE).await?;
    // The second invite reached B by now, and opened no second portal.
    ensure!(
        !bob.is_invited(),
        "who is in the room was invited once more"
    );
    clean(&third.evidence(), &[invitees, inviter].concat()).await?;
    world.vizard(Side::A)?.check_alive()?;
    world.vizard(Side::B)?.check_alive()
}

/// What a person reads who is invited, and does who does not want to come.
#[tokio::test(flavor = "multi_thread")]
async fn refusing_stays_at_home_and_what_is_gone_is_explained() -> Result<()> {
    let world = peers("declines", "never").await?;
    let (alice, chat) = world.user_with_chat("alice").await?;
    // She invites as herself, so that she sees what becomes of it.
    let room = alice
        .create_room(json!({"preset": "private_chat", "name": "Salon"}))
        .await?;
    let bob = Client::register(&world.servers.b, "bobbittern").await?;
    let host = |one: &crate::testkit::client::Received| {
        one.kind() == "m.room.member"
            && one.event["state_key"] == bob.id()
            && one.event["content"]["membership"] == "invite"
            && one.sender().starts_with("@_vizard_p_")
    };
    let asks = async || -> Result<String> {
        let command = format!("invite {} to {room}", bob.id());
        let answer = world
            .command(&alice, &chat, &command, |text| text.contains("Now invite"))
            .await?;
        let ghost = answer.body().split('`').nth(1).context("no ghost")?;
        alice.invite(&room, ghost).await?;
        Ok(ghost.to_owned())
    };
    // Declined: nothing happens in the room.
    let ghost = asks().await?;
    let invite = bob.wait_for("the invite", host, PATIENCE).await?;
    let mark = bob.mark().await;
    bob.leave(&invite.room).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let member = alice.state(&room, "m.room.member", &ghost).await?;
    let member = member.context("the ghost's membership")?;
    ensure!(member["membership"] == "invite", "it shows: {member}");

    // Invited once more, as somebody else: the first refusal does not stand in the way. Taken back before he answers: he reads it.
    let ghost = asks().await?;
    let again = bob
        .wait_after(mark, "the second invite", host, PATIENCE)
        .await?;
    ensure!(again.room != invite.room, "the same portal");
    alice.kick(&room, &ghost, "").await?;
    let gone = |one: &crate::testkit::client::Received| {
        one.room == again.room
            && one.event["state_key"] == bob.id()
            && one.event["content"]["membership"] == "leave"
    };
    let gone = bob
        .wait_after(mark, "the end of the invite", gone, PATIENCE)
        .await?;
    let reason = gone.event["content"]["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("was taken back"), "{reason}");
    Ok(())
}
