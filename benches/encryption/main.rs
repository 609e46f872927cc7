//! The benchmark of end-to-end encryption: the real `vizard` binary against the stub homeserver of the relay's benchmark, with
//! people who have real keys.
//!
//! `cargo bench --bench encryption -- --help` names the options; `docs/performance.md` says what is measured and how. A
//! message that is lost, doubled, out of order, or that those for whom it is cannot decrypt makes the bench fail.

mod bare;
mod cases;
#[path = "../relay/event.rs"]
mod event;
#[allow(dead_code, reason = "shared with the relay's benchmark")]
#[path = "../relay/ledger.rs"]
mod ledger;
#[allow(dead_code, reason = "shared with the relay's benchmark")]
#[path = "../relay/machine.rs"]
mod machine;
mod memory;
mod people;
mod person;
#[allow(dead_code, reason = "shared with the relay's benchmark")]
#[path = "../relay/push.rs"]
mod push;
#[allow(dead_code, reason = "shared with the relay's benchmark")]
#[path = "../relay/report.rs"]
mod report;
#[allow(dead_code, reason = "shared with the relay's benchmark")]
#[path = "../relay/run.rs"]
mod run;
#[path = "../relay/seal.rs"]
mod seal;
#[path = "../relay/self_check.rs"]
mod self_check;
#[path = "../relay/stub/mod.rs"]
mod stub;
#[allow(dead_code, reason = "shared with the relay's benchmark")]
#[path = "../relay/subject.rs"]
mod subject;
#[allow(dead_code, reason = "shared with the relay's benchmark")]
#[path = "../relay/town.rs"]
mod town;
#[path = "../relay/traffic.rs"]
mod traffic;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;

/// Measures what end-to-end encryption costs.
#[derive(Clone, Debug, Parser)]
#[command(name = "encryption")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Options {
    /// A short run: fewer rooms, messages and repetitions.
    #[arg(long)]
    quick: bool,
    /// Only this case (may be repeated): flood-in, flood-out, mixed, sigkill, join, memory, crowd.
    #[arg(long)]
    case: Vec<String>,
    /// The program to measure.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_vizard"))]
    vizard: PathBuf,
    /// Seeds everything that is random here but the keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often each flood is run; medians are reported.
    #[arg(long)]
    repeat: Option<u32>,
    /// Messages of a flood.
    #[arg(long)]
    messages: Option<u32>,
    /// Rooms of the floods.
    #[arg(long)]
    rooms: Option<usize>,
    /// Only with encryption, for profiles.
    #[arg(long)]
    alone: bool,
    /// Fail when a target is missed too.
    #[arg(long)]
    strict: bool,
    /// Where databases and logs go; they are kept. By default a directory that is removed.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn rooms(&self) -> usize {
        self.rooms.unwrap_or(if self.quick { 10 } else { 50 })
    }

    fn messages(&self) -> u32 {
        self.messages
            .unwrap_or(if self.quick { 2_000 } else { 20_000 })
    }

    fn repeat(&self) -> u32 {
        self.repeat.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// Pseudonyms of the case of memory.
    fn pseudonyms(&self) -> usize {
        if self.quick { 100 } else { 1_000 }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if !options.bench {
        println!("This is a benchmark: `cargo bench --bench encryption -- --help`.");
        return Ok(ExitCode::SUCCESS);
    }
    bench(options)
}

/// One thread for the homeserver and everybody's keys: the other core is for what is measured.
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
    let command = format!("cargo bench --bench encryption -- {}", arguments.join(" "));
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
