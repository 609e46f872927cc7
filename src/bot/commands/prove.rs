//! `prove TEXT`: a statement signed with a pseudonym's key.

use crate::{
    bot::{
        call::Call,
        command::{Command, Group, Needs, Place},
        reply::{Answer, Reply},
    },
    portal::PortalError,
    pseudonym::{self, SenderKey},
};

/// The longest text that is signed, in bytes: the answer must fit into an event, twice.
const MAX_TEXT: usize = 4096;

pub const COMMAND: Command = Command {
    name: "prove",
    aliases: &["sign"],
    group: Group::Pseudonyms,
    usage: "TEXT",
    summary: "sign a text, to show that it comes from a pseudonym",
    help: "Only you see the signed statement, until you pass it on. Anybody can check it with `vizard verify`, without asking a server. What you write in the room is never signed like this, so that you can deny it; a statement you cannot.",
    place: Place::Both,
    needs: Needs::Pseudonym,
    keywords: &[],
    always: false,
    run: |call| Box::pin(async move { run(call) }),
};

fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let portal = call.portal()?;
    if call.rest.is_empty() {
        return Ok(Reply::say("Which text? Write ")
            .code(&call.usage())
            .and(".")
            .into());
    }
    if call.rest.len() > MAX_TEXT {
        return Ok(Reply::say(&format!(
            "That text is too long to sign here: at most {MAX_TEXT} bytes, please."
        ))
        .into());
    }
    let key = SenderKey::from_seed(&portal.ghost.seed);
    let statement = pseudonym::prove(&key, &portal.ghost.id, &portal.room, call.rest);
    Ok(
        Reply::say("This statement proves that ")
            .quote(&portal.ghost.nick)
            .and(", your pseudonym, says it:")
            .block(&format!("{statement:#}"))
            .and("Save it to a file and check it with `vizard verify FILE`; that needs no server. The text must not give away who you are, if you want to stay unknown.")
            .into(),
    )
}
