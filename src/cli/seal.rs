//! `vizard seal`: seals somebody's Matrix ID for their own Vizard. At most the key document is asked for; whom it is for is sent
//! nowhere.

use ruma::{RoomId, ServerName, UserId};
use url::Url;

use super::{
    args::Seal,
    document,
    failure::{Exit, Failure},
    print, runtime,
};
use crate::{
    clock::{Clock, UnixMillis, minute},
    peer::{FetchError, Fetcher, WELL_KNOWN},
    rng::Rng,
    sealed::{InviterKey, KeyDocument, Kind, Sealing, fingerprint, seal},
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(super) fn run(options: &Seal) -> Result<Exit, Failure> {
    let user = UserId::parse(&options.user).map_err(|_| {
        Failure::usage(
            format!("{:?} is not a Matrix ID", options.user),
            "give the whole Matrix ID of the person to invite, like @bob:b.example",
        )
    })?;
    let now = Clock::system().now();
    let room = options.room.as_deref().map(RoomId::parse).transpose();
    let room = room.map_err(|_| {
        Failure::usage(
            "--room: not a room ID",
            "give the room's ID, which begins with `!` (clients show it in the room's settings, under Advanced)",
        )
    })?;
    let inviter = options.inviter.as_deref().map(|text| {
        InviterKey::parse(text).ok_or_else(|| {
            Failure::usage(
                "--inviter: neither the Matrix ID of a ghost nor a key",
                "give the Matrix ID of the inviting pseudonym (`whoami` tells it), or the server key of the inviter's \
                 Vizard in base64",
            )
        })
    });
    let sealing = match (&room, inviter.transpose()?) {
        (Some(room), Some(inviter)) => Sealing::Bound {
            user: &user,
            room,
            inviter,
        },
        _ => Sealing::Contact { user: &user },
    };
    let document = match &options.keys {
        Some(file) => document::read(file, user.server_name(), Some(now))?,
        None => fetched(options, user.server_name(), now)?,
    };
    let key = document.sealing_key(now).ok_or_else(|| {
        Failure::usage("all its HPKE keys have expired", "get a fresh key document")
    })?;
    let expires_ts = now.saturating_add(u64::from(options.days) * DAY_MS);
    let sealed = seal(&Rng::os(), &key, sealing, expires_ts).map_err(|error| {
        Failure::usage(error.to_string(), "check the Matrix ID and the room ID")
    })?;
    print(&format!("{sealed}\n"));
    let use_of = match sealed.kind() {
        Kind::Bound => "for this room and inviter alone",
        Kind::Contact => "for whoever gets it",
    };
    note(&format!(
        "sealed for {}, {use_of}; works once, for {} days",
        user.server_name(),
        options.days
    ));
    for key in document.verify_keys() {
        let print = fingerprint(key.as_bytes());
        note(&format!("its server key {}: {print}", key.name()));
    }
    note(&format!(
        "sealed to {}: {}",
        key.name(),
        fingerprint(key.as_bytes())
    ));
    Ok(Exit::Success)
}

/// The key document, from where it was said to be or from the server itself.
fn fetched(options: &Seal, server: &ServerName, now: UnixMillis) -> Result<KeyDocument, Failure> {
    let url = match &options.from {
        Some(text) => place(text)?,
        None => format!("https://{server}{WELL_KNOWN}"),
    };
    let fetch = async {
        let fetcher = Fetcher::new(options.ca_file.as_deref(), options.private_addresses)?;
        fetcher.get(&url).await
    };
    let json = runtime(|| fetch)?.map_err(|error| {
        let help = match error {
            FetchError::Private => {
                "--private-addresses allows it; or get its key document yourself and give it with --keys FILE"
            }
            FetchError::Broken(_) => "see --ca-file; or give its key document with --keys FILE",
            _ => "get its key document by another way (its admin: `vizard keys show --document`) and give it with --keys FILE",
        };
        // The reason may name the configuration, and there is none here.
        let why = error.to_string().replace(" (keys.private_addresses allows such)", "");
        Failure::usage(format!("no keys from {url}: {}", why.replace("keys.ca_file", "--ca-file")), help)
    })?;
    let document = KeyDocument::parse(&json, server, now).map_err(|error| {
        Failure::usage(
            format!("what is at {url} is not a valid key document of {server}: {error}"),
            "tell the admin of that server; or give its key document with --keys FILE",
        )
    })?;
    note(&format!(
        "keys from {url}: number {}, good until {}",
        document.sequence(),
        minute(document.valid_until_ts())
    ));
    Ok(document)
}

/// A URL as it was typed: one without a path means the place below that name.
fn place(text: &str) -> Result<String, Failure> {
    let wrong = || {
        Failure::usage(
            format!("--from: {text:?} is not a URL"),
            format!("give it as https://b.example{WELL_KNOWN}"),
        )
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err(wrong());
    }
    Ok(match url.path() {
        "" | "/" => format!("{}{WELL_KNOWN}", text.trim_end_matches('/')),
        _ => text.to_owned(),
    })
}

fn note(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
