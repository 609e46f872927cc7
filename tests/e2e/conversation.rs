//! Two masked users of A in one room of B: everything that is relayed, both ways, and then the leak audit of B.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    files,
    testkit::{
        audit::{Needle, audit, linkage},
        client::{Client, picture},
        proxy::counted,
        synapse::Synapse,
    },
    unseen,
    world::{Masked, World, hears, redacts, sees},
};

#[tokio::test(flavor = "multi_thread")]
async fn masked_users_talk_and_nobody_learns_who_they_are() -> Result<()> {
    let world = World::start("talk", |vizard| {
        vizard.set("log.level", "debug").set("log.format", "json");
    })
    .await?;
    let bob = Client::register(&world.servers.b, "bob").await?;
    bob.set_display_name("Bob of B").await?;
    bob.set_avatar(&picture("Bob")).await?;
    let (room, alias) = bob
        .create_public_room("masquerade", "The masquerade")
        .await?;

    let (alice, alice_chat) = world.user_with_chat("alicesecret").await?;
    alice.set_display_name("Alice Liddell").await?;
    let alice_face = picture("Alice");
    let alice_avatar = alice.set_avatar(&alice_face).await?;
    let alice = world.join(alice, alice_chat, &room, &alias).await?;
    let carol = world.mask("carolsecret", &room, &alias).await?;
    ensure!(alice.ghost != carol.ghost && alice.nick != carol.nick);

    portal_shows_the_room(&alice, &room).await?;
    outbound(&alice, &bob, &room).await?;
    inbound(&world.servers.b, &alice, &bob, &room).await?;
    between_masks(&alice, &carol).await?;
    // So that B's database shows what is common to all ghosts, and what only to two.
    carol.says("a word of the other mask").await?;
    hears(&bob, &room, "a word of the other mask").await?;
    files::outbound(&carol, &bob, &room).await?;
    mentions(&alice, &bob, &room).await?;
    unsupported(&alice, &bob, &room).await?;
    let first_copies = files::both_ways(&alice, &bob, &room).await?;
    renamed(&alice, &carol, &bob).await?;
    held(&alice, &bob, &room).await?;
    unseen::reads_and_types(&world, &alice, &bob, &alias).await?;

    // The same user in a second room: nothing links the two masks.
    let (second, second_alias) = bob.create_public_room("second", "Another room").await?;
    let user = Client::login(
        &world.servers.a.url(),
        "alicesecret",
        &alice.user.account.password,
    )
    .await?;
    let again = world
        .join(user, alice.chat.clone(), &second, &second_alias)
        .await?;
    ensure!(again.ghost != alice.ghost);
    again.says("good evening here too").await?;
    hears(&bob, &second, "good evening here too").await?;
    let second_copies = files::outbound(&again, &bob, &second).await?;
    files::have_nothing_in_common(&first_copies, &second_copies)?;
    bob.say(&second, "welcome here as well").await?;
    let mirrors = [
        bobs_mirror(&alice, "who is there").await?,
        bobs_mirror(&carol, "who is there").await?,
        bobs_mirror(&again, "welcome here as well").await?,
    ];
    let different: BTreeSet<_> = mirrors.iter().collect();
    ensure!(different.len() == 3, "a mirror of two portals: {mirrors:?}");
    independent(&alice, &again, &bob).await?;
    for masked in [&alice, &carol, &again] {
        only_local_media(masked).await?;
    }
    portals_share_no_host(&[&alice, &carol, &again]).await?;

    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut needles = vec![
        Needle::text("Alice's display name", "Alice Liddell"),
        Needle::file("Alice's avatar", "the picture", &alice_face),
        Needle::text("metadata", files::PLANTED),
        Needle::text("a file's name", files::NAME),
    ];
    needles.extend(Needle::id("Alice's avatar", &alice_avatar));
    for masked in [&alice, &carol, &again] {
        needles.extend(Needle::user("a user", masked.user.id()));
        needles.push(Needle::text(
            "a user's device",
            &masked.user.account.device_id,
        ));
        needles.extend(Needle::id("a portal", &masked.portal));
        needles.extend(Needle::id("a chat with the bot", &masked.chat));
        for member in masked.user.joined_members(&masked.portal).await? {
            needles.extend(Needle::user("a member of a portal", &member));
        }
        for event in masked.user.timeline(&masked.portal).await {
            needles.extend(Needle::id("an event of a portal", event.id()));
        }
    }
    let report = audit(&world.servers.b.evidence(), &needles).await?;
    report.assert_clean();
    let links = linkage(&world.servers.b.database(), &[&alice.ghost, &again.ghost]).await?;
    ensure!(
        links.is_empty(),
        "B can link two masks of one user: {links:#?}"
    );

    metrics_tell(&world).await?;
    logs_are_silent(&world, &[&alice, &carol, &again], &bob).await
}

