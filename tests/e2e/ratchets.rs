//! What the homeservers hold of encrypted rooms: that no ratchet was used twice, and what stands in a room in the end.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use data_encoding::BASE64_NOPAD;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    testkit::{
        client::Client,
        e2ee::{E2eeClient, Report},
    },
    world::World,
};

/// What a placeholder begins with.
const PLACEHOLDER: &str = "🔒";

/// What Vizard's users have sent, by the wire.
pub struct Steps {
    /// Megolm sessions, with whose they are.
    pub sessions: HashSet<(String, String)>,
    /// Messages.
    pub messages: usize,
}

/// Fails if a step of a session's ratchet encrypted two messages of a ghost, host, mirror or the bot, by what both
/// homeservers have stored.
pub async fn no_step_is_used_twice(world: &World) -> Result<Steps> {
    let mut seen: HashMap<(String, u64), String> = HashMap::new();
    let mut steps = Steps {
        sessions: HashSet::new(),
        messages: 0,
    };
    for server in [&world.servers.a, &world.servers.b] {
        for event in encrypted_events(&server.database()).await? {
            let sender = event["sender"].as_str().unwrap_or_default();
            // Redacted ones have no content.
            let Some(ciphertext) = event["content"]["ciphertext"].as_str() else {
                continue;
            };
            if !sender.starts_with("@_vizard_") && !sender.starts_with("@vizard:") {
                continue;
            }
            let session = event["content"]["session_id"]
                .as_str()
                .context("a message without a session")?
                .to_owned();
            let step = (session.clone(), index(ciphertext)?);
            steps.sessions.insert((sender.to_owned(), session));
            match seen.get(&step) {
                None => {
                    steps.messages += 1;
                    seen.insert(step, ciphertext.to_owned());
                }
                Some(before) => ensure!(
                    before == ciphertext,
                    "{sender} used step {} of the session {} twice",
                    step.1,
                    step.0
                ),
            }
        }
    }
    Ok(steps)
}

async fn encrypted_events(database: &Path) -> Result<Vec<Value>> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .read_only(true)
        .busy_timeout(Duration::from_secs(30));
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT json FROM event_json JOIN events USING (event_id) WHERE type = 'm.room.encrypted'",
    )
    .fetch_all(&mut connection)
    .await?;
    connection.close().await?;
    rows.iter()
        .map(|(json,)| Ok(serde_json::from_str(json)?))
        .collect()
}

/// The message index of a Megolm message: version 3, then the tag 8 and a varint.
fn index(ciphertext: &str) -> Result<u64> {
    let bytes = BASE64_NOPAD.decode(ciphertext.as_bytes())?;
    let rest = bytes
        .strip_prefix(&[3, 8])
        .context("not a Megolm message")?;
    let mut index = 0;
    for (place, byte) in rest.iter().enumerate().take(5) {
        index |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(index);
        }
    }
    anyhow::bail!("a message index without an end")
}

#[test]
fn a_message_index_is_read() {
    let read = |bytes: &[u8]| index(&BASE64_NOPAD.encode(bytes));
    assert_eq!(read(&[3, 8, 0, 0x12]).unwrap(), 0);
    assert_eq!(read(&[3, 8, 0x7f, 0x12]).unwrap(), 127);
    assert_eq!(read(&[3, 8, 0xac, 0x02, 0x12]).unwrap(), 300);
    assert!(read(&[3, 8, 0x80]).is_err() && read(&[2, 8, 0]).is_err());
}

/// An encrypted room that anybody may join.
pub async fn parlour(owner: &E2eeClient) -> Result<String> {
    owner
        .create_room(json!({
            "preset": "public_chat",
            "initial_state": [{
                "type": "m.room.encryption", "state_key": "",
                "content": {"algorithm": "m.megolm.v1.aes-sha2"},
            }],
        }))
        .await
}

/// A message as the room shows it in the end.
#[derive(Debug)]
pub struct Shown {
    /// Its text, after edits.
    pub text: String,
    /// How long a placeholder stood for it, from when the homeserver got the one to when it got the other: how long a client
    /// on a busy machine takes to show them says nothing of Vizard.
    pub hidden: Option<Duration>,
    /// When it was sent, in milliseconds, by the clock of its sender's homeserver.
    sent: u64,
    /// The client's judgement on what shows the text.
    pub report: Report,
}

impl Shown {
    /// Whether a placeholder stands there still.
    pub fn is_placeholder(&self) -> bool {
        self.text.starts_with(PLACEHOLDER)
    }
}

/// What others than this user say in a room, in the homeserver's order, edits applied.
pub async fn conversation(user: &E2eeClient, room: &str) -> Result<Vec<Shown>> {
    let history = Client::new(user.account.clone()).history(room).await?;
    let reports: HashMap<String, Report> = user
        .timeline(room)
        .into_iter()
        .map(|one| (one.event_id.clone(), one))
        .collect();
    let mut shown: Vec<Shown> = Vec::new();
    for event in history {
        if event["type"] != "m.room.encrypted" || event["sender"] == user.id() {
            continue;
        }
        let id = event["event_id"].as_str().context("an event without id")?;
        let report = reports
            .get(id)
            .with_context(|| format!("the client did not show {id}"))?
            .clone();
        ensure!(report.failure.is_none(), "not read: {report:#?}");
        if report.kind != "m.room.message" {
            continue;
        }
        let edits = report.content["m.new_content"].is_object();
        let target = shown
            .iter_mut()
            .find(|one| edits && one.report.event_id == report.relates_to());
        let text = report.body().to_owned();
        let sent = event["origin_server_ts"].as_u64().context("a time")?;
        match target {
            None => shown.push(Shown {
                text,
                hidden: None,
                sent,
                report,
            }),
            Some(target) => {
                if target.is_placeholder() {
                    target.hidden = Some(Duration::from_millis(sent.saturating_sub(target.sent)));
                }
                target.text = text;
            }
        }
    }
    Ok(shown)
}
