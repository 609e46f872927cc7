//! What can be typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args as Options, Parser, Subcommand, ValueEnum};

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
    /// Show or replace this Vizard's keys, or forget another's; Vizard must not be running
    Keys(Keys),
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
While Vizard runs, its bot has the same for those in access.admins: `keys`, `keys rotate`, `keys accept SERVER`, and \
`keys fetch SERVER`, which looks up what a server publishes.

Examples:
  vizard keys show --config /etc/vizard/vizard.toml
  vizard keys rotate hpke --config /etc/vizard/vizard.toml")]
pub(super) struct Keys {
    #[command(subcommand)]
    pub(super) command: KeysCommand,
    #[command(flatten)]
    pub(super) config: GlobalConfigFile,
}

#[derive(Debug, Options)]
pub(super) struct GlobalConfigFile {
    /// The configuration file
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "vizard.toml"
    )]
    pub(super) config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Print the own keys and those pinned of other servers, with fingerprints to compare
    Show {
        /// Print the own key document instead, as JSON: what others need for `vizard seal --keys`
        #[arg(long)]
        document: bool,
    },
    /// Replace the server key and the key to seal to, or one of them; what was sealed before can still be opened
    Rotate {
        /// Which of them
        which: Option<WhichKeys>,
    },
    /// Forget what is pinned of a server, so that what it publishes is taken anew, as after it was installed anew
    Accept {
        /// The server's name
        #[arg(value_name = "SERVER")]
        server: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum WhichKeys {
    /// The server key, which vouches for pseudonyms
    Server,
    /// The key to which others seal invites
    Hpke,
}

#[derive(Debug, Options)]
#[command(after_help = "\
With --room and --inviter the address serves for an invite to that room by that inviter alone; without them, for whoever \
gets it. In both cases it works once. The Matrix ID is sent nowhere.

The address alone goes to standard output. Whoever invites gives it to their bot: `invite vz1:…`.

The key document is fetched from the invitee's own server, over TLS, unless --keys or --from says where it is. Compare \
the fingerprint that is printed with what that server's admin reads out.

Examples:
  vizard seal @bob:b.example
  vizard seal @bob:b.example --keys b.json --room '!room:a.example' --inviter @_vizard_…:a.example")]
pub(super) struct Seal {
    /// Whom to invite: a Matrix ID such as @bob:b.example
    #[arg(value_name = "MXID")]
    pub(super) user: String,
    /// The room for which it serves
    #[arg(long, value_name = "ROOM_ID", requires = "inviter")]
    pub(super) room: Option<String>,
    /// The inviter for whom it serves: the Matrix ID of a pseudonym, or a server key in base64
    #[arg(long, value_name = "MXID|KEY", requires = "room")]
    pub(super) inviter: Option<String>,
    /// A file with the key document of the invitee's server; then nothing is fetched
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "ca_file", "private_addresses"])]
    pub(super) keys: Option<PathBuf>,
    /// Where to fetch it [default: `https://SERVER/.well-known/matrix/vizard`]
    #[arg(long, value_name = "URL")]
    pub(super) from: Option<String>,
    /// A PEM file of certificate authorities that are trusted besides the system's
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Fetch also from addresses that are not public, such as 10.0.0.1, and without TLS
    #[arg(long)]
    pub(super) private_addresses: bool,
    /// For how many days it works
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
    pub(super) days: u32,
}

#[derive(Debug, Options)]
#[command(after_help = "\
A mapping is checked with the keys of the ghost's server: from its key document (--keys; it is at \
https://SERVER/.well-known/matrix/vizard), or with one key that you trust (--server-key), such as the one that its admin \
reads out or that `keys` shows as pinned. Without them only the ghost's own signature is checked. Statements need no \
keys; with --keys it is also checked that the ghost is one of its server's pseudonyms.

Examples:
  vizard verify statement.json
  vizard verify member.json --keys b.json
  vizard verify member.json --server-key ed25519:<name>:<key> --room '!room:a.example'

Exit status: 0 it holds; 1 it does not; 2 it could not be read.")]
pub(super) struct Verify {
    /// The file with the statement, member event or mapping; `-` or nothing: standard input
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// The key document of the ghost's server
    #[arg(long, value_name = "FILE", conflicts_with = "server_key")]
    pub(super) keys: Option<PathBuf>,
    /// A key of the Vizard of the ghost's server, as its `keys show` prints it: with its name or alone
    #[arg(long, value_name = "[ed25519:NAME:]KEY")]
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