/// Name, bridge information, privacy of the portal room; the ghost's member event with its mapping.
async fn portal_shows_the_room(alice: &Masked, room: &str) -> Result<()> {
    let state = alice.user.full_state(&alice.portal).await?;
    let content = |kind: &str| {
        state
            .iter()
            .find(|event| event["type"] == kind)
            .map(|event| event["content"].clone())
    };
    ensure!(
        content("m.room.name") == Some(json!({"name": "The masquerade"})),
        "{state:#?}"
    );
    let setting = |kind: &str, field: &str| content(kind).unwrap_or_default()[field].clone();
    ensure!(setting("m.room.join_rules", "join_rule") == "invite");
    ensure!(setting("m.room.guest_access", "guest_access") == "forbidden");
    ensure!(setting("m.room.history_visibility", "history_visibility") == "invited");
    ensure!(setting("m.room.create", "m.federate") == false);
    let levels = content("m.room.power_levels").unwrap_or_default();
    for action in ["invite", "kick", "ban", "state_default"] {
        ensure!(levels[action] == 100, "{action}: {levels}");
    }
    // Only its host may change anything in it.
    let host = host_of(&state)?;
    let raised = levels["users"].as_object().into_iter().flatten();
    for (user, level) in raised.filter(|(user, _)| **user != host) {
        ensure!(
            level.as_i64().is_some_and(|level| level <= 0),
            "{user}: {levels}"
        );
    }
    ensure!(levels["users_default"] == 0, "{levels}");
    for (kind, level) in levels["events"].as_object().into_iter().flatten() {
        let harmless = ["m.room.redaction", "m.reaction"].contains(&kind.as_str());
        ensure!(
            harmless || level.as_i64().is_some_and(|level| level >= 100),
            "{kind}: {levels}"
        );
    }
    let bridge = content("m.bridge").unwrap_or_default();
    ensure!(
        bridge["channel"]["id"] == room && bridge["protocol"]["id"] == "matrix",
        "{bridge}"
    );
    Ok(())
}

/// Who made a portal, and alone: its host.
fn host_of(state: &[Value]) -> Result<String> {
    let create = state.iter().find(|event| event["type"] == "m.room.create");
    let create = create.context("a room was created")?;
    let creator = create["sender"].as_str().unwrap_or_default();
    ensure!(creator.starts_with("@_vizard_p_"), "{create}");
    let others = create["content"]["additional_creators"].as_array();
    ensure!(others.is_none_or(Vec::is_empty), "{create}");
    Ok(creator.to_owned())
}

/// Each portal has a host of its own, which is in no other; so they tell nobody that their users share a Vizard, or are one.
async fn portals_share_no_host(users: &[&Masked]) -> Result<()> {
    let mut hosts = BTreeSet::new();
    for masked in users {
        let host = host_of(&masked.user.full_state(&masked.portal).await?)?;
        let members = masked.user.joined_members(&masked.portal).await?;
        let here: Vec<_> = members
            .iter()
            .filter(|user| user.starts_with("@_vizard_p_"))
            .collect();
        ensure!(here == [&host], "{here:?} in the portal of {host}");
        ensure!(hosts.insert(host), "two portals of one host");
    }
    Ok(())
}

/// Whatever others put into a portal, now and ever, lies on its own server.
async fn only_local_media(masked: &Masked) -> Result<()> {
    let user = masked.user.id();
    let own = user.split_once(':').map_or("", |(_, server)| server);
    let mut events = masked.user.full_state(&masked.portal).await?;
    events.extend(masked.user.history(&masked.portal).await?);
    let mut found = 0;
    for event in events.iter().filter(|event| event["sender"] != user) {
        for rest in event.to_string().split("mxc://").skip(1) {
            found += 1;
            ensure!(
                rest.starts_with(&format!("{own}/")),
                "a remote mxc: {event}"
            );
        }
    }
    ensure!(found > 0, "nothing was looked at");
    Ok(())
}

