//! One run: a fresh process over the town's database, everybody says something once, then the measured messages.

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::bail;
use rand::{Rng as _, rngs::StdRng};

use crate::{
    event::Mark,
    ledger::{Faults, Late},
    seal::seal,
    stub::{self, Behaviour},
    subject::{Kind, Usage},
    town::{Town, ratio},
    traffic::{Flow, Traffic},
};

/// How long nothing may arrive before what is missing counts as lost.
const LOST: Duration = Duration::from_secs(30);
/// The same while mirrors and devices are made for everybody's first word.
const LOST_AT_FIRST: Duration = Duration::from_mins(5);
/// The longest that a process lives on after the moment at which it should be killed.
const KILL_SLACK: u64 = 30;

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    pub flow: Flow,
    /// How many of the town's rooms speak.
    pub rooms: usize,
    pub messages: u32,
    /// Messages per second; all at once without.
    pub pace: Option<f64>,
    /// How long the homeserver takes for each request.
    pub latency: Duration,
    /// Whether the application service's own messages are pushed to it too.
    pub echo_back: bool,
    /// Push an old transaction again after one in so many; 0: never.
    pub redeliver: u64,
    /// SIGKILLs, at random moments of the run.
    pub kills: u32,
}

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Messages that were to arrive, those of several portals counted for each.
    pub messages: u64,
    pub seconds: f64,
    pub per_second: f64,
    /// Microseconds of CPU per message. Not measured when the process was killed.
    pub cpu_us: f64,
    pub usage: Usage,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub requests_per_message: f64,
    /// Messages of the longest lane.
    pub longest_lane: u64,
    /// Bytes per message that the process had the kernel write to disks.
    pub written: f64,
    /// Bytes of bodies per message, of all requests but sends.
    pub bytes_per_message: f64,
    /// All requests, by kind.
    pub requests: BTreeMap<&'static str, u64>,
    pub resent: u64,
    pub kills: u32,
    pub redelivered: u64,
    pub failed_pushes: u64,
    pub faults: Faults,
    /// What explains faults: notices and requests that the stub did not know.
    pub remarks: Vec<String>,
}

/// Runs a plan in a town.
pub async fn run(town: &mut Town, plan: &Plan, rng: &mut StdRng) -> anyhow::Result<Outcome> {
    town.subject.stop().await?;
    town.subject.start().await?;
    town.stub.quiet().await;
    roll_call(town, plan).await?;

    town.runs += 1;
    let queue = town.stub.queue.clone();
    {
        let mut state = town.stub.state();
        state.ledger.reset();
        state.notices.clear();
        state.behaviour.latency = plan.latency;
    }
    queue.redeliver.store(plan.redeliver, Ordering::Relaxed);
    let pushed = [&queue.redelivered, &queue.failed].map(|count| count.load(Ordering::Relaxed));
    let mut before = town.subject.usage()?;
    let (mut keys, stub) = (town.keys.take(), town.stub.clone());
    let mut traffic = Traffic::new(town, plan.flow, plan.rooms, plan.echo_back);
    let mut outcome = Outcome::default();
    let begun;
    if let Some(pace) = plan.pace {
        begun = Instant::now();
        for message in 0..plan.messages {
            let due = begun + Duration::from_secs_f64(f64::from(message) / pace);
            tokio::time::sleep_until(due.into()).await;
            queue.add(seal(&mut keys, &stub, traffic.message(rng)).await?);
        }
    } else {
        let mut events = Vec::new();
        for _ in 0..plan.messages {
            events.push(seal(&mut keys, &stub, traffic.message(rng)).await?);
        }
        // Making them is not what is measured.
        before = town.subject.usage()?;
        town.stub.state().ledger.forget_requests();
        begun = Instant::now();
        queue.add_all(events);
    }
    outcome.longest_lane = traffic.longest();
    drop(traffic);
    town.keys = keys;
    outcome.messages = {
        let state = town.stub.state();
        state.ledger.remaining + state.ledger.arrived
    };
    outcome.kills = kill_at_random(town, plan.kills, outcome.messages, rng).await?;
    arrive(town, LOST).await;
    town.stub.quiet().await;
    queue.redeliver.store(0, Ordering::Relaxed);

    outcome.usage = town.subject.usage()?;
    let cpu = outcome.usage.cpu.saturating_sub(before.cpu);
    outcome.cpu_us = cpu.as_secs_f64() * 1e6 / ratio(outcome.messages, 1);
    let written = outcome.usage.written.saturating_sub(before.written);
    outcome.written = ratio(written, outcome.messages);
    read_all(town).await;
    outcome.redelivered = queue.redelivered.load(Ordering::Relaxed) - pushed[0];
    outcome.failed_pushes = queue.failed.load(Ordering::Relaxed) - pushed[1];
    finish(town, begun, &mut outcome);
    town.stub.state().behaviour = Behaviour::default();
    town.subject.stop().await?;
    Ok(outcome)
}

