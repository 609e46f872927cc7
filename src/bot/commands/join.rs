//! `join ROOM [as NICK]`: into a room, behind a pseudonym.

use crate::{
    bot::{
        ask::{self, Wish},
        call::{Asked, Call},
        command::{Command, Group, Needs, Place},
        nicks, parse,
        reply::{Answer, Reply},
    },
    portal::{JoinTarget, PortalError},
    pseudonym::clean_nick,
};

pub const COMMAND: Command = Command {
    name: "join",
    aliases: &["j"],
    group: Group::Rooms,
    usage: "ROOM [as NICK]",
    summary: "join a room behind a new pseudonym",
    help: "ROOM is an alias (`#room:server`), a link (`https://matrix.to/#/…`, `matrix:…`) or a room id with a server that knows it (`!id server`). I make a pseudonym for that room alone and open a portal, a private room in which you read and write. Without `as NICK` it gets a name such as Quiet Heron. If you were in the room before, you return as who you were.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: false,
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    match wish(call, false) {
        Asked::Found(wish) => ask::ask(call, wish).await,
        Asked::Answered(reply) => Ok(reply.into()),
    }
}

/// What the words ask for.
pub(super) fn wish(call: &Call<'_>, knock: bool) -> Asked<Wish> {
    if call.rest.is_empty() {
        return Asked::Answered(Reply::say(&format!(
            "Which room? For example `{}`.",
            call.typed(&format!("{} #room:server", call.command.name))
        )));
    }
    let (room, nick) = split(call.rest);
    let target = match JoinTarget::parse(&room) {
        Ok(target) => target,
        Err(error) => return Asked::Answered(Reply::say(&error.to_string())),
    };
    let nick = match nick.map(|nick| clean_nick(&nick)).transpose() {
        Ok(nick) => nick,
        Err(error) => return Asked::Answered(Reply::say(&error.to_string())),
    };
    let user = &call.user;
    let telling = nick.as_ref().and_then(|nick| {
        let display_name = user.display_name.as_deref();
        let here = user
            .pseudonyms
            .iter()
            .find(|pseudonym| pseudonym.room.as_str() == target.room.as_str())
            .map(|pseudonym| pseudonym.portal);
        nicks::telling(nick, &user.mxid, display_name, &user.pseudonyms, here)
    });
    if let Some(telling) = telling {
        return Asked::Answered(Reply::say(telling.explain()));
    }
    Asked::Found(Wish {
        target,
        knock,
        nick,
        successor_of: None,
    })
}

/// The room and the name after `as`.
fn split(text: &str) -> (String, Option<String>) {
    let words = parse::words(text);
    let at = words
        .iter()
        .skip(1)
        .position(|word| word.text.eq_ignore_ascii_case("as"));
    match at {
        Some(at) => (
            parse::join(&words[..=at]),
            Some(parse::join(&words[at + 2..])),
        ),
        None => (parse::join(&words), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_and_nick() {
        for (text, room, nick) in [
            ("#a:b", "#a:b", None),
            ("!a b.example c.example", "!a b.example c.example", None),
            ("#a:b as Quiet Heron", "#a:b", Some("Quiet Heron")),
            ("#a:b AS \"Quiet Heron\"", "#a:b", Some("Quiet Heron")),
            ("!a b.example as Jo", "!a b.example", Some("Jo")),
            ("#a:b as", "#a:b", Some("")),
            ("as as as", "as", Some("as")),
            ("", "", None),
        ] {
            let found = split(text);
            assert_eq!(
                (found.0.as_str(), found.1.as_deref()),
                (room, nick),
                "{text}"
            );
        }
    }
}
