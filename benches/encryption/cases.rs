//! The cases: what is measured with encryption and in clear, beside the targets.

use std::{path::PathBuf, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    Options, bare,
    people::People,
    report::{Report, Target},
    run::{Outcome, Plan, roll_call, run},
    subject::Kind,
    town::{Size, Town, ratio},
    traffic::Flow,
};

/// Of the unencrypted throughput, this must be left.
const SPEED: f64 = 0.5;
/// Of the CPU that encryption adds, so much must be the crypto itself.
const CRYPTO: f64 = 0.6;
/// Devices of the crowded room.
const CROWD: u32 = 200;
/// What encryption may write for each message there, in bytes.
const WRITTEN: f64 = 11_500.0;
/// What the keys of a pseudonym's devices may take on the disk together, in KiB.
const DISK: f64 = 64.0;

/// The state of a bench.
pub struct Cases {
    pub options: Options,
    scratch: PathBuf,
    rng: StdRng,
    pub report: Report,
}

impl Cases {
    pub fn new(options: Options, scratch: PathBuf) -> Self {
        let rng = StdRng::seed_from_u64(options.seed);
        Self {
            options,
            scratch,
            rng,
            report: Report::new(["encrypted", "in clear"]),
        }
    }

    /// Runs every case that was asked for.
    pub async fn all(&mut self) -> anyhow::Result<()> {
        self.floods().await?;
        if self.wanted("join") {
            self.join().await?;
        }
        if self.wanted("crowd") {
            self.crowd().await?;
        }
        if self.wanted("memory") {
            self.memory().await?;
        }
        Ok(())
    }

    fn wanted(&self, name: &str) -> bool {
        self.options.case.is_empty() || self.options.case.iter().any(|case| case == name)
    }

    /// A town, with encryption or without; without portals yet.
    pub async fn town(&self, name: &str, size: Size, encrypted: bool) -> anyhow::Result<Town> {
        let kind = if encrypted { "encrypted" } else { "clear" };
        let directory = self.scratch.join(name).join(kind);
        let (vizard, seed) = (&self.options.vizard, self.options.seed);
        let mut town = Town::new(Kind::Vizard, vizard, &directory, size, seed).await?;
        if encrypted {
            set(&mut town, "VIZARD__ENCRYPTION__ENABLED", "true");
            town.keys = Some(Box::new(People::new(&town.stub, size).await?));
        }
        Ok(town)
    }

    pub fn plan(&self, flow: Flow) -> Plan {
        Plan {
            flow,
            rooms: self.options.rooms(),
            messages: self.options.messages(),
            pace: None,
            latency: Duration::ZERO,
            echo_back: false,
            redeliver: 0,
            kills: 0,
        }
    }

    async fn floods(&mut self) -> anyhow::Result<()> {
        const FLOODS: [(&str, Flow); 3] = [
            ("flood-in", Flow::Inbound),
            ("flood-out", Flow::Outbound),
            ("mixed", Flow::Mixed),
        ];
        let kills = self.wanted("sigkill");
        if !kills && !FLOODS.iter().any(|(name, _)| self.wanted(name)) {
            return Ok(());
        }
        let rooms = self.options.rooms();
        let size = Size {
            rooms,
            portals_per_room: 1,
            users: 5,
            members: 5,
        };
        let mut town = self.town("floods", size, true).await?;
        let mut clear = self.town("floods", size, false).await?;
        town.settle(rooms).await?;
        town.subject.stop().await?;
        clear.settle(rooms).await?;
        clear.subject.stop().await?;
        for (name, flow) in FLOODS {
            if self.wanted(name) {
                self.flood(name, flow, &mut town, &mut clear).await?;
            }
        }
        if kills {
            let mut plan = self.plan(Flow::Mixed);
            plan.messages /= 4;
            (plan.kills, plan.echo_back) = (if self.options.quick { 5 } else { 20 }, true);
            let outcome = run(&mut town, &plan, &mut self.rng).await?;
            let words = format!(
                "{} kills, {} sends repeated with their transaction id",
                outcome.kills, outcome.resent
            );
            self.report.detail("sigkill", &words);
            self.report.intact("sigkill", Some(&outcome), None);
        }
        Ok(())
    }

