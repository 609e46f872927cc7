//! Whether others find this Vizard's keys: over TLS at the server's name, and in the bot's profile.
//!
//! What is right is known from Vizard itself, if it runs: its listener serves the document. The server's name is asked as any other
//! Vizard would ask it, from this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ruma::ServerName;

use super::{probes::Probes, step};
use crate::{
    cli::{
        lock::Lock,
        report::{Report, Row},
    },
    clock::{Clock, UnixMillis, minute},
    config::{Config, Loaded},
    keys::PROFILE_FIELD,
    peer::{FetchError, Fetcher, SERVER_KEYS, WELL_KNOWN},
    sealed::KeyDocument,
};

const OVER_TLS: &str = "keys over TLS";
const IN_PROFILE: &str = "keys in profile";

/// The rows on invites.
pub(super) async fn try_all(loaded: &Loaded, probes: &Probes, report: &mut Report) {
    let config = &loaded.config;
    if !config.invites.enabled {
        return report.add(Row::info("invites", "off (invites.enabled = false)"));
    }
    let own = own(config).await;
    let running = own.is_some() || Lock::is_held(loaded);
    step(report, OVER_TLS, over_tls(config, own.as_ref(), running)).await;
    step(
        report,
        IN_PROFILE,
        in_profile(probes, own.as_ref(), running),
    )
    .await;
}

/// The document, as the Vizard that runs here serves it.
async fn own(config: &Config) -> Option<KeyDocument> {
    let mut address = config.appservice.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    let fetcher = Fetcher::new(None, true).ok()?;
    let json = fetcher.get(&format!("http://{address}{SERVER_KEYS}")).await;
    KeyDocument::parse_of_any_time(&json.ok()?, &config.homeserver.server_name).ok()
}

async fn over_tls(config: &Config, own: Option<&KeyDocument>, running: bool) -> Row {
    if !running {
        return Row::info(
            OVER_TLS,
            "not tried while Vizard is not running: start it, and run doctor again",
        );
    }
    let (ca_file, private) = (
        config.keys.ca_file.as_deref(),
        config.keys.private_addresses,
    );
    let fetched = match Fetcher::new(ca_file, private) {
        Ok(fetcher) => fetcher.document(&config.homeserver.server_name, None).await,
        Err(error) => Err(error),
    };
    over_tls_row(config, own, &fetched, Clock::system().now())
}

fn over_tls_row(
    config: &Config,
    own: Option<&KeyDocument>,
    fetched: &Result<Vec<u8>, FetchError>,
    now: UnixMillis,
) -> Row {
    let server = &config.homeserver.server_name;
    let url = format!("https://{server}{WELL_KNOWN}");
    let failed = |what: String| Row::failed(OVER_TLS, what, proxy(server, config));
    let json = match fetched {
        Ok(json) => json,
        Err(FetchError::Private) => {
            return Row::info(
                OVER_TLS,
                format!(
                    "not tried from here, where {server} is at an address that is not public: try `curl {url}` from elsewhere"
                ),
            );
        }
        Err(error @ FetchError::Broken(_)) => {
            return Row::failed(
                OVER_TLS,
                error.to_string(),
                "install CA certificates, and see keys.ca_file",
            );
        }
        Err(error) => return failed(format!("{url}: {error}")),
    };
    match KeyDocument::parse(json, server, now) {
        Err(error) => failed(format!(
            "what is at {url} is no valid key document: {error}"
        )),
        Ok(document) if own.is_some_and(|own| *own != document) => failed(format!(
            "{url} serves another document (number {}) than this Vizard (number {})",
            document.sequence(),
            own.map_or(0, KeyDocument::sequence)
        )),
        Ok(document) => Row::ok(OVER_TLS, words(&document)),
    }
}

async fn in_profile(probes: &Probes, own: Option<&KeyDocument>, running: bool) -> Row {
    let bot = &probes.bot;
    let shown = probes
        .homeserver
        .profile_field(bot, &bot.user, PROFILE_FIELD)
        .await;
    let server = &probes.config.homeserver.server_name;
    let shown = match shown {
        Ok(Some(value)) => Some(KeyDocument::parse_of_any_time(
            value.to_string().as_bytes(),
            server,
        )),
        Ok(None) => None,
        Err(error) => {
            return Row::failed(IN_PROFILE, error.to_string(), LOOK_UP);
        }
    };
    match shown {
        None if running => Row::failed(IN_PROFILE, "the bot's profile does not show them", LOOK_UP),
        None => Row::info(
            IN_PROFILE,
            "not there yet: they are published when Vizard runs",
        ),
        Some(Err(error)) => Row::failed(
            IN_PROFILE,
            format!("what the bot's profile shows is no key document: {error}"),
            PUBLISH,
        ),
        Some(Ok(document)) if own.is_some_and(|own| *own != document) => Row::failed(
            IN_PROFILE,
            format!(
                "the bot's profile shows another document (number {}) than this Vizard (number {})",
                document.sequence(),
                own.map_or(0, KeyDocument::sequence)
            ),
            PUBLISH,
        ),
        Some(Ok(document)) if document.valid_until_ts() <= Clock::system().now() => Row::info(
            IN_PROFILE,
            "out of date: they are published anew when Vizard runs",
        ),
        Some(Ok(document)) => Row::ok(
            IN_PROFILE,
            format!(
                "{}; the bot sees them there (others may not be allowed to look, which cannot be seen from here: they find the keys over TLS alone then)",
                words(&document)
            ),
        ),
    }
}

