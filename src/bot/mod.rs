//! Commands: in a direct chat with the bot, and behind a prefix inside portals.
//!
//! `worker` hands in what was typed ([`handle`]) and invitations of the bot ([`invited`]). Each command is a
//! file in `commands` and an entry of its table. What takes long is queued as a job. A command may be handled
//! twice after a crash: whatever it says first has one transaction id, jobs have derived ids, and what it
//! counts bears its mark (`stamp`).

mod ask;
mod call;
mod command;
mod commands;
mod depart;
mod direct;
mod dispatch;
mod expiry;
mod help;
mod nicks;
pub mod parse;
mod reply;
mod select;
mod stamp;
pub mod whom;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};

use crate::{
    clock::UnixMillis,
    e2ee::E2eeError,
    event::{Event, Trust},
    homeserver::{self, Actor, Class},
    portal::{Deps, PortalError, access},
    rewrite::{self, Scrubbed},
    store::PortalId,
};

/// A command as it was given.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Where.
    pub room: OwnedRoomId,
    /// The event: the source of the answers' transaction ids.
    pub event: OwnedEventId,
    /// By whom.
    pub sender: OwnedUserId,
    /// When, by the homeserver's clock. It stays the same however often the command is tried.
    pub sent: UnixMillis,
    /// The text, without the prefix.
    pub text: String,
    /// In which portal; `None` in the direct chat.
    pub portal: Option<PortalId>,
    /// What it replies to.
    pub reply_to: Option<OwnedEventId>,
    /// Whom it mentions, in the order of the text.
    pub mentions: Vec<OwnedUserId>,
    /// Whether it came unencrypted.
    pub in_clear: bool,
}

impl Invocation {
    /// What an event that is a command says; `text` is its text without the prefix.
    #[must_use]
    pub fn new(event: &Event, text: String, portal: Option<PortalId>) -> Self {
        Self {
            room: event.room_id.clone(),
            event: event.event_id.clone(),
            sender: event.sender.clone(),
            sent: event.origin_server_ts,
            text,
            portal,
            reply_to: event.reply_to(),
            mentions: rewrite::references(&event.kind, &event.content).users,
            in_clear: event.trust == Trust::Clear,
        }
    }
}

/// Answers a command. Errors are the homeserver's or the database's (the caller tries again); everything a
/// person can do wrong is answered here.
pub async fn handle(deps: &Deps, invocation: &Invocation) -> Result<(), PortalError> {
    match dispatch::handle(deps, invocation).await {
        // Forgotten while it was handled: there is nobody left to answer.
        Err(PortalError::Gone) => Ok(()),
        Err(error) if error.is_unencryptable() => unencryptable(deps, invocation).await,
        Err(error) if error.class() == Class::GiveUp => failed(deps, invocation, &error).await,
        result => result,
    }
}

/// Whoever answers.
async fn actor(deps: &Deps, invocation: &Invocation) -> Result<Actor, PortalError> {
    Ok(match invocation.portal {
        Some(id) => deps.host(&*deps.portals.get(id).await?),
        None => deps.bot.clone(),
    })
}

/// Something was refused that the command needs: whoever gave it is not left without a word.
async fn failed(
    deps: &Deps,
    invocation: &Invocation,
    error: &PortalError,
) -> Result<(), PortalError> {
    metrics::counter!("vizard_failures_total", "class" => "command").increment(1);
    let why = match error {
        PortalError::Homeserver(error) | PortalError::E2ee(E2eeError::Homeserver(error)) => {
            refusal(error)
        }
        error => error.to_string(),
    };
    let text = format!("That could not be done: {why}. It is not tried again by itself.");
    let actor = actor(deps, invocation).await?;
    let notice = Scrubbed::notice(&text).in_reply_to(&invocation.event);
    let (room, source) = (&invocation.room, invocation.event.as_str());
    match deps.say(&actor, room, &notice, source, "failed", 0).await {
        Err(error) if error.class() == Class::Retry => Err(error),
        // Nothing can be said here.
        _ => Ok(()),
    }
}

fn refusal(error: &homeserver::Error) -> String {
    match error.errcode() {
        Some(code) => format!("your homeserver refused something that it needs ({code})"),
        None => "your homeserver's answer made no sense".to_owned(),
    }
}

