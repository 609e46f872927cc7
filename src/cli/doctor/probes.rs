//! The questions to the homeserver, one function per row.

use std::{fmt::Display, time::Duration};

use ruma::{OwnedUserId, UserId, device_id};
use tokio::net::TcpStream;

use super::{mend, ping::StandIn};
use crate::{
    cli::report::Row,
    clock::Clock,
    config::{Config, Loaded},
    crypto::Secret,
    homeserver::{Actor, Error, Homeserver, Settings, Versions},
    rng::Rng,
};

/// The longest that one request may take.
const REQUEST: Duration = Duration::from_secs(10);
/// The longest that a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Authenticated media: without it, nothing that others post can be fetched. Everything else Vizard needs is older.
const NEEDED: (u32, u32) = (1, 11);
/// More than this, and homeservers and clients begin to disagree about what is new.
const MAX_SKEW: u64 = 60;

/// What the homeserver may announce that helps, and that Vizard does without.
const FEATURES: [(&str, &str); 3] = [
    ("org.matrix.msc2409", "to-device messages in transactions"),
    ("org.matrix.msc3202", "device lists in transactions"),
    (
        "io.element.msc4190",
        "device management for application services",
    ),
];

/// Whether anything answers at the URL's address; a row that says which part of it is wrong.
pub(super) async fn reachable(check: &'static str, url: &url::Url) -> Result<(), Row> {
    let address = (
        url.host_str().unwrap_or_default().trim_matches(['[', ']']),
        url.port_or_known_default().unwrap_or_default(),
    );
    let failed =
        |what: &dyn Display, mend: &str| Row::failed(check, format!("{url}: {what}"), mend);
    let limit = |what: &str| format!("{what} within {} seconds", CONNECT.as_secs());
    let resolved = tokio::time::timeout(CONNECT, tokio::net::lookup_host(address))
        .await
        .map_err(|_| failed(&limit("the name is not resolved"), mend::NAME))?
        .map_err(|error| failed(&error, mend::NAME))?;
    let resolved: Vec<_> = resolved.collect();
    tokio::time::timeout(CONNECT, TcpStream::connect(&*resolved))
        .await
        .map_err(|_| failed(&limit("no answer"), mend::FIREWALL))?
        .map_err(|error| failed(&error, mend::NOT_LISTENING))?;
    Ok(())
}

/// Asks the homeserver.
#[derive(Debug)]
pub(super) struct Probes {
    pub(super) homeserver: Homeserver,
    pub(super) config: Config,
    pub(super) bot: Actor,
    /// A user in the namespace, where hosts' names are.
    pub(super) patient: OwnedUserId,
}

impl Probes {
    pub(super) fn new(loaded: &Loaded) -> Result<Self, Row> {
        let config = loaded.config.clone();
        let user = |localpart: &str| {
            UserId::parse_with_server_name(localpart, &config.homeserver.server_name).map_err(
                |error| {
                    Row::failed(
                        "configuration",
                        error.to_string(),
                        "set appservice.bot and appservice.prefix to their defaults",
                    )
                },
            )
        };
        let bot = Actor {
            user: user(&config.appservice.bot)?,
            device: None,
        };
        let patient = user(&format!("{}p_doctor", config.appservice.prefix))?;
        let settings = Settings {
            url: config.homeserver.url.clone(),
            as_token: Secret::new(config.as_token().to_owned()),
            timeout: REQUEST,
            join_timeout: REQUEST,
            tries: 1,
        };
        let homeserver = Homeserver::new(settings, Clock::system(), Rng::os())
            .map_err(|error| Row::failed("homeserver", error.to_string(), mend::refusal(&error)))?;
        Ok(Self {
            homeserver,
            config,
            bot,
            patient,
        })
    }

    pub(super) async fn versions(&self, check: &'static str) -> Row {
        match self.homeserver.versions().await {
            Ok(_) => Row::ok(check, format!("{} answers", self.config.homeserver.url)),
            Err(error) => Row::failed(check, error.to_string(), mend::versions(&error)),
        }
    }

