//! Requests of a hostile peer: each is refused with the same words, and counted by its reason for the admin alone.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use ruma::{OwnedUserId, RoomId, UserId};
use serde_json::{Value, json};
use vizard::{
    pseudonym::{Mapping, ServerKey, prove},
    rng::Rng,
    sealed::{KeyDocument, RequestDraft, SealedAddress, Sealing, seal},
};

use crate::{
    invites::{document, now},
    stranger::{Stranger, contact},
    testkit::{client::Client, proxy::counted, synapse::Synapse},
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

impl Scene {
    /// An address of Bob's, bound to a room and an inviter.
    fn bound(&self, inviter: &Stranger, room: &RoomId) -> Result<SealedAddress> {
        let key = self.document.sealing_key(now()).context("a key")?;
        let bob = self.invitee()?;
        let sealing = Sealing::Bound {
            user: &bob,
            room,
            inviter: inviter.key.id().into(),
        };
        Ok(seal(&Rng::os(), &key, sealing, now() + 3_600_000)?)
    }

    /// A request as it should be.
    fn request(&self, room: &RoomId) -> Result<Value> {
        let sealed = self.bound(&self.stranger, room)?;
        Ok(self.stranger.request(&sealed, room).content)
    }
}

/// An attack: what it is, how it is counted, and what is sent.
type Attack = (&'static str, &'static str, Value);

/// Requests whose address does not serve for them, or that come too late or from somebody else.
fn misused(
    scene: &Scene,
    other: &Stranger,
    [room, elsewhere]: [&RoomId; 2],
) -> Result<Vec<Attack>> {
    let stranger = &scene.stranger;
    let text = scene.bound(stranger, room)?.to_string();
    let (head, last) = text.split_at(text.len() - 8);
    let first = if last.starts_with('A') { 'B' } else { 'A' };
    let flipped = SealedAddress::parse(&format!("{head}{first}{}", &last[1..]))?;
    let [a, b] = [&scene.world.servers.a, &scene.world.servers.b].map(Synapse::server_name);
    let to_b = SealedAddress::parse(&text.replace(a, b))?;
    let until = |at: u64| -> Result<Value> {
        let sealed = scene.bound(stranger, room)?;
        Ok(stranger.request_until(&sealed, room, at).content)
    };
    let moved = stranger.request(&scene.bound(stranger, room)?, elsewhere);
    let of_another = stranger.request(&scene.bound(other, room)?, room);
    let as_another = other.request(&scene.bound(other, room)?, room);
    Ok(vec![
        ("moved to another room", "unopenable", moved.content),
        (
            "an address of another inviter",
            "unopenable",
            of_another.content,
        ),
        ("expired", "expired", until(now() - 1000)?),
        (
            "good for a year",
            "too_long",
            until(now() + 365 * 86_400_000)?,
        ),
        (
            "a flipped bit",
            "unopenable",
            stranger.request(&flipped, room).content,
        ),
        (
            "for another server",
            "other_server",
            stranger.request(&to_b, room).content,
        ),
        ("as somebody else", "other_sender", as_another.content),
    ])
}

/// Requests whose signature does not serve for them.
fn missigned(scene: &Scene, other: &Stranger, room: &RoomId) -> Result<Vec<Attack>> {
    let stranger = &scene.stranger;
    let own = stranger.key.id().to_base64();
    let mut tampered = scene.request(room)?;
    tampered["expires_ts"] = json!(now() + 7_200_000);
    let mut unsigned = scene.request(room)?;
    unsigned["signatures"] = json!({});
    let mut by_another = scene.request(room)?;
    let theirs = other.request(&scene.bound(other, room)?, room).content;
    by_another["signatures"] = theirs["signatures"].clone();
    let some_server = ServerKey::generate(&Rng::os());
    let mapping = Mapping::sign(&stranger.key, stranger.id.server_name(), room, &some_server);
    let proof = prove(&stranger.key, &stranger.id, room, "it was me");
    let mut attacks = Vec::new();
    for purpose in [mapping, proof] {
        let mut borrowed = scene.request(room)?;
        borrowed["signatures"] = json!({ &own: purpose["signatures"][&own] });
        attacks.push((
            "with a signature for another purpose",
            "signature",
            borrowed,
        ));
    }
    let draft = RequestDraft {
        sealed: &scene.bound(stranger, room)?,
        room,
        expires_ts: now() + 60_000,
    };
    let as_bot = UserId::parse(format!("@vizard:{}", scene.world.servers.b.server_name()))?;
    let forged = draft.sign_as_bot(&Rng::os(), &as_bot, &some_server);
    attacks.extend([
        ("changed after it was signed", "signature", tampered),
        ("not signed", "signature", unsigned),
        ("signed by somebody else", "signature", by_another),
        (
            "as a bot of a server without Vizard",
            "other_sender",
            forged.content,
        ),
    ]);
    Ok(attacks)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hostile_peer_sends_gets_one_refusal() -> Result<()> {
    let scene = Scene::start("hostile").await?;
    let (stranger, bot) = (&scene.stranger, scene.bot.as_str());
    let other = Stranger::register(&scene.world.servers.b).await?;
    let (room, elsewhere) = (stranger.room().await?, stranger.room().await?);
    let mut attacks = misused(&scene, &other, [&room, &elsewhere])?;
    attacks.extend(missigned(&scene, &other, &room)?);
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
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_as_before() -> Result<()> {
    let scene = Scene::start("repeated").await?;
    let (stranger, bot) = (&scene.stranger, scene.bot.as_str());
    let (room, elsewhere) = (stranger.room().await?, stranger.room().await?);
    let good = scene.request(&room)?;
    let answer = stranger.ask(bot, &good).await?;
    ensure!(answer["ghost"].is_string(), "no ghost: {answer}");
    let again = stranger.ask(bot, &good).await?;
    ensure!(again == answer, "a repeated request has another answer");
    // Another request with another sealing of the same name: another ghost, which has nothing of the first.
    let fresh = stranger.ask(bot, &scene.request(&room)?).await?;
    ensure!(fresh["ghost"] != answer["ghost"], "two requests, one ghost");
    ensure!(keys(&fresh) == keys(&answer), "another shape");

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
    let last = stranger.ask(bot, &good).await?;
    ensure!(last == answer, "it answers differently now");
    let answers = stranger.client.received().await;
    let after = answers
        .iter()
        .skip(mark)
        .filter(|one| one.kind() == vizard::sealed::RESPONSE_TYPE);
    ensure!(after.count() <= 2, "what is no request was answered");
    only_the_invite_that_was_asked_for_arrives(&scene, [&room, &elsewhere], [&answer, &fresh]).await
}

/// An invite for a ghost that was never offered, and one into another room, lead nowhere; the one that was asked for reaches Bob.
async fn only_the_invite_that_was_asked_for_arrives(
    scene: &Scene,
    [room, elsewhere]: [&RoomId; 2],
    [first, second]: [&Value; 2],
) -> Result<()> {
    let (stranger, bob) = (&scene.stranger, &scene.bob);
    let never = UserId::parse(format!(
        "@_vizard_{}:{}",
        "a".repeat(52),
        scene.world.servers.a.server_name()
    ))?;
    stranger
        .client
        .invite(room.as_str(), never.as_str())
        .await?;
    stranger.invite(elsewhere, first).await?;
    let invited = |one: &crate::testkit::client::Received| {
        one.event["state_key"] == bob.id() && one.event["content"]["membership"] == "invite"
    };
    let early = bob
        .wait_for("no invite", invited, std::time::Duration::from_secs(3))
        .await;
    ensure!(
        early.is_err(),
        "an invite to another room than was asked for arrived"
    );
    stranger.invite(room, second).await?;
    bob.wait_for("the invite", invited, crate::world::PATIENCE)
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
