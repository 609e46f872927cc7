//! Checks across keys: values that are sound alone and do not fit together.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{Config, Problem};

/// The characters of a ghost's localpart after the prefix: a public key in base32.
const GHOST_KEY_LEN: usize = 52;
/// The longest Matrix ID.
const MAX_MXID: usize = 255;

/// Finds values that do not fit together. Keys in `suspects` have a problem of their own already, and are left alone.
pub(super) fn across(config: &Config, suspects: &BTreeSet<String>) -> Vec<Problem> {
    let service = &config.appservice;
    let checks = [
        (
            ["appservice.bot", "appservice.prefix"],
            service.bot.starts_with(&service.prefix),
            format!(
                "{:?} begins with appservice.prefix, so the bot would look like a ghost",
                service.bot
            ),
            "choose a bot or a prefix that differ, such as \"vizard\" and \"_vizard_\"".to_owned(),
        ),
        (
            ["appservice.prefix", "homeserver.server_name"],
            mxid_len(config, service.prefix.len() + GHOST_KEY_LEN) > MAX_MXID,
            "is so long that ghosts' Matrix IDs would be longer than 255 bytes".to_owned(),
            "choose a shorter prefix, such as \"_vizard_\"".to_owned(),
        ),
        (
            ["appservice.bot", "homeserver.server_name"],
            mxid_len(config, service.bot.len()) > MAX_MXID,
            "is so long that the bot's Matrix ID would be longer than 255 bytes".to_owned(),
            "choose a shorter one, such as \"vizard\"".to_owned(),
        ),
        (
            ["appservice.hs_token", "appservice.as_token"],
            !config.hs_token().is_empty() && config.hs_token() == config.as_token(),
            "is the same as appservice.as_token".to_owned(),
            "use two different random tokens (`vizard init` makes them)".to_owned(),
        ),
        (
            ["metrics.listen", "appservice.listen"],
            config
                .metrics
                .listen
                .is_some_and(|metrics| collide(metrics, service.listen)),
            "is the address of appservice.listen".to_owned(),
            "choose another port: metrics are not for whom the homeserver's requests come from"
                .to_owned(),
        ),
        (
            ["homeserver.join_timeout", "homeserver.timeout"],
            config.homeserver.join_timeout < config.homeserver.timeout,
            "is shorter than homeserver.timeout, though joins take longest".to_owned(),
            format!("write at least {}", config.homeserver.timeout),
        ),
    ];
    checks
        .into_iter()
        .filter(|(keys, wrong, ..)| *wrong && !keys.iter().any(|key| suspects.contains(*key)))
        .map(|(keys, _, what, instead)| Problem::new(keys[0], what, instead))
        .collect()
}

fn mxid_len(config: &Config, localpart: usize) -> usize {
    "@:".len() + localpart + config.homeserver.server_name.as_str().len()
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}
