//! What encrypted conversations leave behind: keys on the homeservers, and the logs of the Vizards.

use std::{
    collections::{BTreeSet, HashSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    encrypted::Veiled,
    testkit::{
        audit::{Needle, audit},
        e2ee::{E2eeClient, Report, UserKeys},
    },
    world::{Side, World},
};

/// Where a homeserver keeps what a user's devices have published, and in which column.
const PUBLISHED: [(&str, &str); 4] = [
    ("e2e_device_keys_json", "key_json"),
    ("e2e_one_time_keys_json", "key_json"),
    ("e2e_fallback_keys_json", "key_json"),
    ("e2e_cross_signing_keys", "keydata"),
];

/// The keys and signatures that the ghosts' own homeserver would give others are there, and no two ghosts share one.
pub async fn published_keys_link_nobody(database: &Path, ghosts: &[&String]) -> Result<()> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .read_only(true)
        .busy_timeout(Duration::from_secs(30));
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let mut seen = HashSet::new();
    for ghost in ghosts {
        let mut own = BTreeSet::new();
        for (table, column) in PUBLISHED {
            let query = format!("SELECT {column} FROM {table} WHERE user_id = ?");
            let rows: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(query))
                .bind(ghost.as_str())
                .fetch_all(&mut connection)
                .await?;
            let before = own.len();
            for (json,) in rows {
                strings(&serde_json::from_str(&json)?, &mut own);
            }
            ensure!(own.len() > before, "nothing of {ghost} in {table}");
        }
        ensure!(own.len() > 50, "only {} keys of {ghost}", own.len());
        for key in own {
            ensure!(seen.insert(key.clone()), "two masks share {key}");
        }
    }
    connection.close().await?;
    Ok(())
}

/// Keys and signatures: unpadded base64 of at least 32 bytes.
fn strings(json: &Value, into: &mut BTreeSet<String>) {
    match json {
        Value::String(text) if text.len() >= 43 && !text.starts_with('@') => {
            into.insert(text.clone());
        }
        Value::Array(all) => all.iter().for_each(|one| strings(one, into)),
        Value::Object(all) => all.values().for_each(|one| strings(one, into)),
        _ => {}
    }
}

/// The public keys of a user.
fn all_of(keys: &UserKeys) -> Vec<String> {
    let devices = keys.devices.iter();
    let mut all: Vec<String> = devices
        .flat_map(|one| [one.curve25519.clone(), one.ed25519.clone()])
        .collect();
    let identity = [&keys.master, &keys.self_signing, &keys.user_signing];
    all.extend(identity.into_iter().flatten().cloned());
    all
}

/// Nothing of the user's own keys is on the other server; no file, its name or a command is in clear on either.
pub async fn nothing_of_the_user_travels(
    world: &World,
    alice: &E2eeClient,
    planted: &str,
    name: &str,
) -> Result<()> {
    let keys = all_of(&alice.keys_of(alice.id()).await?);
    ensure!(keys.len() >= 5, "the user's keys are not known: {keys:?}");
    let keys: Vec<Needle> = keys
        .iter()
        .map(|key| Needle::text("a key of the user's", key))
        .collect();
    audit(&world.servers.b.evidence(), &keys)
        .await?
        .assert_clean();
    let hidden = [
        Needle::text("what a file says", planted),
        Needle::text("a file's name", name),
        Needle::text("a command", "!vizard whoami"),
    ];
    for server in [&world.servers.a, &world.servers.b] {
        audit(&server.evidence(), &hidden).await?.assert_clean();
    }
    Ok(())
}

/// Neither Vizard's log, at `debug`, names anybody, anything said, a key or a session.
pub async fn logs_are_silent(
    world: &mut World,
    everybody: &[&E2eeClient],
    veiled: &[&Veiled],
    ghosts: &[&String],
) -> Result<()> {
    let mut needles = BTreeSet::new();
    for one in everybody {
        needles.extend([one.id().to_owned(), one.device().to_owned()]);
        needles.extend(all_of(&one.keys_of(one.id()).await?));
        for report in one.received() {
            needles.extend(words_of(&report));
        }
    }
    for one in veiled {
        needles.extend([one.ghost.clone(), one.portal.clone(), one.chat.clone()]);
    }
    let asker = everybody.first().context("nobody")?;
    for ghost in ghosts {
        let keys = asker.keys_of(ghost).await?;
        needles.extend(all_of(&keys));
        needles.extend(keys.devices.into_iter().map(|one| one.device_id));
    }
    // Short words (an emoji, "ok") stand in logs by chance.
    needles.retain(|needle| needle.len() >= 8);
    ensure!(needles.len() > 100, "only {} needles", needles.len());
    for side in [Side::A, Side::B] {
        let log = std::fs::read_to_string(world.vizard(side)?.log())?;
        ensure!(
            log.lines().any(|line| line.contains("DEBUG")),
            "a log without `debug` proves nothing:\n{log}"
        );
        for line in log.lines() {
            let found = needles.iter().find(|needle| line.contains(needle.as_str()));
            ensure!(found.is_none(), "the log names {found:?}: {line}");
        }
    }
    Ok(())
}

/// Who, where, what, and by which key and session.
fn words_of(report: &Report) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut words = vec![
        report.event_id.clone(),
        report.room.clone(),
        report.sender.clone(),
    ];
    // What one line of the conversation is, is enough.
    words.extend(report.body().lines().next().map(str::to_owned));
    words.extend(report.sender_key.clone());
    words.extend(report.sender_device.clone());
    for field in ["session_id", "sender_key", "device_id"] {
        words.extend(text(&report.wire_content[field]));
    }
    words
}
