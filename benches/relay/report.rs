//! The table that the bench prints, and the targets it holds the figures against.

use std::fmt::Write as _;

use crate::{ledger::Faults, run::Outcome};

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// At least this multiple of the other's.
    AtLeastEcho(f64),
    /// At most this multiple of the other's.
    AtMostEcho(f64),
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// For information.
    None,
}

impl Target {
    fn words(self, other: &str) -> String {
        match self {
            Self::AtLeastEcho(share) => format!("≥ {share} × {other}"),
            Self::AtMostEcho(share) => format!("≤ {share} × {other}"),
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::None => String::new(),
        }
    }

    /// Whether it is met; `None` when there is nothing to compare.
    fn met(self, ours: f64, echo: Option<f64>) -> Option<bool> {
        match self {
            Self::AtLeastEcho(share) => echo.map(|echo| ours >= share * echo),
            Self::AtMostEcho(share) => echo.map(|echo| ours <= share * echo),
            Self::AtMost(limit) => Some(ours <= limit),
            Self::AtLeast(limit) => Some(ours >= limit),
            Self::None => None,
        }
    }
}

/// Collects lines.
#[derive(Debug)]
pub struct Report {
    /// What the figures stand beside.
    columns: [&'static str; 2],
    table: String,
    details: String,
    /// Something was lost, doubled, out of order or overlapping.
    pub faulty: bool,
    /// A target was missed.
    pub missed: bool,
}

impl Report {
    /// An empty table, whose columns of figures have these names; the first is measured by the second.
    pub fn new(columns: [&'static str; 2]) -> Self {
        Self {
            columns,
            table: String::new(),
            details: String::new(),
            faulty: false,
            missed: false,
        }
    }

    /// The table's first two lines.
    pub fn head(&self) -> String {
        let [ours, other] = self.columns;
        format!(
            "| case | measure | {ours} | {other} | ratio | target | |\n|---|---|---:|---:|---:|---|---|"
        )
    }

    /// A figure of ours, the echo's, or both.
    pub fn figure(
        &mut self,
        case: &str,
        measure: &str,
        ours: Option<f64>,
        echo: Option<f64>,
        target: Target,
    ) {
        let ratio = match (ours, echo) {
            (Some(ours), Some(echo)) if echo > 0.0 => format!("{:.2}", ours / echo),
            _ => String::new(),
        };
        let met = ours.and_then(|ours| target.met(ours, echo));
        self.missed |= met == Some(false);
        let sign = match met {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "",
        };
        let line = format!(
            "| {case} | {measure} | {} | {} | {ratio} | {} | {sign} |",
            number(ours),
            number(echo),
            target.words(self.columns[1])
        );
        println!("{line}");
        let _ = writeln!(self.table, "{line}");
    }

    /// Whether everything arrived as it must.
    pub fn intact(&mut self, case: &str, ours: Option<&Outcome>, echo: Option<&Outcome>) {
        let words = |outcome: Option<&Outcome>| {
            outcome.map_or(String::new(), |outcome| faults(&outcome.faults))
        };
        let both = [ours, echo];
        let broken = both.iter().flatten().any(|outcome| !outcome.faults.none());
        self.faulty |= broken;
        let line = format!(
            "| {case} | faults | {} | {} | | none | {} |",
            words(ours),
            words(echo),
            if broken { "✗" } else { "✓" }
        );
        println!("{line}");
        let _ = writeln!(self.table, "{line}");
        for outcome in both
            .iter()
            .flatten()
            .filter(|outcome| !outcome.faults.none())
        {
            for text in outcome.faults.samples.iter().chain(&outcome.remarks) {
                self.detail(case, text);
            }
        }
    }

    /// A line below the table.
    pub fn detail(&mut self, case: &str, text: &str) {
        eprintln!("{case}: {text}");
        let _ = writeln!(self.details, "- {case}: {text}");
    }

    /// The whole report, in Markdown.
    pub fn print(&self, command: &str, machine: &str) {
        println!("\n## Result\n\nCommand: `{command}`\n\nMachine: {machine}\n");
        println!("{}\n{}", self.head(), self.table);
        if !self.details.is_empty() {
            println!("{}", self.details);
        }
    }
}

fn faults(faults: &Faults) -> String {
    if faults.none() {
        return "none".to_owned();
    }
    let words: Vec<_> = faults
        .counts
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    words.join(", ")
}

fn number(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.3}"),
    }
}
