//! Requests of a hostile peer: each is refused with the same words, and counted by its reason for the admin alone.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use ruma::{OwnedUserId, UserId};
use serde_json::{Value, json};
use vizard::{
    rng::Rng,
    sealed::{KeyDocument, RequestDraft, SealedAddress, Sealing, seal},
};

use crate::{
    invites::{document, now},
    stranger::{Stranger, contact},
    testkit::{client::Client, proxy::counted},
    world::World,
};

struct Scene {
    world: World,
    bot: String,
    document: KeyDocument,
    bob: Client,
    stranger: Stranger,
}

impl Scene {
    async fn start(label: &str) -> Result<Self> {
        let world = World::start(label, |vizard| {
            vizard.set("invites.per_peer_day", "100000");
        })
        .await?;
        let document = document(&world.vizard, &world.servers.a).await?;
        Ok(Self {
            bot: world.bot(),
            bob: Client::register(&world.servers.a, "bobbittern").await?,
            stranger: Stranger::register(&world.servers.b).await?,
            document,
            world,
        })
    }

    fn invitee(&self) -> Result<OwnedUserId> {
        Ok(UserId::parse(self.bob.id())?)
    }

    async fn count(&self, reason: &str) -> Result<u64> {
        let metrics = self.world.vizard.metrics().await?;
        counted(
            &metrics,
            &["vizard_invite_requests_total", &format!("\"{reason}\"")],
        )
    }
}

fn keys(value: &Value) -> BTreeSet<String> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect()
}

#[expect(clippy::too_many_lines, reason = "one attack after the other")]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_hostile_peer_sends_gets_one_refusal() -> Result<()> {
    let scene = Scene::start("hostile").await?;
    let Scene {
        stranger,
        bot,
        document,
        ..
    } = &scene;
    let other = Stranger::register(&scene.world.servers.b).await?;
    let (room, elsewhere) = (stranger.room().await?, stranger.room().await?);
    let bob = scene.invitee()?;
    let key = document.sealing_key(now()).context("a key")?;
    let bound = |inviter: &Stranger| -> Result<SealedAddress> {
        let sealing = Sealing::Bound {
            user: &bob,
            room: &room,
            inviter: inviter.key.id().into(),
        };
        Ok(seal(&Rng::os(), &key, sealing, now() + 3_600_000)?)
    };
    let good = stranger.request(&bound(stranger)?, &room);

    // As it should be, and once more: the same ghost.
    let answer = stranger.ask(bot, &good.content).await?;
    ensure!(answer["ghost"].is_string(), "no ghost: {answer}");
    let again = stranger.ask(bot, &good.content).await?;
    ensure!(again == answer, "a repeated request has another answer");
    // Another request with another sealing of the same name: another ghost, which has nothing of the first.
    let fresh = stranger
        .ask(bot, &stranger.request(&bound(stranger)?, &room).content)
        .await?;
    ensure!(fresh["ghost"] != answer["ghost"], "two requests, one ghost");
    ensure!(keys(&fresh) == keys(&answer), "another shape");

    let mut tampered = good.content.clone();
    tampered["expires_ts"] = json!(now() + 7_200_000);
    let mut unsigned = good.content.clone();
    unsigned["signatures"] = json!({});
    let mut by_another = stranger.request(&bound(stranger)?, &room).content;
    let signed_by_another = other.request(&bound(&other)?, &room).content;
    by_another["signatures"] = signed_by_another["signatures"].clone();
    let mut for_another_purpose = stranger.request(&bound(stranger)?, &room).content;
    let purpose = vizard::pseudonym::Mapping::sign(
        &stranger.key,
        stranger.id.server_name(),
        &room,
        &vizard::pseudonym::ServerKey::generate(&Rng::os()),
    );
    let own = stranger.key.id().to_base64();
    for_another_purpose["signatures"] = json!({ &own: purpose["signatures"][&own] });
    let mut flipped = stranger.request(&bound(stranger)?, &room).content;
    let text = flipped["sealed"].as_str().context("sealed")?.to_owned();
    let (head, last) = text.split_at(text.len() - 8);
    let first = if last.starts_with('A') { 'B' } else { 'A' };
    let broken = SealedAddress::parse(&format!("{head}{first}{}", &last[1..]))?;
    flipped = stranger.request(&broken, &room).content;
    let to_another_server = {
        let sealed = SealedAddress::parse(&text.replace(
            scene.world.servers.a.server_name(),
            scene.world.servers.b.server_name(),
        ))?;
        stranger.request(&sealed, &room).content
    };
    let for_nobody = RequestDraft {
        sealed: &bound(stranger)?,
        room: &room,
        expires_ts: now() + 60_000,
    };
    let as_bot = UserId::parse(format!("@vizard:{}", scene.world.servers.b.server_name()))?;
    let forged_bot = for_nobody.sign_as_bot(
        &Rng::os(),
        &as_bot,
        &vizard::pseudonym::ServerKey::generate(&Rng::os()),
    );

    let attacks: Vec<(&str, &str, Value)> = vec![
        (
            "moved to another room",
            "unopenable",
            stranger.request(&bound(stranger)?, &elsewhere).content,
        ),
        (
            "an address of another inviter",
            "unopenable",
            stranger.request(&bound(&other)?, &room).content,
        ),
        (
            "expired",
            "expired",
            stranger
                .request_until(&bound(stranger)?, &room, now() - 1000)
                .content,
        ),
        (
            "good for a year",
            "too_long",
            stranger
                .request_until(&bound(stranger)?, &room, now() + 365 * 86_400_000)
                .content,
        ),
        ("changed after it was signed", "signature", tampered),
        ("not signed", "signature", unsigned),
        ("signed by somebody else", "signature", by_another),
        (
            "with a signature for another purpose",
            "signature",
            for_another_purpose,
        ),
        ("a flipped bit", "unopenable", flipped),
        ("for another server", "other_server", to_another_server),
        (
            "as a bot of a server without Vizard",
            "other_sender",
            forged_bot.content,
        ),
        (
            "as somebody else",
            "other_sender",
            other.request(&bound(&other)?, &room).content,
        ),
    ];
    let mut shapes = BTreeSet::new();
    for (what, reason, content) in attacks {
        let before = scene.count(reason).await?;
        let refused = stranger.ask(bot, &content).await.context(what)?;
        ensure!(
            refused["error"] == "org.vizard.refused",
            "{what}: {refused}"
        );
        ensure!(refused.get("ghost").is_none(), "{what}: a ghost");
        shapes.insert((keys(&refused), refused.to_string().len()));
        ensure!(
            scene.count(reason).await? > before,
            "{what} is not counted as {reason}"
        );
    }
    ensure!(shapes.len() == 1, "refusals differ: {shapes:?}");

    // What is no request at all gets no answer, and does no harm.
    let mark = stranger.client.mark().await;
    for content in [
        json!({}),
        json!({"type": "org.vizard.invite_request", "request_id": "x"}),
        json!({"request_id": "A".repeat(20_000)}),
        json!({"request_id": "AAAA", "sealed": 3}),
    ] {
        stranger.send(bot, &content).await?;
    }
    let last = stranger.ask(bot, &good.content).await?;
    ensure!(last == answer, "it answers differently now");
    let answers = stranger.client.received().await;
    let after = answers
        .iter()
        .skip(mark)
        .filter(|one| one.kind() == vizard::sealed::RESPONSE_TYPE);
    ensure!(after.count() <= 2, "what is no request was answered");

    // An invite for a ghost that was never offered, and one by somebody who did not ask, lead nowhere; the one that was asked for
    // reaches him.
    let never = UserId::parse(format!(
        "@_vizard_{}:{}",
        "a".repeat(52),
        scene.world.servers.a.server_name()
    ))?;
    stranger
        .client
        .invite(room.as_str(), never.as_str())
        .await?;
    let ghost = stranger.invite(&elsewhere, &answer).await?;
    let invited = |one: &crate::testkit::client::Received| {
        one.event["state_key"] == scene.bob.id() && one.event["content"]["membership"] == "invite"
    };
    let early = scene
        .bob
        .wait_for("no invite", invited, std::time::Duration::from_secs(3))
        .await;
    ensure!(
        early.is_err(),
        "an invite to another room than was asked for arrived"
    );
    let second = stranger.invite(&room, &fresh).await?;
    ensure!(second != ghost, "one ghost");
    scene
        .bob
        .wait_for("the invite", invited, crate::world::PATIENCE)
        .await?;
    Ok(())
}

