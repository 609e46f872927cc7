//! Every command, in the direct chat and in portals, as a person gives it; and who may not, and how much one may.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    testkit::{
        client::{Client, Received, Source},
        synapse::Synapse,
    },
    world::{Masked, PATIENCE, World, answers, hears, sees},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_command_answers() -> Result<()> {
    let world = World::start("commands", |_| {}).await?;
    let server = &world.servers.b;
    let bob = Client::register(server, "bob").await?;
    let (room, alias) = bob.create_public_room("tea", "The tea party").await?;
    let (alice, chat) = world.user_with_chat("alicesecret").await?;
    alice.set_display_name("Alice Liddell").await?;

    before_any_room(&world, &alice, &chat).await?;
    let alice = world.join(alice, chat, &room, &alias).await?;
    tells_how_a_join_goes(&world, &alice, server, &alias).await?;
    let second = ways_to_name_a_room(&world, &alice, &bob, server).await?;
    in_the_portal(&world, &alice).await?;
    nicks(&world, &alice, &bob).await?;
    proofs(&world, &alice, &bob).await?;
    guard(&world, &alice, &bob).await?;
    leaving_and_returning(&world, &alice, &bob).await?;
    forgetting(&world, &alice, &bob, &alias, &second).await?;
    answers(
        &world,
        &alice.user,
        &alice.chat,
        "leave all",
        &["each at a random time", "12 hours"],
    )
    .await?;
    a_third_person(&world, &alice).await
}

async fn before_any_room(world: &World, alice: &Client, chat: &str) -> Result<()> {
    let own = format!("join {chat}");
    for (text, parts) in [
        (
            "help",
            &["join ROOM [as NICK]", "whoami [WHICH]", "Pseudonyms"][..],
        ),
        ("HELP", &["join ROOM"]),
        ("help join", &["`#room:server`", "!vizard join ROOM"]),
        ("help nonsense", &["I do not know"]),
        ("!vizard help nick", &["nick WHICH NAME"]),
        ("jion #tea:b.example", &["Did you mean `join`"]),
        ("frobnicate", &["I do not know “frobnicate”"]),
        ("whoami", &[alice.id(), "no pseudonym yet"]),
        ("list", &["no pseudonym yet"]),
        ("leave", &["no pseudonym yet"]),
        ("rejoin 1", &["no pseudonym yet"]),
        ("forget all", &["no pseudonym"]),
        ("forget confirm", &["Nothing waits"]),
        ("cancel", &["Nothing waits"]),
        ("guard", &["The guard is on"]),
        ("guard perhaps", &["`guard on` or `guard off`"]),
        ("version", &["Vizard", env!("CARGO_PKG_VERSION")]),
        ("prove something", &["no pseudonym yet"]),
        ("join", &["Which room?", "join #room:server"]),
        ("join somewhere nice", &["That is not a room"]),
        (
            "join https://matrix.to/#/@bob:b.example",
            &["does not lead to a room"],
        ),
        ("join #tea:b.example as alicesecret", &["your own name"]),
        (&own, &["the room in which we talk"]),
    ] {
        answers(world, alice, chat, text, parts).await?;
    }
    Ok(())
}

/// The answer to `join` is one message that is edited as the work proceeds; joining again leads to the portal.
async fn tells_how_a_join_goes(
    world: &World,
    alice: &Masked,
    server: &Synapse,
    alias: &str,
) -> Result<()> {
    let bot = world.bot();
    let said: Vec<Received> = alice.user.timeline(&alice.chat).await;
    let first = said
        .iter()
        .find(|one| {
            one.sender() == bot && one.body() == format!("Asking {}…", server.server_name())
        })
        .context("it is told who is asked")?;
    let edit = said
        .iter()
        .find(|one| one.sender() == bot && one.body().contains("joined as "))
        .context("it is told that it worked")?;
    ensure!(edit.relates_to() == first.id(), "{}", edit.event);
    ensure!(
        edit.body().contains("The tea party")
            && edit.body().contains(&alice.portal.replace('!', "%21"))
            || edit.body().contains(&alice.portal),
        "{}",
        edit.body()
    );
    let again = format!("join {} {}", alice.room, server.server_name());
    let answer = answers(
        world,
        &alice.user,
        &alice.chat,
        &again,
        &["You are in The tea party already", &alice.nick],
    )
    .await?;
    ensure!(
        answer.event["content"]["formatted_body"]
            .as_str()
            .is_some_and(|html| html.contains("matrix.to")),
        "{}",
        answer.event
    );
    // An alias leads to the same pseudonym.
    let same = format!("joined as {}", alice.nick);
    answers(
        world,
        &alice.user,
        &alice.chat,
        &format!("join {alias}"),
        &[&same],
    )
    .await?;
    Ok(())
}

