//! `block` and `unblock`: whose invites a user does not want. (Both are here: they read the same words.)

use ruma::{OwnedServerName, OwnedUserId, ServerName};

use crate::{
    bot::{
        call::{Asked, Call},
        command::{Command, Group, Needs, Place},
        parse,
        reply::{Answer, Reply, tidy},
        select::{self, Found},
        whom::user_in,
    },
    clock::UnixMillis,
    invite::contacts,
    portal::PortalError,
    pseudonym::Role,
    store::{Address, Direction, KeptOut},
};

pub const BLOCK: Command = Command {
    name: "block",
    aliases: &[],
    group: Group::Invites,
    usage: "[WHOM]",
    summary: "keep somebody's invites out; alone, shows whom you block",
    help: "WHOM is who invited you (their Matrix ID, a link to it or a mention; or, for an invite that is not answered, its number in `list`), a server (`b.example`), or the label of one of your addresses. They are not told: they get the same answer as ever, and never reach you.\nIn a portal, `% block` in reply to somebody blocks them, and in that of an invite, `% block` alone blocks who sent it. An invite that is here already stays until you reject it.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: false,
    run: |call| Box::pin(block(call)),
};

pub const UNBLOCK: Command = Command {
    name: "unblock",
    aliases: &[],
    group: Group::Invites,
    usage: "WHOM",
    summary: "let somebody's invites reach you again",
    help: "WHOM is as for `block`, or a number of the list that `block` alone gives.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: false,
    run: |call| Box::pin(unblock(call)),
};

/// The longest list.
const MOST: usize = 200;
/// Lines in one notice.
const PER_NOTICE: usize = 50;

const UNKNOWN: &str = "I do not know whom you mean. Give a Matrix ID (`@somebody:b.example`), a server (`b.example`), the label of one of your addresses, or the number of an invite in `list`.";

async fn block(call: &Call<'_>) -> Result<Answer, PortalError> {
    let whom = match resolve(call).await? {
        Asked::Found(Some(whom)) => whom,
        Asked::Found(None) => return Ok(list(call)),
        Asked::Answered(reply) => return Ok(reply.into()),
    };
    let kept_out = &call.user.kept_out;
    if kept_out.contains(&whom) {
        return Ok(said(Reply::say("You block "), call, &whom)
            .and(" already.")
            .into());
    }
    if kept_out.len() >= MOST {
        return Ok(Reply::say(&format!(
            "You block {MOST} already, which is as many as I keep. `{}` makes room; or block a whole server.",
            call.typed("unblock WHOM")
        ))
        .into());
    }
    call.deps
        .store
        .update_user(&call.user.mxid, |user| {
            if !user.kept_out.contains(&whom) {
                user.kept_out.push(whom.clone());
            }
        })
        .await?;
    let reply = said(Reply::say("Blocked: "), call, &whom).and(match whom {
        KeptOut::User(_) => {
            ". They are not told: they get the same answer as ever, and their invites never reach you."
        }
        KeptOut::Server(_) | KeptOut::Address(_) => {
            ". Nobody is told: they get the same answer as ever, and their invites never reach you."
        }
    });
    Ok(reply
        .and(&format!(
            " An invite that is here already stays until you reject it. `{}` lists whom you block, `{}` takes it back.",
            call.typed("block"),
            call.typed("unblock")
        ))
        .into())
}

async fn unblock(call: &Call<'_>) -> Result<Answer, PortalError> {
    let number: Option<usize> = call.rest.trim().trim_start_matches('#').parse().ok();
    let counted = number.and_then(|number| call.user.kept_out.get(number.checked_sub(1)?));
    let whom = match counted {
        Some(whom) => whom.clone(),
        None => match resolve(call).await? {
            Asked::Found(Some(whom)) => whom,
            Asked::Found(None) => return Ok(list(call)),
            Asked::Answered(reply) => return Ok(reply.into()),
        },
    };
    if !call.user.kept_out.contains(&whom) {
        return Ok(said(Reply::say("You do not block "), call, &whom)
            .and(&format!(". `{}` lists whom you do.", call.typed("block")))
            .into());
    }
    call.deps
        .store
        .update_user(&call.user.mxid, |user| {
            user.kept_out.retain(|kept| *kept != whom);
        })
        .await?;
    Ok(said(Reply::say("No longer blocked: "), call, &whom)
        .and(".")
        .into())
}

