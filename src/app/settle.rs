//! The first requests: the bot, its device, and whether the homeserver gives what encryption needs.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{App, Ended};
use crate::{homeserver::Class, portal::PortalError};

/// How often a homeserver is asked for what encryption needs before it counts as one that never gives it: about half a minute, and
/// the time that it takes to answer.
const TRIES: u32 = 7;

impl App {
    /// Registers the bot and its device, however long the homeserver takes.
    pub async fn settle_bot(&self, shutdown: &CancellationToken) -> Ended {
        let mut wait = Duration::from_millis(500);
        let mut tried = 0;
        loop {
            let error = match self.try_settle_bot(&mut tried).await {
                Ok(ended) => return ended,
                Err(error) => match self.deps.mend_device(&error, &[]).await {
                    Ok(true) if self.deps.renewed.is_cancelled() => return Ended::Renewed,
                    Ok(_) => error,
                    Err(error) => error,
                },
            };
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

    /// `tried`: how often a homeserver that was there was asked for what encryption needs. If that is enough and it never gave it,
    /// it is done without; if it did, this passes, and nothing is said in between.
    async fn try_settle_bot(&self, tried: &mut u32) -> Result<Ended, PortalError> {
        let (bot, e2ee) = (&self.deps.bot, &self.deps.e2ee);
        // The homeserver is there, and accepts Vizard.
        self.deps.homeserver.register(&bot.user).await?;
        *tried = tried.saturating_add(1);
        let enough = *tried >= TRIES && !e2ee.has_synced(bot).await?;
        if let Some(device) = &bot.device
            && let Err(error) = self.deps.settle(&bot.user, device).await
        {
            if !enough {
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
        if let Err(error) = e2ee.sync(bot).await {
            if error.class() == Class::Retry && !enough {
                return Err(error.into());
            }
            tracing::error!(%error, "the homeserver gives no device keys: encrypted rooms are not entered; run `vizard doctor`");
            e2ee.give_up("its homeserver gives application services no device keys".to_owned());
        }
        Ok(Ended::Stopped)
    }
}
