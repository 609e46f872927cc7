//! What stands between a homeserver and its Vizard: it passes on what one asks of the other ([`Between`]), or leaves the hints out
//! of transactions on purpose ([`Proxy`]).

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// The field in which messages to devices come.
const TO_DEVICE: &str = "de.sorunome.msc2409.to_device";

/// What is left out of transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drops {
    /// Nothing.
    #[default]
    Nothing,
    /// The messages to devices, of every other transaction that has some.
    EveryOther,
    /// All messages to devices.
    ToDevice,
    /// All that is not events.
    AllHints,
}

/// Something that listens at a free port. Dropping it ends it.
#[derive(Debug)]
pub struct Between {
    url: String,
    task: JoinHandle<()>,
}

impl Between {
    /// Answers every request in this way; one for which that fails as a gateway whose server is gone.
    pub async fn start<A>(
        address: IpAddr,
        answer: impl Fn(Request) -> A + Clone + Send + Sync + 'static,
    ) -> Result<Self>
    where
        A: Future<Output = Result<Response>> + Send + 'static,
    {
        let listener = TcpListener::bind((address, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(move |request| {
            let answered = answer(request);
            async { answered.await.unwrap_or_else(|_| bad_gateway()) }
        });
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, task })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn bad_gateway() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// A server to which requests are passed on.
#[derive(Clone, Debug)]
pub struct Onward {
    url: String,
    http: reqwest::Client,
}

impl Onward {
    /// To the server at this URL.
    pub fn to(url: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            http: super::http(),
        }
    }

    /// Makes a request there, as it came; the answer.
    pub async fn pass(&self, mut parts: Parts, body: Bytes) -> Result<Response> {
        parts.headers.remove(header::HOST);
        parts.headers.remove(header::CONTENT_LENGTH);
        let answer = self
            .http
            .request(parts.method, format!("{}{}", self.url, parts.uri))
            .headers(parts.headers)
            .body(body)
            .send()
            .await?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        if let Some(kind) = answer.headers().get(header::CONTENT_TYPE) {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, kind.clone());
        }
        *response.body_mut() = answer.bytes().await?.into();
        Ok(response)
    }
}

/// A request in its parts.
pub async fn taken_apart(request: Request) -> Result<(Parts, Bytes)> {
    let (parts, body) = request.into_parts();
    Ok((parts, axum::body::to_bytes(body, usize::MAX).await?))
}

/// A proxy for transactions. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    between: Between,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    vizard: Onward,
    drops: Mutex<Drops>,
    /// Transactions with messages to devices.
    seen: AtomicU64,
    passed: AtomicU64,
    dropped: AtomicU64,
}

impl Proxy {
    /// Listens at a free port, for what is meant for `to`.
    pub async fn start(address: IpAddr, to: SocketAddr) -> Result<Self> {
        let shared = Arc::new(Shared {
            vizard: Onward::to(&format!("http://{to}")),
            drops: Mutex::default(),
            seen: AtomicU64::default(),
            passed: AtomicU64::default(),
            dropped: AtomicU64::default(),
        });
        let theirs = Arc::clone(&shared);
        let answer = move |request| Arc::clone(&theirs).answer(request);
        let between = Between::start(address, answer).await?;
        Ok(Self { between, shared })
    }

    /// Where the homeserver shall call.
    pub fn url(&self) -> &str {
        self.between.url()
    }

    /// What is left out from now on.
    pub fn drops(&self, drops: Drops) {
        *self
            .shared
            .drops
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = drops;
    }

    /// Messages to devices that were passed on.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }

    /// Messages to devices that were left out.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request) -> Result<Response> {
        let (parts, body) = taken_apart(request).await?;
        let body = self.filter(&body).unwrap_or(body);
        self.vizard.pass(parts, body).await
    }

    /// The body without what is to be left out; `None`: as it is.
    fn filter(&self, body: &[u8]) -> Option<Bytes> {
        let mut transaction: Value = serde_json::from_slice(body).ok()?;
        let fields = transaction.as_object_mut()?;
        let drops = *self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = fields.get(TO_DEVICE).and_then(Value::as_array);
        let messages = messages.map_or(0, Vec::len) as u64;
        let seen = if messages > 0 {
            self.seen.fetch_add(1, Ordering::SeqCst)
        } else {
            0
        };
        let dropped = match drops {
            Drops::Nothing => false,
            Drops::EveryOther => seen.is_multiple_of(2),
            Drops::ToDevice | Drops::AllHints => true,
        };
        let counter = if dropped { &self.dropped } else { &self.passed };
        counter.fetch_add(messages, Ordering::SeqCst);
        if dropped {
            fields.remove(TO_DEVICE);
        }
        if drops == Drops::AllHints {
            fields.retain(|name, _| name == "events");
        }
        Some(transaction.to_string().into())
    }
}

/// How often a line of metrics with these parts was counted.
pub fn counted(metrics: &str, parts: &[&str]) -> Result<u64> {
    let lines = metrics
        .lines()
        .filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)));
    lines
        .map(|line| {
            let number = line.rsplit(' ').next().context("a line without a number")?;
            Ok(number.parse::<u64>()?)
        })
        .sum()
}
