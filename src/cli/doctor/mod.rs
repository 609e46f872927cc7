//! `vizard doctor`: tries the live set-up, one step after another.
//!
//! [`probes`] asks the homeserver, [`keys`] tries what encryption needs of it, [`hints`] whether hints come,
//! [`invites`] whether others find this Vizard's keys, [`ping`] stands in for Vizard while the homeserver calls back, [`mend`] says
//! what to do about a refusal. Every step has a limit of time and its own row; a step that depends on one that failed says that
//! it was not tried.

mod hints;
mod invites;
mod keys;
mod mend;
mod ping;
mod probes;

use std::time::Duration;

use self::probes::Probes;
use super::{
    check::{schema_row, token_rows, unopened_row},
    lock::Lock,
    master_key,
    report::{Report, Row},
};
use crate::{
    clock::Clock,
    config::Loaded,
    rng::Rng,
    store::{Job, PortalId, Store, StoreError, Task},
};

/// The longest that one step may take, beyond the limits of its requests.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn doctor(loaded: Loaded, json: bool) -> Report {
    let mut report = Report::new(json);
    report.add(Row::ok("configuration", loaded.path.display().to_string()));
    if let Some(row) = master_key::settled_row(&loaded).await {
        report.add(row);
    }
    report.add(master_key::file_row(&loaded.config));
    for row in token_rows(&loaded.config) {
        report.add(row);
    }

    homeserver(&loaded, &mut report).await;
    step(&mut report, "database", database(&loaded)).await;
    report.add(Row::info(
        "crowd",
        format!(
            "not counted: pseudonyms show the domain {}; with few users on it there is no crowd to hide in",
            loaded.config.homeserver.server_name
        ),
    ));
    report.add(Row::info(
        "federation",
        "not tried: join a public room of another server to see it work",
    ));
    report.end();
    report
}

/// The steps that need the homeserver.
async fn homeserver(loaded: &Loaded, report: &mut Report) {
    const REACHED: &str = "homeserver";
    report.trying(REACHED);
    if let Err(row) = probes::reachable(REACHED, &loaded.config.homeserver.url).await {
        report.add(row);
        report.add(Row::info("what needs it", "not tried"));
        return;
    }
    let probes = match Probes::new(loaded) {
        Ok(probes) => probes,
        Err(row) => return report.add(row),
    };
    macro_rules! step {
        ($check:literal, $probe:ident) => {
            step(report, $check, probes.$probe($check)).await
        };
    }
    if !step!("homeserver", versions) {
        return report.add(Row::info("what needs it", "not tried"));
    }
    step!("specification", specification);
    if step!("token", bot) {
        if step!("namespace", namespace) {
            if step!("devices", devices) {
                keys::try_all(&probes, report).await;
            } else {
                report.add(Row::info(keys::ENCRYPTION, "not tried"));
            }
        }
        step!("profile fields", profile_field);
        step!("ping", ping);
        invites::try_all(loaded, &probes, report).await;
    }
    step!("clock", clock);
    for row in probes.features().await {
        report.add(row);
    }
    if loaded.config.encryption.enabled {
        report.add(hints::row(loaded).await);
    }
}

/// Runs one step, for no longer than [`LIMIT`]. Whether it went well.
async fn step(report: &mut Report, check: &'static str, work: impl Future<Output = Row>) -> bool {
    report.trying(check);
    let row = tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| {
        Row::failed(
            check,
            format!("no answer within {} seconds", LIMIT.as_secs()),
            "see whether what it asks is overloaded or behind a firewall that drops packets",
        )
    });
    let well = !row.is_failed();
    report.add(row);
    well
}

/// Opens the database and writes to it, without changing anything. One of another version is left alone.
async fn database(loaded: &Loaded) -> Row {
    const CHECK: &str = "database";
    let config = &loaded.config;
    let Ok(key) = config.master_key() else {
        return Row::info(CHECK, "not tried without the master key");
    };
    if Lock::is_held(loaded) {
        let count = match Store::crypto_machines_of(config.database_url()).await {
            Ok(machines) => format!("devices with encryption keys: {machines}"),
            Err(error) => format!("its devices cannot be counted ({error})"),
        };
        return Row::info(CHECK, format!("in use: Vizard is running; {count}"));
    }
    if let Some(path) = config.database_path().filter(|path| !path.exists()) {
        // A trial must not make the database.
        let dir = path.parent().unwrap_or(loaded.dir());
        return match tempfile_in(dir) {
            Ok(()) => Row::info(
                CHECK,
                format!("{} is made at the first start", path.display()),
            ),
            Err(error) => Row::failed(
                CHECK,
                format!("cannot write in {}: {error}", dir.display()),
                "make the directory and let Vizard's user write there, or set database.url",
            ),
        };
    }
    // Held, so that no Vizard starts and meets the trial's job.
    let _lock = match Lock::take(loaded) {
        Ok(lock) => lock,
        Err(failure) => {
            return Row::failed(
                CHECK,
                "cannot be locked",
                failure.to_string().replace('\n', " "),
            );
        }
    };
    match Store::examine(config.database_url(), &key).await {
        Ok(schema) => {
            if let Some(row) = schema_row(CHECK, schema) {
                return row;
            }
        }
        Err(error) => return unopened_row(CHECK, &error),
    }
    let rng = Rng::os();
    let store = match Store::open(config.database_url(), &key, Clock::system(), rng.clone()).await {
        Ok(store) => store,
        Err(error) => return unopened_row(CHECK, &error),
    };
    let written = write(&store, &rng).await;
    store.close().await;
    match written {
        Ok(machines) => Row::ok(
            CHECK,
            format!(
                "opens with the master key, and can be written; devices with encryption keys: {machines}"
            ),
        ),
        Err(error) => unopened_row(CHECK, &error),
    }
}

/// Writes something and takes it away again: a job that would be due in ten years and belongs to no portal.
/// How many devices have keys there.
async fn write(store: &Store, rng: &Rng) -> Result<u64, StoreError> {
    let job = Job {
        id: rng.bytes(),
        due: Clock::system().now() + 10 * 365 * 86_400_000,
        attempts: 0,
        broken: 0,
        task: Task::Leave {
            portal: PortalId(rng.bytes()),
            forget: false,
            report: None,
            spread: false,
        },
    };
    store.add_job(&job).await?;
    store.finish_job(job.id).await?;
    store.crypto_machines().await
}

/// Whether a file can be made in a directory.
fn tempfile_in(dir: &std::path::Path) -> std::io::Result<()> {
    let name = format!(
        ".vizard-doctor-{:016x}",
        u64::from_be_bytes(Rng::os().bytes())
    );
    let path = dir.join(name);
    super::files::create(&path, "", super::files::PRIVATE)?;
    std::fs::remove_file(path)
}
