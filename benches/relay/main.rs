//! The relay's benchmark: the real `vizard` binary against a stub homeserver, beside a bare echo.
//!
//! `cargo bench --bench relay -- --help` names the options; `docs/performance.md` says what is measured and how.
//! Each program under test is a process of its own with a database of its own; the homeserver is in this one. A
//! message that is lost, doubled, out of order or overlapping makes the bench fail.

mod cases;
mod echo;
mod event;
#[allow(dead_code, reason = "shared with the benchmark of encryption")]
mod ledger;
mod machine;
mod push;
mod report;
mod run;
mod seal;
mod self_check;
#[allow(dead_code, reason = "shared with the benchmark of encryption")]
mod stub;
mod subject;
mod town;
mod traffic;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;

use crate::subject::Kind;

/// Measures how Vizard relays, beside a bare echo.
#[derive(Clone, Debug, Parser)]
#[command(name = "relay")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Options {
    /// A short run: fewer rooms, messages and repetitions.
    #[arg(long)]
    quick: bool,
    /// Up to 10,000 portals.
    #[arg(long)]
    full: bool,
    /// Only this case (may be repeated): flood-in, flood-out, mixed, busy, paced-in, paced-out, slow-in,
    /// slow-out, redelivered, sigkill, ghosts, scale.
    #[arg(long)]
    case: Vec<String>,
    /// The program to measure.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_vizard"))]
    vizard: PathBuf,
    /// Only this program.
    #[arg(long, value_parser = subject)]
    subject: Option<Kind>,
    /// Seeds everything that is random here.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often each case is run; medians are reported.
    #[arg(long)]
    repeat: Option<u32>,
    /// Messages of a flood.
    #[arg(long)]
    messages: Option<u32>,
    /// Rooms of most cases.
    #[arg(long)]
    rooms: Option<usize>,
    /// Fail when a target is missed too.
    #[arg(long)]
    strict: bool,
    /// Where databases and logs go; they are kept. By default a directory that is removed.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
    /// Run as the bare echo: port, database, homeserver.
    #[arg(long, hide = true, num_args = 3)]
    echo: Option<Vec<String>>,
}

fn subject(name: &str) -> Result<Kind, String> {
    match name {
        "vizard" => Ok(Kind::Vizard),
        "echo" => Ok(Kind::Echo),
        _ => Err("vizard or echo".to_owned()),
    }
}

impl Options {
    fn rooms(&self) -> usize {
        self.rooms.unwrap_or(if self.quick { 10 } else { 50 })
    }

    fn messages(&self) -> u32 {
        self.messages
            .unwrap_or(if self.quick { 4_000 } else { 20_000 })
    }

    fn repeat(&self) -> u32 {
        self.repeat.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// Seconds of a paced run.
    fn seconds(&self) -> u32 {
        if self.quick { 5 } else { 20 }
    }

    /// Numbers of portals.
    fn scale(&self) -> Vec<usize> {
        match (self.quick, self.full) {
            (true, _) => vec![10, 100],
            (false, false) => vec![10, 100, 1_000],
            (false, true) => vec![10, 100, 1_000, 10_000],
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if let Some([port, database, homeserver]) = options.echo.as_deref() {
        echo::run(port.parse()?, database, homeserver)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !options.bench {
        println!("This is a benchmark: `cargo bench --bench relay -- --help`.");
        return Ok(ExitCode::SUCCESS);
    }
    bench(options)
}

/// One thread for the homeserver and everything around it: the other core is for what is measured.
#[tokio::main(flavor = "current_thread")]
async fn bench(options: Options) -> anyhow::Result<ExitCode> {
    self_check::run()?;
    let removed = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let scratch = options.keep.clone();
    let scratch = scratch.unwrap_or_else(|| removed.path().to_owned());
    std::fs::create_dir_all(&scratch).context("the directory for databases")?;
    let machine = machine::describe(&scratch);
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let command = format!("cargo bench --bench relay -- {}", arguments.join(" "));
    let strict = options.strict;
    let mut cases = cases::Cases::new(options, scratch);
    println!("{}", cases.report.head());
    let ended = cases.all().await;
    cases
        .report
        .print(command.trim_end_matches(" -- "), &machine);
    ended?;
    let failed = cases.report.faulty || (strict && cases.report.missed);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
