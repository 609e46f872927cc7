//! Rooms of every kind: those that refuse, and why; those of every version; and what happens in and to them.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    testkit::{
        client::{Client, Received, Source, picture},
        site::Site,
    },
    world::{Masked, PATIENCE, World, answers, hears, redacts, sees},
};

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_explained() -> Result<()> {
    // Without encryption, encrypted rooms are refused as well.
    let world = World::start("refusals", |vizard| {
        vizard.set("encryption.enabled", "false");
    })
    .await?;
    let bob = Client::register(&world.servers.b, "bob").await?;
    let (alice, chat) = world.user_with_chat("alicesecret").await?;
    let (dora, dora_chat) = world.user_with_chat("dorasecret").await?;
    let story = async {
        nowhere(&world, &alice, &chat).await?;
        invite_only(&world, &alice, &chat, &bob).await?;
        knocking(&world, &alice, &chat, &bob).await?;
        refusing_states(&world, &alice, &chat, &bob).await
    };
    // Whoever waits for a dead server holds up nobody else.
    tokio::try_join!(story, dead_server(&world, &dora, &dora_chat))?;
    banned(&world, alice, chat, &bob).await
}

/// A room of Bob's with an alias.
async fn room(bob: &Client, alias: &str, mut body: Value) -> Result<(String, String)> {
    body["room_alias_name"] = json!(alias);
    body["name"] = json!(format!("Room {alias}"));
    let server = bob.id().split_once(':').map_or("", |(_, server)| server);
    Ok((bob.create_room(body).await?, format!("#{alias}:{server}")))
}

fn public_with(kind: &str, key: &str, content: &Value) -> Value {
    json!({"preset": "public_chat", "initial_state": [{"type": kind, "state_key": key, "content": content}]})
}

/// The command that an answer tells, between backticks after `before`.
fn told<'a>(answer: &'a Received, before: &str) -> Result<&'a str> {
    answer
        .body()
        .split_once(before)
        .and_then(|(_, rest)| rest.trim_start().strip_prefix('`')?.split('`').next())
        .with_context(|| format!("no command in {}", answer.body()))
}

/// The ghost that an answer names.
fn named_ghost(answer: &Received) -> Result<&str> {
    let body = answer.body();
    let at = body.find("@_vizard_").context("a ghost")?;
    Ok(body[at..]
        .split([' ', ',', '\n'])
        .next()
        .unwrap_or_default())
}

/// Waits until a member's membership in a room is as wanted, as Bob sees it.
async fn membership(bob: &Client, room: &str, user: &str, wanted: &str) -> Result<Received> {
    sees(bob, room, &format!("{wanted} of {user}"), |one| {
        one.event["state_key"] == user && one.event["content"]["membership"] == wanted
    })
    .await
}

/// What does not exist leaves nothing behind.
async fn nowhere(world: &World, alice: &Client, chat: &str) -> Result<()> {
    let host = world.servers.b.server_name();
    for (target, part) in [
        (format!("#nosuch:{host}"), "no such alias"),
        (
            "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM".to_owned(),
            "No server that knows this room was named",
        ),
    ] {
        answers(world, alice, chat, &format!("join {target}"), &[part]).await?;
        answers(world, alice, chat, "list", &["no pseudonym yet"]).await?;
    }
    Ok(())
}

/// Homeservers tell a dead server and an unknown room alike, and so late that all are asked for at once here.
async fn dead_server(world: &World, dora: &Client, chat: &str) -> Result<()> {
    // Reserved, but nobody ever listens there.
    let dead = Site::reserve("dead")?;
    let (name, host) = (&dead.server_name, world.servers.b.server_name());
    let mut asked = Vec::new();
    for (target, part) in [
        (format!("#any:{name}"), "does not answer"),
        (format!("!any:{name}"), "does not know this room"),
        (format!("!nosuchroom:{host}"), "does not know this room"),
        (
            format!("!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM {host}"),
            "does not know this room",
        ),
    ] {
        let answer = answers(world, dora, chat, &format!("join {target}"), &["Asking "]).await?;
        asked.push((target, part, answer.id().to_owned()));
    }
    for (target, part, message) in asked {
        let told = |one: &Received| one.relates_to() == message && one.body().contains(part);
        dora.wait_for(&format!("\"{part}\" about {target}"), told, PATIENCE)
            .await?;
    }
    answers(world, dora, chat, "list", &["no pseudonym yet"]).await?;
    Ok(())
}

