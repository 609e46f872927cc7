//! Messages that wait for the user's word, because they name the user or carry a file that might.

use ruma::OwnedEventId;
use serde::Deserialize;

use super::{Done, Relay, media::Fate, outbound::cannot_speak};
use crate::{
    clock::UnixMillis,
    event::Event,
    homeserver::Class,
    portal::{Deps, PortalError},
    rewrite::{Rewritten, Scrubbed},
    store::{Direction, Held, Link, Portal},
};

/// What the user decided about a held message.
pub(super) struct Decision {
    held: Decided,
    send: bool,
}

/// What the decision is about.
enum Decided {
    /// A message that waits for it.
    Held(Held),
    /// None: it is not held any more.
    Gone,
    /// One that was sent because of it before Vizard stopped.
    Sent,
}

impl Relay {
    /// Keeps a message, and asks.
    pub(super) async fn hold(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        found: &str,
    ) -> Result<Done, PortalError> {
        let prefix = &deps.config.portal.command_prefix;
        let text = format!(
            "Held back: this message names you or another of your pseudonyms ({found}). Reply `send` to this notice to send it all the same, or `discard` to drop it. (`{prefix} guard off` switches this check off.)"
        );
        self.ask(deps, portal, event, &text, false).await
    }

    /// Keeps a message, and asks what to do. `unstripped`: what is asked is whether its file may go as it is.
    pub(super) async fn ask(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        text: &str,
        unstripped: bool,
    ) -> Result<Done, PortalError> {
        let Some(room) = &portal.portal_room else {
            return Ok(Done::default());
        };
        let mut held = Held {
            event: event.event_id.clone(),
            question: None,
            json: serde_json::to_string(event).unwrap_or_default(),
            at: deps.clock.now(),
            unstripped,
        };
        deps.store.hold(portal.id, &held).await?;
        let notice = Scrubbed::notice(text).in_reply_to(&event.event_id);
        let question = deps
            .say(
                &deps.host(portal),
                room,
                &notice,
                event.event_id.as_str(),
                "held",
                u32::from(unstripped),
            )
            .await?;
        held.question = Some(question);
        deps.store.hold(portal.id, &held).await?;
        Ok(Done::default())
    }

    /// Whether an event is the user's word on a held message: a reply to the question or to the message itself.
    pub(super) async fn decision(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
    ) -> Result<Option<Decision>, PortalError> {
        let Some((answered, send)) = word(event) else {
            return Ok(None);
        };
        let held = match deps.store.held(portal.id, &answered).await? {
            Some(held) => Decided::Held(held),
            None if deps.is_over(&event.event_id).await? => Decided::Sent,
            // A word about something that was relayed is an ordinary reply. About a notice of the host it is never meant for
            // the room, not even when it comes twice.
            None if self.other_end(deps, &answered).await?.is_some() => return Ok(None),
            None => Decided::Gone,
        };
        Ok(Some(Decision { held, send }))
    }

    /// Does what the user decided.
    pub(super) async fn decide(
        &mut self,
        deps: &Deps,
        portal: &Portal,
        answer: &Event,
        received: UnixMillis,
        decision: Decision,
    ) -> Result<Done, PortalError> {
        let Decision { held, send } = decision;
        let held = match held {
            Decided::Held(held) => held,
            Decided::Gone => {
                let text =
                    "Nothing is held back there any more. Your answer did not go to the room.";
                self.tell_reply(deps, portal, answer, text).await?;
                return Ok(Done::default());
            }
            Decided::Sent => {
                self.delivered(answer);
                return Ok(Done::default());
            }
        };
        let original: Option<Event> = serde_json::from_str(&held.json).ok();
        let (true, Some(original)) = (send, original) else {
            let text = "Discarded: it was not sent.";
            let told = self.tell_reply(deps, portal, answer, text).await;
            // Told again without the record, it would be that nothing is held back.
            if !matches!(&told, Err(error) if error.class() == Class::Retry) {
                deps.store.release(portal.id, &held.event).await?;
            }
            return told.map(|()| Done::default());
        };
        if let Some(why) = cannot_speak(deps, portal).as_deref() {
            return self.not_sent(deps, portal, answer, why).await;
        }
        let rewritten = self.rewritten(deps, portal, &original).await?;
        let sent = match rewritten {
            Rewritten::Send(content) => Some(
                self.send_as_ghost(deps, portal, &original, received, content)
                    .await?,
            ),
            Rewritten::Media(attachment) => {
                let approved = Some(held.unstripped);
                match self
                    .attachment_outbound(deps, portal, &original, received, &attachment, approved)
                    .await?
                {
                    Fate::Sent(done) => Some(done),
                    Fate::Told => None,
                    Fate::Held => return Ok(Done::default()),
                }
            }
            _ => {
                let why = "what it refers to is gone meanwhile";
                self.not_sent(deps, portal, answer, why).await?;
                None
            }
        };
        if let Some(done) = sent {
            let link = Link::of(&original, Direction::Outbound, done.target);
            deps.store.replace_link(portal.id, &link).await?;
            self.remember(&link);
            self.delivered(answer);
            // Without it, the answer would be taken for a reply to what was sent if it is handled again.
            deps.no_more(&answer.event_id).await?;
        }
        deps.store.release(portal.id, &held.event).await?;
        Ok(Done::default())
    }

    async fn tell_reply(
        &self,
        deps: &Deps,
        portal: &Portal,
        event: &Event,
        text: &str,
    ) -> Result<(), PortalError> {
        let Some(room) = &portal.portal_room else {
            return Ok(());
        };
        let notice = Scrubbed::notice(text).in_reply_to(&event.event_id);
        deps.say(
            &deps.host(portal),
            room,
            &notice,
            event.event_id.as_str(),
            "answer",
            0,
        )
        .await?;
        Ok(())
    }
}

/// `send` or `discard`, in reply to something.
fn word(event: &Event) -> Option<(OwnedEventId, bool)> {
    #[derive(Deserialize)]
    struct Content {
        body: String,
    }
    if event.kind != "m.room.message" {
        return None;
    }
    let answered = event.reply_to()?;
    let content: Content = serde_json::from_str(event.content.get()).ok()?;
    // Older clients put a quotation before the answer.
    let last = content.body.lines().last()?.trim().to_lowercase();
    let send = match last.as_str() {
        "send" => true,
        "discard" => false,
        _ => return None,
    };
    Some((answered, send))
}