/// Reads the ledger.
fn finish(town: &Town, begun: Instant, outcome: &mut Outcome) {
    let mut state = town.stub.state();
    let ledger = &mut state.ledger;
    ledger.close();
    outcome.faults = ledger.faults.clone();
    outcome.resent = ledger.resent;
    let requests = ledger.requests.values().sum();
    outcome.requests_per_message = ratio(requests, outcome.messages);
    outcome.bytes_per_message = ratio(ledger.bytes, outcome.messages);
    outcome.requests.clone_from(&ledger.requests);
    let last = ledger.last_arrival.unwrap_or(begun);
    outcome.seconds = last.saturating_duration_since(begun).as_secs_f64();
    outcome.per_second = ratio(ledger.arrived, 1) / outcome.seconds.max(1e-9);
    ledger.latencies.sort_by(f64::total_cmp);
    let at = |share: usize| {
        let index = ledger.latencies.len() * share / 100;
        ledger.latencies.get(index).copied().unwrap_or(f64::NAN)
    };
    (outcome.p50_ms, outcome.p99_ms) = (at(50), at(99));
    let kinds = format!("requests: {:?}", ledger.requests);
    outcome.remarks.push(kinds);
    outcome.remarks.extend(
        state
            .unknown
            .iter()
            .map(|line| format!("unknown to the stub: {line}")),
    );
    outcome.remarks.extend(
        state
            .notices
            .iter()
            .map(|text| format!("said by bot or host: {text}")),
    );
}

/// Reads and judges what could not be read when it came.
async fn read_all(town: &mut Town) {
    let Some(mut keys) = town.keys.take() else {
        return;
    };
    let late = town.stub.state().ledger.late();
    for late in late {
        match late {
            Late::Read(event) => town.stub.state().ledger.check_receipt(&event),
            Late::Sent(sealed) => {
                let read = keys.open(&town.stub, &sealed).await;
                let mut state = town.stub.state();
                match read.map(|content| (Mark::find(content.as_bytes()), content)) {
                    Ok((Some(mark), _)) => stub::judge(&mut state, &sealed, mark),
                    Ok((None, content)) => {
                        state.ledger.faults.add("not the message", || content);
                    }
                    Err(error) => {
                        let words = || format!("{error:#} in {}", sealed.room_id);
                        state.ledger.faults.add("undecryptable", words);
                    }
                }
            }
        }
    }
    town.keys = Some(keys);
}

/// Everybody says something, so that mirrors, connections and caches are there.
pub async fn roll_call(town: &mut Town, plan: &Plan) -> anyhow::Result<()> {
    town.runs += 1;
    {
        let mut state = town.stub.state();
        state.ledger.reset();
        state.behaviour = Behaviour {
            latency: Duration::ZERO,
            echo_back: plan.echo_back,
            check_speakers: town.subject.kind == Kind::Vizard,
        };
    }
    let mut traffic = Traffic::new(town, plan.flow, plan.rooms, plan.echo_back);
    let events = traffic.roll_call();
    drop(traffic);
    let mut sealed = Vec::new();
    for event in events {
        sealed.push(seal(&mut town.keys, &town.stub, event).await?);
    }
    town.stub.queue.add_all(sealed);
    arrive(town, LOST_AT_FIRST).await;
    town.stub.quiet().await;
    read_all(town).await;
    let mut state = town.stub.state();
    state.ledger.close();
    if !state.ledger.faults.none() {
        bail!(
            "before measuring: {:#?}\nrequests: {:?}\nunknown to the stub: {:?}\nlast said by bot and hosts: {:#?}\nlog: {}",
            state.ledger.faults,
            state.ledger.requests,
            state.unknown,
            state.notices,
            town.subject.log_tail()
        );
    }
    Ok(())
}

/// Waits until everything has arrived and every receipt has come, or nothing does any more.
async fn arrive(town: &Town, patience: Duration) {
    let begun = Instant::now();
    loop {
        {
            let state = town.stub.state();
            let last = state.ledger.last_arrival.unwrap_or(begun).max(begun);
            let done = state.ledger.waits_for() == 0 && state.ledger.receipts_owed() == 0;
            if done || last.elapsed() > patience {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Kills and restarts the process at `kills` moments of the run, spread at random over its messages.
async fn kill_at_random(
    town: &mut Town,
    kills: u32,
    messages: u64,
    rng: &mut StdRng,
) -> anyhow::Result<u32> {
    let mut moments: Vec<u64> = (0..kills).map(|_| rng.random_range(0..messages)).collect();
    moments.sort_unstable();
    let mut done = 0;
    for moment in moments {
        let since = Instant::now();
        while town.stub.state().ledger.has_come() < moment && since.elapsed() < LOST {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let slack = Duration::from_millis(rng.random_range(0..KILL_SLACK));
        tokio::time::sleep(slack).await;
        town.subject.kill()?;
        town.subject.start().await?;
        done += 1;
    }
    Ok(done)
}

impl Outcome {
    /// The median of each figure, and the worst of memory, requests and faults.
    pub fn median(mut outcomes: Vec<Self>) -> Option<Self> {
        let figure = |read: fn(&Self) -> f64| {
            let mut figures: Vec<_> = outcomes.iter().map(read).collect();
            figures.sort_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let (seconds, per_second) = (figure(|run| run.seconds), figure(|run| run.per_second));
        let (cpu_us, p50, p99) = (
            figure(|run| run.cpu_us),
            figure(|run| run.p50_ms),
            figure(|run| run.p99_ms),
        );
        let requests = outcomes
            .iter()
            .map(|run| run.requests_per_message)
            .fold(0.0, f64::max);
        let peak = outcomes.iter().map(|run| run.usage.peak_kib).max()?;
        let worst = outcomes.iter().position(|run| !run.faults.none());
        let mut outcome = outcomes.swap_remove(worst.unwrap_or(0));
        outcome.seconds = seconds;
        outcome.per_second = per_second;
        outcome.cpu_us = cpu_us;
        outcome.p50_ms = p50;
        outcome.p99_ms = p99;
        outcome.requests_per_message = requests;
        outcome.usage.peak_kib = peak;
        Some(outcome)
    }
}