/// Who stands for Bob in a portal in which he said this.
async fn bobs_mirror(masked: &Masked, said: &str) -> Result<String> {
    Ok(masked.hears(said).await?.sender().to_owned())
}

/// All that B shows of a ghost: events by it or about it, and whatever else reached Bob.
async fn doings(bob: &Client, room: &str, ghost: &str) -> Result<Vec<String>> {
    let mut found: Vec<String> = bob
        .history(room)
        .await?
        .iter()
        .map(Value::to_string)
        .collect();
    found.extend(bob.received().await.iter().map(|one| one.event.to_string()));
    found.retain(|event| event.contains(ghost));
    Ok(found)
}

/// Nothing that happens to one mask makes another one of the same user do anything.
async fn independent(alice: &Masked, again: &Masked, bob: &Client) -> Result<()> {
    bob.settle(Duration::from_secs(2)).await?;
    let before = doings(bob, &again.room, &again.ghost).await?;
    let name = json!({"name": "The masquerade is over"});
    bob.set_state(&alice.room, "m.room.name", "", name).await?;
    bob.kick(&alice.room, &alice.ghost, "go").await?;
    alice
        .sees("the kick", |one| {
            one.body().contains("was removed from this room")
        })
        .await?;
    bob.ban(&alice.room, &alice.ghost, "for good").await?;
    alice
        .sees("the ban", |one| {
            one.body().contains("was banned from this room")
        })
        .await?;
    bob.settle(Duration::from_secs(4)).await?;
    let after = doings(bob, &again.room, &again.ghost).await?;
    ensure!(before == after, "the other mask did something: {after:#?}");
    // That it would be noticed.
    again.says("I am still here").await?;
    hears(bob, &again.room, "I am still here").await?;
    ensure!(doings(bob, &again.room, &again.ghost).await? != after);
    Ok(())
}

/// A notice, and an answer to what the user sees as `first` and the room as `seen`.
async fn notice_and_reply(
    alice: &Masked,
    bob: &Client,
    room: &str,
    first: &str,
    seen: &str,
) -> Result<()> {
    let notice = json!({"msgtype": "m.notice", "body": "noted behind a mask"});
    alice
        .user
        .send(&alice.portal, "m.room.message", notice)
        .await?;
    let noted = hears(bob, room, "noted behind a mask").await?;
    ensure!(noted.event["content"]["msgtype"] == "m.notice");
    alice
        .user
        .reply(&alice.portal, first, "answering myself")
        .await?;
    let reply = hears(bob, room, "answering myself").await?;
    ensure!(
        reply.event["content"]["m.relates_to"] == json!({"m.in_reply_to": {"event_id": seen}}),
        "{}",
        reply.event
    );
    Ok(())
}

