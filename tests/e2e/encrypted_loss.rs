//! Keys that come from many at once, or while nobody listens.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;

use crate::{
    encrypted::Veiled,
    ratchets::{Shown, conversation, no_step_is_used_twice, parlour},
    testkit::e2ee::{E2eeClient, Options},
    world::{Side, World},
};

const MEMBERS: usize = 8;
const ROUNDS: usize = 3;
/// No placeholder stands longer.
const SHORT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_many_at_once_and_while_nobody_listens() -> Result<()> {
    keys_of_many("encrypted-loss", Side::A).await
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_many_at_once_where_half_of_the_hints_are_lost() -> Result<()> {
    keys_of_many("encrypted-loss-hints", Side::B).await
}

async fn keys_of_many(label: &str, side: Side) -> Result<()> {
    let mut world = World::encrypted(label).await?;
    let names: Vec<String> = (0..MEMBERS).map(|one| format!("member{one}")).collect();
    let server = world.server(side);
    // Two at a time, as each client keeps a processor busy while it starts.
    let mut members = Vec::new();
    for pair in names.chunks(2) {
        let pair = pair.iter().map(|name| E2eeClient::register(server, name));
        members.extend(try_join_all(pair).await?);
    }
    let room = parlour(&members[0]).await?;
    try_join_all(members[1..].iter().map(|one| one.join(&room, &[]))).await?;
    try_join_all(members.iter().map(|one| one.await_encryption(&room))).await?;
    let alice = world
        .veil_on(side, "alice", &room, Options::default())
        .await?;
    let joined = members
        .iter()
        .map(|one| one.await_member(&room, &alice.ghost, "join"));
    try_join_all(joined).await?;

    // Each begins a new room key and shares it with the ghost, all at the same moment.
    for round in 0..ROUNDS {
        say_with_new_keys(&members, &room, &format!("round {round}")).await?;
    }
    for round in 0..ROUNDS {
        all_are_read(&alice, &format!("round {round}"), MEMBERS).await?;
    }
    for one in conversation(&alice.user, &alice.portal).await? {
        ensure!(!one.is_placeholder(), "a placeholder stays: {one:#?}");
        ensure!(
            one.hidden.is_none_or(|hidden| hidden <= SHORT),
            "a placeholder stood too long: {one:#?}"
        );
    }

    // Nobody listens while the keys and the messages come.
    world.vizard(side)?.kill();
    say_with_new_keys(&members, &room, "unheard").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.vizard(side)?.start().await?;
    all_are_read(&alice, "unheard", MEMBERS).await?;
    let shown = conversation(&alice.user, &alice.portal).await?;
    ensure!(
        !shown.iter().any(Shown::is_placeholder),
        "a placeholder stays"
    );
    no_step_is_used_twice(&world).await.map(drop)
}

pub async fn say_with_new_keys(members: &[E2eeClient], room: &str, word: &str) -> Result<()> {
    try_join_all(members.iter().map(|one| one.discard_session(room))).await?;
    let texts: Vec<String> = (0..members.len())
        .map(|number| format!("{word} {number}"))
        .collect();
    try_join_all(
        members
            .iter()
            .zip(&texts)
            .map(|(one, text)| one.say(room, text)),
    )
    .await
    .map(drop)
}

pub async fn all_are_read(alice: &Veiled, word: &str, members: usize) -> Result<()> {
    for number in 0..members {
        let report = alice.hears(&format!("{word} {number}")).await?;
        if !report.is_trusted() {
            alice.user.look(&report.event_id).await?.assert_trusted();
        }
    }
    Ok(())
}
