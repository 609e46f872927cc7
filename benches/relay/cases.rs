//! The cases: which rooms, which messages, and what is held against which target.

use std::{path::PathBuf, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    Options, machine,
    report::{Report, Target},
    run::{Outcome, Plan, run},
    subject::Kind,
    town::{Size, Town},
    traffic::Flow,
};

/// The homeserver of the slow cases takes this long for each request.
const SLOW: Duration = Duration::from_millis(10);
/// Memory that no case may exceed, in MiB.
const MEMORY: f64 = 40.0;
/// How much dearer a message may be with the most portals than with the fewest to count as flat.
const FLAT: f64 = 1.25;

/// Vizard and the echo, each with rooms of the same number; either may be left out.
struct Pair {
    ours: Option<Town>,
    echo: Option<Town>,
}

/// The state of a bench.
pub struct Cases {
    options: Options,
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
            report: Report::new(["Vizard", "echo"]),
        }
    }

    /// Runs every case that was asked for.
    pub async fn all(&mut self) -> anyhow::Result<()> {
        self.common().await?;
        if self.wanted("ghosts") {
            self.ghosts().await?;
        }
        if self.wanted("scale") {
            self.scale().await?;
        }
        Ok(())
    }

    fn wanted(&self, name: &str) -> bool {
        self.options.case.is_empty() || self.options.case.iter().any(|case| case == name)
    }

    /// A flood with the defaults.
    fn plan(&self, flow: Flow) -> Plan {
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

    /// The cases in the town of the default size.
    async fn common(&mut self) -> anyhow::Result<()> {
        const NAMES: [&str; 10] = [
            "flood-in",
            "flood-out",
            "mixed",
            "busy",
            "paced-in",
            "paced-out",
            "slow-in",
            "slow-out",
            "redelivered",
            "sigkill",
        ];
        if !NAMES.iter().any(|name| self.wanted(name)) {
            return Ok(());
        }
        let rooms = self.options.rooms();
        let size = Size {
            rooms,
            portals_per_room: 1,
            users: 5,
            members: 5,
        };
        let mut pair = self.pair("common", size, rooms).await?;
        for (name, flow) in [
            ("flood-in", Flow::Inbound),
            ("flood-out", Flow::Outbound),
            ("mixed", Flow::Mixed),
        ] {
            if self.wanted(name) {
                self.flood(&mut pair, name, flow).await?;
            }
        }
        if self.wanted("busy") {
            let mut plan = self.plan(Flow::Inbound);
            plan.rooms = 1;
            plan.messages /= 4;
            let (ours, echo) = self.both(&mut pair, &plan).await?;
            self.speed("busy", ours.as_ref(), echo.as_ref(), Target::None);
            self.report.intact("busy", ours.as_ref(), echo.as_ref());
        }
        for (name, flow) in [("paced-in", Flow::Inbound), ("paced-out", Flow::Outbound)] {
            if self.wanted(name) {
                self.paced(&mut pair, name, flow).await?;
            }
        }
        for (name, flow) in [("slow-in", Flow::Inbound), ("slow-out", Flow::Outbound)] {
            if self.wanted(name) {
                self.slow(&mut pair, name, flow).await?;
            }
        }
        // The echo has no memory of events: it doubles what is redelivered, and is left out.
        pair.echo = None;
        if self.wanted("redelivered") {
            let mut plan = self.plan(Flow::Mixed);
            (plan.redeliver, plan.echo_back) = (2, true);
            if let Some(outcome) = self.ours(&mut pair, &plan).await? {
                let again = format!("{} old transactions pushed again", outcome.redelivered);
                self.report.detail("redelivered", &again);
                self.speed("redelivered", Some(&outcome), None, Target::None);
                self.report.intact("redelivered", Some(&outcome), None);
            }
        }
        if self.wanted("sigkill") {
            let mut plan = self.plan(Flow::Mixed);
            (plan.kills, plan.echo_back) = (20, true);
            if let Some(outcome) = self.ours(&mut pair, &plan).await? {
                let words = format!(
                    "{} kills, {} sends repeated with their transaction id, {} pushes failed and were repeated",
                    outcome.kills, outcome.resent, outcome.failed_pushes
                );
                self.report.detail("sigkill", &words);
                self.report.intact("sigkill", Some(&outcome), None);
            }
        }
        Ok(())
    }

    /// Several pseudonyms in each room, whose messages come back and are shown in the other portals.
    async fn ghosts(&mut self) -> anyhow::Result<()> {
        let (rooms, portals) = (5, 4);
        let size = Size {
            rooms,
            portals_per_room: portals,
            users: portals,
            members: 2,
        };
        let mut pair = self.pair("ghosts", size, rooms).await?;
        pair.echo = None;
        let mut plan = self.plan(Flow::Mixed);
        (plan.rooms, plan.echo_back) = (rooms, true);
        plan.messages /= 4;
        if let Some(outcome) = self.ours(&mut pair, &plan).await? {
            self.speed("ghosts", Some(&outcome), None, Target::None);
            self.report.intact("ghosts", Some(&outcome), None);
        }
        Ok(())
    }

    /// Cost per message and memory from few portals to many.
    async fn scale(&mut self) -> anyhow::Result<()> {
        let steps = self.options.scale();
        let most = steps.last().copied().unwrap_or(10);
        let size = Size {
            rooms: most,
            portals_per_room: 1,
            users: most.div_ceil(50),
            members: 1,
        };
        let mut pair = Pair {
            ours: None,
            echo: None,
        };
        let (mut least_flood, mut least_paced, mut idle_before) = (None, None, None);
        for portals in steps {
            if pair.ours.is_none() && pair.echo.is_none() {
                pair = self.pair("scale", size, portals).await?;
            } else {
                self.grow(&mut pair, portals).await?;
            }
            let case = format!("{portals} portals");
            let idle = self.idle(&mut pair).await?;
            if let (Some((few, less)), Some(idle)) = (idle_before, idle) {
                let more = crate::town::ratio((portals - few) as u64, 1);
                let each = (idle - less) / more;
                self.report.figure(
                    &case,
                    "memory per idle pseudonym, KiB",
                    Some(each),
                    None,
                    Target::None,
                );
            }
            if portals >= 100 && idle_before.is_none() {
                idle_before = idle.map(|idle| (portals, idle));
            }
            let mut plan = self.plan(Flow::Mixed);
            plan.rooms = portals;
            plan.messages = plan
                .messages
                .max(u32::try_from(2 * portals).unwrap_or(u32::MAX));
            let (ours, echo) = self.both(&mut pair, &plan).await?;
            self.speed(&case, ours.as_ref(), echo.as_ref(), Target::None);
            self.memory(&case, ours.as_ref(), echo.as_ref());
            self.flat(&case, ours.as_ref(), &mut least_flood);
            self.report.intact(&case, ours.as_ref(), echo.as_ref());
            // A flood of few portals is handled many messages at a time, which that of many portals cannot be.
            plan.pace = Some(100.0);
            plan.messages = self.options.seconds() * 100;
            let case = format!("{portals} portals, 100 messages/s");
            let (ours, echo) = self.both(&mut pair, &plan).await?;
            self.speed(&case, ours.as_ref(), echo.as_ref(), Target::None);
            self.flat(&case, ours.as_ref(), &mut least_paced);
            self.report.intact(&case, ours.as_ref(), echo.as_ref());
        }
        Ok(())
    }

    /// CPU and requests per message; the former also against the step with the fewest portals, which was the first.
    fn flat(&mut self, case: &str, ours: Option<&Outcome>, least: &mut Option<f64>) {
        let Some(ours) = ours else { return };
        let requests = Some(ours.requests_per_message);
        let name = "requests per message";
        self.report.figure(case, name, requests, None, Target::None);
        let dearer = ours.cpu_us / *least.get_or_insert(ours.cpu_us);
        let name = "CPU per message against the fewest portals";
        let target = Target::AtMost(FLAT);
        self.report.figure(case, name, Some(dearer), None, target);
    }

    /// Resident memory in KiB after a restart, with nothing to do.
    async fn idle(&mut self, pair: &mut Pair) -> anyhow::Result<Option<f64>> {
        let Some(town) = &mut pair.ours else {
            return Ok(None);
        };
        town.subject.stop().await?;
        town.subject.start().await?;
        town.stub.quiet().await;
        let usage = town.subject.usage()?;
        Ok(Some(crate::town::ratio(usage.resident_kib, 1)))
    }

    async fn flood(&mut self, pair: &mut Pair, name: &str, flow: Flow) -> anyhow::Result<()> {
        let plan = self.plan(flow);
        let (ours, echo) = self.both(pair, &plan).await?;
        let (ours, echo) = (ours.as_ref(), echo.as_ref());
        self.speed(name, ours, echo, Target::AtLeastEcho(0.4));
        self.memory(name, ours, echo);
        let count = |outcome: Option<&Outcome>| outcome.map(|outcome| outcome.requests_per_message);
        self.report.figure(
            name,
            "requests per message",
            count(ours),
            count(echo),
            requests_limit(flow),
        );
        self.report.intact(name, ours, echo);
        Ok(())
    }

    async fn paced(&mut self, pair: &mut Pair, name: &str, flow: Flow) -> anyhow::Result<()> {
        let mut plan = self.plan(flow);
        plan.pace = Some(100.0);
        plan.messages = self.options.seconds() * 100;
        let (ours, echo) = self.both(pair, &plan).await?;
        let (ours, echo) = (ours.as_ref(), echo.as_ref());
        let half = |outcome: Option<&Outcome>| outcome.map(|outcome| outcome.p50_ms);
        let most = |outcome: Option<&Outcome>| outcome.map(|outcome| outcome.p99_ms);
        self.report.figure(
            name,
            "latency p50, ms",
            half(ours),
            half(echo),
            Target::AtMostEcho(2.0),
        );
        self.report.figure(
            name,
            "latency p99, ms",
            most(ours),
            most(echo),
            Target::None,
        );
        let requests =
            |outcome: Option<&Outcome>| outcome.map(|outcome| outcome.requests_per_message);
        let limit = requests_limit(flow);
        self.report.figure(
            name,
            "requests per message",
            requests(ours),
            requests(echo),
            limit,
        );
        self.report.intact(name, ours, echo);
        Ok(())
    }

    async fn slow(&mut self, pair: &mut Pair, name: &str, flow: Flow) -> anyhow::Result<()> {
        let mut plan = self.plan(flow);
        plan.latency = SLOW;
        plan.messages =
            (plan.messages / 2).min(200 * u32::try_from(plan.rooms).unwrap_or(u32::MAX));
        let latency = machine::real_latency(SLOW).await.as_secs_f64();
        let (ours, echo) = self.both(pair, &plan).await?;
        let (ours, echo) = (ours.as_ref(), echo.as_ref());
        let share = |outcome: Option<&Outcome>| {
            outcome.map(|outcome| {
                crate::town::ratio(outcome.longest_lane, 1) * latency / outcome.seconds
            })
        };
        self.speed(name, ours, echo, Target::None);
        self.report.figure(
            name,
            "share of what in-order sending allows",
            share(ours),
            share(echo),
            Target::AtLeast(0.85),
        );
        self.report.intact(name, ours, echo);
        Ok(())
    }

    fn speed(
        &mut self,
        name: &str,
        ours: Option<&Outcome>,
        echo: Option<&Outcome>,
        target: Target,
    ) {
        let speed = |outcome: Option<&Outcome>| outcome.map(|outcome| outcome.per_second);
        let cost = |outcome: Option<&Outcome>| outcome.map(|outcome| outcome.cpu_us);
        let dear = match target {
            Target::None => Target::None,
            _ => Target::AtMostEcho(2.5),
        };
        self.report
            .figure(name, "messages/s", speed(ours), speed(echo), target);
        self.report
            .figure(name, "CPU per message, µs", cost(ours), cost(echo), dear);
    }

    fn memory(&mut self, name: &str, ours: Option<&Outcome>, echo: Option<&Outcome>) {
        let peak = |outcome: Option<&Outcome>| {
            outcome.map(|outcome| crate::town::ratio(outcome.usage.peak_kib, 1024))
        };
        self.report.figure(
            name,
            "peak memory, MiB",
            peak(ours),
            peak(echo),
            Target::AtMost(MEMORY),
        );
    }

    /// Makes the towns of a pair, with portals into the first `rooms` rooms.
    async fn pair(&mut self, name: &str, size: Size, rooms: usize) -> anyhow::Result<Pair> {
        let mut pair = Pair {
            ours: None,
            echo: None,
        };
        for (kind, place) in [(Kind::Vizard, &mut pair.ours), (Kind::Echo, &mut pair.echo)] {
            if self.options.subject.is_none_or(|only| only == kind) {
                let directory = self.scratch.join(name);
                let town = Town::new(
                    kind,
                    &self.options.vizard,
                    &directory,
                    size,
                    self.options.seed,
                );
                *place = Some(town.await?);
            }
        }
        self.grow(&mut pair, rooms).await?;
        Ok(pair)
    }

    async fn grow(&mut self, pair: &mut Pair, rooms: usize) -> anyhow::Result<()> {
        for town in [&mut pair.ours, &mut pair.echo].into_iter().flatten() {
            town.subject.stop().await?;
            town.settle(rooms).await?;
            if town.subject.kind == Kind::Vizard {
                let words = format!(
                    "{} portals in {:.1} s, {:.1} requests for each of the new ones, database {} KiB",
                    town.portals.len(),
                    town.set_up.as_secs_f64(),
                    town.requests_per_portal,
                    town.subject.disk() >> 10
                );
                self.report.detail("set-up", &words);
            }
            town.subject.stop().await?;
        }
        Ok(())
    }

    async fn ours(&mut self, pair: &mut Pair, plan: &Plan) -> anyhow::Result<Option<Outcome>> {
        Ok(self.both(pair, plan).await?.0)
    }

    /// Runs a plan in both towns, in turn, as often as asked for, and takes medians.
    async fn both(
        &mut self,
        pair: &mut Pair,
        plan: &Plan,
    ) -> anyhow::Result<(Option<Outcome>, Option<Outcome>)> {
        let (mut ours, mut echo) = (Vec::new(), Vec::new());
        let repeat = if plan.kills > 0 {
            1
        } else {
            self.options.repeat()
        };
        for _ in 0..repeat {
            for (town, outcomes) in [(&mut pair.echo, &mut echo), (&mut pair.ours, &mut ours)] {
                if let Some(town) = town {
                    outcomes.push(run(town, plan, &mut self.rng).await?);
                }
            }
        }
        Ok((Outcome::median(ours), Outcome::median(echo)))
    }
}

/// How many requests a message may cost.
fn requests_limit(flow: Flow) -> Target {
    match flow {
        Flow::Inbound => Target::AtMost(1.02),
        Flow::Outbound => Target::AtMost(1.2),
        Flow::Mixed => Target::None,
    }
}