/// Whom the words, mentions or the place mean; `None` when nothing was said.
async fn resolve(call: &Call<'_>) -> Result<Asked<Option<KeptOut>>, PortalError> {
    let text = parse::join(&parse::words(call.rest));
    let text = text.trim();
    if text.starts_with("vz1:") {
        return Ok(Asked::Answered(Reply::say(
            "Nobody but its server can tell who is in a sealed address. If it is one of your own, give its label.",
        )));
    }
    let now = call.deps.clock.now();
    if let Some(named) = named(text, &call.user.addresses, now) {
        return match named {
            KeptOut::User(user) => person(call, user).await,
            other => Ok(Asked::Found(Some(other))),
        };
    }
    if let Some(inviter) = inviter(call, text).await? {
        return Ok(Asked::Found(Some(KeptOut::User(inviter))));
    }
    // A mention of the user's own, or of who answers here, is none.
    let mut mentions = call.invocation.mentions.iter().filter(|user| {
        **user != call.user.mxid
            && !matches!(call.deps.namespace.role(user), Some(Role::Bot | Role::Host))
    });
    match (mentions.next(), mentions.next()) {
        (Some(one), None) => return person(call, one.clone()).await,
        (Some(_), Some(_)) => {
            return Ok(Asked::Answered(Reply::say("Please mention one at a time.")));
        }
        (None, _) => {}
    }
    if text.is_empty() {
        return match said_by(call).await? {
            Some(user) => person(call, user).await,
            None => Ok(Asked::Found(None)),
        };
    }
    Ok(match server(text) {
        Some(server) => Asked::Found(Some(KeptOut::Server(server))),
        None => Asked::Answered(Reply::say(UNKNOWN)),
    })
}

/// What a text names by itself: a user, or the label of an address.
fn named(text: &str, addresses: &[Address], now: UnixMillis) -> Option<KeptOut> {
    if let Some(user) = user_in(text) {
        return Some(KeptOut::User(user));
    }
    let address = contacts::find(addresses, text, now)?;
    Some(KeptOut::Address(address.id))
}

/// A server's name. One word without a point or a port is more likely a mistyped label.
fn server(text: &str) -> Option<OwnedServerName> {
    let text = text.to_lowercase();
    let name = ServerName::parse(&text).ok()?;
    (text.contains(['.', ':']) || text == "localhost").then_some(name)
}

