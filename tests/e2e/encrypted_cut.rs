//! Killed at the very moment at which it says that something cannot be read yet: what that leaves in the portal is put right.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use axum::{extract::Request, response::Response};
use tokio::{sync::Notify, time::Instant};

use crate::{
    encrypted::Veiled,
    olm::Olm,
    ratchets::parlour,
    testkit::{
        e2ee::{E2eeClient, Options, Report},
        proxy::{Between, Onward, taken_apart},
    },
    world::{PATIENCE, World},
};

/// Where the kill cuts, and when the key comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The placeholder was sent, and its sender never heard of it. The key comes before it is back.
    SentThenKey,
    /// The same; the key comes once it is back.
    SentThenBack,
    /// The placeholder was never sent. The key comes before it is back.
    Unsent,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_beside_a_placeholder_leaves_none_and_doubles_none() -> Result<()> {
    let mut world = World::encrypted("encrypted-cut").await?;
    world.vizard.stop().await?;
    let gate = Gate::start(&world.servers.a.url()).await?;
    world.vizard.set("homeserver.url", gate.between.url());
    world.vizard.start().await?;
    let bob = E2eeClient::register(&world.servers.b, "bob").await?;
    let room = parlour(&bob).await?;
    let via = format!("{room} {}", world.servers.b.server_name());
    let alice = world.veil("alice", &via, Options::default()).await?;
    bob.await_member(&room, &alice.ghost, "join").await?;
    bob.say(&room, "all is well").await?;
    alice.hears("all is well").await?;

    let rounds = [
        Cut::SentThenKey,
        Cut::SentThenBack,
        Cut::Unsent,
        Cut::SentThenKey,
    ];
    for (round, cut) in rounds.into_iter().enumerate() {
        let text = format!("cut {round}");
        one_cut(&mut world, &gate, &bob, &room, cut, &text)
            .await
            .with_context(|| format!("round {round}, {cut:?}"))?;
        let known = alice.user.timeline(&alice.portal).len();
        all_is_right(&alice, &text)
            .await
            .with_context(|| format!("round {round}, {cut:?}, {known} events"))?;
    }
    bob.say(&room, "and on").await?;
    alice.hears("and on").await?.assert_trusted();
    for round in 0..rounds.len() {
        all_is_right(&alice, &format!("cut {round}")).await?;
    }
    let between = gate.shared.olm.no_step_is_used_twice()?;
    ensure!(between.outlived > 0, "no session outlived a kill");
    Ok(())
}

async fn one_cut(
    world: &mut World,
    gate: &Gate,
    bob: &E2eeClient,
    room: &str,
    cut: Cut,
    text: &str,
) -> Result<()> {
    bob.hold_keys().await?;
    bob.discard_session(room).await?;
    gate.set(if cut == Cut::Unsent { BEFORE } else { AFTER });
    bob.say(room, text).await?;
    tokio::time::timeout(PATIENCE, gate.shared.hit.notified())
        .await
        .context("no placeholder was sent")?;
    world.vizard.kill();
    gate.shared.olm.begin_life();
    gate.set(OPEN);
    if cut == Cut::SentThenBack {
        world.vizard.start().await?;
        // It says once more that the message cannot be read, under the same transaction id.
        tokio::time::sleep(Duration::from_secs(4)).await;
        ensure!(bob.release_keys().await? > 0, "no key was held back");
    } else {
        ensure!(bob.release_keys().await? > 0, "no key was held back");
        // The key crosses the federation.
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.vizard.start().await?;
    }
    Ok(())
}

/// In the end the portal shows the text once, and nothing stands for what cannot be read.
async fn all_is_right(alice: &Veiled, text: &str) -> Result<()> {
    alice.hears(text).await?.assert_trusted();
    let until = Instant::now() + PATIENCE;
    loop {
        let all = alice.user.timeline(&alice.portal);
        let said = all
            .iter()
            .filter(|one| one.sender != alice.user.id() && one.body() == text && !one.redacted);
        let count = said.count();
        ensure!(count == 1, "\"{text}\" is shown {count} times");
        let stays: Vec<_> = all.iter().filter(|one| stands(one, &all)).collect();
        if stays.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < until, "placeholders stay: {stays:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether this is a placeholder that nothing took the place of.
fn stands(one: &Report, all: &[Report]) -> bool {
    let edits = |other: &Report| {
        other.relates_to() == one.event_id && other.content["m.new_content"].is_object()
    };
    one.body().starts_with('🔒') && !one.redacted && !all.iter().any(edits)
}

/// Everything passes.
const OPEN: u8 = 0;
/// What a mirror sends does not pass.
const BEFORE: u8 = 1;
/// It passes, and no answer comes back.
const AFTER: u8 = 2;

/// Between a Vizard and its homeserver. Dropping it ends it.
struct Gate {
    between: Between,
    shared: Arc<Shared>,
}

struct Shared {
    homeserver: Onward,
    state: AtomicU8,
    /// A request was held up.
    hit: Notify,
    /// What went from device to device.
    olm: Olm,
}

impl Gate {
    async fn start(to: &str) -> Result<Self> {
        let shared = Arc::new(Shared {
            homeserver: Onward::to(to),
            state: AtomicU8::new(OPEN),
            hit: Notify::new(),
            olm: Olm::default(),
        });
        let theirs = Arc::clone(&shared);
        let answer = move |request| Arc::clone(&theirs).answer(request);
        let between = Between::start(Ipv4Addr::LOCALHOST.into(), answer).await?;
        Ok(Self { between, shared })
    }

    fn set(&self, state: u8) {
        self.shared.state.store(state, Ordering::SeqCst);
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request) -> Result<Response> {
        let of_mirror = request.uri().path().contains("/send/m.room.encrypted/")
            && request
                .uri()
                .query()
                .is_some_and(|query| query.contains("_vizard_m_"));
        let state = self.state.load(Ordering::SeqCst);
        let cuts = |at| of_mirror && state == at;
        if cuts(BEFORE) {
            self.hit.notify_one();
            std::future::pending::<()>().await;
        }
        let answer = self.forward(request).await;
        if cuts(AFTER) {
            self.hit.notify_one();
            std::future::pending::<()>().await;
        }
        answer
    }

    async fn forward(&self, request: Request) -> Result<Response> {
        let (parts, body) = taken_apart(request).await?;
        self.olm.keep(parts.uri.path(), &body);
        self.homeserver.pass(parts, body).await
    }
}
