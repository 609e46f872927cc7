//! One run: messages wait behind the gate, the gate opens, and the clock runs until the last one is answered.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::json;

use crate::{
    judge,
    testkit::{client::Client, synapse::Account},
    world::{Lane, World},
};

/// How long nothing may happen before what is missing counts as lost.
const LOST: Duration = Duration::from_mins(1);
/// How long there must be no request before a run begins, so that Synapse's work for what came before is done.
const QUIET: Duration = Duration::from_secs(1);

/// Who makes the sends that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Vizard, relaying.
    Vizard,
    /// Ordinary clients in rooms of their own.
    Clients,
    /// A bare loop with the application service's token, as the same users in the same rooms as Vizard. It names devices, as Vizard
    /// does: without one Synapse forgets transaction ids in a restart.
    Service,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Clients, Self::Vizard, Self::Service];
}

/// `utime` and `stime` are counted in these: hundredths of a second on every Linux.
const TICKS: f64 = 100.0;
/// The device of each user as which the bare service speaks.
pub const DEVICE: &str = "BENCH";

/// Which of Vizard's sends a run measures or imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Ghosts speak in rooms.
    Outbound,
    /// Mirrors speak in portals.
    Inbound,
}

impl Direction {
    pub const ALL: [Self; 2] = [Self::Outbound, Self::Inbound];

    pub fn name(self) -> &'static str {
        match self {
            Self::Outbound => "out",
            Self::Inbound => "in",
        }
    }
}

/// What a run does.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub way: Way,
    pub direction: Direction,
    /// How many rooms.
    pub lanes: usize,
    /// Messages in each.
    pub each: usize,
}

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub per_second: f64,
    /// What the homeserver took for a send, in milliseconds.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Processor time of the homeserver's process for each message, in milliseconds.
    pub cpu_ms: f64,
    /// Requests of all kinds for each message.
    pub requests: f64,
    /// Those requests, by kind.
    pub kinds: String,
    pub faults: Vec<String>,
}

impl Run {
    /// Where a lane's messages are to arrive, who reads there, and who must have sent them.
    pub fn target<'a>(&self, world: &'a World, lane: &'a Lane) -> (&'a str, &'a Client, &'a str) {
        match (self.way, self.direction) {
            (Way::Clients, Direction::Outbound) => {
                (&lane.plain_room, &lane.person, lane.person.id())
            }
            (Way::Clients, Direction::Inbound) => {
                (&lane.plain_portal, &lane.person, lane.person.id())
            }
            (_, Direction::Outbound) => (&lane.room, &world.bob, &lane.ghost),
            (_, Direction::Inbound) => (&lane.portal, &world.alice, &lane.mirror),
        }
    }

    fn messages(&self) -> usize {
        self.lanes * self.each
    }
}

impl World {
    /// Makes a run and judges it.
    pub async fn measure(&self, run: Run) -> Result<Outcome> {
        let label = judge::label();
        let lanes = &self.lanes[..run.lanes];
        self.quiet().await;
        self.gate.close();
        let mut cpu = self.synapse_cpu()?;
        let (book, begun) = if run.way == Way::Vizard {
            self.pile_up(run, &label).await?;
            self.quiet().await;
            cpu = self.synapse_cpu()?;
            let begun = self.gate.open();
            self.answered(run.messages()).await;
            (self.gate.book().clone(), begun)
        } else {
            let senders = try_join_all(lanes.iter().enumerate().map(|(number, lane)| {
                let label = &label;
                async move { self.speak(run, number, lane, label).await }
            }));
            let watch = async {
                self.held(run.lanes).await?;
                let begun = self.gate.open();
                self.answered(run.messages()).await;
                Ok((self.gate.book().clone(), begun))
            };
            tokio::try_join!(senders, watch)?.1
        };
        let mut outcome = Outcome::default();
        let elapsed = book
            .last_answer
            .map_or(Duration::MAX, |last| last.saturating_duration_since(begun));
        // Receipts and the like that come after the last send belong to the messages too.
        self.quiet().await;
        let whole = self.gate.book().clone();
        outcome.cpu_ms = (self.synapse_cpu()? - cpu) / count(run.messages());
        outcome.per_second = count(book.latencies.len()) / elapsed.as_secs_f64();
        let mut latencies = book.latencies;
        latencies.sort_unstable();
        let at = |percent: usize| {
            let index = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
            latencies
                .get(index)
                .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
        };
        (outcome.p50_ms, outcome.p99_ms) = (at(50), at(99));
        let all: u64 = whole.requests.values().sum();
        outcome.requests = count(usize::try_from(all)?) / count(run.messages());
        outcome.kinds = format!("{:?}", whole.requests);
        if whole.refused > 0 {
            outcome
                .faults
                .push(format!("{} sends were refused", whole.refused));
        }
        for (number, lane) in lanes.iter().enumerate() {
            let (room, reader, sender) = run.target(self, lane);
            outcome
                .faults
                .extend(judge::judge(reader, room, sender, &label, number, run.each).await?);
        }
        Ok(outcome)
    }

