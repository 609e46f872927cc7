//! A whole sealed invite between two stock Synapses, each with a Vizard, beside a plain federated invite between the same servers.
//!
//! `cargo bench --bench invite`; `docs/performance.md` says what is measured. Servers and people are the test kit's. An invite that
//! does not arrive makes the bench fail; a slow one does not, unless `--strict` is given.

#[path = "../tests/testkit/mod.rs"]
mod testkit;

#[expect(dead_code, reason = "another bench measures timers too")]
#[path = "relay/machine.rs"]
mod machine;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Parser;
use serde_json::json;

use crate::testkit::{
    client::{Client, Received},
    site::Site,
    synapse::{Options as Stock, SynapsePair},
    vizard::Vizard,
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How many times a plain invite's time a sealed one may take.
const TARGET: f64 = 3.0;

/// Measures how long an invite takes until the invitee sees it.
#[derive(Clone, Debug, Parser)]
#[command(name = "invite")]
struct Options {
    /// Invites of each kind.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    invites: u16,
    /// A setting of both Vizards, as `section.key=value` (may be repeated).
    #[arg(long)]
    set: Vec<String>,
    /// The program to measure.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_vizard"))]
    vizard: PathBuf,
    /// End with 1 when the target is missed.
    #[arg(long)]
    strict: bool,
    /// Keep the servers' directories, and print where they are.
    #[arg(long)]
    keep: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if !options.bench {
        println!("This is a benchmark: `cargo bench --bench invite -- --help`.");
        return Ok(ExitCode::SUCCESS);
    }
    bench(&options)
}

/// What was measured, in the order of the table.
const KINDS: [&str; 5] = [
    "plain: until the invitee sees it",
    "plain, by `invite --plain` in a portal",
    "sealed: until the inviter reads whom they invited",
    "sealed: until the invitee sees it",
    "what a sealed one asks of both homeservers, without any Vizard",
];

#[tokio::main(flavor = "current_thread")]
async fn bench(options: &Options) -> Result<ExitCode> {
    let machine = machine::describe(&std::env::temp_dir());
    let world = World::start(options).await?;
    let mut times: [Vec<Duration>; KINDS.len()] = Default::default();
    // The first invites also fetch keys and open connections.
    for number in 0..options.invites.saturating_add(2) {
        let all = world.invite(number).await?;
        if number >= 2 {
            for (times, time) in times.iter_mut().zip(all) {
                times.push(time);
            }
        }
    }
    let medians = times.each_mut().map(|times| {
        times.sort_unstable();
        [50, 90].map(|share| millis(times[times.len() * share / 100]))
    });
    println!(
        "\n## Result\n\nMachine: {machine}\n\n{} invites of each kind, in turns, to somebody new each time.\n",
        options.invites
    );
    println!("| | p50, ms | p90, ms | ÷ plain (≤ {TARGET}) |\n|---|---:|---:|---:|");
    let [plain, ..] = medians[0];
    for (kind, [p50, p90]) in KINDS.iter().zip(medians) {
        println!("| {kind} | {p50:.0} | {p90:.0} | {:.2} |", p50 / plain);
    }
    let ratio = medians[3][0] / plain;
    println!(
        "\nThe target is {}.",
        if ratio <= TARGET { "met" } else { "missed" }
    );
    Ok(if options.strict && ratio > TARGET {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Two servers, and Alice of A, who has a room of her own and one behind a pseudonym. Dropping it stops everything.
struct World {
    servers: SynapsePair,
    _vizards: [Vizard; 2],
    alice: Client,
    /// An account of B's that does by hand what B's Vizard does.
    stand_in: Client,
    room: String,
    portal: String,
}

impl World {
    async fn start(options: &Options) -> Result<Self> {
        let sites = [Site::reserve("invite-A")?, Site::reserve("invite-B")?];
        let mut vizards = Vec::new();
        for site in &sites {
            let mut vizard = Vizard::init(&options.vizard, site)?;
            vizard
                .set("keys.anchor", "federation")
                .set("log.level", "warn")
                .set("invites.per_peer_day", "100000")
                .set("invites.per_inviter_day", "100000");
            for setting in &options.set {
                if let Some((key, value)) = setting.split_once('=') {
                    vizard.set(key, value);
                }
            }
            vizards.push(vizard);
        }
        let stock = |vizard: &Vizard| Stock {
            registrations: vec![vizard.registration()],
            ..Stock::default()
        };
        let on = [stock(&vizards[0]), stock(&vizards[1])];
        let ([a, b], [on_a, on_b]) = (sites, on);
        let servers = SynapsePair::start((a, on_a), (b, on_b)).await?;
        for vizard in &mut vizards {
            vizard.start().await?;
        }
        if options.keep {
            servers.a.keep();
            servers.b.keep();
        }
        let alice = Client::register(&servers.a, "alice").await?;
        let bot = &format!("@vizard:{}", servers.a.server_name());
        let chat = alice.direct_chat(bot).await?;
        let said = |part: &'static str| {
            let chat = &chat;
            move |one: &Received| {
                one.room == *chat && one.sender() == *bot && one.body().contains(part)
            }
        };
        alice
            .wait_for("the greeting", said("Hello"), PATIENCE)
            .await?;
        alice.say(&chat, "create Salon").await?;
        alice
            .wait_for("the room", said("created"), PATIENCE)
            .await?;
        let portal = alice
            .accept_invite("the portal", |_| true, PATIENCE)
            .await?;
        let room = alice
            .create_room(json!({"preset": "private_chat", "name": "Parlour"}))
            .await?;
        let stand_in = Client::register(&servers.b, "stand-in").await?;
        stand_in.poll(Duration::ZERO).await?;
        let vizards =
            <[Vizard; 2]>::try_from(vizards).map_err(|_| anyhow::anyhow!("two Vizards"))?;
        Ok(Self {
            servers,
            _vizards: vizards,
            alice,
            stand_in,
            room,
            portal,
        })
    }

    /// Invites somebody new in each way.
    async fn invite(&self, number: u16) -> Result<[Duration; KINDS.len()]> {
        let (alice, portal) = (&self.alice, &self.portal);
        let bob = Client::register(&self.servers.b, &format!("bob{number}")).await?;
        let invited = |one: &Received| {
            one.event["state_key"] == bob.id() && one.event["content"]["membership"] == "invite"
        };
        bob.poll(Duration::ZERO).await?;
        alice.settle(Duration::from_millis(300)).await?;

        let began = Instant::now();
        alice.invite(&self.room, bob.id()).await?;
        bob.wait_for("a plain invite", invited, PATIENCE).await?;
        let plain = began.elapsed();

        let mark = bob.mark().await;
        let began = Instant::now();
        alice
            .say(portal, &format!("!vizard invite --plain {}", bob.id()))
            .await?;
        bob.wait_after(mark, "an invite by command", invited, PATIENCE)
            .await?;
        let by_command = began.elapsed();
        alice.settle(Duration::from_millis(300)).await?;

        let (mark, before) = (bob.mark().await, alice.mark().await);
        let began = Instant::now();
        alice
            .say(portal, &format!("!vizard invite {}", bob.id()))
            .await?;
        let told = |one: &Received| one.room == *portal && one.body().contains("invited as ");
        let hears = async {
            alice
                .wait_after(before, "the answer", told, PATIENCE)
                .await?;
            anyhow::Ok(began.elapsed())
        };
        let sees = async {
            bob.wait_after(mark, "a sealed invite", invited, PATIENCE)
                .await?;
            anyhow::Ok(began.elapsed())
        };
        let (hears, sees) = tokio::try_join!(hears, sees)?;
        alice.settle(Duration::from_millis(300)).await?;
        let floor = self.floor(number, &bob).await?;
        Ok([plain, by_command, hears, sees, floor])
    }

    /// The least that a sealed invite asks of two homeservers, by ordinary accounts: the inviter's message, a question and an answer
    /// between the servers, the invite of a stand-in for the ghost, and a room of the invitee's with their invitation. There is no
    /// host, no checking and no answering time.
    async fn floor(&self, number: u16, bob: &Client) -> Result<Duration> {
        let (alice, stand_in) = (&self.alice, &self.stand_in);
        let ghost = Client::register(&self.servers.b, &format!("ghost{number}")).await?;
        ghost.poll(Duration::ZERO).await?;
        stand_in.poll(Duration::ZERO).await?;
        bob.poll(Duration::ZERO).await?;
        let mark = bob.mark().await;
        let invited = |user: &str| {
            let user = user.to_owned();
            move |one: &Received| {
                one.event["state_key"] == user && one.event["content"]["membership"] == "invite"
            }
        };
        let began = Instant::now();
        alice.say(&self.room, "invite somebody").await?;
        tell(alice, stand_in, number).await?;
        tell(stand_in, alice, number).await?;
        alice.invite(&self.room, ghost.id()).await?;
        ghost
            .wait_for("the ghost's invite", invited(ghost.id()), PATIENCE)
            .await?;
        let body = json!({"preset": "private_chat", "name": "Parlour", "topic": "A portal", "invite": [bob.id()]});
        stand_in.create_room(body).await?;
        bob.wait_after(mark, "the last invite", invited(bob.id()), PATIENCE)
            .await?;
        Ok(began.elapsed())
    }
}

/// A message from one device to another, until it is there.
async fn tell(from: &Client, to: &Client, number: u16) -> Result<()> {
    let mark = to.mark().await;
    let path = [
        "v3",
        "sendToDevice",
        "vizard.bench.told",
        &format!("{number}"),
    ];
    let body = json!({"messages": {to.id(): {"*": {"number": number}}}});
    from.call(reqwest::Method::PUT, &path, Some(body)).await?;
    let told = |one: &Received| {
        one.kind() == "vizard.bench.told" && one.event["content"]["number"] == number
    };
    to.wait_after(mark, "a message to a device", told, PATIENCE)
        .await
        .map(drop)
}