/// An answer cannot be given where the question was: says that, which is all that may be said in clear.
async fn unencryptable(deps: &Deps, invocation: &Invocation) -> Result<(), PortalError> {
    let actor = actor(deps, invocation).await?;
    let notice = Scrubbed::public(UNENCRYPTABLE).in_reply_to(&invocation.event);
    let (room, source) = (&invocation.room, invocation.event.as_str());
    deps.say(&actor, room, &notice, source, "in clear", 0)
        .await
        .map(drop)
}

const UNENCRYPTABLE: &str = "This room is end-to-end encrypted, and there is no encryption on this Vizard, so nothing can be answered here. Start a chat with the bot that is not encrypted.";

/// The bot was invited to a room.
pub async fn invited(
    deps: &Deps,
    room: &ruma::RoomId,
    event: &ruma::EventId,
    inviter: &ruma::UserId,
) -> Result<(), PortalError> {
    direct::invited(deps, room, event, inviter).await
}

/// Whatever handled something that was said to the bot broke off: whoever said it is not left without a word.
pub async fn broke_off(deps: &Deps, room: &RoomId, event: &Event) -> Result<(), PortalError> {
    let user = deps.store.user(&event.sender).await?;
    let chat = user.and_then(|user| user.direct_chat);
    if event.state_key.is_some() || chat.as_deref() != Some(room) {
        return Ok(());
    }
    let text = "That may not have been done: Vizard broke off at it, which is a bug. Please tell its administrator. It is not tried again by itself.";
    let notice = Scrubbed::notice(text).in_reply_to(&event.event_id);
    let source = event.event_id.as_str();
    deps.say(&deps.bot, room, &notice, source, "failed", 0)
        .await
        .map(drop)
}

/// Something encrypted was said to the bot: says, once, what to do.
pub async fn cannot_read(deps: &Deps, room: &ruma::RoomId) -> Result<(), PortalError> {
    let text = "I cannot read that: it is encrypted, and your client gave me no key for it. Please send it again; if that does not help, start a chat with me that is not encrypted.";
    let notice = Scrubbed::notice(text);
    match deps
        .say(&deps.bot, room, &notice, room.as_str(), "encrypted", 0)
        .await
    {
        Err(error) if error.is_unencryptable() => {
            let notice = Scrubbed::public(UNENCRYPTABLE);
            let said = deps
                .say(&deps.bot, room, &notice, room.as_str(), "in clear", 0)
                .await;
            said.map(drop)
        }
        Err(error) if error.class() == Class::Retry => Err(error),
        _ => Ok(()),
    }
}

/// The text of a message that may be a command: plain text only, and no edits.
#[must_use]
pub fn text_of(event: &Event) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Content {
        msgtype: String,
        body: String,
        #[serde(rename = "m.new_content")]
        edit: Option<serde::de::IgnoredAny>,
    }
    if event.kind != "m.room.message" || event.state_key.is_some() {
        return None;
    }
    let content: Content = serde_json::from_str(event.content.get()).ok()?;
    if content.msgtype != "m.text" || content.edit.is_some() {
        return None;
    }
    if content.body.starts_with("> ") && event.reply_to().is_some() {
        return Some(without_quotation(&content.body).to_owned());
    }
    Some(content.body)
}

/// Older clients put a quotation before a reply.
fn without_quotation(body: &str) -> &str {
    let mut rest = body;
    while rest.starts_with('>') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest.trim_start_matches('\n')
}

/// What follows the command prefix; `None` when the text does not begin with it as a word of its own.
#[must_use]
pub fn strip_prefix(text: &str, prefix: &str) -> Option<String> {
    let rest = text.trim_start().strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_may_be_a_command() {
        for (body, reply, expected) in [
            ("!v whois", false, "!v whois"),
            ("> <@b:x> hello\n> more\n\n!v whois", true, "!v whois"),
            ("> quoted\n\n!v whois", false, "> quoted\n\n!v whois"),
            ("> nothing else", true, ""),
            ("!v whois", true, "!v whois"),
        ] {
            let mut content = serde_json::json!({"msgtype": "m.text", "body": body});
            if reply {
                content["m.relates_to"] = serde_json::json!({"m.in_reply_to": {"event_id": "$x"}});
            }
            let event = serde_json::json!({
                "event_id": "$e", "room_id": "!r:x", "sender": "@a:x", "type": "m.room.message", "content": content,
            });
            let raw = serde_json::value::to_raw_value(&event).expect("JSON");
            let event = Event::decode(&raw).expect("an event");
            assert_eq!(text_of(&event).as_deref(), Some(expected), "{body}");
            assert_eq!(
                Invocation::new(&event, String::new(), None)
                    .reply_to
                    .is_some(),
                reply
            );
        }
    }
}