/// Who sent the invite that `text` names in `list`; with no text, that of this portal.
async fn inviter(call: &Call<'_>, text: &str) -> Result<Option<OwnedUserId>, PortalError> {
    let portal = match (select::find(&call.user.pseudonyms, text), &call.portal) {
        (Found::One(index), _) if !text.is_empty() => {
            match call
                .deps
                .portals
                .get(call.user.pseudonyms[index].portal)
                .await
            {
                Ok(portal) => portal,
                Err(PortalError::Gone) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        (_, Some(here)) if text.is_empty() && call.invocation.reply_to.is_none() => here.clone(),
        _ => return Ok(None),
    };
    let received = portal.received.as_ref();
    Ok(received.map(|received| received.inviter.clone()))
}

/// Who said what the command replies to, in a portal.
async fn said_by(call: &Call<'_>) -> Result<Option<OwnedUserId>, PortalError> {
    let (Some(portal), Some(event)) = (&call.portal, &call.invocation.reply_to) else {
        return Ok(None);
    };
    let link = call.deps.store.link(portal.id, event).await?;
    let inbound = link.filter(|link| link.direction == Direction::Inbound);
    Ok(inbound.map(|link| link.sender))
}

/// Whom a user ID stands for: a mirror for a member of the room.
async fn person(call: &Call<'_>, user: OwnedUserId) -> Result<Asked<Option<KeptOut>>, PortalError> {
    let own = |user: &OwnedUserId| {
        *user == call.user.mxid || call.user.pseudonyms.iter().any(|own| own.ghost == *user)
    };
    let user = match call.deps.namespace.role(&user) {
        None | Some(Role::Ghost) => Some(user),
        Some(Role::Mirror) => {
            let mirrors = match &call.portal {
                Some(portal) => call.deps.store.mirrors(portal.id).await?,
                None => Vec::new(),
            };
            let mut mirrors = mirrors.into_iter();
            mirrors
                .find(|mirror| mirror.puppet.id == user)
                .map(|mirror| mirror.member)
        }
        Some(_) => None,
    };
    Ok(match user {
        Some(user) if own(&user) => Asked::Answered(Reply::say("That is you.")),
        Some(user) => Asked::Found(Some(KeptOut::User(user))),
        None => Asked::Answered(Reply::say(
            "That is one of Vizard's own users, who invites nobody. `whois` in a portal tells who somebody is in the room; block that.",
        )),
    })
}

/// Adds whom to what is said.
fn said(reply: Reply, call: &Call<'_>, whom: &KeptOut) -> Reply {
    describe(reply, whom, &call.user.addresses)
}

fn describe(reply: Reply, whom: &KeptOut, addresses: &[Address]) -> Reply {
    match whom {
        KeptOut::User(user) => reply.code(user.as_str()),
        KeptOut::Server(server) => reply.and("everybody on ").code(server.as_str()),
        KeptOut::Address(id) => match addresses.iter().find(|address| address.id == *id) {
            Some(address) => reply
                .and("whoever uses your address “")
                .quote(&tidy(&address.label, 60))
                .and("”"),
            None => reply.and("whoever uses an address of yours that is gone"),
        },
    }
}

fn list(call: &Call<'_>) -> Answer {
    let typed = |command: &str| call.typed(command);
    render(&call.user.kept_out, &call.user.addresses, typed)
}

fn render(kept_out: &[KeptOut], addresses: &[Address], typed: impl Fn(&str) -> String) -> Answer {
    if kept_out.is_empty() {
        return Reply::say(&format!(
            "You block nobody. `{}` does: an inviter, a server, or an address of yours.",
            typed("block WHOM")
        ))
        .into();
    }
    let numbered: Vec<_> = (1..).zip(kept_out).collect();
    let mut replies: Vec<Reply> = numbered
        .chunks(PER_NOTICE)
        .map(|some| {
            some.iter().fold(Reply::default(), |reply, (number, whom)| {
                describe(reply.and(&format!("{number}. ")), whom, addresses).line()
            })
        })
        .collect();
    if let Some(last) = replies.pop() {
        let hint = format!("`{}` takes one of them off.", typed("unblock NUMBER"));
        replies.push(last.and(&hint));
    }
    Answer(replies)
}

#[cfg(test)]
mod tests {
    use ruma::owned_user_id;

    use super::*;

    fn work() -> Address {
        Address {
            id: [7; 16],
            label: "Work".to_owned(),
            created: 0,
            expires: 10,
            revoked: false,
        }
    }

    #[test]
    fn what_words_name() {
        let user = |id: &str| Some(KeptOut::User(id.try_into().expect("a user")));
        let on = |name: &str| Some(KeptOut::Server(name.try_into().expect("a server")));
        let ghost = format!("@_vizard_{}:a.example", "a".repeat(52));
        for (text, expected) in [
            ("@eve:e.example", user("@eve:e.example")),
            (&*ghost, user(&ghost)),
            ("https://matrix.to/#/@eve:e.example", user("@eve:e.example")),
            (
                "https://matrix.to/#/%40eve%3Ae.example",
                user("@eve:e.example"),
            ),
            ("matrix:u/eve:e.example", user("@eve:e.example")),
            ("work", Some(KeptOut::Address([7; 16]))),
            (" Work ", Some(KeptOut::Address([7; 16]))),
            ("e.example", on("e.example")),
            ("E.Example", on("e.example")),
            ("e.example:8448", on("e.example:8448")),
            ("127.0.0.1:8448", on("127.0.0.1:8448")),
            ("[::1]:8448", on("[::1]:8448")),
            ("localhost", on("localhost")),
            ("wrok", None),
            ("eve", None),
            ("@eve", None),
            ("!room:e.example", None),
            ("#room:e.example", None),
            ("https://matrix.to/#/!room:e.example", None),
            ("two words", None),
            ("", None),
        ] {
            let found = named(text, &[work()], 0).or_else(|| server(text).map(KeptOut::Server));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_numbered_list() {
        let kept = [
            KeptOut::User(owned_user_id!("@eve:e.example")),
            KeptOut::Server("f.example".try_into().expect("a server")),
            KeptOut::Address([7; 16]),
            KeptOut::Address([8; 16]),
        ];
        let typed = |command: &str| format!("!v {command}");
        let Answer(replies) = render(&kept, &[work()], typed);
        assert_eq!(
            replies[0].plain(),
            "1. @eve:e.example\n2. everybody on f.example\n3. whoever uses your address “Work”\n\
             4. whoever uses an address of yours that is gone\n`!v unblock NUMBER` takes one of them off."
        );
        assert!(render(&[], &[], typed).0[0].plain().contains("nobody"));
        assert_eq!(render(&vec![kept[0].clone(); 120], &[], typed).0.len(), 3);
    }
}
