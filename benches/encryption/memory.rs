//! The case of memory: many pseudonyms whose keys left memory again, and the same with all keys in memory.

use std::time::Duration;

use crate::{
    cases::{Cases, set},
    report::Target,
    run::roll_call,
    town::{Size, Town, ratio},
    traffic::Flow,
};

/// So long an allocator keeps what was freed.
const SETTLING: Duration = Duration::from_secs(15);
/// What a thousand pseudonyms may take while nothing happens, in MiB.
const IDLE: f64 = 40.0;
/// What a pseudonym's own device, the ghost's, may take while it is loaded, in KiB.
const LOADED: f64 = 120.0;

impl Cases {
    /// Everybody speaks, so every device of each portal is used: ghost, host and one mirror.
    pub async fn memory(&mut self) -> anyhow::Result<()> {
        let count = self.options.pseudonyms();
        let size = Size {
            rooms: count,
            portals_per_room: 1,
            users: count.div_ceil(50),
            members: 1,
        };
        let (mut idle, mut used) = (Vec::new(), Vec::new());
        let mut loaded = 0.0;
        for encrypted in [true, false] {
            let mut town = self.town("memory", size, encrypted).await?;
            town.subject.start().await?;
            let empty = settled(&town).await?;
            town.subject.stop().await?;
            set(&mut town, "VIZARD__ENCRYPTION__MACHINES", "1");
            town.settle(count).await?;
            town.subject.stop().await?;
            town.subject.start().await?;
            idle.push(settled(&town).await? - empty);
            self.speak(&mut town, count).await?;
            let evicted = settled(&town).await?;
            used.push(evicted - empty);
            town.subject.stop().await?;
            if encrypted {
                set(&mut town, "VIZARD__ENCRYPTION__MACHINES", "1000000");
                town.subject.start().await?;
                self.speak(&mut town, count).await?;
                let devices = ratio(3 * count as u64, 1);
                loaded = (settled(&town).await? - evicted) / devices * 1024.0;
                town.subject.stop().await?;
            }
        }
        let case = format!("{count} pseudonyms");
        for (measure, figures, target) in [
            ("memory after a start, MiB", idle, Target::AtMost(IDLE)),
            (
                "memory after all were used, MiB",
                used,
                Target::AtMost(IDLE),
            ),
        ] {
            let (sealed, plain) = (Some(figures[0]), Some(figures[1]));
            self.report.figure(&case, measure, sealed, plain, target);
        }
        for (measure, figure, target) in [
            (
                "memory of a loaded device (held against the target, for each pseudonym's own: the ghost's), KiB",
                loaded,
                Target::AtMost(LOADED),
            ),
            (
                "memory of a pseudonym whose three devices (ghost, host, mirror) are all loaded, KiB",
                3.0 * loaded,
                Target::None,
            ),
        ] {
            self.report
                .figure(&case, measure, Some(figure), None, target);
        }
        Ok(())
    }

    async fn speak(&mut self, town: &mut Town, rooms: usize) -> anyhow::Result<()> {
        let mut plan = self.plan(Flow::Mixed);
        plan.rooms = rooms;
        roll_call(town, &plan).await
    }
}

/// MiB in memory, when nothing has happened for a while.
async fn settled(town: &Town) -> anyhow::Result<f64> {
    town.stub.quiet().await;
    tokio::time::sleep(SETTLING).await;
    Ok(ratio(town.subject.usage()?.resident_kib, 1024))
}