/// A contact address that was sealed for whoever gets it works once.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_name_works_once() -> Result<()> {
    let scene = Scene::start("once").await?;
    let Scene {
        stranger,
        bot,
        document,
        bob,
        ..
    } = &scene;
    let sealed = contact(document, &scene.invitee()?)?;
    let (first, second) = (stranger.room().await?, stranger.room().await?);
    let answer = stranger
        .ask(bot, &stranger.request(&sealed, &first).content)
        .await?;
    stranger.invite(&first, &answer).await?;
    let invited = |one: &crate::testkit::client::Received| {
        one.event["state_key"] == bob.id() && one.event["content"]["membership"] == "invite"
    };
    let portal = bob
        .wait_for("the invite", invited, crate::world::PATIENCE)
        .await?;
    let mark = bob.mark().await;
    let answer = stranger
        .ask(bot, &stranger.request(&sealed, &second).content)
        .await?;
    stranger.invite(&second, &answer).await?;
    let again = bob
        .wait_after(
            mark,
            "no second invite",
            invited,
            std::time::Duration::from_secs(5),
        )
        .await;
    ensure!(again.is_err(), "it worked twice");
    // The first one still does.
    bob.join(&portal.room, &[]).await?;
    let joined = |one: &crate::testkit::client::Received| {
        one.room == first.as_str()
            && one.event["content"]["membership"] == "join"
            && one.event["state_key"] != stranger.id.as_str()
    };
    stranger
        .client
        .wait_for("the join", joined, crate::world::PATIENCE)
        .await?;
    Ok(())
}