/// A link, a URI, an id with a server. Returns the alias of the first of these rooms.
async fn ways_to_name_a_room(
    world: &World,
    alice: &Masked,
    bob: &Client,
    server: &Synapse,
) -> Result<String> {
    let (_, by_link) = bob.create_public_room("link", "By a link").await?;
    let (_, by_uri) = bob.create_public_room("uri", "By a URI").await?;
    let (by_id, _) = bob.create_public_room("id", "By an id").await?;
    let host = server.server_name();
    for text in [
        format!("https://matrix.to/#/{}", by_link.replace('#', "%23")),
        format!("matrix:r/{}", by_uri.trim_start_matches('#')),
        format!("{by_id} {host} as Brave Newt"),
    ] {
        answers(
            world,
            &alice.user,
            &alice.chat,
            &format!("join {text}"),
            &["joined as "],
        )
        .await
        .with_context(|| text)?;
    }
    let list = answers(
        world,
        &alice.user,
        &alice.chat,
        "list",
        &["1. ", "2. ", "3. ", "4. "],
    )
    .await?;
    for part in [
        &alice.nick,
        "The tea party",
        "By a link",
        "By a URI",
        "Brave Newt in By an id",
        "in the room",
    ] {
        ensure!(list.body().contains(part), "{part}: {}", list.body());
    }
    answers(
        world,
        &alice.user,
        &alice.chat,
        "whoami brave newt",
        &["By an id", "Brave Newt", "Key fingerprint"],
    )
    .await?;
    answers(world, &alice.user, &alice.chat, "whoami", &["4 pseudonyms"]).await?;
    Ok(by_link)
}

/// What has a prefix is a command and stays in the portal.
async fn in_the_portal(world: &World, alice: &Masked) -> Result<()> {
    for (text, parts) in [
        ("!vizard", &["`!vizard help`"][..]),
        (
            "!vizard help",
            &["!vizard prove TEXT", "What does not begin with"],
        ),
        ("!vizard help leave", &["In a portal: !vizard leave"]),
        ("!vizard jion x", &["Did you mean `!vizard join`"]),
        (
            "!vizard whoami",
            &[&alice.ghost, &alice.nick, "The tea party"],
        ),
        ("!vizard list", &["this portal"]),
        ("!vizard version", &[env!("CARGO_PKG_VERSION")]),
        ("!vizard leave now", &["more than I understand"]),
        ("!vizard follow", &["nothing to follow"]),
        ("!vizard guard", &["`!vizard guard off`"]),
        ("!vizard prove", &["Which text?"]),
        ("!vizard nick", &["Which name?"]),
    ] {
        answers(world, &alice.user, &alice.portal, text, parts).await?;
    }
    Ok(())
}

async fn nicks(world: &World, alice: &Masked, bob: &Client) -> Result<()> {
    let (user, portal) = (&alice.user, &alice.portal);
    for (name, part) in [
        ("alicesecret", "your own name"),
        ("Alice Liddell", "your own name"),
        ("brave  NEWT", "in another room"),
        ("@bob:b.example", ""),
    ] {
        answers(
            world,
            user,
            portal,
            &format!("!vizard nick {name}"),
            &[part],
        )
        .await?;
    }
    answers(
        world,
        user,
        portal,
        "!vizard nick Sly Cat",
        &["now called Sly Cat"],
    )
    .await?;
    let member = sees(bob, &alice.room, "the new name", |one| {
        one.kind() == "m.room.member" && one.event["content"]["displayname"] == "Sly Cat"
    })
    .await?;
    ensure!(member.sender() == alice.ghost);
    let mapping = &member.event["content"]["org.matrix.msc4014.mxid_mapping"];
    ensure!(
        mapping["room_id"] == alice.room.as_str() && mapping["signatures"].is_object(),
        "{}",
        member.event
    );
    answers(
        world,
        user,
        &alice.chat,
        "nick 1 Slyer Cat",
        &["now called Slyer Cat"],
    )
    .await?;
    answers(world, user, portal, "!vizard nick Slyer Cat", &["already"]).await?;
    let names: Vec<String> = bob
        .timeline(&alice.room)
        .await
        .iter()
        .filter(|one| one.kind() == "m.room.member")
        .map(|one| one.event["content"]["displayname"].to_string())
        .collect();
    ensure!(
        !names.iter().any(|name| name.contains("lice")),
        "a refused name went out: {names:?}"
    );
    Ok(())
}