    async fn flood(
        &mut self,
        name: &str,
        flow: Flow,
        town: &mut Town,
        clear: &mut Town,
    ) -> anyhow::Result<()> {
        let what = self.plan(flow);
        let (mut sealed, mut open) = (Vec::new(), Vec::new());
        for _ in 0..self.options.repeat() {
            if !self.options.alone {
                open.push(run(clear, &what, &mut self.rng).await?);
            }
            sealed.push(run(town, &what, &mut self.rng).await?);
        }
        let (sealed, open) = (Outcome::median(sealed), Outcome::median(open));
        let (sealed, open) = (sealed.as_ref(), open.as_ref());
        let members = town.size.members;
        let cost = bare::measure(what.rooms, members, what.messages, &mut self.rng).await?;
        for (measure, target, read) in [
            (
                "messages/s",
                Target::AtLeastEcho(SPEED),
                (|run| run.per_second) as fn(&Outcome) -> f64,
            ),
            ("CPU per message, µs", Target::None, |run| run.cpu_us),
            ("requests per message", Target::None, |run| {
                run.requests_per_message
            }),
            ("bytes written per message", Target::None, |run| run.written),
            ("peak memory, MiB", Target::None, |run| {
                ratio(run.usage.peak_kib, 1024)
            }),
        ] {
            let (sealed, open) = (sealed.map(read), open.map(read));
            self.report.figure(name, measure, sealed, open, target);
        }
        let bare = cost.encrypt + cost.decrypt;
        let words = format!(
            "bare matrix-sdk-crypto takes {:.0} µs of CPU to encrypt a message and {:.0} µs to decrypt one",
            cost.encrypt, cost.decrypt
        );
        self.report.detail(name, &words);
        if let (Some(sealed), Some(open)) = (sealed, open) {
            let added = sealed.cpu_us - open.cpu_us;
            let (share, target) = (Some(bare / added), Target::AtLeast(CRYPTO));
            let measure = "bare crypto's part of the CPU that encryption adds";
            self.report.figure(name, measure, share, None, target);
        }
        if let Some(sealed) = sealed {
            let words = format!("requests: {:?}", sealed.requests);
            self.report.detail(name, &words);
        }
        self.report.intact(name, sealed, open);
        Ok(())
    }

    /// What a new pseudonym costs: ghost, host and portal, and the first message of a member with the mirror for it.
    async fn join(&mut self) -> anyhow::Result<()> {
        let (few, more) = (10, if self.options.quick { 30 } else { 110 });
        let size = Size {
            rooms: more,
            portals_per_room: 1,
            users: 5,
            members: 1,
        };
        let mut costs = Vec::new();
        for encrypted in [true, false] {
            let mut town = self.town("join", size, encrypted).await?;
            town.settle(few).await?;
            let mut plan = self.plan(Flow::Inbound);
            plan.rooms = few;
            roll_call(&mut town, &plan).await?;
            town.subject.stop().await?;
            let disk = town.subject.disk();
            town.subject.start().await?;
            town.stub.quiet().await;
            let start = town.subject.usage()?;
            town.subject.stop().await?;
            town.settle(more).await?;
            let requests = town.requests_per_portal;
            let joined = town.subject.usage()?;
            plan.rooms = more;
            roll_call(&mut town, &plan).await?;
            let spoke = town.subject.usage()?;
            let mut said: u64 = town.stub.state().ledger.requests.values().sum();
            // The others speak once more, which takes a request.
            said = said.saturating_sub(few as u64);
            town.subject.stop().await?;
            let each = |count: u64| ratio(count, (more - few) as u64);
            let cpu = |to: Duration, from: Duration| {
                let millis = to.saturating_sub(from).as_millis();
                each(u64::try_from(millis).unwrap_or(u64::MAX))
            };
            costs.push([
                cpu(joined.cpu, start.cpu) + cpu(spoke.cpu, joined.cpu),
                requests + each(said),
                each(town.subject.disk().saturating_sub(disk)) / 1024.0,
            ]);
        }
        let measures = [
            ("CPU, ms", Target::None),
            ("requests", Target::None),
            ("database, KiB", Target::None),
        ];
        for (at, (measure, target)) in measures.into_iter().enumerate() {
            let (sealed, plain) = (Some(costs[0][at]), Some(costs[1][at]));
            self.report.figure("join", measure, sealed, plain, target);
        }
        let (added, target) = (costs[0][2] - costs[1][2], Target::AtMost(DISK));
        let measure = "database for the keys of all three devices of a pseudonym, KiB";
        self.report
            .figure("join", measure, Some(added), None, target);
        Ok(())
    }

