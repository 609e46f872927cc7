//! `address`: contact addresses, which people give away so that others can invite them.

use crate::{
    bot::{
        call::Call,
        command::{Command, Group, Needs, Place},
        expiry::{self, Unfit},
        parse,
        reply::{Answer, Reply, tidy},
    },
    clock::{UnixMillis, day},
    invite::contacts::{self, LONGEST_DAYS, MOST, Refused},
    portal::PortalError,
    sealed::CONTACT_ID,
    store::Address,
};

pub const COMMAND: Command = Command {
    name: "address",
    aliases: &["addresses"],
    group: Group::Invites,
    usage: "[create LABEL | show LABEL | revoke LABEL]",
    summary: "texts to give away, by which others can invite you without knowing who you are",
    help: "`address create LABEL` makes a text that you can give away. Whoever has it can invite you, as often as they like, and your Matrix ID is not readable in it: only this server opens it. LABEL is for you alone; an invite through the address tells you which it was.\nIt works for 90 days, or for as long as you say, at most 400 days: `address create LABEL --expires 2w`, or `--expires 2027-03-01`.\n`address` lists yours, `address show LABEL` gives a fresh text for the same address, and `address revoke LABEL` ends it, for all of its texts: whoever uses it then gets the same answer as ever, and never reaches you.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: false,
    run: |call| Box::pin(run(call)),
};

/// How long an address is good unless its owner says otherwise.
const DEFAULT: UnixMillis = 90 * 24 * 60 * 60 * 1000;
/// The longest label, in characters.
const LABEL: usize = 40;
/// Addresses in one notice.
const PER_NOTICE: usize = 40;

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let words = parse::words(call.rest);
    let rest = words.first().map_or("", |word| &call.rest[word.end..]);
    match call.first_word().as_deref() {
        None | Some("list" | "ls") => Ok(list(call)),
        Some("create" | "new" | "make" | "add") => create(call, rest).await,
        Some("show") => show(call, rest).await,
        Some("revoke" | "remove" | "delete") => revoke(call, rest).await,
        Some(_) => Ok(Reply::say("Please write ")
            .code(&call.typed("address create LABEL"))
            .and(", or `show` or `revoke` in the place of `create`. ")
            .code(&call.typed("address"))
            .and(" alone lists your addresses.")
            .into()),
    }
}

async fn create(call: &Call<'_>, rest: &str) -> Result<Answer, PortalError> {
    if !call.deps.config.invites.enabled {
        return Ok(Reply::say(
            "The administrator has switched sealed invites off, so nobody could use an address.",
        )
        .into());
    }
    let (label, expires) = expiry::split(rest);
    let label = match fit(&label) {
        Ok(label) => label,
        Err(why) => {
            let example = call.typed("address create Conference --expires 90d");
            return Ok(Reply::say(why)
                .and(" For example ")
                .code(&example)
                .and(".")
                .into());
        }
    };
    let now = call.deps.clock.now();
    let expires = match expires.map(|text| expiry::parse(&text, now, LONGEST_DAYS)) {
        None => now + DEFAULT,
        Some(Ok(until)) => until,
        Some(Err(unfit)) => return Ok(Reply::say(explain(unfit)).into()),
    };
    let event = call.invocation.event.as_bytes();
    let derived = call.deps.store.derive("contact-address", &[event]);
    let mut id = [0; CONTACT_ID];
    id.copy_from_slice(&derived[..CONTACT_ID]);
    let address = Address {
        id,
        label,
        created: now,
        expires,
        revoked: false,
    };
    match contacts::create(call.deps, &call.user.mxid, &address).await? {
        Ok(()) => {}
        Err(Refused::Label) => {
            return Ok(Reply::say("You have an address called “")
                .quote(&address.label)
                .and("” already. ")
                .and(&format!(
                    "`{}` gives its text; for another one, choose another label.",
                    call.typed(&format!("address show {}", plain(&address.label)))
                ))
                .into());
        }
        Err(Refused::TooMany) => {
            return Ok(Reply::say(&format!(
                "You have {MOST} addresses, which is as many as work at once. `{}` ends one.",
                call.typed("address revoke LABEL")
            ))
            .into());
        }
    }
    let opening = Reply::say("Here is your address “")
        .quote(&address.label)
        .and("”. Whoever has it can invite you, as often as they like, until ")
        .and(&day(address.expires))
        .and(". They do not learn from it who you are.");
    given(call, opening, &address).await
}

