//! `vizard seal`: seals somebody's Matrix ID for their own Vizard, offline.

use ruma::{RoomId, UserId};

use super::{
    args::Seal,
    document,
    failure::{Exit, Failure},
    print,
};
use crate::{
    clock::Clock,
    rng::Rng,
    sealed::{InviterKey, Kind, Sealing, fingerprint, seal},
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
    let document = document::read(&options.keys, user.server_name(), Some(now))?;
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
    Ok(Exit::Success)
}

fn note(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