    pub(super) async fn specification(&self, check: &'static str) -> Row {
        match self.homeserver.versions().await {
            Ok(versions) => specification_row(check, &versions),
            Err(error) => failed(check, &error),
        }
    }

    pub(super) async fn bot(&self, check: &'static str) -> Row {
        match self.appears(&self.bot).await {
            Ok(true) => Row::ok(check, format!("accepted; {} is there", self.bot.user)),
            Ok(false) => stranger(check),
            Err(error) => failed(check, &error),
        }
    }

    pub(super) async fn namespace(&self, check: &'static str) -> Row {
        let patient = Actor {
            user: self.patient.clone(),
            device: None,
        };
        match self.appears(&patient).await {
            Ok(true) => Row::ok(
                check,
                format!("Vizard may act as @{}…", self.config.appservice.prefix),
            ),
            Ok(false) => stranger(check),
            Err(error) => failed(check, &error),
        }
    }

    /// Registers a user; whether the homeserver then takes us for it.
    async fn appears(&self, actor: &Actor) -> Result<bool, Error> {
        self.homeserver.register(&actor.user).await?;
        Ok(self.homeserver.whoami(actor).await? == actor.user)
    }

    pub(super) async fn devices(&self, check: &'static str) -> Row {
        let device = device_id!("VIZARDDOCTOR");
        if let Err(error) = self.homeserver.create_device(&self.patient, device).await {
            return Row::failed(check, error.to_string(), mend::devices(&error));
        }
        let actor = Actor {
            user: self.patient.clone(),
            device: Some(device.to_owned()),
        };
        match self.homeserver.delete_device(&actor).await {
            Ok(()) => Row::ok(check, "can be made and deleted"),
            Err(error) => Row::failed(check, error.to_string(), mend::devices(&error)),
        }
    }

    pub(super) async fn profile_field(&self, check: &'static str) -> Row {
        let value = serde_json::json!("ok");
        match self
            .homeserver
            .set_profile_field(&self.bot, "org.vizard.doctor", &value)
            .await
        {
            Ok(()) => match self
                .homeserver
                .remove_profile_field(&self.bot, "org.vizard.doctor")
                .await
            {
                Ok(()) => Row::ok(check, "can be set"),
                Err(error) => Row::ok(
                    check,
                    format!("can be set; `org.vizard.doctor` could not be removed ({error})"),
                ),
            },
            Err(error) => Row::failed(check, error.to_string(), mend::profile_field(&error)),
        }
    }

    pub(super) async fn ping(&self, check: &'static str) -> Row {
        let listen = self.config.appservice.listen;
        let stand_in = match StandIn::start(listen, self.config.hs_token()).await {
            Ok(stand_in) => Some(stand_in),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => None,
            Err(error) => {
                return Row::failed(
                    check,
                    format!("cannot listen on {listen}: {error}"),
                    "set appservice.listen to an address of this machine and a port that is allowed to Vizard's user",
                );
            }
        };
        let txn_id = format!("{:016x}", u64::from_be_bytes(Rng::os().bytes()));
        let pinged = self
            .homeserver
            .ping(&self.config.appservice.id, &txn_id)
            .await;
        let refused = stand_in.as_ref().is_some_and(StandIn::saw_wrong_token);
        let who = if stand_in.is_some() {
            "doctor answered in Vizard's place"
        } else {
            "Vizard runs and answered"
        };
        match pinged {
            Ok(millis) => Row::ok(check, format!("there and back in {millis} ms ({who})")),
            Err(_) if refused => Row::failed(
                check,
                "the homeserver calls with another hs_token",
                mend::REGISTRATION,
            ),
            Err(error) => Row::failed(
                check,
                error.to_string(),
                mend::ping(
                    &error,
                    &self.config.appservice_url(),
                    stand_in.is_none(),
                    listen,
                ),
            ),
        }
    }

    pub(super) async fn clock(&self, check: &'static str) -> Row {
        match self.homeserver.server_time().await {
            Ok(Some(theirs)) => clock_row(check, theirs, Clock::system().now() / 1000),
            Ok(None) => Row::info(check, "the homeserver does not say what time it is"),
            Err(error) => failed(check, &error),
        }
    }