async fn show(call: &Call<'_>, rest: &str) -> Result<Answer, PortalError> {
    let address = match named(call, rest) {
        Ok(address) => address,
        Err(reply) => return Ok(reply.into()),
    };
    let over = match state(address, call.deps.clock.now()) {
        State::Live => {
            let opening = Reply::say("A fresh text for your address “")
                .quote(&address.label)
                .and("”, good until ")
                .and(&day(address.expires))
                .and(". Texts that you gave away before work as well; nobody can tell that they belong together.");
            return given(call, opening, address).await;
        }
        State::Revoked => "” is revoked.",
        State::Expired => "” has expired.",
    };
    Ok(Reply::say("Your address “")
        .quote(&address.label)
        .and(over)
        .and(&format!(
            " `{}` makes a new one.",
            call.typed("address create LABEL")
        ))
        .into())
}

/// The text alone in a block, below what it is.
async fn given(call: &Call<'_>, opening: Reply, address: &Address) -> Result<Answer, PortalError> {
    let Some(text) = contacts::text(call.deps, address) else {
        return Ok(Reply::say("The address is there, but at the moment there is no key to seal it to. Please try `address show` in an hour, or tell the administrator.").into());
    };
    let revoke = call.typed(&format!("address revoke {}", plain(&address.label)));
    let reply = opening
        .block(&text.to_string())
        .and(&format!("`{revoke}` takes it back."));
    let actor = match &call.portal {
        Some(portal) => call.deps.host(portal),
        None => call.deps.bot.clone(),
    };
    let encrypted = call.deps.encrypts(&actor, &call.invocation.room).await?;
    Ok(if encrypted {
        reply
    } else {
        reply
            .line()
            .and("⚠ This chat is not encrypted: who reads it on the homeserver knows that this address is yours.")
    }
    .into())
}

async fn revoke(call: &Call<'_>, rest: &str) -> Result<Answer, PortalError> {
    let address = match named(call, rest) {
        Ok(address) => address,
        Err(reply) => return Ok(reply.into()),
    };
    contacts::revoke(call.deps, &call.user.mxid, address.id).await?;
    Ok(Reply::say("Your address “")
        .quote(&address.label)
        .and("” is revoked. Whoever uses it gets the same answer as ever, and never reaches you.")
        .into())
}

/// The address that a label names, or what to say instead.
fn named<'a>(call: &'a Call<'_>, rest: &str) -> Result<&'a Address, Reply> {
    let label = parse::join(&parse::words(rest));
    let addresses = &call.user.addresses;
    if let Some(address) = contacts::find(addresses, &label, call.deps.clock.now()) {
        return Ok(address);
    }
    let list = call.typed("address");
    Err(if label.is_empty() {
        Reply::say(&format!("Which one? Give its label; `{list}` lists them."))
    } else {
        Reply::say("You have no address called “")
            .quote(&tidy(&label, 60))
            .and(&format!("”. `{list}` lists yours."))
    })
}

/// A label, tidied; or why it does not do. `block` takes labels, Matrix IDs, servers and numbers alike.
fn fit(text: &str) -> Result<String, &'static str> {
    let label = tidy(text, usize::MAX);
    if label.is_empty() {
        return Err(
            "Please give the address a label, by which you know it again; nobody else sees it.",
        );
    }
    if label.chars().count() > LABEL {
        return Err("That label is too long: at most 40 characters.");
    }
    let like_a_server = !label.contains(' ') && label.contains(['.', ':']);
    if like_a_server
        || label.starts_with(['@', '!', '#', '-', '–', '—', '`', '"', '“', '„'])
        || label.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(
            "That could be taken for a Matrix ID, a server or a number; please choose another label.",
        );
    }
    Ok(label)
}

