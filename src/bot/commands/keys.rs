//! `keys`: this Vizard's own keys and those of others, for admins.

use ruma::{OwnedServerName, ServerName};

use crate::{
    bot::{
        call::Call,
        command::{Command, Group, Needs, Place},
        parse,
        reply::{Answer, Reply, tidy},
    },
    keys::{Rotate, Unknown, describe},
    portal::PortalError,
    pseudonym::ServerKeyId,
    sealed::{self, KeyDocument},
};

pub const COMMAND: Command = Command {
    name: "keys",
    aliases: &[],
    group: Group::Admin,
    usage: "[rotate [server|hpke] | accept SERVER [tls|profile] | fetch SERVER]",
    summary: "the keys of this Vizard and of those that it has met",
    help: "`keys` shows this Vizard's own keys with their fingerprints, which another admin can compare, and those that are pinned of other servers.\n`keys rotate` replaces the server key and the key to seal to, or the one that you name, and publishes the new ones; what was sealed before can still be opened.\n`keys accept SERVER` forgets what is pinned of a server and takes what it publishes now: compare fingerprints with its admin. Where the server itself and the profile of its bot say different things, `tls` or `profile` names the place that counts from then on; if none is named, the server itself does.\n`keys fetch SERVER` looks up now what a server publishes, and says why if it is not accepted.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: false,
    run: |call| Box::pin(run(call)),
};

/// Servers in one notice.
const PER_NOTICE: usize = 25;

/// What the words ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Show,
    Rotate(Rotate),
    Accept(OwnedServerName, Option<sealed::Place>),
    Fetch(OwnedServerName),
}

/// `Err`: it is not one of the commands, or (`Some`) this is no server name.
fn wish(text: &str) -> Result<Wish, Option<String>> {
    let words = parse::words(text);
    let lower: Vec<String> = words.iter().map(|word| word.text.to_lowercase()).collect();
    let words: Vec<&str> = lower.iter().map(String::as_str).collect();
    let server = |name: &str| ServerName::parse(name).map_err(|_| Some(name.to_owned()));
    match words[..] {
        [] | ["show"] => Ok(Wish::Show),
        ["rotate"] | ["rotate", "all"] => Ok(Wish::Rotate(Rotate::All)),
        ["rotate", "hpke"] => Ok(Wish::Rotate(Rotate::Hpke)),
        ["rotate", "server"] => Ok(Wish::Rotate(Rotate::Server)),
        ["accept", name] => Ok(Wish::Accept(server(name)?, None)),
        ["accept", name, "tls"] => Ok(Wish::Accept(server(name)?, Some(sealed::Place::Tls))),
        ["accept", name, "profile" | "federation"] => {
            Ok(Wish::Accept(server(name)?, Some(sealed::Place::Federation)))
        }
        ["fetch", name] => server(name).map(Wish::Fetch),
        _ => Err(None),
    }
}

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    match wish(call.rest) {
        Ok(Wish::Show) => show(call).await,
        Ok(Wish::Rotate(what)) => Ok(rotate(call, what).await),
        Ok(Wish::Accept(server, _) | Wish::Fetch(server))
            if server == call.deps.namespace.server() =>
        {
            Ok(Reply::say(&format!(
                "That is this server itself: `{}` shows its keys, and `vizard doctor` tries whether others can fetch them.",
                call.typed("keys")
            ))
            .into())
        }
        Ok(Wish::Accept(server, place)) => accept(call, &server, place).await,
        Ok(Wish::Fetch(server)) => fetch(call, &server).await,
        Err(Some(name)) => Ok(Reply::say("“")
            .quote(&tidy(&name, 60))
            .and("” is not a server name. Give what stands after the colon of its users' Matrix IDs, such as `b.example`.")
            .into()),
        Err(None) => Ok(Reply::say("Please write ").code(&call.usage()).and(".").into()),
    }
}

async fn show(call: &Call<'_>) -> Result<Answer, PortalError> {
    let now = call.deps.clock.now();
    let config = &call.deps.config;
    let mut own = Reply::say("The keys of this Vizard:")
        .block(describe::own(&call.deps.keys.document(), now).trim_end());
    if !config.invites.enabled {
        own = own.and("Sealed invites are switched off (`invites.enabled`), so these are not in the bot's profile.");
    }
    let mut peers = call.deps.peers.all().await?;
    peers.sort_by(|one, other| one.server.cmp(&other.server));
    if peers.is_empty() {
        return Ok(own
            .and("No keys of other servers are pinned yet; that happens with the first invite.")
            .into());
    }
    let mut replies = vec![own];
    for some in peers.chunks(PER_NOTICE) {
        let lines: String = some
            .iter()
            .map(|peer| describe::pinned(peer, by_hand(call, &peer.server), now))
            .collect();
        replies.push(Reply::say("Pinned of other servers:").block(lines.trim_end()));
    }
    Ok(Answer(replies))
}

