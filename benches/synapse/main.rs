//! Sends through a real Synapse: relayed by Vizard, beside the same sends made directly.
//!
//! `cargo bench --bench synapse -- --help` names the options; `docs/performance.md` says what is measured and how.
//! Synapse and the people are the test kit's. A message that is lost, doubled, out of order or of a wrong sender
//! makes the bench fail; a slow one does not.

#[path = "../../tests/testkit/mod.rs"]
mod testkit;

#[expect(dead_code, reason = "the other bench measures timers too")]
#[path = "../relay/machine.rs"]
mod machine;
#[expect(dead_code, reason = "only the parser is needed here")]
#[path = "../relay/stub/wire.rs"]
mod wire;

mod gate;
mod judge;
mod report;
mod run;
mod world;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

use crate::{
    report::Report,
    run::{Direction, Run, Way},
    world::World,
};

/// Measures how Vizard relays through a real Synapse, beside direct sends.
#[derive(Clone, Debug, Parser)]
#[command(name = "synapse")]
struct Options {
    /// A short look: few messages, one repetition, two numbers of lanes.
    #[arg(long)]
    quick: bool,
    /// How many rooms speak at once (may be repeated). By default 1, 5, 10 and 20.
    #[arg(long)]
    lanes: Vec<usize>,
    /// Messages of one run, over all of its rooms.
    #[arg(long)]
    messages: Option<usize>,
    /// How often each run is repeated; medians are reported.
    #[arg(long)]
    repeat: Option<usize>,
    /// The program to measure.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_vizard"))]
    vizard: PathBuf,
    /// Keep the servers' directories, and print where they are.
    #[arg(long)]
    keep: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn lanes(&self) -> Vec<usize> {
        match (self.lanes.as_slice(), self.quick) {
            ([], false) => vec![1, 5, 10, 20],
            ([], true) => vec![1, 5],
            (chosen, _) => chosen.iter().map(|lanes| (*lanes).max(1)).collect(),
        }
    }

    fn messages(&self) -> usize {
        self.messages.unwrap_or(if self.quick { 100 } else { 400 })
    }

    fn repeat(&self) -> usize {
        self.repeat.unwrap_or(if self.quick { 1 } else { 3 })
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if !options.bench {
        println!("This is a benchmark: `cargo bench --bench synapse -- --help`.");
        return Ok(ExitCode::SUCCESS);
    }
    bench(&options)
}

/// One thread for clients and gate: the other core is Synapse's.
#[tokio::main(flavor = "current_thread")]
async fn bench(options: &Options) -> anyhow::Result<ExitCode> {
    let machine = machine::describe(&std::env::temp_dir());
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let command = format!("cargo bench --bench synapse -- {}", arguments.join(" "));
    let lanes = options.lanes();
    let most = lanes.iter().copied().max().unwrap_or(1);
    eprintln!("setting up Synapse, Vizard and {most} portals…");
    let world = World::start(&options.vizard, most).await?;
    if options.keep {
        world.synapse.keep();
    }
    let mut report = Report::default();
    for lanes in lanes {
        let each = (options.messages() / lanes).max(1);
        for repetition in 0..options.repeat() {
            for direction in Direction::ALL {
                // Taking turns, and not always in the same order: what a machine does besides hits all alike.
                for turn in 0..Way::ALL.len() {
                    let way = Way::ALL[(turn + repetition) % Way::ALL.len()];
                    let run = Run {
                        way,
                        direction,
                        lanes,
                        each,
                    };
                    report.add(run, world.measure(run).await?);
                }
            }
        }
    }
    report.print(command.trim_end_matches(" -- "), &machine);
    Ok(if report.faulty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