    /// What the homeserver announces beyond what is needed.
    pub(super) async fn features(&self) -> Vec<Row> {
        let versions = self.homeserver.versions().await.unwrap_or_default();
        feature_rows(&versions)
    }
}

fn failed(check: &'static str, error: &Error) -> Row {
    Row::failed(check, error.to_string(), mend::refusal(error))
}

fn stranger(check: &'static str) -> Row {
    Row::failed(
        check,
        "the homeserver takes Vizard for another user",
        mend::REGISTRATION,
    )
}

fn specification_row(check: &'static str, versions: &Versions) -> Row {
    let newest = versions
        .versions
        .iter()
        .filter_map(|version| {
            let (major, minor) = version.strip_prefix('v')?.split_once('.')?;
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        })
        .max();
    let (major, minor) = NEEDED;
    match newest {
        Some(version) if version >= NEEDED => {
            Row::ok(check, format!("up to v{}.{}", version.0, version.1))
        }
        Some(version) => Row::failed(
            check,
            format!("up to v{}.{} only", version.0, version.1),
            format!("upgrade the homeserver to one that supports Matrix v{major}.{minor}"),
        ),
        None => Row::failed(
            check,
            "the homeserver names no version of the specification",
            format!("upgrade the homeserver to one that supports Matrix v{major}.{minor}"),
        ),
    }
}

fn clock_row(check: &'static str, theirs: u64, ours: u64) -> Row {
    let skew = theirs.abs_diff(ours);
    if skew <= MAX_SKEW {
        Row::ok(check, format!("{skew} s apart from the homeserver's"))
    } else {
        Row::failed(
            check,
            format!("{skew} s apart from the homeserver's"),
            "set both machines' clocks by NTP",
        )
    }
}

fn feature_rows(versions: &Versions) -> Vec<Row> {
    FEATURES
        .into_iter()
        .map(|(feature, what)| {
            let announced = versions
                .unstable_features
                .iter()
                .any(|(name, on)| *on && name.starts_with(feature));
            let announced = if announced {
                "announced"
            } else {
                "not announced; not needed"
            };
            Row::info("optional", format!("{what}: {announced}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(list: &[&str]) -> Versions {
        Versions {
            versions: list.iter().map(|version| (*version).to_owned()).collect(),
            unstable_features: [("org.matrix.msc3202".to_owned(), true)].into(),
        }
    }

    #[test]
    fn the_newest_version_counts() {
        let row = specification_row("x", &versions(&["r0.6.1", "v1.2", "v1.12", "v1.9"]));
        assert_eq!(row, Row::ok("x", "up to v1.12"));
        assert!(specification_row("x", &versions(&["v1.10"])).is_failed());
        assert!(specification_row("x", &versions(&["r0.6.1", "nonsense", "v"])).is_failed());
        assert!(specification_row("x", &versions(&[])).is_failed());
    }

    #[test]
    fn a_minute_is_allowed() {
        assert!(!clock_row("x", 1000, 1060).is_failed());
        assert!(!clock_row("x", 1060, 1000).is_failed());
        assert!(clock_row("x", 1061, 1000).is_failed());
    }

    #[test]
    fn features_are_never_failures() {
        let rows = feature_rows(&versions(&[]));
        assert_eq!(
            rows[1],
            Row::info("optional", "device lists in transactions: announced")
        );
        assert!(rows.iter().all(|row| !row.is_failed()));
    }

    #[tokio::test]
    async fn nothing_listening_is_told_from_no_such_name() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let row = reachable("x", &url.parse().unwrap()).await.unwrap_err();
        assert!(format!("{row:?}").contains(mend::NOT_LISTENING), "{row:?}");
        let row = reachable("x", &"http://nowhere.invalid".parse().unwrap())
            .await
            .unwrap_err();
        assert!(format!("{row:?}").contains(mend::NAME), "{row:?}");
    }
}
