//! The lines of JSON between a test and its client: requests with their answers, and what the client tells
//! unasked.

use std::{
    collections::HashMap,
    process::{ChildStdin, ChildStdout},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    sync::{oneshot, watch},
};

use super::report::Report;

/// Both directions. Reading goes on in a task until the process closes its end.
#[derive(Debug)]
pub(super) struct Wire {
    input: tokio::sync::Mutex<tokio::process::ChildStdin>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Counts what was told.
    told: watch::Sender<u64>,
}

/// Everything the client told.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The latest report on each event, in the order in which the events came first.
    pub reports: Vec<Report>,
    /// What was sent to the device, as the client understood it.
    pub to_device: Vec<Value>,
    /// The user's latest membership of each room.
    pub memberships: HashMap<String, String>,
    waiting: HashMap<u64, oneshot::Sender<Result<Value>>>,
    next: u64,
    ended: bool,
}

impl Wire {
    pub fn new(input: ChildStdin, output: ChildStdout) -> Result<Self> {
        let output = tokio::process::ChildStdout::from_std(output)?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            told: watch::Sender::default(),
        });
        tokio::spawn(listen(output, Arc::clone(&shared)));
        Ok(Self {
            input: tokio::sync::Mutex::new(tokio::process::ChildStdin::from_std(input)?),
            shared,
        })
    }

    /// Sends a command and waits for its answer.
    pub async fn call(&self, command: &str, mut arguments: Value) -> Result<Value> {
        let (sender, answer) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if state.ended {
                bail!("the client has ended");
            }
            state.next += 1;
            let id = state.next;
            state.waiting.insert(id, sender);
            arguments["id"] = id.into();
            arguments["command"] = command.into();
        }
        let line = format!("{arguments}\n");
        let mut input = self.input.lock().await;
        input.write_all(line.as_bytes()).await?;
        input.flush().await?;
        drop(input);
        answer.await.context("the client ended")?
    }

    /// What was told so far.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Changes whenever something is told.
    pub fn told(&self) -> watch::Receiver<u64> {
        self.shared.told.subscribe()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(output: tokio::process::ChildStdout, shared: Arc<Shared>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(told) => shared.lock().take(told),
            Err(error) => eprintln!("the client said something else than JSON ({error}): {line}"),
        }
        shared.told.send_modify(|count| *count += 1);
    }
    let mut state = shared.lock();
    state.ended = true;
    // Whoever waits for an answer learns that none comes.
    state.waiting.clear();
}

impl State {
    fn take(&mut self, mut told: Value) {
        let text = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
        match told["event"].as_str() {
            Some("timeline") => match serde_json::from_value(told["report"].take()) {
                Ok(report) => self.report(report),
                Err(error) => eprintln!("a report that cannot be read: {error}"),
            },
            Some("redacted") => {
                let id = text("event_id");
                if let Some(report) = self.reports.iter_mut().find(|one| one.event_id == id) {
                    report.redacted = true;
                }
            }
            Some("to_device") => self.to_device.push(told["message"].take()),
            Some("membership") => {
                self.memberships.insert(text("room"), text("membership"));
            }
            _ => {
                let waiting = told["id"].as_u64().and_then(|id| self.waiting.remove(&id));
                if let Some(waiting) = waiting {
                    let _ = waiting.send(match told["error"].as_str() {
                        Some(error) => Err(anyhow!("{error}")),
                        None => Ok(told["answer"].take()),
                    });
                }
            }
        }
    }

    /// Keeps a report; a later one on the same event takes the earlier one's place.
    fn report(&mut self, mut report: Report) {
        let now = Instant::now();
        report.arrived = Some(now);
        let Some(known) = self
            .reports
            .iter_mut()
            .find(|one| one.event_id == report.event_id)
        else {
            self.reports.push(report);
            return;
        };
        report.arrived = known.arrived;
        report.redacted |= known.redacted;
        report.unreadable_for = known.unreadable_for;
        if known.failure.is_some()
            && report.failure.is_none()
            && let Some(arrived) = known.arrived
        {
            report.unreadable_for = Some(now.saturating_duration_since(arrived));
        }
        *known = report;
    }
}