async fn outbound(alice: &Masked, bob: &Client, room: &str) -> Result<()> {
    let member = sees(bob, room, "the ghost's join", |one| {
        one.kind() == "m.room.member" && one.sender() == alice.ghost
    })
    .await?;
    let mapping = &member.event["content"]["org.matrix.msc4014.mxid_mapping"];
    ensure!(
        mapping["room_id"] == room && mapping["signatures"].is_object(),
        "{mapping}"
    );
    ensure!(member.event["content"]["displayname"] == alice.nick.as_str());

    let first = alice.says("good evening").await?;
    let seen = hears(bob, room, "good evening").await?;
    ensure!(seen.sender() == alice.ghost);
    alice
        .user
        .wait_for(
            "the host's receipt",
            |one| {
                one.room == alice.portal
                    && one.kind() == "m.receipt"
                    && one.event["content"][&first].is_object()
            },
            crate::world::PATIENCE,
        )
        .await?;

    let formatted = json!({"msgtype": "m.emote", "body": "waves", "format": "org.matrix.custom.html",
        "formatted_body": "<b>waves</b><script>alert(1)</script><img src=\"mxc://x/y\">", "com.evil.extra": alice.user.id()});
    alice
        .user
        .send(&alice.portal, "m.room.message", formatted)
        .await?;
    let waves = sees(bob, room, "the emote", |one| {
        one.event["content"]["msgtype"] == "m.emote"
    })
    .await?;
    ensure!(
        waves.event["content"]["formatted_body"]
            .as_str()
            .is_some_and(|html| html.starts_with("<b>waves</b>")
                && !html.contains("script")
                && !html.contains("img"))
    );
    ensure!(waves.event["content"].get("com.evil.extra").is_none());

    notice_and_reply(alice, bob, room, &first, seen.id()).await?;
    let edit = alice
        .user
        .edit(&alice.portal, &first, "good evening, all")
        .await?;
    let edited = sees(bob, room, "the edit", |one| {
        one.relates_to() == seen.id() && one.body() == "good evening, all"
    })
    .await?;
    ensure!(edited.event["content"]["m.relates_to"]["rel_type"] == "m.replace" && !edit.is_empty());

    alice
        .user
        .reply_in_thread(&alice.portal, &first, "a thread")
        .await?;
    let threaded = hears(bob, room, "a thread").await?;
    ensure!(
        threaded.event["content"]["m.relates_to"]["rel_type"] == "m.thread"
            && threaded.relates_to() == seen.id(),
        "{}",
        threaded.event
    );

    let reaction = alice.user.react(&alice.portal, &first, "🎭").await?;
    let reacted = sees(bob, room, "the reaction", |one| {
        one.kind() == "m.reaction" && one.relates_to() == seen.id()
    })
    .await?;
    alice
        .user
        .redact(&alice.portal, &reaction, "because I am alicesecret")
        .await?;
    let taken_back = sees(bob, room, "the reaction's redaction", |one| {
        redacts(one, reacted.id())
    })
    .await?;
    ensure!(taken_back.event["content"].get("reason").is_none());
    alice.user.redact(&alice.portal, &first, "").await?;
    sees(bob, room, "the message's redaction", |one| {
        redacts(one, seen.id())
    })
    .await?;
    Ok(())
}

async fn inbound(server: &Synapse, alice: &Masked, bob: &Client, room: &str) -> Result<()> {
    let first = bob.say(room, "welcome").await?;
    let seen = alice.hears("welcome").await?;
    ensure!(
        seen.sender().starts_with("@_vizard_m_"),
        "{}",
        seen.sender()
    );
    let member = alice
        .user
        .state(&alice.portal, "m.room.member", seen.sender())
        .await?
        .unwrap_or_default();
    ensure!(member["displayname"] == "Bob of B", "{member}");
    let avatar = member["avatar_url"].as_str().unwrap_or_default();
    ensure!(
        avatar.contains(
            alice
                .user
                .id()
                .split_once(':')
                .map_or("", |(_, server)| server)
        ),
        "the mirror's avatar is not local: {avatar}"
    );

    bob.edit(room, &first, "welcome, mask").await?;
    alice
        .sees("Bob's edit", |one| {
            one.relates_to() == seen.id() && one.body() == "welcome, mask"
        })
        .await?;
    bob.react(room, &first, "👋").await?;
    alice
        .sees("Bob's reaction", |one| {
            one.kind() == "m.reaction" && one.relates_to() == seen.id()
        })
        .await?;
    let notice = json!({"msgtype": "m.notice", "body": "a notice"});
    bob.send(room, "m.room.message", notice).await?;
    ensure!(alice.hears("a notice").await?.event["content"]["msgtype"] == "m.notice");
    let emote = json!({"msgtype": "m.emote", "body": "bows deeply", "format": "org.matrix.custom.html",
        "formatted_body": "<em>bows</em> deeply<img src=\"mxc://b/c\"><script>x</script>", "com.evil.extra": 1});
    bob.send(room, "m.room.message", emote).await?;
    let content = alice.hears("bows deeply").await?.event["content"].clone();
    ensure!(
        content["msgtype"] == "m.emote"
            && content["formatted_body"]
                .as_str()
                .is_some_and(|html| html.starts_with("<em>bows</em> deeply")
                    && !html.contains("mxc")
                    && !html.contains("script"))
            && content.get("com.evil.extra").is_none(),
        "{content}"
    );
    bob.reply(room, &first, "a reply").await?;
    let reply = alice.hears("a reply").await?;
    ensure!(
        reply.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == seen.id(),
        "{}",
        reply.event
    );
    bob.reply_in_thread(room, &first, "threaded").await?;
    ensure!(alice.hears("threaded").await?.relates_to() == seen.id());
    bob.redact(room, &first, "").await?;
    alice
        .sees("Bob's redaction", |one| redacts(one, seen.id()))
        .await?;

    // Membership.
    let dave = Client::register(server, "dave").await?;
    dave.join(room, &[]).await?;
    alice
        .sees("dave's coming", |one| one.body().contains("dave joined"))
        .await?;
    dave.say(room, "hello from dave").await?;
    let mirror = alice.hears("hello from dave").await?.sender().to_owned();
    dave.leave(room).await?;
    alice
        .sees("the mirror's leave", |one| {
            one.event["state_key"] == mirror.as_str()
                && one.event["content"]["membership"] == "leave"
        })
        .await?;
    Ok(())
}

