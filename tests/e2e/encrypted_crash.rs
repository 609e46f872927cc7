//! Nothing lost, doubled, reordered or unreadable where both sides are encrypted, and no ratchet used twice, neither of
//! rooms nor between devices, while Vizard is killed again and again.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::Rng as _;

use crate::{
    encrypted::{Veiled, heard},
    olm::Tap,
    ratchets::{conversation, no_step_is_used_twice, parlour},
    testkit::e2ee::{E2eeClient, Options},
    world::{PATIENCE, World, moments},
};

const MESSAGES: usize = 100;
const KILLS: usize = 7;

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_uses_no_ratchet_twice() -> Result<()> {
    let mut world = World::encrypted("encrypted-crash").await?;
    world.vizard.stop().await?;
    let tap = Tap::start(&world.servers.a.url()).await?;
    world.vizard.set("homeserver.url", tap.between.url());
    world.vizard.start().await?;
    let bob = E2eeClient::register(&world.servers.b, "bob").await?;
    let room = parlour(&bob).await?;
    let via = format!("{room} {}", world.servers.b.server_name());
    let alice = world.veil("alicestorm", &via, Options::default()).await?;
    bob.await_member(&room, &alice.ghost, "join").await?;
    is_understood(&bob, &room, &alice).await?;

    let mut rng = moments(7);
    let talk = async {
        tokio::try_join!(
            say_all(&alice.user, &alice.portal, "out"),
            say_all(&bob, &room, "in")
        )
    };
    let relayed = || from_others(&bob, &room) + from_others(&alice.user, &alice.portal);
    let kill = async {
        for _ in 0..KILLS {
            // Not before it has relayed something, or the kills would hit nothing.
            let before = relayed();
            let until = tokio::time::Instant::now() + Duration::from_secs(20);
            while relayed() < before + 2 && tokio::time::Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..700))).await;
            world.vizard.kill();
            tap.olm.begin_life();
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..200))).await;
            world.vizard.start().await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(talk, kill)?;

    let last = MESSAGES - 1;
    heard(&bob, &room, &format!("out {last}")).await?;
    alice.hears(&format!("in {last}")).await?;
    // Whatever was sent twice would have come by now; and a message after all of it still goes through.
    alice.user.say(&alice.portal, "the end").await?;
    heard(&bob, &room, "the end").await?.assert_trusted();
    bob.say(&room, "the end, too").await?;
    alice.hears("the end, too").await?.assert_trusted();
    exactly_once_in_order(&bob, &room, "out").await?;
    exactly_once_in_order(&alice.user, &alice.portal, "in").await?;

    let steps = no_step_is_used_twice(&world).await?;
    eprintln!(
        "{} messages in {} sessions",
        steps.messages,
        steps.sessions.len()
    );
    ensure!(steps.messages >= 2 * MESSAGES, "the audit saw too little");
    // Each start begins a new one, so this tells how many of the lives said anything.
    let lives = steps
        .sessions
        .iter()
        .filter(|(sender, _)| *sender == alice.ghost);
    ensure!(lives.count() > KILLS / 2, "the kills hit nothing");
    let between = tap.olm.no_step_is_used_twice()?;
    eprintln!("between devices: {between:?}");
    // Olm sessions are kept, so what a later life sends goes on where an earlier one was cut off.
    ensure!(between.outlived > 0, "no session outlived a kill");
    Ok(())
}

/// Bob speaks until his words are read. On a busy machine his server gets the ghost's keys, or one of its one-time keys, after his
/// first words, which the ghost can then never read.
async fn is_understood(bob: &E2eeClient, room: &str, alice: &Veiled) -> Result<()> {
    bob.await_device(&alice.ghost).await?;
    for number in 1..=10 {
        let text = format!("can you hear me? {number}");
        bob.say(room, &text).await?;
        if tokio::time::timeout(Duration::from_secs(10), alice.hears(&text))
            .await
            .is_ok_and(|heard| heard.is_ok())
        {
            return Ok(());
        }
    }
    anyhow::bail!("the ghost reads nothing")
}

fn from_others(user: &E2eeClient, room: &str) -> usize {
    let timeline = user.timeline(room);
    timeline
        .iter()
        .filter(|one| one.sender != user.id())
        .count()
}

async fn say_all(user: &E2eeClient, room: &str, word: &str) -> Result<()> {
    for number in 0..MESSAGES {
        user.say(room, &format!("{word} {number}")).await?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

/// Looks at the room's whole history once no placeholder stands in it.
async fn exactly_once_in_order(user: &E2eeClient, room: &str, word: &str) -> Result<()> {
    let until = tokio::time::Instant::now() + PATIENCE;
    let shown = loop {
        let mut shown = conversation(user, room).await?;
        // What was said before may have come before the ghost could read anything.
        let first = shown.iter().position(|one| one.text.starts_with(word));
        shown.drain(..first.unwrap_or(0));
        let waits = shown.iter().any(crate::ratchets::Shown::is_placeholder);
        if !waits || tokio::time::Instant::now() > until {
            break shown;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let stays: Vec<_> = shown.iter().filter(|one| one.is_placeholder()).collect();
    ensure!(stays.is_empty(), "placeholders stay: {stays:#?}");
    let numbers: Vec<usize> = shown
        .iter()
        .filter_map(|one| one.text.strip_prefix(word)?.trim().parse().ok())
        .collect();
    let expected: Vec<usize> = (0..MESSAGES).collect();
    ensure!(numbers == expected, "`{word}` came as {numbers:?}");
    for one in &shown {
        if one.text.starts_with(word) && !one.report.is_trusted() {
            user.look(&one.report.event_id).await?.assert_trusted();
        }
    }
    Ok(())
}