    /// Processor time that the homeserver has used, in milliseconds.
    fn synapse_cpu(&self) -> Result<f64> {
        let pid = self.synapse.id().context("Synapse does not run")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("no process name")?;
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks: usize = times.map(|ticks| ticks.parse().unwrap_or(0)).sum();
        Ok(count(ticks) * 1000.0 / TICKS)
    }

    /// Says everything that Vizard is to relay, past the gate, and waits until Vizard has it.
    async fn pile_up(&self, run: Run, label: &str) -> Result<()> {
        const ACCEPTED: &str = "vizard_events_total{outcome=\"accepted\"}";
        let before = self.metric(ACCEPTED).await?;
        let lanes = &self.lanes[..run.lanes];
        try_join_all(lanes.iter().enumerate().map(|(number, lane)| async move {
            for message in 0..run.each {
                let text = judge::text(label, number, message);
                match run.direction {
                    Direction::Outbound => self.alice.say(&lane.portal, &text).await?,
                    Direction::Inbound => self.bob.say(&lane.room, &text).await?,
                };
            }
            anyhow::Ok(())
        }))
        .await?;
        let wanted = before + u64::try_from(run.messages())?;
        let since = Instant::now();
        while self.metric(ACCEPTED).await? < wanted {
            if since.elapsed() > LOST {
                bail!("Synapse did not push all messages to Vizard within {LOST:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.held(run.lanes).await
    }

    /// Says a lane's messages one after the other, through the gate.
    async fn speak(&self, run: Run, number: usize, lane: &Lane, label: &str) -> Result<()> {
        let (room, _, sender) = run.target(self, lane);
        let service = Client::new(Account {
            user_id: sender.to_owned(),
            password: String::new(),
            access_token: self.token.clone(),
            device_id: String::new(),
            url: self.gate.url(),
        });
        for message in 0..run.each {
            let text = judge::text(label, number, message);
            // As today's clients say it, and as Vizard says it for them: Synapse checks mentions for two milliseconds.
            let content = json!({"msgtype": "m.text", "body": text, "m.mentions": {}});
            if run.way == Way::Clients {
                lane.person.send(room, "m.room.message", content).await?;
                continue;
            }
            let transaction = format!("{label}-{number}-{message}");
            let path = ["v3", "rooms", room, "send", "m.room.message", &transaction];
            let query = [("user_id", sender), ("device_id", DEVICE)];
            service
                .call_with(Method::PUT, &path, &query, Some(content))
                .await?;
        }
        Ok(())
    }

    /// Waits until so many sends are held.
    async fn held(&self, wanted: usize) -> Result<()> {
        let since = Instant::now();
        while self.gate.book().held < wanted {
            if since.elapsed() > LOST {
                let held = self.gate.book().held;
                bail!("{held} of {wanted} lanes came to the gate within {LOST:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Waits until so many sends are answered, or none is for long.
    async fn answered(&self, wanted: usize) {
        let begun = Instant::now();
        loop {
            {
                let book = self.gate.book();
                let last = book.last_answer.unwrap_or(begun);
                if book.latencies.len() >= wanted || last.elapsed() > LOST {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until no request has come for a while.
    async fn quiet(&self) {
        let begun = Instant::now();
        loop {
            let last = self.gate.book().last_request.unwrap_or(begun).max(begun);
            if last.elapsed() > QUIET {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A count as a number to divide.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub fn count(count: usize) -> f64 {
    count as f64
}