/// Each sees the other only as a ghost.
async fn between_masks(alice: &Masked, carol: &Masked) -> Result<()> {
    alice.says("to the other mask").await?;
    let heard = carol.hears("to the other mask").await?;
    let member = carol
        .user
        .state(&carol.portal, "m.room.member", heard.sender())
        .await?
        .unwrap_or_default();
    ensure!(member["displayname"] == alice.nick.as_str(), "{member}");
    let all: Vec<Value> = carol.user.history(&carol.portal).await?;
    let text = serde_json::to_string(&all)?;
    ensure!(
        !text.contains("alicesecret") && !text.contains(&alice.portal),
        "carol's portal names alice"
    );
    Ok(())
}

async fn mentions(alice: &Masked, bob: &Client, room: &str) -> Result<()> {
    bob.say(room, "who is there").await?;
    let mirror = alice.hears("who is there").await?.sender().to_owned();
    let content = json!({"msgtype": "m.text", "body": "Bob of B: me", "format": "org.matrix.custom.html",
        "formatted_body": format!("<a href=\"https://matrix.to/#/{mirror}\">Bob of B</a>: me"), "m.mentions": {"user_ids": [mirror]}});
    alice
        .user
        .send(&alice.portal, "m.room.message", content)
        .await?;
    let seen = hears(bob, room, "Bob of B: me").await?;
    ensure!(
        seen.event["content"]["m.mentions"]["user_ids"] == json!([bob.id()]),
        "{}",
        seen.event
    );
    let html = seen.event["content"]["formatted_body"]
        .as_str()
        .unwrap_or_default();
    ensure!(
        html.contains("matrix.to") && !html.contains("_vizard_m_"),
        "{html}"
    );

    let content = json!({"msgtype": "m.text", "body": "you there", "m.mentions": {"user_ids": [alice.ghost]},
        "format": "org.matrix.custom.html", "formatted_body": format!("<a href=\"https://matrix.to/#/{}\">x</a> there", alice.ghost)});
    bob.send(room, "m.room.message", content).await?;
    let seen = alice
        .sees("Bob's mention", |one| {
            one.event["content"]["m.mentions"]["user_ids"] == json!([alice.user.id()])
        })
        .await?;
    ensure!(seen.sender() == mirror);
    let html = seen.event["content"]["formatted_body"]
        .as_str()
        .unwrap_or_default();
    ensure!(
        html.contains("<a href=\"https://matrix.to/#/")
            && html.contains("alicesecret")
            && html.ends_with("</a> there")
            && !html.contains(&alice.ghost),
        "{html}"
    );
    Ok(())
}

/// A member's new name reaches their mirrors.
async fn renamed(alice: &Masked, carol: &Masked, bob: &Client) -> Result<()> {
    bob.set_display_name("Robert of B").await?;
    for masked in [alice, carol] {
        let mirror = bobs_mirror(masked, "who is there").await?;
        masked
            .sees("the mirror's new name", |one| {
                one.kind() == "m.room.member"
                    && one.event["state_key"] == mirror.as_str()
                    && one.event["content"]["displayname"] == "Robert of B"
            })
            .await?;
    }
    Ok(())
}

