//! The conversation: who does what, each step only after the other has seen the one before.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    show,
    testkit::client::{Client, Received, Source},
};

/// A join across servers may take this long on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where it took place.
pub struct Story {
    /// Bob's room.
    pub room: String,
    pub alias: String,
    /// Alice's view of it.
    pub portal: String,
    /// Alice's chat with the bot.
    pub chat: String,
    /// Alice's mask.
    pub nick: String,
    pub ghost: String,
}

/// Lets Alice join Bob's room behind a mask and both of them talk.
pub async fn play(alice: &Client, bob: &Client, server_of_alice: &str) -> Result<Story> {
    let story = enter(alice, bob, server_of_alice).await?;
    let stage = Stage {
        alice,
        bob,
        story: &story,
    };

    show::step("the conversation");
    let (greeting, seen_greeting) = stage
        .alice_says("Good evening. May one sit down behind a mask?")
        .await?;
    ensure!(
        seen_greeting.sender() == story.ghost,
        "Bob saw {} speak, not the ghost",
        seen_greeting.sender()
    );
    bob.react(&story.room, seen_greeting.id(), "👋").await?;
    stage
        .alice_sees("Bob's wave", |one| {
            one.kind() == "m.reaction" && one.relates_to() == greeting
        })
        .await?;

    let offer = bob
        .say(&story.room, "Of course. Would you like some tee?")
        .await?;
    let seen_offer = stage
        .alice_sees("Bob's offer", |one| one.body().contains("some tee"))
        .await?;
    bob.edit(&story.room, &offer, "Of course. Would you like some tea?")
        .await?;
    stage
        .alice_sees("Bob's edit", |one| {
            one.relates_to() == seen_offer.id() && one.body().contains("some tea")
        })
        .await?;

    alice
        .reply(&story.portal, seen_offer.id(), "Gladly, with milk.")
        .await?;
    let seen_answer = stage
        .bob_sees("Alice's answer", |one| one.body().contains("with milk"))
        .await?;
    ensure!(
        seen_answer.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == offer.as_str(),
        "Alice's answer does not point to Bob's offer: {}",
        seen_answer.event
    );
    alice.react(&story.portal, seen_offer.id(), "🫖").await?;
    stage
        .bob_sees("Alice's reaction", |one| {
            one.kind() == "m.reaction" && one.relates_to() == offer
        })
        .await?;

    let (mistake, seen_mistake) = stage.alice_says("By the way, my real name is…").await?;
    alice.redact(&story.portal, &mistake, "").await?;
    stage
        .bob_sees("Alice's second thought", |one| {
            one.kind() == "m.room.redaction" && redacts(one, seen_mistake.id())
        })
        .await?;

    let (typo, seen_typo) = stage.alice_says("Never mind, I am just a gest.").await?;
    alice
        .edit(&story.portal, &typo, "Never mind, I am just a guest.")
        .await?;
    stage
        .bob_sees("Alice's edit", |one| {
            one.relates_to() == seen_typo.id() && one.body().contains("a guest")
        })
        .await?;

    bob.reply(&story.room, seen_typo.id(), "Then be welcome, guest.")
        .await?;
    let welcome = stage
        .alice_sees("Bob's welcome", |one| one.body().contains("be welcome"))
        .await?;
    ensure!(
        welcome.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == typo.as_str(),
        "Bob's welcome does not point to Alice's message: {}",
        welcome.event
    );
    Ok(story)
}

/// Alice invites Carol by a sealed address into the room; Carol accepts by joining her portal. Returns that.
pub async fn invite(
    alice: &Client,
    bob: &Client,
    carol: &Client,
    story: &Story,
    sealed: &str,
) -> Result<String> {
    show::step("Alice invites Carol, of whom she has a sealed address: !vizard invite vz1:");
    alice
        .say(&story.portal, &format!("!vizard invite {sealed}"))
        .await?;
    let invited = |one: &Received| one.room == story.portal && one.body().contains("invited as ");
    alice
        .wait_for("\"invited as …\"", invited, PATIENCE)
        .await?;
    let from_host = |one: &Received| one.sender().starts_with("@_vizard_p_");
    let portal = carol
        .accept_invite("to Carol's portal", from_host, PATIENCE)
        .await?;
    show::seen("Carol accepted by joining her portal");
    let masked = |one: &Received| {
        one.source == Source::Timeline
            && one.room == story.room
            && one.event["content"]["membership"] == "join"
            && one.sender().starts_with("@_vizard_")
            && one.sender() != story.ghost
    };
    bob.wait_for("Carol's ghost", masked, PATIENCE).await?;
    carol
        .say(&portal, "A second mask at this table, if I may.")
        .await?;
    for (who, client, room) in [("Bob", bob, &story.room), ("Alice", alice, &story.portal)] {
        let said = |one: &Received| one.room == *room && one.body().starts_with("A second mask");
        client
            .wait_for(&format!("Carol's words ({who})"), said, PATIENCE)
            .await?;
    }
    Ok(portal)
}