/// The answer says what to do; doing it works.
async fn invite_only(world: &World, alice: &Client, chat: &str, bob: &Client) -> Result<()> {
    let (room, alias) = room(bob, "secret", json!({"preset": "private_chat"})).await?;
    let answer = answers(
        world,
        alice,
        chat,
        &format!("join {alias}"),
        &["not public", "invite @_vizard_"],
    )
    .await?;
    let ghost = named_ghost(&answer)?;
    bob.invite(&room, ghost).await?;
    // Nothing happens by itself: an automatic reaction would tell who is there.
    let rejoin = told(&answer, "then say:")?;
    answers(world, alice, chat, rejoin, &["joined as "]).await?;
    membership(bob, &room, ghost, "join").await.map(drop)
}

async fn knocking(world: &World, alice: &Client, chat: &str, bob: &Client) -> Result<()> {
    let rules = json!({"join_rule": "knock"});
    let knock = |alias: &'static str| {
        let mut body = public_with("m.room.join_rules", "", &rules);
        body["room_version"] = json!("10");
        room(bob, alias, body)
    };
    let (door, alias) = knock("door").await?;
    let answer = answers(
        world,
        alice,
        chat,
        &format!("join {alias}"),
        &["lets in whom its members accept"],
    )
    .await?;
    let nick = answers(
        world,
        alice,
        chat,
        told(&answer, "Ask with:")?,
        &["knocked as "],
    )
    .await?;
    let nick = nick
        .body()
        .split_once("knocked as ")
        .and_then(|(_, rest)| rest.split('.').next())
        .context("a nick")?
        .to_owned();
    let knocked = sees(bob, &door, "a knock", |one| {
        one.event["content"]["membership"] == "knock"
    })
    .await?;
    ensure!(knocked.event["content"].get("reason").is_none());
    answers(world, alice, chat, "list", &["knocked, waiting"]).await?;
    let mark = alice.mark().await;
    bob.invite(&door, knocked.sender()).await?;
    let joined = alice
        .wait_after(
            mark,
            "that the knock was answered",
            |one| one.room == *chat && one.body().contains(&format!("joined as {nick}")),
            PATIENCE,
        )
        .await?;
    ensure!(
        joined.event["content"]["m.relates_to"]["m.in_reply_to"].is_null(),
        "it answers nothing that was said: {}",
        joined.event
    );
    membership(bob, &door, knocked.sender(), "join").await?;

    // A second door stays shut.
    let (shut, alias) = knock("shut").await?;
    answers(
        world,
        alice,
        chat,
        &format!("knock {alias}"),
        &["knocked as "],
    )
    .await?;
    let knocked = sees(bob, &shut, "a second knock", |one| {
        one.event["content"]["membership"] == "knock"
    })
    .await?;
    // Synapse neither tells the knocking server of a refusal, nor the room that a knock was taken back.
    let asking = knocked.sender();
    ensure!(asking.starts_with("@_vizard_"), "{asking}");
    answers(world, alice, chat, "cancel", &["left."]).await?;
    answers(
        world,
        alice,
        chat,
        "list",
        &["Room door – in the room", " – left"],
    )
    .await?;

    let (_, open) = bob.create_public_room("open", "Wide open").await?;
    let answer = answers(
        world,
        alice,
        chat,
        &format!("knock {open}"),
        &["no need to knock"],
    )
    .await?;
    answers(
        world,
        alice,
        chat,
        told(&answer, "knock:")?,
        &["joined as "],
    )
    .await?;
    Ok(())
}