/// A label within a command that stands between backticks.
fn plain(label: &str) -> String {
    label.replace('`', "'")
}

fn explain(unfit: Unfit) -> &'static str {
    match unfit {
        Unfit::Unreadable => {
            "Until when? Write `--expires` and a length, such as `90d`, `12w`, `6m` or `1y`, or a day, such as `2027-03-01`."
        }
        Unfit::Past => "That is over already.",
        Unfit::TooFar => "That is too far ahead: an address works for at most 400 days.",
    }
}

/// How an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    Revoked,
    Expired,
}

fn state(address: &Address, now: UnixMillis) -> State {
    if address.revoked {
        State::Revoked
    } else if address.expires <= now {
        State::Expired
    } else {
        State::Live
    }
}

fn list(call: &Call<'_>) -> Answer {
    render(
        &call.user.addresses,
        call.deps.clock.now(),
        &call.typed("address"),
    )
}

fn render(addresses: &[Address], now: UnixMillis, typed: &str) -> Answer {
    if addresses.is_empty() {
        return Reply::say(&format!(
            "You have no address yet. `{typed} create LABEL` makes one, under which others can invite you without knowing who you are."
        ))
        .into();
    }
    let line = |reply: Reply, address: &Address| {
        let (made, until) = (day(address.created), day(address.expires));
        let how = match state(address, now) {
            State::Live => format!("works until {until}"),
            State::Revoked => "revoked".to_owned(),
            State::Expired => format!("expired on {until}"),
        };
        reply
            .bold(&address.label)
            .and(&format!(" – made on {made}, {how}"))
            .line()
    };
    let mut replies: Vec<Reply> = addresses
        .chunks(PER_NOTICE)
        .map(|some| some.iter().fold(Reply::default(), line))
        .collect();
    if let Some(last) = replies.pop() {
        replies.push(last.and(&format!(
            "`{typed} show LABEL` gives the text of one, `{typed} revoke LABEL` ends it."
        )));
    }
    Answer(replies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for (text, expected) in [
            ("Work", Some("Work")),
            ("  My\n  friends ", Some("My friends")),
            ("St. Ives", Some("St. Ives")),
            ("", None),
            ("b.example", None),
            ("@bob:b.example", None),
            ("vz1:x", None),
            ("12", None),
            ("--expires", None),
            (&"é".repeat(40), Some(&*"é".repeat(40))),
            (&"é".repeat(41), None),
        ] {
            assert_eq!(fit(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_list_says_how_each_stands() {
        let now = 1_700_000_000_000;
        let address = |label: &str, expires, revoked| Address {
            id: [0; CONTACT_ID],
            label: label.to_owned(),
            created: now - 1,
            expires,
            revoked,
        };
        let all = [
            address("Work", now + DEFAULT, false),
            address("<Old>", now, false),
            address("Gone", now + 1, true),
        ];
        let Answer(replies) = render(&all, now, "!v address");
        assert_eq!(
            replies[0].plain(),
            "Work – made on 14 Nov 2023, works until 12 Feb 2024\n\
             <Old> – made on 14 Nov 2023, expired on 14 Nov 2023\n\
             Gone – made on 14 Nov 2023, revoked\n\
             `!v address show LABEL` gives the text of one, `!v address revoke LABEL` ends it."
        );
        assert!(replies[0].html().contains("<strong>&lt;Old&gt;</strong>"));
        assert!(render(&[], now, "address").0[0].plain().contains("create"));
        let many: Vec<_> = (0..101).map(|_| all[0].clone()).collect();
        assert_eq!(render(&many, now, "address").0.len(), 3);
    }
}
