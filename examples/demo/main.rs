//! Two homeservers, a Vizard on each, and a conversation behind masks.
//!
//! `cargo run --release --example demo` sets everything up, plays a conversation between Alice (on A,
//! pseudonymous) and Bob (on B), lets Alice invite Carol (on B) by a sealed address, prints it as each of them sees it,
//! searches all of B's disk for Alice and all of A's for Carol, and stays up for anybody to log in. `-- --once` ends
//! after the search; its exit status says whether everything worked and nothing was found.

#[path = "../../tests/testkit/mod.rs"]
mod testkit;

mod script;
mod show;
mod verdict;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use testkit::{
    audit::{Needle, Report, audit},
    client::{Client, picture},
    python::{Python, SYNAPSE_VERSION},
    site::Site,
    synapse::{Options, SynapsePair},
    vizard::{Vizard, program_beside_example},
};

fn main() -> ExitCode {
    let played = run();
    if let Err(error) = &played {
        eprintln!("\nThe demo failed: {error:#}");
    }
    verdict::status(&played).into()
}

/// Does everything; what the searches found.
fn run() -> Result<Vec<Report>> {
    let mut once = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--once" => once = true,
            other => {
                bail!("unknown argument {other}; the only one is --once (end after the audit)")
            }
        }
    }
    show::step("building vizard (the first time takes some minutes)");
    let program = program_beside_example("demo")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let reports = runtime.block_on(async {
        let played = tokio::select! {
            played = demo(&program) => played,
            () = interrupted() => bail!("interrupted"),
        };
        let (played, reports) = played?;
        if !once {
            played.invite_to_try();
            interrupted().await;
            eprintln!("\nstopping…");
        }
        Ok(reports)
    });
    // An installation that was interrupted still occupies a thread; it is not waited for.
    runtime.shutdown_background();
    reports
}

/// The two servers with everything on them. Dropping it stops them.
struct World {
    vizard_a: Vizard,
    vizard_b: Vizard,
    servers: SynapsePair,
}

/// What was played on them.
struct Played {
    world: World,
    alice: Client,
    bob: Client,
    carol: Client,
    story: script::Story,
}

/// Sets everything up, plays, and audits; returns what the audits found.
async fn demo(program: &Path) -> Result<(Played, Vec<Report>)> {
    let world = set_up(program).await?;
    let (a, b) = (&world.servers.a, &world.servers.b);

    show::step("registering Alice on A, Bob and Carol on B");
    let alice = Client::register(a, "alice").await?;
    let bob = Client::register(b, "bob").await?;
    let carol = Client::register(b, "carol-curlew").await?;
    alice.set_display_name("Alice Liddell").await?;
    let face = picture("Alice");
    let avatar = alice.set_avatar(&face).await?;

    let story = script::play(&alice, &bob, a.server_name()).await?;
    let sealed = world.vizard_b.seal(carol.id()).await?;
    let carols = script::invite(&alice, &bob, &carol, &story, &sealed).await?;
    show::conversation(&alice, &bob, &story).await?;

    show::step(
        "searching all of B's disk (database, media, logs) for Alice, and all of A's for Carol",
    );
    // What servers tell each other with delay, such as presence, is to be there too.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let report = audit(
        &b.evidence(),
        &needles(&alice, &avatar, &face, &story).await?,
    )
    .await?;
    print_report("Alice on B", &report);
    let mut invitee = Needle::user("Carol's Matrix ID", carol.id());
    invitee.extend(Needle::id("Carol's portal", &carols));
    let other = audit(&a.evidence(), &invitee).await?;
    print_report("Carol on A", &other);
    Ok((
        Played {
            world,
            alice,
            bob,
            carol,
            story,
        },
        vec![report, other],
    ))
}

async fn set_up(program: &Path) -> Result<World> {
    show::step(&format!("preparing Synapse {SYNAPSE_VERSION}"));
    tokio::task::spawn_blocking(Python::shared).await??;
    let (site_a, site_b) = (Site::reserve("A")?, Site::reserve("B")?);
    show::step("setting up a Vizard for each homeserver");
    let mut vizard_a = Vizard::init(program, &site_a)?;
    let mut vizard_b = Vizard::init(program, &site_b)?;
    let with = |vizard: &Vizard| Options {
        registrations: vec![vizard.registration()],
        ..Options::default()
    };
    show::step("starting two homeservers that federate over loopback");
    let servers = SynapsePair::start((site_a, with(&vizard_a)), (site_b, with(&vizard_b))).await?;
    show::step("starting the Vizards");
    vizard_b.start().await?;
    // The admin of A pins B's key: these servers have no names to which TLS could vouch.
    vizard_a.pin(&vizard_b).await?;
    vizard_a.start().await?;
    Ok(World {
        vizard_a,
        vizard_b,
        servers,
    })
}

/// What B must not hold.
async fn needles(
    alice: &Client,
    avatar: &str,
    face: &[u8],
    story: &script::Story,
) -> Result<Vec<Needle>> {
    let mut needles = Needle::user("Alice's Matrix ID", alice.id());
    needles.push(Needle::text("Alice's display name", "Alice Liddell"));
    needles.push(Needle::text("Alice's device", &alice.account.device_id));
    needles.push(Needle::file("Alice's avatar", "the picture", face));
    needles.extend(Needle::id("Alice's avatar", avatar));
    needles.extend(Needle::id("Alice's portal", &story.portal));
    needles.extend(Needle::id("Alice's chat with the bot", &story.chat));
    for member in alice.joined_members(&story.portal).await? {
        if member != alice.id() {
            needles.extend(Needle::user("a member of Alice's portal", &member));
        }
    }
    for event in alice.timeline(&story.portal).await {
        needles.extend(Needle::id("an event of Alice's portal", event.id()));
    }
    Ok(needles)
}

fn print_report(what: &str, report: &Report) {
    println!();
    let verdict = if report.is_clean() { "clean" } else { "FAILED" };
    let report = report.to_string();
    println!("LEAK AUDIT ({what}): {verdict}. {}", report.trim_end());
}

impl Played {
    fn invite_to_try(&self) {
        let SynapsePair { a, b } = &self.world.servers;
        println!(
            "\nEverything stays up. Log in with any Matrix client that accepts a plain http homeserver:\n"
        );
        for (server, user) in [(a, &self.alice), (b, &self.bob), (b, &self.carol)] {
            println!(
                "  homeserver {}   user {}   password \"{}\"",
                server.url(),
                user.id(),
                user.account.password
            );
        }
        let (a, b) = (a.server_name(), b.server_name());
        println!("\nWhat to try:");
        println!(
            "  as alice: open the portal of {} and talk; write `!vizard help` there",
            self.story.alias
        );
        println!(
            "  as alice: in the chat with @vizard:{a} write `help`, `list`, `whoami`, `nick NAME`"
        );
        println!(
            "  as bob:   make a public room with an alias and, as alice, write `join #alias:{b}`: another mask"
        );
        println!(
            "  as alice: in the chat with @vizard:{a} write `create My room`, and in its portal `!vizard invite {}`:\n            carol joins the portal that she is invited to, or does not, and {a} never learns that she was meant\n            (in these unencrypted portals it can read the command; seal at {}/seal instead)",
            self.carol.id(),
            self.world.vizard_b.url(),
        );
        let (log_a, log_b) = (self.world.vizard_a.log(), self.world.vizard_b.log());
        println!("\nLogs: {} and {}", log_a.display(), log_b.display());
        println!("Ctrl-C stops everything and removes it.");
    }
}

/// Ends when the terminal or the system asks the process to end.
async fn interrupted() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}