/// Anybody can check the statement; nobody in the room sees that it was made.
async fn proofs(world: &World, alice: &Masked, bob: &Client) -> Result<()> {
    let said = "I, the mask, was here.\nTwice.";
    let answer = answers(
        world,
        &alice.user,
        &alice.portal,
        &format!("!vizard prove {said}"),
        &["signatures"],
    )
    .await?;
    let (from, to) = (answer.body().find('{'), answer.body().rfind('}'));
    let json = &answer.body()[from.context("JSON")?..=to.context("JSON")?];
    let mut statement: Value = serde_json::from_str(json)?;
    vizard::pseudonym::verify_proof(&statement)?;
    ensure!(statement["text"] == said && statement["ghost"] == alice.ghost.as_str());
    statement["text"] = "I never was here.".into();
    ensure!(vizard::pseudonym::verify_proof(&statement).is_err());
    let (chat, again) = (&alice.chat, "prove 1 and from the chat");
    let parts = ["signatures", "\"and from the chat\"", &alice.ghost];
    answers(world, &alice.user, chat, again, &parts).await?;

    alice.says("after the commands").await?;
    hears(bob, &alice.room, "after the commands").await?;
    let seen = bob.texts(&alice.room).await;
    ensure!(
        seen == ["after the commands"],
        "commands went out: {seen:?}"
    );
    Ok(())
}

/// `send` lets a held message go, once; a second `send` goes nowhere.
async fn guard(world: &World, alice: &Masked, bob: &Client) -> Result<()> {
    let (user, portal) = (&alice.user, &alice.portal);
    answers(world, user, portal, "!vizard guard off", &["guard is off"]).await?;
    alice.says("alicesecret speaks openly").await?;
    hears(bob, &alice.room, "alicesecret speaks openly").await?;
    answers(world, user, &alice.chat, "guard on", &["guard is on"]).await?;

    let held = alice.says("alicesecret speaks once more").await?;
    let question = alice
        .sees("the question", |one| {
            one.body().contains("Held back")
                && one.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"]
                    == held.as_str()
        })
        .await?;
    let mark = user.mark().await;
    let send = user.reply(portal, question.id(), "send").await?;
    hears(bob, &alice.room, "alicesecret speaks once more").await?;
    let receipt = |one: &Received| {
        one.room == *portal
            && one.kind() == "m.receipt"
            && [&held, &send].into_iter().any(|event| {
                let readers = one.event["content"][event]["m.read"].as_object();
                readers.is_some_and(|readers| {
                    readers
                        .keys()
                        .any(|reader| reader.starts_with("@_vizard_p_"))
                })
            })
    };
    user.wait_after(mark, "the host's receipt", receipt, PATIENCE)
        .await?;
    let again = user.reply(portal, question.id(), "send").await?;
    alice
        .sees("that nothing is held", |one| {
            one.body().contains("Nothing is held back")
                && one.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"]
                    == again.as_str()
        })
        .await?;
    alice.says("and on").await?;
    hears(bob, &alice.room, "and on").await?;
    let seen = bob.texts(&alice.room).await;
    let count = |text: &str| seen.iter().filter(|one| *one == text).count();
    ensure!(
        count("alicesecret speaks once more") == 1 && count("send") == 0,
        "{seen:?}"
    );
    Ok(())
}

/// Waits until Bob sees the ghost go or come, after a mark in what he received.
async fn ghost(bob: &Client, mark: usize, alice: &Masked, membership: &str) -> Result<Received> {
    let fits = |one: &Received| {
        one.room == alice.room
            && one.source == Source::Timeline
            && one.event["state_key"] == alice.ghost.as_str()
            && one.event["content"]["membership"] == membership
    };
    bob.wait_after(mark, &format!("the ghost's {membership}"), fits, PATIENCE)
        .await
}

