//! The first requests: the bot, its device, and whether the homeserver gives what encryption needs.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{App, Ended};
use crate::{homeserver::Class, portal::PortalError};

/// How often a step must fail at a homeserver that never took it before it counts as one that never does: about half a minute, and
/// the time that it takes to answer.
const TRIES: u32 = 7;

/// How often each step failed at a homeserver that was there.
#[derive(Default)]
struct Failed {
    device: u32,
    sync: u32,
}

impl App {
    /// Registers the bot and its device, however long the homeserver takes.
    pub async fn settle_bot(&self, shutdown: &CancellationToken) -> Ended {
        let mut wait = Duration::from_millis(500);
        let mut failed = Failed::default();
        loop {
            let error = match self.try_settle_bot(&mut failed).await {
                Ok(ended) => return ended,
                Err(error) => match self.deps.mend_device(&error, &[]).await {
                    Ok(true) if self.deps.renewed.is_cancelled() => return Ended::Renewed,
                    Ok(_) => error,
                    Err(error) => error,
                },
            };
            if self.deps.renewed.is_cancelled() {
                return Ended::Renewed; // the store broke off
            }
            match error.class() {
                Class::GiveUp => {
                    tracing::error!(%error, "the homeserver does not accept Vizard; run `vizard doctor`");
                }
                Class::Retry => tracing::warn!(%error, "waiting for the homeserver"),
            }
            if shutdown
                .run_until_cancelled(self.deps.clock.sleep(wait))
                .await
                .is_none()
            {
                return Ended::Stopped;
            }
            wait = (wait * 2).min(Duration::from_secs(30));
        }
    }

    /// If what encryption needs fails often enough (`failed`), and the homeserver never gave it, it is done without; if it did, with
    /// whatever device, this passes, and nothing is said in between.
    async fn try_settle_bot(&self, failed: &mut Failed) -> Result<Ended, PortalError> {
        let (bot, e2ee) = (&self.deps.bot, &self.deps.e2ee);
        // The homeserver is there, and accepts Vizard.
        self.deps.homeserver.register(&bot.user).await?;
        if let Some(device) = &bot.device
            && let Err(error) = self.deps.settle(&bot.user, device).await
        {
            failed.device += 1;
            if failed.device < TRIES || self.deps.has_synced().await? {
                return Err(error);
            }
            tracing::error!(%error, "the homeserver gives application services no devices (MSC4190): encrypted rooms are not entered, and what is sent again after a restart may be doubled; run `vizard doctor`");
            self.deps.homeserver.do_without_devices();
            e2ee.give_up("its homeserver gives application services no devices".to_owned());
        }
        self.deps.homeserver.set_displayname(bot, "Vizard").await?;
        if self.deps.check_epoch().await? {
            return Ok(Ended::Renewed);
        }
        // The bot's device shows what every device of ours will get.
        let synced = match e2ee.sync(bot).await {
            Ok(()) if e2ee.unavailable().is_none() => self.deps.note_synced().await,
            synced => synced.map_err(PortalError::from),
        };
        if let Err(error) = synced {
            failed.sync += 1;
            let enough = error.class() == Class::GiveUp || failed.sync >= TRIES;
            if !enough || self.deps.has_synced().await? {
                return Err(error);
            }
            tracing::error!(%error, "the homeserver gives no device keys: encrypted rooms are not entered; run `vizard doctor`");
            e2ee.give_up("its homeserver gives application services no device keys".to_owned());
        }
        Ok(Ended::Stopped)
    }
}
