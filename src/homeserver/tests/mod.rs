//! The client against a server that answers from a script.

mod endpoints;
mod files;
mod keys;
mod retries;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use ruma::{owned_user_id, room_id};
use serde_json::{Value, json, value::RawValue};

use super::{Actor, Error, Homeserver, Settings};
use crate::{clock::Clock, crypto::Secret, rng::Rng};

const START: u64 = 1_700_000_000_000;
/// How long an answer is waited for: it does not come later because the machine is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server says to one request.
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Body,
    slow: Duration,
}

fn reply(status: u16, body: impl Into<Body>) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: body.into(),
        slow: Duration::ZERO,
    }
}

fn says(status: u16, body: &Value) -> Reply {
    reply(status, body.to_string())
}

fn refuses(status: u16, errcode: &str) -> Reply {
    says(status, &json!({"errcode": errcode, "error": "because"}))
}

/// A connection that breaks instead of an answer.
fn broken() -> Reply {
    let failure = Err::<String, _>(std::io::Error::other("broken on purpose"));
    reply(
        200,
        Body::from_stream(futures_util::stream::iter([failure])),
    )
}

/// A request that arrived.
#[derive(Debug)]
struct Seen {
    line: String,
    authorization: Option<String>,
    length: Option<String>,
    body: String,
}

#[derive(Clone, Default)]
struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    async fn answer(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let length = parts.headers.get("content-length");
        self.seen.lock().unwrap().push(Seen {
            length: length.map(|value| value.to_str().unwrap().to_owned()),
            line: format!("{} {}", parts.method, parts.uri),
            authorization: parts
                .headers
                .get("authorization")
                .map(|value| value.to_str().unwrap().to_owned()),
            body: String::from_utf8_lossy(&body).into_owned(),
        });
        let next = self.replies.lock().unwrap().pop_front();
        let reply = next.unwrap_or_else(|| refuses(418, "M_NOT_IN_SCRIPT"));
        tokio::time::sleep(reply.slow).await;
        let mut response = Response::builder().status(reply.status);
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        response.body(reply.body).unwrap()
    }
}

struct Test {
    client: Homeserver,
    clock: Clock,
    script: Script,
}

impl Test {
    async fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::impatient(PATIENCE, replies).await
    }

    /// A client that waits so long for an answer.
    async fn impatient(timeout: Duration, replies: impl IntoIterator<Item = Reply>) -> Self {
        let script = Script::default();
        script.replies.lock().unwrap().extend(replies);
        let served = script.clone();
        let router = Router::new().fallback(move |request: Request| served.clone().answer(request));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self::at(&url, script, timeout)
    }

    fn at(url: &str, script: Script, timeout: Duration) -> Self {
        let clock = Clock::mock(START);
        let settings = Settings {
            url: url.parse().unwrap(),
            as_token: Secret::new("as_secret".to_owned()),
            timeout,
            join_timeout: PATIENCE,
            tries: 4,
        };
        Self {
            client: Homeserver::new(settings, clock.clone(), Rng::seeded(1)).unwrap(),
            clock,
            script,
        }
    }

    async fn send(&self) -> Result<ruma::OwnedEventId, Error> {
        let content = RawValue::from_string(r#"{"body":"é  ","msgtype":"m.text"}"#.into()).unwrap();
        self.client
            .put_event(
                &actor(),
                room_id!("!r/o:x"),
                "m.room.message",
                &content,
                "t/1",
                None,
            )
            .await
    }

    fn lines(&self) -> Vec<String> {
        let seen = self.script.seen.lock().unwrap();
        seen.iter().map(|seen| seen.line.clone()).collect()
    }

    fn tries(&self) -> usize {
        self.script.seen.lock().unwrap().len()
    }

    fn waited(&self) -> u64 {
        self.clock.now() - START
    }
}

fn actor() -> Actor {
    Actor {
        user: owned_user_id!("@_vizard_a:x"),
        device: Some("DEV".into()),
    }
}

const ACTING: &str = "user_id=%40_vizard_a%3Ax&device_id=DEV";

fn sent() -> Reply {
    says(200, &json!({"event_id": "$e"}))
}