/// Bob opens a room; Alice tells the bot to join it and accepts the portal.
async fn enter(alice: &Client, bob: &Client, server_of_alice: &str) -> Result<Story> {
    show::step("Bob opens a public room, in which everybody may invite");
    let (_, server) = bob.id().split_once(':').context("Bob's server")?;
    let alias = format!("#tea-room:{server}");
    let room = bob
        .create_room(json!({
            "preset": "public_chat", "visibility": "public", "room_alias_name": "tea-room",
            "name": "The tea room", "power_level_content_override": {"invite": 0},
        }))
        .await?;

    show::step(&format!("Alice writes to her bot: join {alias}"));
    let bot = format!("@vizard:{server_of_alice}");
    let chat = alice.direct_chat(&bot).await?;
    let joined = |one: &Received| {
        one.room == chat
            && one.event["state_key"] == bot.as_str()
            && one.event["content"]["membership"] == "join"
    };
    alice
        .wait_for("the bot's coming into the chat", joined, PATIENCE)
        .await?;
    alice.say(&chat, &format!("join {alias}")).await?;

    let from_host = |one: &Received| one.sender().starts_with("@_vizard_p_");
    let portal = alice
        .accept_invite("to the portal", from_host, PATIENCE)
        .await?;
    show::seen("Alice accepted the invite to her portal");
    let says_joined =
        |one: &Received| one.room == chat && one.sender() == bot && nick(one.body()).is_some();
    let answer = alice
        .wait_for("the bot's \"joined as …\"", says_joined, PATIENCE)
        .await?;
    let nick = nick(answer.body())
        .context("the bot's answer names no mask")?
        .to_owned();
    let is_ghost = |one: &Received| {
        one.source == Source::Timeline
            && one.room == room
            && one.event["content"]["membership"] == "join"
            && one.sender().starts_with("@_vizard_")
            && one.sender().ends_with(server_of_alice)
    };
    let ghost = bob
        .wait_for("a ghost's join", is_ghost, PATIENCE)
        .await?
        .sender()
        .to_owned();
    show::seen(&format!("Bob sees {nick} come in"));
    Ok(Story {
        room,
        alias,
        portal,
        chat,
        nick,
        ghost,
    })
}

struct Stage<'a> {
    alice: &'a Client,
    bob: &'a Client,
    story: &'a Story,
}

impl Stage<'_> {
    /// Alice speaks in her portal; returns her event's id and what Bob received.
    async fn alice_says(&self, text: &str) -> Result<(String, Received)> {
        let event = self.alice.say(&self.story.portal, text).await?;
        let seen = self
            .bob_sees(&format!("Alice's \"{text}\""), |one| one.body() == text)
            .await?;
        Ok((event, seen))
    }

    async fn alice_sees(&self, what: &str, fits: impl Fn(&Received) -> bool) -> Result<Received> {
        self.alice
            .wait_for(
                what,
                |one| one.room == self.story.portal && fits(one),
                PATIENCE,
            )
            .await
    }

    async fn bob_sees(&self, what: &str, fits: impl Fn(&Received) -> bool) -> Result<Received> {
        self.bob
            .wait_for(
                what,
                |one| one.room == self.story.room && fits(one),
                PATIENCE,
            )
            .await
    }
}

/// Whether a redaction is of this event. Its place differs between versions of rooms.
pub fn redacts(redaction: &Received, event: &str) -> bool {
    redaction.event["content"]["redacts"] == event || redaction.event["redacts"] == event
}

/// The mask's name in an answer like `joined as Quiet Heron`.
fn nick(answer: &str) -> Option<&str> {
    let (_, rest) = answer.split_once("joined as ")?;
    let nick = rest.lines().next()?.trim().trim_end_matches(['.', '!']);
    (!nick.is_empty()).then_some(nick)
}