    /// A room of many devices: what a message makes the disk write, and what sharing costs when nobody came or went.
    async fn crowd(&mut self) -> anyhow::Result<()> {
        let size = Size {
            rooms: 1,
            portals_per_room: 1,
            users: 1,
            members: CROWD,
        };
        let mut outcomes = Vec::new();
        for encrypted in [true, false] {
            let mut town = self.town("crowd", size, encrypted).await?;
            town.settle(1).await?;
            let mut plan = self.plan(Flow::Outbound);
            // Slower than commits, so that none is shared. Past both limits at which sharing is looked at again, 50 messages and
            // 30 seconds; not past the 100 messages after which the room wants another key, which has to be shared.
            (plan.rooms, plan.messages, plan.pace) = (1, 90, Some(2.4));
            outcomes.push(run(&mut town, &plan, &mut self.rng).await?);
        }
        let (sealed, plain) = (&outcomes[0], &outcomes[1]);
        for (measure, read) in [
            (
                "bytes written per message",
                (|run| run.written) as fn(&Outcome) -> f64,
            ),
            ("CPU per message, µs", |run| run.cpu_us),
        ] {
            let (sealed, plain) = (Some(read(sealed)), Some(read(plain)));
            self.report
                .figure("crowd", measure, sealed, plain, Target::None);
        }
        let added = Some(sealed.written - plain.written);
        let (measure, target) = ("bytes that encryption adds", Target::AtMost(WRITTEN));
        self.report.figure("crowd", measure, added, None, target);
        let count = |outcome: &Outcome, kinds: &[&str]| {
            let counts = kinds.iter().filter_map(|kind| outcome.requests.get(kind));
            Some(ratio(counts.sum(), 1))
        };
        for (measure, kinds, target) in [
            (
                "claims, queries and messages to devices, 90 messages in 37 s after the first",
                &["claim keys", "query keys", "send to device"][..],
                Target::AtMost(0.0),
            ),
            // One before a message if the last is older than 5 s, and the bot's own.
            ("`/sync`s in that time", &["sync"], Target::None),
        ] {
            let (sealed, plain) = (count(sealed, kinds), count(plain, kinds));
            self.report.figure("crowd", measure, sealed, plain, target);
        }
        for (kind, outcome) in [("encrypted", sealed), ("in clear", plain)] {
            let words = format!(
                "{kind}, {} messages: {:?}, {:.0} bytes of bodies besides the sends per message",
                outcome.messages, outcome.requests, outcome.bytes_per_message
            );
            self.report.detail("crowd", &words);
        }
        self.report.intact("crowd", Some(sealed), Some(plain));
        Ok(())
    }
}

/// Sets a setting of the program for its next start.
pub fn set(town: &mut Town, name: &'static str, value: &str) {
    let settings = &mut town.subject.settings;
    settings.retain(|(known, _)| *known != name);
    settings.push((name, value.to_owned()));
}
