//! Telling the person who gave a command how it goes: one message that is edited as work proceeds.

use super::{Deps, PortalError};
use crate::{
    homeserver::{Actor, Class},
    rewrite::Scrubbed,
    store::Report,
};

impl Deps {
    /// Says `text`: the first time as a message, then as edits of it. `step` names the stage, so that saying
    /// the same stage again after a crash is the same event.
    pub async fn report(
        &self,
        report: &mut Report,
        step: &str,
        text: &str,
    ) -> Result<(), PortalError> {
        if report.silent {
            return Ok(());
        }
        let actor = self.reporter(report).await?;
        let notice = Scrubbed::notice(text);
        let (notice, leg) = match &report.message {
            Some(first) => (notice.replacing(first), format!("report:{step}")),
            // It may begin anew in another room, as a message of its own.
            None if report.unasked => (notice, format!("report in {}", report.room)),
            None => (notice.in_reply_to(&report.command), "report".to_owned()),
        };
        let event = self
            .say(
                &actor,
                &report.room,
                &notice,
                report.command.as_str(),
                &leg,
                0,
            )
            .await?;
        report.message.get_or_insert(event);
        Ok(())
    }

    /// Like [`Deps::report`], but a refusal is not an error: the room of the command may be gone.
    pub async fn report_if_possible(
        &self,
        report: &mut Report,
        step: &str,
        text: &str,
    ) -> Result<(), PortalError> {
        match self.report(report, step, text).await {
            Err(error) if error.class() == Class::GiveUp => Ok(()),
            other => other,
        }
    }

    async fn reporter(&self, report: &Report) -> Result<Actor, PortalError> {
        match report.portal {
            Some(portal) => Ok(self.host(&*self.portals.get(portal).await?)),
            None => Ok(self.bot.clone()),
        }
    }
}
