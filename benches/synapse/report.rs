//! The table that the bench prints.

use std::collections::BTreeMap;

use crate::run::{Direction, Outcome, Run, Way};

/// What relaying must reach of what ordinary clients reach.
const TARGET: f64 = 0.9;

/// The table's first two lines.
const HEAD: &str = "| | lanes | Vizard, sends/s | clients | bare service | ÷ clients (≥ 0.9) | ÷ service | p50, p99 ms: Vizard | clients | service | Synapse's CPU per message, ms: Vizard | clients | service | requests per message | |\n\
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|";

/// Collects outcomes.
#[derive(Debug, Default)]
pub struct Report {
    outcomes: BTreeMap<(usize, Direction), BTreeMap<Way, Vec<Outcome>>>,
}

impl Report {
    /// Takes an outcome, and tells it on stderr.
    pub fn add(&mut self, run: Run, outcome: Outcome) {
        eprintln!(
            "{} {:>2} lanes, {:?}: {:.1} sends/s, p50 {:.1} ms, p99 {:.1} ms, {:.1} ms of Synapse's CPU each, {}",
            run.direction.name(),
            run.lanes,
            run.way,
            outcome.per_second,
            outcome.p50_ms,
            outcome.p99_ms,
            outcome.cpu_ms,
            outcome.kinds
        );
        for fault in &outcome.faults {
            eprintln!("  {fault}");
        }
        self.outcomes
            .entry((run.lanes, run.direction))
            .or_default()
            .entry(run.way)
            .or_default()
            .push(outcome);
    }

    /// Whether anything was lost, doubled, out of order or said by a wrong sender.
    pub fn faulty(&self) -> bool {
        self.all().any(|outcome| !outcome.faults.is_empty())
    }

    fn all(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.values().flat_map(BTreeMap::values).flatten()
    }

    /// The whole report, in Markdown.
    pub fn print(&self, command: &str, machine: &str) {
        println!("\n## Result\n\nCommand: `{command}`\n\nMachine: {machine}\n\n{HEAD}");
        for ((lanes, direction), ways) in &self.outcomes {
            let figure = |way: Way, read: fn(&Outcome) -> f64| {
                median(ways.get(&way).into_iter().flatten().map(read))
            };
            let [ours, clients, service] = [Way::Vizard, Way::Clients, Way::Service]
                .map(|way| figure(way, |outcome| outcome.per_second));
            let latency = |way| {
                let p50 = figure(way, |outcome| outcome.p50_ms);
                format!("{p50:.1}, {:.1}", figure(way, |outcome| outcome.p99_ms))
            };
            println!(
                "| {} | {lanes} | {ours:.1} | {clients:.1} | {service:.1} | {:.2} | {:.2} | {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.3} | {} |",
                direction.name(),
                ours / clients,
                ours / service,
                latency(Way::Vizard),
                latency(Way::Clients),
                latency(Way::Service),
                figure(Way::Vizard, |outcome| outcome.cpu_ms),
                figure(Way::Clients, |outcome| outcome.cpu_ms),
                figure(Way::Service, |outcome| outcome.cpu_ms),
                figure(Way::Vizard, |outcome| outcome.requests),
                if ours >= TARGET * clients {
                    "✓"
                } else {
                    "✗"
                },
            );
        }
        let faults: usize = self.all().map(|outcome| outcome.faults.len()).sum();
        println!("\nFaults (lost, doubled, out of order, wrong sender): {faults}");
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