/// What is not relayed yet is named, both ways.
async fn unsupported(alice: &Masked, bob: &Client, room: &str) -> Result<()> {
    let poll = json!({"org.matrix.msc3381.poll.start": {"question": {"body": "?"}, "answers": []}});
    bob.send(room, "org.matrix.msc3381.poll.start", poll)
        .await?;
    alice
        .sees("the poll's name", |one| {
            one.body().contains("poll") && one.body().contains("not supported yet")
        })
        .await?;
    Ok(())
}

/// A message that names the user waits for their word.
async fn held(alice: &Masked, bob: &Client, room: &str) -> Result<()> {
    let event = alice.says("write to AliceSecret, by the way").await?;
    let question = alice
        .sees("the question", |one| {
            one.body().contains("Held back")
                && one.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"]
                    == event.as_str()
        })
        .await?;
    alice
        .user
        .reply(&alice.portal, question.id(), "discard")
        .await?;
    alice
        .sees("the word that it is gone", |one| {
            one.body().contains("Discarded")
        })
        .await?;
    alice.says("after the held ones").await?;
    hears(bob, room, "after the held ones").await?;
    ensure!(
        !bob.texts(room)
            .await
            .iter()
            .any(|text| text.contains("AliceSecret"))
    );
    Ok(())
}

/// Vizard's own log, at debug, names nobody and nothing.
async fn logs_are_silent(world: &World, users: &[&Masked], bob: &Client) -> Result<()> {
    let log = fs::read_to_string(world.vizard.log())?;
    let mut needles = BTreeSet::from([
        bob.id().to_owned(),
        "good evening".to_owned(),
        "welcome".to_owned(),
        "masquerade".to_owned(),
    ]);
    for token in ["as_token", "hs_token"] {
        let token = fs::read_to_string(world.vizard.directory().join(token))?;
        needles.insert(token.trim().to_owned());
    }
    let mut bodies = 0;
    for one in users {
        needles.extend(
            [
                one.user.id(),
                &one.ghost,
                &one.portal,
                &one.room,
                &one.chat,
                &one.nick,
            ]
            .map(ToOwned::to_owned),
        );
        let mut events = one.user.history(&one.portal).await?;
        events.extend(one.user.history(&one.chat).await?);
        events.extend(bob.history(&one.room).await?);
        for event in events {
            needles.extend(event["event_id"].as_str().map(ToOwned::to_owned));
            let written = event["sender"] == one.user.id() || event["sender"] == bob.id();
            let body = event["content"]["body"].as_str().unwrap_or_default();
            // Shorter ones stand in log lines by chance.
            if written && body.chars().count() >= 8 {
                bodies += 1;
                needles.insert(body.to_owned());
            }
        }
    }
    ensure!(bodies > 20 && needles.len() > 100, "too little to look for");
    for line in log.lines() {
        for needle in &needles {
            ensure!(
                !line.contains(needle.as_str()),
                "the log names {needle}: {line}"
            );
        }
    }
    let mut levels = BTreeSet::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(
            line["timestamp"].is_string() && line["target"].is_string(),
            "{line}"
        );
        levels.extend(line["level"].as_str().map(ToOwned::to_owned));
    }
    ensure!(
        levels.contains("DEBUG") && levels.contains("INFO"),
        "{levels:?}: a log without them proves nothing"
    );
    Ok(())
}

/// What an admin sees of it: how much waits, how long messages take, and what the homeserver is asked.
async fn metrics_tell(world: &World) -> Result<()> {
    let metrics = world.vizard.metrics().await?;
    for parts in [
        &["vizard_relay_seconds_count", "\"inbound\""][..],
        &["vizard_relay_seconds_count", "\"outbound\""],
        &["vizard_homeserver_requests_total", "\"send\"", "\"ok\""],
        &["vizard_events_total", "\"accepted\""],
    ] {
        ensure!(counted(&metrics, parts)? > 0, "{parts:?} in\n{metrics}");
    }
    ensure!(
        metrics.lines().any(|line| line == "vizard_lane_depth 0"),
        "something waits, or the depth is not shown:\n{metrics}"
    );
    Ok(())
}