/// Rooms whose state says no, to everybody like us.
async fn refusing_states(world: &World, alice: &Client, chat: &str, bob: &Client) -> Result<()> {
    let own = world.servers.a.server_name();
    let host = own.split(':').next().unwrap_or_default();
    let (space, _) = bob.create_public_room("space", "A space").await?;
    let restricted = json!({"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]});
    let acl = json!({"allow": ["*"], "deny": [host], "allow_ip_literals": true});
    let rule = json!({"entity": "@_vizard_*:*", "recommendation": "m.ban", "reason": "no masks"});
    let policy = json!({"pseudonyms": "deny"});
    let encryption = json!({"algorithm": "m.megolm.v1.aes-sha2"});
    for (alias, kind, key, content, part, enters) in [
        (
            "restricted",
            "m.room.join_rules",
            "",
            &restricted,
            "Only members of a space",
            false,
        ),
        (
            "walled",
            "m.room.server_acl",
            "",
            &acl,
            "its access list",
            false,
        ),
        (
            "listed",
            "m.policy.rule.user",
            "rule:masks",
            &rule,
            "ban list",
            true,
        ),
        (
            "unmasked",
            "org.vizard.policy",
            "",
            &policy,
            "asks not to be joined behind a pseudonym",
            true,
        ),
        (
            "sealed",
            "m.room.encryption",
            "",
            &encryption,
            "end-to-end encrypted",
            // Whether the room's summary tells so before anybody is in it depends on the servers.
            false,
        ),
    ] {
        let (room, alias) = room(bob, alias, public_with(kind, key, content)).await?;
        answers(world, alice, chat, &format!("join {alias}"), &[part]).await?;
        if enters {
            sees(bob, &room, "the ghost's leave", |one| {
                one.sender().starts_with("@_vizard_")
                    && one.event["content"]["membership"] == "leave"
            })
            .await?;
        }
        let said = bob.timeline(&room).await;
        let spoke = said
            .iter()
            .any(|one| one.sender().starts_with("@_vizard_") && one.kind() != "m.room.member");
        ensure!(!spoke, "the ghost said something in {alias}");
    }
    Ok(())
}

/// A ban and what comes of it; and a room that changes its mind about masks.
async fn banned(world: &World, alice: Client, chat: String, bob: &Client) -> Result<()> {
    let (room, alias) = bob.create_public_room("strict", "The strict room").await?;
    let alice = world.join(alice, chat, &room, &alias).await?;
    bob.ban(&room, &alice.ghost, "masks\u{202e} are out")
        .await?;
    alice
        .sees("the ban", |one| {
            one.body() == format!("{} was banned from this room (masks are out).", alice.nick)
        })
        .await?;
    let lost = alice.says("but why").await?;
    alice
        .sees("that a banned mask says nothing", |one| {
            one.body().contains("banned from this room")
                && one.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"]
                    == lost.as_str()
        })
        .await?;
    for (place, text) in [
        (&alice.portal, "!vizard rejoin"),
        (&alice.chat, &*format!("join {alias}")),
    ] {
        answers(
            world,
            &alice.user,
            place,
            text,
            &["Your pseudonym is banned"],
        )
        .await?;
    }
    answers(
        world,
        &alice.user,
        &alice.chat,
        "list",
        &["The strict room – banned"],
    )
    .await?;

    let (room, alias) = bob.create_public_room("fickle", "The fickle room").await?;
    let dora = world.mask("dorathy", &room, &alias).await?;
    let policy = json!({"pseudonyms": "deny"});
    bob.set_state(&room, "org.vizard.policy", "", policy)
        .await?;
    dora.sees("that the room wants no masks", |one| {
        one.body()
            .contains("asks not to be joined behind a pseudonym")
    })
    .await?;
    membership(bob, &room, &dora.ghost, "leave").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_of_every_version_and_what_happens_in_them() -> Result<()> {
    let world = World::start("versions", |vizard| {
        vizard.set("portal.max_mirrors", "2");
    })
    .await?;
    let bob = Client::register(&world.servers.b, "bob").await?;
    let mut masks = Vec::new();
    for version in ["1", "10", "12"] {
        let body = json!({"preset": "public_chat", "room_version": version});
        let (room, alias) = room(&bob, &format!("v{version}"), body).await?;
        let mask = world
            .mask(&format!("alice{version}"), &room, &alias)
            .await?;
        talk(&mask, &bob, version)
            .await
            .with_context(|| format!("room version {version}"))?;
        masks.push(mask);
    }
    let [first, second, third] = &masks[..] else {
        anyhow::bail!("three masks");
    };
    kicked(&world, first, &bob).await?;
    appearance(second, &bob).await?;
    let names = crowd(&world, third, &bob).await?;
    ensure!(names == ["Erin Smith", "Z"], "{names:?}");
    sizes(first, &bob).await?;
    upgrade(&world, second, &bob).await
}

/// A message and its redaction, each way.
async fn talk(alice: &Masked, bob: &Client, word: &str) -> Result<()> {
    let (out, back) = (format!("{word} out"), format!("{word} back"));
    let said = alice.says(&out).await?;
    let seen = hears(bob, &alice.room, &out).await?;
    ensure!(seen.sender() == alice.ghost, "{}", seen.event);
    alice.user.redact(&alice.portal, &said, "").await?;
    sees(bob, &alice.room, "the redaction", |one| {
        redacts(one, seen.id())
    })
    .await?;
    let said = bob.say(&alice.room, &back).await?;
    let seen = alice.hears(&back).await?;
    bob.redact(&alice.room, &said, "").await?;
    alice
        .sees("Bob's redaction", |one| redacts(one, seen.id()))
        .await?;
    Ok(())
}

async fn kicked(world: &World, alice: &Masked, bob: &Client) -> Result<()> {
    bob.kick(&alice.room, &alice.ghost, "be nice").await?;
    alice
        .sees("the kick", |one| {
            one.body().contains(&format!(
                "{} was removed from this room (be nice)",
                alice.nick
            )) && one.body().contains("`!vizard rejoin`")
        })
        .await?;
    let again = format!("joined as {}", alice.nick);
    answers(
        world,
        &alice.user,
        &alice.portal,
        "!vizard rejoin",
        &[&again],
    )
    .await?;
    talk(alice, bob, "after the kick").await
}

/// Name, topic and avatar follow; no picture is fetched from elsewhere.
async fn appearance(alice: &Masked, bob: &Client) -> Result<()> {
    let shows = async |kind: &'static str, what: &str, fits: &(dyn Fn(&Value) -> bool + Sync)| {
        alice
            .sees(what, |one| {
                one.kind() == kind
                    && one.sender().starts_with("@_vizard_p_")
                    && fits(&one.event["content"])
            })
            .await
    };
    let room = &alice.room;
    bob.set_state(room, "m.room.name", "", json!({"name": "Renamed"}))
        .await?;
    shows("m.room.name", "the new name", &|content| {
        content["name"] == "Renamed"
    })
    .await?;
    bob.set_state(room, "m.room.topic", "", json!({"topic": "Tea"}))
        .await?;
    shows("m.room.topic", "the topic", &|content| {
        content["topic"] == "Tea"
    })
    .await?;
    let remote = bob
        .upload(&picture("the room"), "image/png", "room.png")
        .await?;
    bob.set_state(room, "m.room.avatar", "", json!({"url": remote}))
        .await?;
    let own = alice
        .user
        .id()
        .split_once(':')
        .map_or("", |(_, server)| server);
    let avatar = shows("m.room.avatar", "the avatar", &|content| {
        content["url"].is_string()
    })
    .await?;
    let local = avatar.event["content"]["url"].as_str().unwrap_or_default();
    ensure!(local.starts_with(&format!("mxc://{own}/")), "{local}");
    ensure!(alice.user.download(local).await? == picture("the room"));
    bob.set_state(room, "m.room.avatar", "", json!({})).await?;
    shows("m.room.avatar", "no avatar", &|content| {
        content.get("url").is_none()
    })
    .await?;
    bob.set_state(room, "m.room.topic", "", json!({"topic": ""}))
        .await?;
    shows("m.room.topic", "no topic", &|content| {
        content["topic"] == ""
    })
    .await?;
    bob.set_state(room, "m.room.name", "", json!({"name": ""}))
        .await?;
    shows("m.room.name", "the alias for a name", &|content| {
        content["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("#v10:"))
    })
    .await?;
    let state = alice.user.full_state(&alice.portal).await?;
    let mxc = serde_json::to_string(&state)?;
    let theirs = bob.id().split_once(':').map_or("", |(_, server)| server);
    ensure!(
        !mxc.contains(&format!("mxc://{theirs}/")),
        "a remote picture"
    );
    Ok(())
}

/// Three members speak where two mirrors have room. Returns the names that two of them show.
async fn crowd(world: &World, alice: &Masked, bob: &Client) -> Result<Vec<String>> {
    let erin = Client::register(&world.servers.b, "erin").await?;
    erin.set_display_name("\u{202e}Erin\u{2066} \u{200b}Smith\u{0007}")
        .await?;
    let frank = Client::register(&world.servers.b, "frank").await?;
    frank
        .set_display_name(&format!("Z{}", "\u{0300}\u{0489}".repeat(40)))
        .await?;
    let room = &alice.room;
    for user in [&erin, &frank] {
        user.join(room, &[]).await?;
    }
    // All within the hour: what the database knows of them is older than what was heard.
    let mut mirrors = Vec::new();
    for (user, word) in [(&erin, "two"), (bob, "one"), (&frank, "three")] {
        user.say(room, word).await?;
        mirrors.push(alice.hears(word).await?.sender().to_owned());
    }
    mirrors.swap(0, 1);
    let there = async || -> Result<Vec<bool>> {
        let members = alice.user.joined_members(&alice.portal).await?;
        Ok(mirrors
            .iter()
            .map(|mirror| members.contains(mirror))
            .collect())
    };
    ensure!(
        there().await? == [true, false, true],
        "erin was heard longest ago, though bob came first"
    );
    erin.say(room, "four").await?;
    ensure!(
        alice.hears("four").await?.sender() == mirrors[1],
        "another mirror of erin"
    );
    ensure!(
        there().await? == [false, true, true],
        "bob was heard longest ago"
    );
    bob.say(room, "five").await?;
    ensure!(alice.hears("five").await?.sender() == mirrors[0]);
    ensure!(
        there().await? == [true, true, false],
        "frank was heard longest ago"
    );
    erin.say(room, "six").await?;
    alice.hears("six").await?;
    frank.say(room, "seven").await?;
    alice.hears("seven").await?;
    ensure!(there().await? == [false, true, true]);
    let mut names = Vec::new();
    for mirror in &mirrors[1..] {
        let member = alice
            .user
            .state(&alice.portal, "m.room.member", mirror)
            .await?;
        let name = member.context("a member")?["displayname"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        ensure!(name.chars().count() < 20, "{name:?}");
        names.push(name.chars().filter(char::is_ascii).collect());
    }
    Ok(names)
}

/// What does not fit is told; what just fits passes.
async fn sizes(alice: &Masked, bob: &Client) -> Result<()> {
    let long = "long ".repeat(12_400);
    let lost = alice.says(&long).await?;
    alice
        .sees("that it is too long", |one| {
            one.body().contains("Not sent")
                && one.body().contains("too long")
                && !one.body().contains("yet")
                && one.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"]
                    == lost.as_str()
        })
        .await?;
    let fits = "fits ".repeat(11_000);
    alice.says(&fits).await?;
    hears(bob, &alice.room, &fits).await?;
    bob.say(&alice.room, &fits).await?;
    alice.hears(&fits).await.map(drop)
}

/// The portal tells; the same mask goes along when the user says so.
async fn upgrade(world: &World, alice: &Masked, bob: &Client) -> Result<()> {
    let path = ["v3", "rooms", &alice.room, "upgrade"];
    let answer = bob
        .call(
            reqwest::Method::POST,
            &path,
            Some(json!({"new_version": "12"})),
        )
        .await?;
    let new = answer["replacement_room"]
        .as_str()
        .context("a room")?
        .to_owned();
    alice
        .sees("the upgrade", |one| {
            one.body().contains("upgraded") && one.body().contains("`!vizard follow`")
        })
        .await?;
    ensure!(
        !bob.joined_members(&new).await?.contains(&alice.ghost),
        "the ghost went along unasked"
    );
    let same = format!("joined as {}", alice.nick);
    answers(
        world,
        &alice.user,
        &alice.portal,
        "!vizard follow",
        &[&same],
    )
    .await?;
    let member = membership(bob, &new, &alice.ghost, "join").await?;
    ensure!(
        member.event["content"]["org.matrix.msc4014.mxid_mapping"]["room_id"] == new.as_str(),
        "{}",
        member.event
    );
    alice.says("in the new room").await?;
    let seen = hears(bob, &new, "in the new room").await?;
    ensure!(seen.sender() == alice.ghost);
    bob.say(&new, "welcome to the new room").await?;
    alice.hears("welcome to the new room").await?;
    let invited = alice
        .user
        .received()
        .await
        .iter()
        .filter(|one| {
            one.source == Source::Invite
                && one.kind() == "m.room.member"
                && one.event["state_key"] == alice.user.id()
        })
        .count();
    ensure!(invited == 1, "the portal stays the same");
    answers(
        world,
        &alice.user,
        &alice.portal,
        "!vizard follow",
        &["nothing to follow"],
    )
    .await?;
    Ok(())
}
