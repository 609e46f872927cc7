//! Housekeeping: a slow visit to every portal for missed events and lost memberships, old links, expired escrow, and a ping when the homeserver has
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
use crate::{
    portal::{Deps, sent},
    store::PortalId,
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// How long the homeserver may keep the bot's device waiting for something to come.
const LISTEN: Duration = Duration::from_secs(30);
/// Between two syncs of the bot's device.
const BREATH: Duration = Duration::from_millis(50);

/// Runs until cancelled. `heard` is when the homeserver last called.
pub async fn run(deps: Deps, lanes: Arc<Lanes>, heard: Arc<AtomicU64>, stop: CancellationToken) {
    tokio::join!(
        stop.run_until_cancelled(ping(&deps, &heard)),
        stop.run_until_cancelled(sweep(&deps, &lanes)),
        stop.run_until_cancelled(prune(&deps)),
        stop.run_until_cancelled(refresh(&deps)),
        stop.run_until_cancelled(watch_keys(&deps)),
        stop.run_until_cancelled(listen(&deps)),
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
    let mut portals = all(deps).await;
    let pause = (HOUR / (portals.len() as u64 + 1)).min(10_000);
    while !portals.is_empty() {
        deps.clock
            .sleep(Duration::from_millis(deps.rng.below(pause * 2 + 1)))
            .await;
        let index = usize::try_from(deps.rng.below(portals.len() as u64)).unwrap_or(0);
        let portal = portals.swap_remove(index);
        if lanes.fill_gaps {
            lanes.visit(portal);
        }
        notice_removal(deps, portal).await;
    }
}

/// Every portal, however long the database takes.
async fn all(deps: &Deps) -> Vec<PortalId> {
    loop {
        match deps.store.portal_ids().await {
            Ok(portals) => return portals,
            Err(error) => {
                tracing::warn!(%error, "the portals cannot be read; trying again");
                deps.clock.sleep(Duration::from_millis(MINUTE / 2)).await;
            }
        }
    }
}

/// Looks whether a ghost is still in its room.
async fn notice_removal(deps: &Deps, portal: PortalId) {
    if let Err(error) = deps.notice_removal(portal).await {
        tracing::debug!(class = ?error.class(), "whether a ghost is in its room could not be asked");
    }
}

/// Lets every device fetch what waits for it about once a day, in random order: room keys that were shared with it, and whether
/// it needs new one-time keys. A device that is used does so by itself. On the same way it is seen whether the ghost is in its
/// room.
async fn refresh(deps: &Deps) {
    loop {
        let mut portals = all(deps).await;
        let pause = 24 * HOUR / (portals.len() as u64 + 1);
        while !portals.is_empty() {
            deps.clock
                .sleep(Duration::from_millis(deps.rng.below(pause * 2 + 1)))
                .await;
            let index = usize::try_from(deps.rng.below(portals.len() as u64)).unwrap_or(0);
            let portal = portals.swap_remove(index);
            if let Err(error) = deps.refresh_devices(portal).await {
                tracing::debug!(class = ?error.class(), "a portal's devices could not sync");
            }
            notice_removal(deps, portal).await;
        }
        deps.clock.sleep(Duration::from_millis(pause)).await;
    }
}

/// Notes on the homeserver that keys were used.
async fn watch_keys(deps: &Deps) {
    loop {
        deps.clock.sleep(Duration::from_millis(MINUTE / 2)).await;
        if deps.e2ee.unavailable().is_none()
            && let Err(error) = deps.advance_epoch().await
        {
            tracing::warn!(%error, "the homeserver could not be told that keys were used");
        }
    }
}

/// Lets the bot's device sync all the time: whoever writes to it, people or other Vizards, is heard at once.
async fn listen(deps: &Deps) {
    loop {
        let began = deps.clock.now();
        let heard = match deps.e2ee.wait_for_mail(&deps.bot, LISTEN).await {
            Ok(true) => Ok(true),
            // Now and then, for how many keys are left.
            Ok(false) => deps.e2ee.sync(&deps.bot).await.map(|()| false),
            Err(error) => Err(error),
        };
        let pause = match heard {
            Ok(true) => BREATH,
            // A homeserver that does not let wait is asked as often as one that does.
            Ok(false) => LISTEN
                .saturating_sub(Duration::from_millis(
                    deps.clock.now().saturating_sub(began),
                ))
                .max(BREATH),
            Err(error) => {
                tracing::debug!(class = ?error.class(), "the bot's device could not sync");
                if let Err(error) = deps.mend_device(&error.into(), &[]).await {
                    tracing::warn!(%error, "the bot's device could not be made anew; trying again");
                }
                LISTEN
            }
        };
        deps.clock.sleep(pause).await;
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
        let escrow = deps.store.prune_escrow(now).await;
        if let Err(error) = sent::give_up(deps).await {
            tracing::warn!(class = ?error.class(), "the end of invites could not be told; trying again");
        }
        let notes = deps.store.prune_notes(now).await;
        for error in [links, escrow, notes].into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "old records could not be deleted");
        }
    }
}
