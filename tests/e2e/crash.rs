//! Nothing lost, doubled or reordered: 500 messages each way while Vizard is killed 20 times and its homeserver is restarted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::Rng as _;

use crate::{
    testkit::client::Client,
    world::{Masked, PATIENCE, World, hears, moments},
};

const MESSAGES: usize = 500;
const KILLS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_loses_doubles_and_reorders_nothing() -> Result<()> {
    let mut world = World::start("crash", |vizard| {
        vizard.set("access.messages_per_minute", "100000");
    })
    .await?;
    let bob = Client::register(&world.servers.b, "bob").await?;
    let (room, alias) = bob.create_public_room("storm", "The storm").await?;
    let alice = world.mask("alicestorm", &room, &alias).await?;

    let mut rng = moments(20);
    let talk = async {
        tokio::try_join!(
            say_all(&alice.user, &alice.portal, "out"),
            say_all(&bob, &room, "in")
        )?;
        anyhow::Ok(())
    };
    let break_things = async {
        for kill in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(rng.random_range(50..900))).await;
            world.vizard.kill();
            if kill == KILLS / 2 {
                world.servers.a.restart().await?;
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..200))).await;
            world.vizard.start().await?;
            if kill == 3 * KILLS / 4 {
                // Once more, while it runs.
                world.servers.a.restart().await?;
            }
        }
        anyhow::Ok(())
    };
    tokio::try_join!(talk, break_things)?;

    arrived(&bob, &room, "out").await?;
    arrived(&alice.user, &alice.portal, "in").await?;
    // Whatever was sent twice would have come by now; and a message after all of it still goes through.
    alice.says("the end").await?;
    hears(&bob, &room, "the end").await?;
    bob.say(&room, "the end, too").await?;
    alice.hears("the end, too").await?;
    if let Err(error) = exactly_once_in_order(&bob, &room, "out").await {
        let said: Vec<_> = alice
            .user
            .timeline(&alice.portal)
            .await
            .into_iter()
            .filter(|one| one.sender().contains("_vizard_p_"))
            .map(|one| one.event)
            .collect();
        anyhow::bail!("{error}; the host said {said:#?}");
    }
    exactly_once_in_order(&alice.user, &alice.portal, "in").await?;
    every_message_has_a_fate(&alice).await
}

/// Says all messages, one after the other, however often the homeserver is away meanwhile.
async fn say_all(user: &Client, room: &str, word: &str) -> Result<()> {
    for number in 0..MESSAGES {
        let content = serde_json::json!({"msgtype": "m.text", "body": format!("{word} {number}")});
        // The same transaction id each time, as a client that does not know whether it was heard.
        let path = [
            "v3",
            "rooms",
            room,
            "send",
            "m.room.message",
            &format!("{word}{number}"),
        ];
        let until = Instant::now() + PATIENCE * 2;
        while let Err(error) = user
            .call(reqwest::Method::PUT, &path, Some(content.clone()))
            .await
        {
            ensure!(Instant::now() < until, "{error}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    Ok(())
}

async fn arrived(user: &Client, room: &str, word: &str) -> Result<()> {
    let last = format!("{word} {}", MESSAGES - 1);
    user.wait_for(
        &format!("\"{last}\""),
        |one| {
            one.room == room && one.is_message() && one.body() == last && one.sender() != user.id()
        },
        PATIENCE * 3,
    )
    .await?;
    Ok(())
}

/// Looks at the room's whole history, as the homeserver has it.
async fn exactly_once_in_order(user: &Client, room: &str, word: &str) -> Result<()> {
    let history = user.history(room).await?;
    let numbers: Vec<usize> = history
        .iter()
        .filter(|event| event["type"] == "m.room.message" && event["sender"] != user.id())
        .filter_map(|event| {
            event["content"]["body"]
                .as_str()?
                .strip_prefix(word)?
                .trim()
                .parse()
                .ok()
        })
        .collect();
    let expected: Vec<usize> = (0..MESSAGES).collect();
    if numbers != expected {
        let lost: Vec<_> = expected
            .iter()
            .filter(|number| !numbers.contains(number))
            .collect();
        let doubled: Vec<_> = expected
            .iter()
            .filter(|number| numbers.iter().filter(|other| other == number).count() > 1)
            .collect();
        anyhow::bail!(
            "`{word}`: {} arrived; lost {lost:?}; doubled {doubled:?}; in order {}",
            numbers.len(),
            numbers.is_sorted()
        );
    }
    Ok(())
}

/// The host's receipt stands at the user's last message.
async fn every_message_has_a_fate(alice: &Masked) -> Result<()> {
    let last = alice.says("the very last").await?;
    alice
        .user
        .wait_for(
            "the receipt of the last message",
            |one| {
                one.room == alice.portal
                    && one.kind() == "m.receipt"
                    && one.event["content"][&last].is_object()
            },
            PATIENCE,
        )
        .await?;
    Ok(())
}
