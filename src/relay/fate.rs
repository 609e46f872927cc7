//! What became of an outbound message, when it is not a read receipt: a notice that replies to it.

use super::{Done, ENCRYPTED, Guards, Relay};
use crate::{
    event::Event,
    homeserver::{Class, Error},
    portal::{Deps, PortalError},
    rewrite::Scrubbed,
    store::{Direction, Portal, PortalId},
};

const NOT_SENT: &str = "Not sent: this portal is end-to-end encrypted, and there is no encryption on this Vizard any more. It is not tried again by itself. Nothing goes in or out here until there is.";

const NOT_SHOWN: &str = "Somebody wrote in the room, which cannot be shown: this portal is end-to-end encrypted, and there is no encryption on this Vizard any more. Nothing goes in or out here until there is.";

const MISSING: &str = "Something that came from the room is missing here: Vizard broke off at it, which is a bug. Please tell its administrator.";

impl Relay {
    /// Says that a message was not sent, why, and that it will not be tried again.
    pub(super) async fn not_sent(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        why: &str,
    ) -> Result<Done, PortalError> {
        let text = format!("Not sent: {why}. It is not tried again by itself.");
        self.tell_fate(deps, portal, event, &text).await
    }

    /// Says, once, what became of a message that was not sent for sure.
    async fn tell_fate(
        &self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        text: &str,
    ) -> Result<Done, PortalError> {
        let Some(room) = &portal.portal_room else {
            return Ok(Done::default());
        };
        let notice = Scrubbed::notice(text).in_reply_to(&event.event_id);
        match deps
            .say(
                &deps.host(portal),
                room,
                &notice,
                event.event_id.as_str(),
                "fate",
                0,
            )
            .await
        {
            Err(error) if error.is_unencryptable() => {
                let notice = Scrubbed::public(NOT_SENT).in_reply_to(&event.event_id);
                self.say_in_clear(deps, portal, &event.event_id, &notice)
                    .await
            }
            Err(error) if error.class() == Class::Retry => Err(error),
            _ => Ok(Done::default()),
        }
    }

    /// Says, once in this life of the process, that the room's messages cannot be shown.
    pub(super) async fn not_shown(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Done, PortalError> {
        metrics::counter!("vizard_failures_total", "class" => "unencryptable").increment(1);
        if self.said_unencryptable {
            return Ok(Done::default());
        }
        let notice = Scrubbed::public(NOT_SHOWN);
        let done = self
            .say_in_clear(deps, portal, &event.event_id, &notice)
            .await?;
        self.said_unencryptable = true;
        Ok(done)
    }

    async fn say_in_clear(
        &self,
        deps: &Deps,
        portal: &Portal,
        source: &ruma::EventId,
        notice: &Scrubbed,
    ) -> Result<Done, PortalError> {
        let Some(room) = &portal.portal_room else {
            return Ok(Done::default());
        };
        let host = deps.host(portal);
        match deps
            .say(&host, room, notice, source.as_str(), "in clear", 0)
            .await
        {
            Err(error) if error.class() == Class::Retry => Err(error),
            _ => Ok(Done::default()),
        }
    }

    /// Says that a message waits because of `error` (the homeserver is slow or away, somebody is at a limit, or the join is not
    /// finished), and will be tried again.
    pub async fn delayed(
        &self,
        deps: &Deps,
        event: &Event,
        error: &PortalError,
    ) -> Result<(), PortalError> {
        let portal = deps.portals.get(self.portal).await?;
        let Some(room) = &portal.portal_room else {
            return Ok(());
        };
        let text = match error {
            PortalError::NotReady => {
                "Not sent yet: the join is not finished. It is kept, and sent when it is."
            }
            PortalError::Limited(_) => {
                "Not sent yet: you have written as much in a minute as one may here. It is kept, and sent when its turn comes."
            }
            error if error.retry_after().is_some() => {
                "Not sent yet: the homeserver asks to wait. It is kept, and tried again until it goes through."
            }
            _ => {
                "Not sent yet: the homeserver does not take it. It is kept, and tried again until it goes through."
            }
        };
        let notice = Scrubbed::notice(text).in_reply_to(&event.event_id);
        deps.say(
            &deps.host(&portal),
            room,
            &notice,
            event.event_id.as_str(),
            "delayed",
            0,
        )
        .await?;
        Ok(())
    }
}

/// Says that an event (perhaps a `command`) was left out, because whatever handled it broke off.
pub async fn left_out(
    deps: &Deps,
    id: PortalId,
    direction: Direction,
    event: &Event,
    command: bool,
) -> Result<(), PortalError> {
    let portal = deps.portals.get(id).await?;
    let relay = Relay::new(id, Guards::default());
    match direction {
        Direction::Outbound if event.sender == portal.user && event.state_key.is_none() => {
            let what = match &*event.kind {
                _ if command => "That may not have been done",
                // What breaks may be the opening.
                ENCRYPTED => "This may not have been sent, or done",
                _ => "This may not have been sent",
            };
            let text = format!(
                "{what}: Vizard broke off at it, which is a bug. Please tell its administrator. It is not tried again by itself."
            );
            relay.tell_fate(deps, &portal, event, &text).await?;
        }
        Direction::Outbound => {}
        Direction::Inbound => {
            let source = &event.event_id;
            relay.tell(deps, &portal, source, "lost", MISSING).await?;
        }
    }
    Ok(())
}

/// A homeserver's refusal, for a person.
pub(super) fn reason(error: &Error) -> String {
    match error.errcode() {
        Some("M_FORBIDDEN") => {
            "the room does not allow it (you may be muted, or no longer in the room)".to_owned()
        }
        Some("M_TOO_LARGE") => "it is too long".to_owned(),
        Some(code) => format!("your homeserver refused it ({code})"),
        None => "your homeserver's answer made no sense".to_owned(),
    }
}
