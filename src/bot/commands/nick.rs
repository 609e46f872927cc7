//! `nick NAME`: another display name for one pseudonym.

use crate::{
    bot::{
        call::{Call, room_title},
        command::{Command, Group, Needs, Place},
        nicks, parse,
        reply::{Answer, Reply},
    },
    homeserver::Class,
    portal::PortalError,
    pseudonym::clean_nick,
};

pub const COMMAND: Command = Command {
    name: "nick",
    aliases: &["name"],
    group: Group::Pseudonyms,
    usage: "NAME",
    summary: "change the name of a pseudonym",
    help: "The room sees the change. A name that tells who you are, or that another of your pseudonyms has, is refused.",
    place: Place::Both,
    needs: Needs::Joined,
    keywords: &[],
    always: false,
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let portal = call.portal()?;
    if call.rest.is_empty() {
        return Ok(Reply::say("Which name? Write ")
            .code(&call.usage())
            .and(".")
            .into());
    }
    let nick = match clean_nick(&parse::join(&parse::words(call.rest))) {
        Ok(nick) => nick,
        Err(error) => return Ok(Reply::say(&error.to_string()).into()),
    };
    if nick == portal.ghost.nick {
        return Ok(Reply::say("You are called ")
            .bold(&nick)
            .and(" there already.")
            .into());
    }
    let user = &call.user;
    let display_name = user.display_name.as_deref();
    if let Some(telling) = nicks::telling(
        &nick,
        &user.mxid,
        display_name,
        &user.pseudonyms,
        Some(portal.id),
    ) {
        return Ok(Reply::say(telling.explain()).into());
    }
    // The room hears of it as of a message.
    let (limits, command) = (&call.deps.limits, &call.invocation.event);
    if let Err(wait) = limits.take_once(&user.mxid, command, call.deps.clock.now()) {
        return Ok(Reply::say(&format!(
            "That is too fast. Please try again in {} s.",
            wait.as_secs() + 1
        ))
        .into());
    }
    match call.deps.rename_ghost(portal.id, &nick).await {
        Ok(()) => Ok(Reply::say("In ")
            .quote(&room_title(portal))
            .and(" you are now called ")
            .bold(&nick)
            .and(".")
            .into()),
        Err(PortalError::Homeserver(error)) if error.class() == Class::GiveUp => {
            Ok(Reply::say("The room does not accept the new name: ")
                .quote(&error.to_string())
                .into())
        }
        Err(error) => Err(error),
    }
}