async fn leaving_and_returning(world: &World, alice: &Masked, bob: &Client) -> Result<()> {
    let (user, portal) = (&alice.user, &alice.portal);
    let mark = bob.mark().await;
    answers(
        world,
        user,
        portal,
        "!vizard leave",
        &["left.", "Slyer Cat"],
    )
    .await?;
    ghost(bob, mark, alice, "leave").await?;
    let lost = alice.says("is anybody there").await?;
    alice
        .sees("that it was not sent", |one| {
            one.body().contains("Not sent")
                && one.body().contains("rejoin")
                && one.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"]
                    == lost.as_str()
        })
        .await?;
    answers(
        world,
        user,
        portal,
        "!vizard leave",
        &["not in The tea party"],
    )
    .await?;
    answers(
        world,
        user,
        portal,
        "!vizard nick Other",
        &["`!vizard rejoin` takes it back"],
    )
    .await?;
    answers(world, user, &alice.chat, "list", &["Slyer Cat", "left"]).await?;

    let mark = bob.mark().await;
    answers(
        world,
        user,
        portal,
        "!vizard rejoin",
        &["joined as Slyer Cat"],
    )
    .await?;
    let member = ghost(bob, mark, alice, "join").await?;
    let content = &member.event["content"];
    ensure!(content["displayname"] == "Slyer Cat", "{content}");
    ensure!(
        content["org.matrix.msc4014.mxid_mapping"].is_object(),
        "{content}"
    );
    both_ways(alice, bob, "after the return").await?;

    // Leaving the portal leaves the room; the return invites anew.
    let mark = bob.mark().await;
    user.leave(portal).await?;
    ghost(bob, mark, alice, "leave").await?;
    answers(
        world,
        user,
        &alice.chat,
        "list",
        &["Slyer Cat in The tea party – left"],
    )
    .await?;
    let mark = bob.mark().await;
    answers(
        world,
        user,
        &alice.chat,
        "rejoin Slyer Cat",
        &["joined as "],
    )
    .await?;
    ghost(bob, mark, alice, "join").await?;
    user.join(portal, &[]).await?;
    both_ways(alice, bob, "once more").await
}

async fn both_ways(alice: &Masked, bob: &Client, word: &str) -> Result<()> {
    let (out, back) = (format!("{word}, out"), format!("{word}, back"));
    alice.says(&out).await?;
    let seen = hears(bob, &alice.room, &out).await?;
    ensure!(seen.sender() == alice.ghost);
    bob.say(&alice.room, &back).await?;
    alice.hears(&back).await.map(drop)
}

async fn forgetting(
    world: &World,
    alice: &Masked,
    bob: &Client,
    alias: &str,
    second: &str,
) -> Result<()> {
    let (user, chat) = (&alice.user, &alice.chat);
    // In the chat: asked, taken back, asked again, confirmed.
    let ask = format!("forget {second}");
    answers(
        world,
        user,
        chat,
        &ask,
        &["Do you want to forget", "By a link"],
    )
    .await?;
    answers(world, user, chat, "cancel", &["nothing is forgotten"]).await?;
    answers(world, user, chat, "forget confirm", &["Nothing waits"]).await?;
    answers(world, user, chat, &ask, &["Do you want to forget"]).await?;
    answers(world, user, chat, "forget confirm", &["forgotten:"]).await?;
    let list = answers(world, user, chat, "list", &["3. "]).await?;
    ensure!(!list.body().contains("By a link"), "{}", list.body());
    answers(world, user, chat, &format!("join {second}"), &["final"]).await?;

    // In the portal, which is closed.
    let mark = bob.mark().await;
    let portal = &alice.portal;
    answers(
        world,
        user,
        portal,
        "!vizard forget",
        &["Do you want to forget", "`!vizard forget confirm`"],
    )
    .await?;
    user.say(portal, "!vizard forget confirm").await?;
    ghost(bob, mark, alice, "leave").await?;
    let removed = |one: &Received| {
        one.room == *portal
            && one.event["state_key"] == user.id()
            && one.event["content"]["membership"] == "leave"
            && one.sender().starts_with("@_vizard_p_")
    };
    user.wait_for("the end of the portal", removed, PATIENCE)
        .await?;
    for target in [
        alias.to_owned(),
        format!("{} {}", alice.room, world.servers.b.server_name()),
    ] {
        answers(world, user, chat, &format!("join {target}"), &["final"]).await?;
    }
    let ghosts = bob.joined_members(&alice.room).await?;
    ensure!(ghosts == [bob.id()], "{ghosts:?}");
    Ok(())
}

