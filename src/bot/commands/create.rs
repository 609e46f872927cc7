//! `create NAME`: a room of one's own, behind a fresh pseudonym.

use crate::{
    bot::{
        ask,
        call::{Asked, Call},
        command::{Command, Group, Needs, Place},
        nicks::{self, Telling},
        parse,
        reply::{Answer, Reply},
        whom::flag,
    },
    portal::PortalError,
    pseudonym::clean_nick,
    rewrite::clean_name,
    store::{CreateTask, Task},
};

pub const COMMAND: Command = Command {
    name: "create",
    aliases: &["new"],
    group: Group::Rooms,
    usage: "NAME [--encrypted] [--public] [as NICK]",
    summary: "make a room behind a new pseudonym",
    help: "The room is its pseudonym's: nothing in it tells that you made it. Only those whom you `invite` may join; `--public` lets in whoever knows its link. `--encrypted` makes it end-to-end encrypted, which cannot be taken back. A NAME with the word `as` in it stands in quotation marks.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: false,
    run: |call| Box::pin(run(call)),
};

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wish {
    name: String,
    encrypted: bool,
    public: bool,
    nick: Option<String>,
}

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let wish = match read(call.rest) {
        Ok(wish) => wish,
        Err(text) => {
            return Ok(Reply::say(&text)
                .and(" Write ")
                .code(&call.usage())
                .and(".")
                .into());
        }
    };
    let wish = match fit(call, wish) {
        Asked::Found(wish) => wish,
        Asked::Answered(reply) => return Ok(reply.into()),
    };
    if let Some(refusal) = ask::limits(call, true).await? {
        return Ok(refusal.into());
    }
    let mut report = call.new_report();
    let text = format!("Making “{}”…", wish.name);
    call.deps.report(&mut report, "asking", &text).await?;
    let task = CreateTask {
        user: call.user.mxid.clone(),
        name: wish.name,
        encrypted: wish.encrypted,
        public: wish.public,
        nick: wish.nick,
        seed: None,
        room: None,
        report,
    };
    let (event, now) = (call.invocation.event.as_str(), call.deps.clock.now());
    call.deps
        .add_job(event, now, Task::Create(Box::new(task)))
        .await?;
    Ok(Answer::none())
}

/// What the words ask for; otherwise what is wrong with them.
fn read(text: &str) -> Result<Wish, String> {
    let mut wish = Wish::default();
    let mut words = Vec::new();
    for word in parse::words(text) {
        match flag(&word.text) {
            None => words.push(word),
            Some("encrypted") => wish.encrypted = true,
            Some("public") => wish.public = true,
            Some(_) => return Err(format!("I do not know `{}`.", word.text)),
        }
    }
    // The last one: a name may have it too.
    let at = words
        .iter()
        .rposition(|word| word.text.eq_ignore_ascii_case("as"))
        .filter(|at| *at > 0);
    if let Some(at) = at {
        let nick = parse::join(&words[at + 1..]);
        wish.nick = Some(clean_nick(&nick).map_err(|error| error.to_string())?);
        words.truncate(at);
    }
    wish.name = clean_name(&parse::join(&words));
    if wish.name.is_empty() {
        return Err("What shall it be called?".to_owned());
    }
    Ok(wish)
}

/// Whether it can be had, and tells nothing.
fn fit(call: &Call<'_>, wish: Wish) -> Asked<Wish> {
    let user = &call.user;
    if wish.encrypted
        && let Some(why) = call.deps.e2ee.unavailable()
    {
        return Asked::Answered(Reply::say(&format!(
            "This Vizard cannot encrypt: {why}. Without `--encrypted` the room can be made."
        )));
    }
    let telling = |name: &str| {
        let display_name = user.display_name.as_deref();
        nicks::telling(name, &user.mxid, display_name, &user.pseudonyms, None)
    };
    if let Some(telling) = wish.nick.as_deref().and_then(telling) {
        return Asked::Answered(Reply::say(telling.explain()));
    }
    if user.guard && telling(&wish.name) == Some(Telling::Own) {
        return Asked::Answered(Reply::say(&format!(
            "The name of that room has your own name in it, so everybody there could tell who made it. Please choose another one. (`{}` lets me take it.)",
            call.typed("guard off")
        )));
    }
    Asked::Found(wish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (text, name, encrypted, public, nick) in [
            ("Tea", "Tea", false, false, None),
            ("Tea room --encrypted", "Tea room", true, false, None),
            ("\"Tea  room\" —public", "Tea room", false, true, None),
            ("--public --encrypted Tea", "Tea", true, true, None),
            (
                "Tea as Quiet Heron --encrypted",
                "Tea",
                true,
                false,
                Some("Quiet Heron"),
            ),
            (
                "Such as tea as Fox",
                "Such as tea",
                false,
                false,
                Some("Fox"),
            ),
            ("\"Such as tea\"", "Such as tea", false, false, None),
            ("as you like", "as you like", false, false, None),
        ] {
            let expected = Wish {
                name: name.to_owned(),
                encrypted,
                public,
                nick: nick.map(ToOwned::to_owned),
            };
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "--public",
            "\"\"",
            "Tea --secret",
            "Tea as",
            "Tea as @a:b",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