const PUBLISH: &str =
    "wait a minute, or restart Vizard and read its first lines: it publishes them at the start";
/// What homeservers forbid others cannot be seen here; one that forbids its own application service is likely to.
const LOOK_UP: &str = "restart Vizard and read its first lines. If the homeserver forbids looking at profiles (Synapse: \
    limit_profile_requests_to_users_who_share_rooms, allow_profile_lookup_over_federation), others find the keys over TLS alone, which is enough";

fn words(document: &KeyDocument) -> String {
    let until = minute(document.valid_until_ts());
    format!("number {}, good until {until}", document.sequence())
}

/// What a reverse proxy has to do.
fn proxy(server: &ServerName, config: &Config) -> String {
    let to = config.appservice.listen;
    format!(
        "have the web server of {server} hand three paths to Vizard (docs/admin.md has more). nginx:\n\
         \x20 location = /.well-known/matrix/vizard {{ proxy_pass http://{to}; }}\n\
         \x20 location /_vizard/ {{ proxy_pass http://{to}; }}\n\
         \x20 location ~ ^/seal(/|$) {{ proxy_pass http://{to}; }}\n\
         Caddy:\n\
         \x20 @vizard path /.well-known/matrix/vizard /_vizard/* /seal /seal/*\n\
         \x20 reverse_proxy @vizard {to}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::registration::tests::example,
        pseudonym::ServerKey,
        rng::Rng,
        sealed::{DocumentDraft, HpkeKey, ListedKey},
    };

    const NOW: UnixMillis = 1_700_000_000_000;
    const DAY: UnixMillis = 24 * 60 * 60 * 1000;

    fn document(config: &Config, sequence: u64) -> KeyDocument {
        let rng = Rng::seeded(1);
        let server = &config.homeserver.server_name;
        let draft = DocumentDraft {
            server,
            bot: &ruma::UserId::parse_with_server_name("vizard", server).unwrap(),
            prefix: "_vizard_",
            sequence,
            valid_until_ts: NOW + 7 * DAY,
            verify_keys: &[ServerKey::generate(&rng)],
            old_verify_keys: &[],
            hpke_keys: &[ListedKey {
                key: HpkeKey::generate(&rng).public(),
                expires_ts: NOW + 30 * DAY,
            }],
        };
        draft.sign(NOW).unwrap()
    }

    #[test]
    fn each_outcome_has_its_row() {
        let dir = tempfile::tempdir().unwrap();
        let config = example(dir.path()).config;
        let own = document(&config, 2);
        let json = |document: &KeyDocument| Ok(document.json().to_string().into_bytes());
        let row = |fetched, now| format!("{:?}", over_tls_row(&config, Some(&own), &fetched, now));
        assert!(row(json(&own), NOW).contains("Ok, detail: \"number 2, good until 21 Nov 2023"));
        let other = document(&config, 1);
        for (fetched, now, said) in [
            (
                json(&other),
                NOW,
                "another document (number 1) than this Vizard (number 2)",
            ),
            (json(&own), NOW + 8 * DAY, "no valid key document"),
            (Ok(b"<html>".to_vec()), NOW, "no valid key document"),
            (
                Err(FetchError::None(http::StatusCode::NOT_FOUND)),
                NOW,
                "publishes no keys",
            ),
            (
                Err(FetchError::Unreachable("no connection")),
                NOW,
                "no connection",
            ),
        ] {
            let row = row(fetched, now);
            assert!(
                row.contains("Failed") && row.contains(said),
                "{said}: {row}"
            );
            assert!(row.contains("location /_vizard/ {"), "{row}");
        }
        let private = row(Err(FetchError::Private), NOW);
        assert!(
            private.contains("Info") && private.contains("from elsewhere"),
            "{private}"
        );
    }
}
