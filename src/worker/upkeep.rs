//! Housekeeping: a slow visit to every portal for missed events, old links, expired escrow, and a ping when the homeserver has
//! been silent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::Lanes;
use crate::portal::Deps;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// Runs until cancelled. `heard` is when the homeserver last called.
pub async fn run(deps: Deps, lanes: Arc<Lanes>, heard: Arc<AtomicU64>, stop: CancellationToken) {
    tokio::join!(
        stop.run_until_cancelled(ping(&deps, &heard)),
        stop.run_until_cancelled(sweep(&deps, &lanes)),
        stop.run_until_cancelled(prune(&deps)),
    );
}

/// Asks for a ping at start and whenever nothing was heard for a while: it ends the homeserver's back-off at once.
async fn ping(deps: &Deps, heard: &AtomicU64) {
    let silence = deps.config.appservice.ping_after.max(5) * 1000;
    loop {
        match deps
            .homeserver
            .ping(&deps.config.appservice.id, "vizard")
            .await
        {
            Ok(_) => heard.store(deps.clock.now(), Ordering::SeqCst),
            Err(error) => {
                tracing::warn!(%error, "the homeserver does not reach Vizard (run `vizard doctor`)");
            }
        }
        loop {
            deps.clock.sleep(Duration::from_secs(5)).await;
            if deps
                .clock
                .now()
                .saturating_sub(heard.load(Ordering::SeqCst))
                >= silence
            {
                break;
            }
        }
    }
}

/// Visits every portal once after the start, in random order and at random times, so that the requests of one user's ghosts do
/// not stand together. A portal that something happens in is visited at once, by its lane.
async fn sweep(deps: &Deps, lanes: &Arc<Lanes>) {
    if !lanes.fill_gaps {
        return;
    }
    let Ok(mut portals) = deps.store.portal_ids().await else {
        return;
    };
    let pause = (HOUR / (portals.len() as u64 + 1)).min(10_000);
    while !portals.is_empty() {
        deps.clock
            .sleep(Duration::from_millis(deps.rng.below(pause * 2 + 1)))
            .await;
        let index = usize::try_from(deps.rng.below(portals.len() as u64)).unwrap_or(0);
        lanes.visit(portals.swap_remove(index));
    }
}

async fn prune(deps: &Deps) {
    loop {
        deps.clock
            .sleep(Duration::from_millis(MINUTE + deps.rng.below(HOUR)))
            .await;
        let now = deps.clock.now();
        let keep = u64::from(deps.config.relay.link_days) * 24 * HOUR;
        let links = if keep == 0 {
            Ok(0)
        } else {
            deps.store.prune_links(now.saturating_sub(keep)).await
        };
        if let (Err(error), _) | (_, Err(error)) = (links, deps.store.prune_escrow(now).await) {
            tracing::warn!(%error, "old records could not be deleted");
        }
    }
}