/// The key that the configuration names for a server.
fn by_hand(call: &Call<'_>, server: &ServerName) -> Option<ServerKeyId> {
    let peer = call.deps.config.peers.get(server)?;
    ServerKeyId::from_base64(peer.server_key.as_deref()?)
}

async fn rotate(call: &Call<'_>, what: Rotate) -> Answer {
    if let Err(error) = call.deps.keys.rotate(what).await {
        tracing::error!(%error, "keys could not be replaced");
        return Reply::say("The keys could not be replaced: ")
            .quote(&error.to_string())
            .into();
    }
    call.deps.rekeyed.notify_one();
    let now = call.deps.clock.now();
    Reply::say("Replaced, and published in a moment. What was sealed before can still be opened, and who pinned the old server key follows by itself.")
        .block(describe::own(&call.deps.keys.document(), now).trim_end())
        .into()
}

async fn accept(
    call: &Call<'_>,
    server: &ServerName,
    place: Option<sealed::Place>,
) -> Result<Answer, PortalError> {
    let was = call.deps.peers.pinned(server).await?.is_some();
    let reply = Reply::say(if was {
        "What was pinned of "
    } else {
        "Nothing was pinned of "
    })
    .code(server.as_str())
    .and(if was { " is forgotten. " } else { ". " });
    let found = call.deps.peers.accept_now(server, place).await;
    Ok(told(call, reply, server, found).await?.into())
}

async fn fetch(call: &Call<'_>, server: &ServerName) -> Result<Answer, PortalError> {
    let found = call.deps.peers.fetch_now(server).await;
    Ok(told(call, Reply::default(), server, found).await?.into())
}

/// What was found at a server, or why it is not accepted.
async fn told(
    call: &Call<'_>,
    reply: Reply,
    server: &ServerName,
    found: Result<KeyDocument, Unknown>,
) -> Result<Reply, PortalError> {
    let document = match found {
        Ok(document) => document,
        Err(Unknown::Store(error)) => {
            tracing::error!(%error, "keys of another server could not be pinned");
            return Ok(reply.and("The database failed; please try again."));
        }
        Err(error) => {
            return Ok(reply
                .and("No keys of ")
                .code(server.as_str())
                .and(" are accepted: ")
                .quote(&error.to_string())
                .and("."));
        }
    };
    let now = call.deps.clock.now();
    let lines = match call.deps.peers.pinned(server).await? {
        Some(peer) => describe::pinned(&peer, by_hand(call, server), now),
        None => describe::fingerprints(&document),
    };
    Ok(reply
        .and("The keys of ")
        .code(server.as_str())
        .and(" are accepted and pinned:")
        .block(lines.trim_end())
        .and("Compare the fingerprint with that server's admin (`keys`, or `vizard keys show`)."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes() {
        let server = |name: &str| OwnedServerName::try_from(name).expect("a server");
        for (text, expected) in [
            ("", Ok(Wish::Show)),
            ("show", Ok(Wish::Show)),
            ("rotate", Ok(Wish::Rotate(Rotate::All))),
            ("Rotate HPKE", Ok(Wish::Rotate(Rotate::Hpke))),
            ("rotate server", Ok(Wish::Rotate(Rotate::Server))),
            (
                "accept B.example",
                Ok(Wish::Accept(server("b.example"), None)),
            ),
            (
                "accept b.example profile",
                Ok(Wish::Accept(
                    server("b.example"),
                    Some(sealed::Place::Federation),
                )),
            ),
            (
                "accept b.example TLS",
                Ok(Wish::Accept(server("b.example"), Some(sealed::Place::Tls))),
            ),
            ("accept b.example both", Err(None)),
            (
                "fetch b.example:8448",
                Ok(Wish::Fetch(server("b.example:8448"))),
            ),
            ("fetch @b:b.example", Err(Some("@b:b.example".to_owned()))),
            ("rotate everything", Err(None)),
            ("accept", Err(None)),
            ("fetch a b", Err(None)),
            ("dance", Err(None)),
        ] {
            assert_eq!(wish(text), expected, "{text}");
        }
    }
}