/// What the bot says is for one pair of eyes.
async fn a_third_person(world: &World, alice: &Masked) -> Result<()> {
    let carol = Client::register(&world.servers.a, "carol").await?;
    alice.user.invite(&alice.chat, carol.id()).await?;
    carol.join(&alice.chat, &[]).await?;
    answers(
        world,
        &alice.user,
        &alice.chat,
        "list",
        &["only talk in direct chats"],
    )
    .await?;
    let bot = world.bot();
    let gone = |one: &Received| {
        one.room == alice.chat
            && one.event["state_key"] == bot.as_str()
            && one.event["content"]["membership"] == "leave"
    };
    alice
        .user
        .wait_for("the bot's leave", gone, PATIENCE)
        .await?;
    let texts = carol.texts(&alice.chat).await;
    ensure!(
        !texts.iter().any(|text| text.contains("1. ")),
        "carol read a list: {texts:?}"
    );
    // A new chat goes on where the old one ended.
    let chat = world.open_chat(&alice.user).await?;
    answers(world, &alice.user, &chat, "list", &["Brave Newt"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_strangers() -> Result<()> {
    let mut world = World::start("limits", |vizard| {
        vizard
            .set("access.max_pseudonyms", "2")
            .set("access.joins_per_hour", "5")
            .set("access.denied_rooms", r##"["#forbidden:*"]"##)
            .set("access.denied_servers", r#"["denied.example"]"#);
    })
    .await?;
    let bob = Client::register(&world.servers.b, "bob").await?;
    let mut rooms = Vec::new();
    for name in ["one", "two", "three", "forbidden"] {
        rooms.push(
            bob.create_public_room(name, &format!("Room {name}"))
                .await?,
        );
    }
    let host = world.servers.b.server_name().to_owned();
    let (alice, chat) = world.user_with_chat("alicesecret").await?;

    // What the administrator denies is not asked for, and counts for nothing.
    for (target, part) in [
        (rooms[3].1.as_str(), "does not allow joining that room"),
        ("#any:denied.example", "rooms of that server"),
        ("!any:denied.example", "rooms of that server"),
    ] {
        answers(&world, &alice, &chat, &format!("join {target}"), &[part]).await?;
    }

    // Two pseudonyms are the most: a third is refused by id and by alias; a return is not.
    for (_, alias) in &rooms[..2] {
        answers(
            &world,
            &alice,
            &chat,
            &format!("join {alias}"),
            &["joined as "],
        )
        .await?;
    }
    let third = format!("join {} {host}", rooms[2].0);
    answers(&world, &alice, &chat, &third, &["You have 2 pseudonyms"]).await?;
    let third = format!("join {}", rooms[2].1);
    answers(&world, &alice, &chat, &third, &["You have 2 pseudonyms"]).await?;
    answers(&world, &alice, &chat, "leave 1", &["left."]).await?;
    let back = format!("join {}", rooms[0].1);
    answers(&world, &alice, &chat, &back, &["joined as "]).await?;

    // Five an hour are the most; those that the cap refused by alias were asked for.
    answers(&world, &alice, &chat, "leave 1", &["left."]).await?;
    answers(&world, &alice, &chat, "rejoin 1", &["joined as "]).await?;
    answers(&world, &alice, &chat, "leave 1", &["left."]).await?;
    answers(
        &world,
        &alice,
        &chat,
        "rejoin 1",
        &["5 rooms an hour", "try again in about"],
    )
    .await?;

    // From now on only carol may. Alice keeps what lets her out.
    let carol = Client::register(&world.servers.a, "carol").await?;
    let users = format!("[\"{}\"]", carol.id());
    world.vizard.set("access.users", &users);
    world.vizard.restart().await?;
    let dan = Client::register(&world.servers.a, "dan").await?;
    let refused = world.open_chat(&dan).await?;
    let bot = world.bot();
    let left = |one: &Received| {
        one.room == refused
            && one.event["state_key"] == bot.as_str()
            && one.event["content"]["membership"] == "leave"
    };
    dan.wait_for("the bot's leave", left, PATIENCE).await?;
    dan.say(&refused, "please").await?;
    dan.settle(Duration::from_secs(1)).await?;
    let said = dan.texts(&refused).await;
    ensure!(
        said.len() == 2 && said[0].contains("not open to you"),
        "one polite line: {said:?}"
    );
    let open = world.open_chat(&carol).await?;
    answers(&world, &carol, &open, "help", &["join ROOM"]).await?;

    answers(&world, &alice, &chat, &back, &["not open to you"]).await?;
    answers(&world, &alice, &chat, "list", &["Room one", "Room two"]).await?;
    answers(&world, &alice, &chat, "leave 2", &["left."]).await?;
    Ok(())
}
