//! What can be typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args as Options, Parser, Subcommand};

const LONG_ABOUT: &str = "\
Vizard lets people with an ordinary account on your Matrix homeserver join any room behind a pseudonym \
that belongs to that room alone. It is an application service: a process of its own beside the homeserver, \
which needs no patch and no experimental setting.";

const EXAMPLES: &str = "\
Set it up:
  vizard init --dir /etc/vizard --server-name example.org --homeserver-url http://127.0.0.1:8008
  (give /etc/vizard/registration.yaml to the homeserver and restart it)
  vizard doctor --config /etc/vizard/vizard.toml
  vizard run --config /etc/vizard/vizard.toml
Then start a chat with @vizard:example.org and say `help`.

Every key of the configuration can be set by an environment variable, which wins over the file:
  VIZARD__LOG__LEVEL=debug vizard run

Exit status: 0 success; 1 a check failed; 2 wrong usage or configuration; 70 internal failure.";

/// Pseudonyms for Matrix rooms.
#[derive(Debug, Parser)]
#[command(
    name = "vizard",
    version,
    about = "Join Matrix rooms behind a pseudonym that belongs to that room alone",
    long_about = LONG_ABOUT,
    after_help = EXAMPLES,
    max_term_width = 100
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a configuration, a registration and fresh keys; never overwrites anything
    Init(Init),
    /// Print the registration that the homeserver needs
    Registration(Registration),
    /// Check configuration, keys, database and registration without touching the network
    Check(Check),
    /// Try the live set-up: homeserver, tokens, namespace, ping, clock, database
    Doctor(Doctor),
    /// Run Vizard until SIGTERM or SIGINT
    Run(ConfigFile),
    /// Replace the master key and seal the whole database anew; Vizard must not be running
    RotateMasterKey(Rotate),
    /// List the sealed copies of forgotten pseudonyms, or tell who was behind one; Vizard must not be running
    Escrow(Escrow),
    /// Seal somebody's Matrix ID for their own Vizard, so that an inviter can use it without learning it
    Seal(Seal),
    /// Check, offline, a statement that somebody made with `prove`, or the mapping in a pseudonym's member event
    Verify(Verify),
    /// Print the version
    Version,
}

#[derive(Debug, Options)]
pub(super) struct ConfigFile {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "vizard.toml")]
    pub(super) config: PathBuf,
}

#[derive(Debug, Options)]
pub(super) struct Registration {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    #[command(flatten)]
    pub(super) hints: Hints,
}

#[derive(Debug, Options)]
pub(super) struct Hints {
    /// Ask the homeserver for hints too (experimental; never needed, see docs/admin.md)
    #[arg(long = "to-device-hints")]
    pub(super) asked_for: bool,
}

#[derive(Debug, Options)]
#[command(after_help = "\
Writes vizard.toml, registration.yaml, as_token, hs_token and master.key. Only vizard.toml is without secrets; the \
others get mode 0600.

Example, with the homeserver in a container that reaches Vizard as `vizard`:
  vizard init --dir . --server-name example.org --homeserver-url http://synapse:8008 \\
      --listen 0.0.0.0:29350 --appservice-url http://vizard:29350")]
pub(super) struct Init {
    /// Where to write; made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) dir: PathBuf,
    /// What stands after the colon of the homeserver's Matrix IDs
    #[arg(long, value_name = "NAME")]
    pub(super) server_name: String,
    /// Where Vizard reaches the homeserver's client API
    #[arg(long, value_name = "URL")]
    pub(super) homeserver_url: String,
    /// Where Vizard waits for the homeserver [default: 127.0.0.1:29350]
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<SocketAddr>,
    /// Where the homeserver reaches Vizard [default: http:// and the address on which it listens]
    #[arg(long, value_name = "URL")]
    pub(super) appservice_url: Option<String>,
    #[command(flatten)]
    pub(super) hints: Hints,
}

#[derive(Debug, Options)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// The registration to compare with [default: registration.yaml beside the configuration]
    #[arg(long, value_name = "FILE")]
    pub(super) registration: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Options)]
#[command(after_help = "\
The bot and one user of the namespace are registered on the way. If Vizard is not running, doctor itself answers \
the homeserver's ping, and nothing else, on appservice.listen.")]
pub(super) struct Doctor {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Options)]
pub(super) struct Rotate {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// Only try whether it could be done
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Options)]
#[command(after_help = "\
When a user forgets a pseudonym, a copy of (user, room, ghost) is kept for abuse.escrow_days, sealed under the master \
key, so that forgetting is no way out of a complaint. The list names ghosts and times, no user and no room.

Exit status: 1 if there is no copy of the ghost that was named.")]
pub(super) struct Escrow {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// Tell the user and the room behind this ghost
    #[arg(long, value_name = "MXID")]
    pub(super) ghost: Option<String>,
}

#[derive(Debug, Options)]
#[command(after_help = "\
With --room and --inviter the address serves for an invite to that room by that inviter alone; without them, for whoever \
gets it. In both cases it works once. Nothing is sent anywhere.

Example:
  vizard seal @bob:b.example --keys b.json --room '!room:a.example' --inviter @_vizard_…:a.example")]
pub(super) struct Seal {
    /// Whom to invite
    #[arg(value_name = "MXID")]
    pub(super) user: String,
    /// The room for which it serves
    #[arg(long, value_name = "ROOM_ID", requires = "inviter")]
    pub(super) room: Option<String>,
    /// The inviter for whom it serves: the Matrix ID of a pseudonym, or a server key in base64
    #[arg(long, value_name = "MXID|KEY", requires = "room")]
    pub(super) inviter: Option<String>,
    /// The key document of the invitee's server
    #[arg(long, value_name = "FILE")]
    pub(super) keys: PathBuf,
    /// For how many days it works
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
    pub(super) days: u32,
}

#[derive(Debug, Options)]
#[command(after_help = "\
A mapping is checked with the keys of the ghost's server, from its key document (--keys) or pinned (--server-key). \
Without them only the ghost's own signature is checked. Statements need no keys.

Exit status: 0 it holds; 1 it does not; 2 it could not be read.")]
pub(super) struct Verify {
    /// The file with the statement, member event or mapping; `-` or nothing: standard input
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// The key document of the ghost's server
    #[arg(long, value_name = "FILE", conflicts_with = "server_key")]
    pub(super) keys: Option<PathBuf>,
    /// A key of the Vizard of the ghost's server
    #[arg(long, value_name = "ed25519:NAME:KEY")]
    pub(super) server_key: Option<String>,
    /// The room, if the event does not name it
    #[arg(long, value_name = "ROOM_ID")]
    pub(super) room: Option<String>,
    /// The ghost, if the event does not name it
    #[arg(long, value_name = "MXID")]
    pub(super) ghost: Option<String>,
    /// What stands before the key in the ghost's localpart (a key document says it)
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "_vizard_",
        conflicts_with = "keys"
    )]
    pub(super) prefix: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        super::Args::command().debug_assert();
    }
}
