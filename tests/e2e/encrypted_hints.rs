//! Messages to devices that come by transaction are hints: whatever becomes of them, every message is read.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;

use crate::{
    encrypted::Veiled,
    encrypted_loss::{all_are_read, say_with_new_keys},
    ratchets::{Shown, conversation, no_step_is_used_twice, parlour},
    testkit::{
        e2ee::{E2eeClient, Options},
        proxy::{Drops, counted},
    },
    world::{PATIENCE, Side, World},
};

const MEMBERS: usize = 3;

/// Members of B, and a mask of B in their room.
async fn gathering(world: &World) -> Result<(Vec<E2eeClient>, String, Veiled)> {
    let names: Vec<String> = (0..MEMBERS).map(|one| format!("member{one}")).collect();
    let server = world.server(Side::B);
    let members = try_join_all(names.iter().map(|name| E2eeClient::register(server, name))).await?;
    let room = parlour(&members[0]).await?;
    try_join_all(members[1..].iter().map(|one| one.join(&room, &[]))).await?;
    try_join_all(members.iter().map(|one| one.await_encryption(&room))).await?;
    let dora = world
        .veil_on(Side::B, "dora", &room, Options::default())
        .await?;
    let joined = members
        .iter()
        .map(|one| one.await_member(&room, &dora.ghost, "join"));
    try_join_all(joined).await?;
    Ok((members, room, dora))
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_that_are_dropped_on_purpose_lose_nothing() -> Result<()> {
    let world = World::encrypted("hints-dropped").await?;
    let (members, room, dora) = gathering(&world).await?;
    let proxy = &world.hinted()?.proxy;
    for drops in [Drops::EveryOther, Drops::ToDevice, Drops::AllHints] {
        proxy.drops(drops);
        let before = proxy.dropped();
        for round in 0..2 {
            let said = format!("{drops:?} {round}");
            say_with_new_keys(&members, &room, &said).await?;
            all_are_read(&dora, &said, MEMBERS).await?;
        }
        // What is read may have come before its hint.
        let until = Instant::now() + PATIENCE;
        while proxy.dropped() == before {
            ensure!(Instant::now() < until, "{drops:?}: nothing to drop came");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let shown = conversation(&dora.user, &dora.portal).await?;
    ensure!(
        !shown.iter().any(Shown::is_placeholder),
        "a placeholder stays"
    );
    no_step_is_used_twice(&world).await.map(drop)
}

/// Prints what hints bring.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn what_hints_bring() -> Result<()> {
    const ROUNDS: usize = 40;
    let world = World::encrypted("hints-measured").await?;
    let (members, room, dora) = gathering(&world).await?;
    let other = world.hinted()?;
    for turn in 0..2 {
        for drops in [Drops::AllHints, Drops::Nothing] {
            other.proxy.drops(drops);
            let syncs = async || -> Result<[u64; 2]> {
                let metrics = other.vizard.metrics().await?;
                Ok([
                    counted(&metrics, &["requests_total", "\"sync\""])?,
                    counted(&metrics, &["vizard_hints_total", "\"synced\""])?,
                ])
            };
            let (before, passed) = (syncs().await?, other.proxy.passed());
            let mut times = Vec::new();
            for round in 0..ROUNDS {
                let member = &members[round % MEMBERS];
                member.discard_session(&room).await?;
                let text = format!("{turn} {drops:?} {round}");
                let began = Instant::now();
                member.say(&room, &text).await?;
                let shown = dora.hears(&text).await?;
                let arrived = shown.arrived.context("no time")?;
                times.push(arrived.saturating_duration_since(began));
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
            times.sort_unstable();
            let after = syncs().await?;
            eprintln!(
                "{drops:?}: first messages under a new key: median {:?}, 90 % {:?}, longest {:?}; \
                 {} hints came, {} syncs in {ROUNDS} messages, {} of them because of hints",
                times[ROUNDS / 2],
                times[ROUNDS * 9 / 10],
                times[ROUNDS - 1],
                other.proxy.passed() - passed,
                after[0] - before[0],
                after[1] - before[1],
            );
        }
    }
    Ok(())
}
