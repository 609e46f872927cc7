//! `vizard keys`: this Vizard's own keys and what is pinned of others, straight from the database, while Vizard is stopped. While
//! it runs, its bot has the same for admins.

use ruma::{OwnedServerName, ServerName};

use super::{
    args::{Keys, KeysCommand, WhichKeys},
    failure::{Exit, Failure},
    load,
    lock::Lock,
    master_key, print,
    rotate::{not_served, unopened},
};
use crate::{
    app,
    clock::{Clock, UnixMillis},
    config::{Config, Loaded},
    keys::{OwnKeys, PinnedPeer, Rotate, describe},
    pseudonym::ServerKeyId,
    rng::Rng,
    store::Store,
};

/// What to do instead of stopping Vizard.
const INSTEAD: &str = "stop it first; or, while it runs, give its bot the command `keys` in a direct chat (as one of access.admins)";

pub(super) async fn run(options: Keys) -> Result<Exit, Failure> {
    let loaded = load(&options.config.config)?;
    let what = match &options.command {
        KeysCommand::Show { document } => What::Show {
            document: *document,
        },
        KeysCommand::Rotate { which } => What::Rotate(match which {
            Some(WhichKeys::Server) => Rotate::Server,
            Some(WhichKeys::Hpke) => Rotate::Hpke,
            None => Rotate::All,
        }),
        KeysCommand::Accept { server } => What::Accept(server_name(server)?),
    };
    if Lock::is_held(&loaded) {
        return Err(Failure::usage(
            "Vizard is running on this database, and nothing else can open it meanwhile",
            INSTEAD,
        ));
    }
    let lock = Lock::take(&loaded).map_err(|failure| failure.help(INSTEAD))?;
    not_served(&loaded).map_err(|failure| failure.help(INSTEAD))?;
    let config = &loaded.config;
    if !config.database_path().is_none_or(|path| path.exists()) {
        return Err(Failure::usage(
            "there is no database yet, so there are no keys",
            "they are made when Vizard starts for the first time (`vizard run`); or name the right configuration with --config FILE",
        ));
    }
    master_key::settle(&loaded, &lock).await?;
    let store = open(&loaded).await?;
    let done = act(config, &store, &what).await;
    store.close().await;
    print(&done?);
    Ok(Exit::Success)
}

/// What is to be done.
enum What {
    Show { document: bool },
    Rotate(Rotate),
    Accept(OwnedServerName),
}

fn server_name(text: &str) -> Result<OwnedServerName, Failure> {
    ServerName::parse(text.to_lowercase()).map_err(|_| {
        Failure::usage(
            format!("{text:?} is not a server name"),
            "give what stands after the colon of its users' Matrix IDs, such as b.example",
        )
    })
}

async fn open(loaded: &Loaded) -> Result<Store, Failure> {
    let config = &loaded.config;
    let key = config
        .master_key()
        .map_err(|error| Failure::usage(error.to_string(), "put the master key there"))?;
    Store::open(config.database_url(), &key, Clock::system(), Rng::os())
        .await
        .map_err(|error| unopened(&error))
}

async fn act(config: &Config, store: &Store, what: &What) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::internal(error.to_string());
    let (clock, rng) = (Clock::system(), Rng::os());
    let now = clock.now();
    if let What::Accept(server) = what {
        return accept(config, store, server, now).await;
    }
    let keys: OwnKeys = app::own_keys(config, store, clock, rng)
        .await
        .map_err(|error| failed(&format!("{error:#}")))?;
    match what {
        What::Show { document: true } => return Ok(format!("{}\n", keys.document().json())),
        What::Rotate(which) => {
            keys.rotate(*which).await.map_err(|error| failed(&error))?;
            return Ok(format!(
                "{}\nReplaced. They are published when Vizard starts. What was sealed before can still be opened, and who \
                 pinned the old server key follows by itself.\n",
                describe::own(&keys.document(), now)
            ));
        }
        What::Show { .. } | What::Accept(_) => {}
    }
    let mut text = describe::own(&keys.document(), now);
    if !config.invites.enabled {
        text.push_str("(sealed invites are switched off: invites.enabled = false)\n");
    }
    let mut peers: Vec<PinnedPeer> = store.notes().await.map_err(|error| failed(&error))?;
    peers.sort_by(|one, other| one.server.cmp(&other.server));
    text.push_str(if peers.is_empty() {
        "\nNothing is pinned of other servers.\n"
    } else {
        "\nPinned of other servers:\n"
    });
    for peer in &peers {
        text.push_str(&describe::pinned(peer, by_hand(config, &peer.server), now));
    }
    Ok(text)
}

/// The key that the configuration names for a server.
fn by_hand(config: &Config, server: &ServerName) -> Option<ServerKeyId> {
    let peer = config.peers.get(server)?;
    ServerKeyId::from_base64(peer.server_key.as_deref()?)
}

async fn accept(
    config: &Config,
    store: &Store,
    server: &ServerName,
    now: UnixMillis,
) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::internal(error.to_string());
    let peer: Option<PinnedPeer> = store
        .note(server.as_bytes())
        .await
        .map_err(|error| failed(&error))?;
    let Some(peer) = peer else {
        return Ok(format!(
            "Nothing is pinned of {server}: what it publishes is taken when it is needed.\n"
        ));
    };
    PinnedPeer::forget(store, server)
        .await
        .map_err(|error| failed(&error))?;
    Ok(format!(
        "This is forgotten:\n{}\nWhat {server} publishes is taken anew when it is needed. Compare its new fingerprint with its \
         admin; the bot's `keys fetch {server}` shows it.\n",
        describe::pinned(&peer, by_hand(config, server), now)
    ))
}
