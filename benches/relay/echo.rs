//! The bare echo: what relaying costs with nothing but durability.
//!
//! axum, sqlx on SQLite (WAL, `synchronous=FULL`) and reqwest. It stores each transaction whole in one row before
//! it answers 200, sends every event back into its room (in order in each room, concurrently over
//! rooms), then deletes the row. It has no memory of events, reads no content, keeps nothing secret, and
//! forgets what it had stored when it is started again. It runs as a process of its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    routing::{get, put},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::{mpsc, oneshot};

#[derive(Deserialize)]
struct Transaction {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    room_id: String,
    #[serde(rename = "event_id")]
    id: String,
    #[serde(rename = "type")]
    kind: String,
    content: Box<RawValue>,
}

/// Ends when the last event of a transaction was sent: then its row goes.
struct Row {
    id: i64,
    writer: mpsc::UnboundedSender<Write>,
}

impl Drop for Row {
    fn drop(&mut self) {
        let _ = self.writer.send(Write::Delete(self.id));
    }
}

enum Write {
    Insert(Bytes, oneshot::Sender<i64>),
    Delete(i64),
}

type Lane = mpsc::UnboundedSender<(Event, Arc<Row>)>;

#[derive(Clone)]
struct Echo {
    writer: mpsc::UnboundedSender<Write>,
    lanes: Arc<Mutex<HashMap<String, Lane>>>,
    client: reqwest::Client,
    homeserver: Arc<str>,
}

/// Runs until it is killed.
#[tokio::main]
pub async fn run(port: u16, database: &str, homeserver: &str) -> anyhow::Result<()> {
    // The client is built without a provider for TLS; the bench uses none, but the client insists.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        .execute(&mut connection)
        .await?;
    let (writer, waiting) = mpsc::unbounded_channel();
    tokio::spawn(write(connection, waiting));
    let echo = Echo {
        writer,
        lanes: Arc::default(),
        client: reqwest::Client::builder().tcp_nodelay(true).build()?,
        homeserver: homeserver.into(),
    };
    let router = Router::new()
        .route("/_matrix/app/v1/transactions/{id}", put(transaction))
        .route("/health/ready", get(|| async {}))
        .with_state(echo);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, router).await.context("serving")
}

async fn transaction(State(echo): State<Echo>, body: Bytes) -> (StatusCode, &'static str) {
    let (stored, id) = oneshot::channel();
    let _ = echo.writer.send(Write::Insert(body.clone(), stored));
    let Ok(id) = id.await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "{}");
    };
    let Ok(transaction) = serde_json::from_slice::<Transaction>(&body) else {
        return (StatusCode::BAD_REQUEST, "{}");
    };
    let row = Arc::new(Row {
        id,
        writer: echo.writer.clone(),
    });
    let mut lanes = echo.lanes.lock().unwrap_or_else(PoisonError::into_inner);
    for event in transaction.events {
        let lane = lanes.entry(event.room_id.clone()).or_insert_with(|| {
            let (lane, events) = mpsc::unbounded_channel();
            tokio::spawn(relay(echo.client.clone(), echo.homeserver.clone(), events));
            lane
        });
        let _ = lane.send((event, row.clone()));
    }
    (StatusCode::OK, "{}")
}

async fn relay(
    client: reqwest::Client,
    homeserver: Arc<str>,
    mut events: mpsc::UnboundedReceiver<(Event, Arc<Row>)>,
) {
    while let Some((event, row)) = events.recv().await {
        let url = format!(
            "{homeserver}/_matrix/client/v3/rooms/{}/send/{}/{}?user_id=@_vizard_echo:a.example&device_id=ECHO",
            event.room_id,
            event.kind,
            event.id.trim_start_matches('$'),
        );
        let answer = client
            .put(url)
            .bearer_auth("echo")
            .header("content-type", "application/json")
            .body(event.content.get().to_owned())
            .send()
            .await;
        if let Ok(answer) = answer {
            let _ = answer.bytes().await;
        }
        drop(row);
    }
}

/// The only user of the connection: commits everything that waits at once.
async fn write(mut connection: SqliteConnection, mut writes: mpsc::UnboundedReceiver<Write>) {
    let mut batch = Vec::new();
    while writes.recv_many(&mut batch, 1000).await > 0 {
        if let Err(error) = commit(&mut connection, &mut batch).await {
            eprintln!("echo: {error}");
            return;
        }
    }
}

async fn commit(connection: &mut SqliteConnection, batch: &mut Vec<Write>) -> sqlx::Result<()> {
    let mut stored = Vec::new();
    let mut transaction = connection.begin().await?;
    for write in batch.drain(..) {
        match write {
            Write::Insert(body, done) => {
                let id = sqlx::query("INSERT INTO inbox (body) VALUES ($1)")
                    .bind(&body[..])
                    .execute(&mut *transaction)
                    .await?
                    .last_insert_rowid();
                stored.push((id, done));
            }
            Write::Delete(id) => {
                sqlx::query("DELETE FROM inbox WHERE id = $1")
                    .bind(id)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
    }
    transaction.commit().await?;
    for (id, done) in stored {
        let _ = done.send(id);
    }
    Ok(())
}
