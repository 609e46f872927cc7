//! Stands in for Vizard while the homeserver pings it, if Vizard is not running.
//!
//! Takes no transaction: what arrives meanwhile is answered 503, and the homeserver keeps it.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    routing::post,
};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::crypto::Secret;

#[derive(Clone)]
struct Shared {
    hs_token: Arc<Secret<String>>,
    wrong_token: Arc<AtomicBool>,
}

/// A listener that answers pings until it is dropped.
#[derive(Debug)]
pub(super) struct StandIn {
    server: JoinHandle<()>,
    wrong_token: Arc<AtomicBool>,
}

impl StandIn {
    /// Begins to listen.
    pub(super) async fn start(listen: SocketAddr, hs_token: &str) -> io::Result<Self> {
        Ok(Self::serve(TcpListener::bind(listen).await?, hs_token))
    }

    fn serve(listener: TcpListener, hs_token: &str) -> Self {
        let wrong_token = Arc::new(AtomicBool::new(false));
        let router = Router::new()
            .route("/_matrix/app/v1/ping", post(pong))
            .fallback(async || StatusCode::SERVICE_UNAVAILABLE)
            .with_state(Shared {
                hs_token: Arc::new(Secret::new(hs_token.to_owned())),
                wrong_token: wrong_token.clone(),
            });
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self {
            server,
            wrong_token,
        }
    }

    /// Whether the homeserver came with a token that is not ours.
    pub(super) fn saw_wrong_token(&self) -> bool {
        self.wrong_token.load(Ordering::Relaxed)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pong(State(shared): State<Shared>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    let wanted = shared.hs_token.expose();
    let right = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .is_some_and(|token| !wanted.is_empty() && token.ct_eq(wanted.as_bytes()).into());
    if right {
        (StatusCode::OK, Json(json!({})))
    } else {
        shared.wrong_token.store(true, Ordering::Relaxed);
        (
            StatusCode::FORBIDDEN,
            Json(json!({ "errcode": "M_FORBIDDEN", "error": "Bad token" })),
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    async fn status(address: SocketAddr, line: &str, token: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    #[tokio::test]
    async fn pings_are_answered_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stand_in = StandIn::serve(listener, "right");
        let ping = "POST /_matrix/app/v1/ping";
        assert_eq!(status(address, ping, "right").await, "200");
        assert!(!stand_in.saw_wrong_token());
        assert_eq!(status(address, ping, "wrong").await, "403");
        assert!(stand_in.saw_wrong_token());
        let transaction = "PUT /_matrix/app/v1/transactions/1";
        assert_eq!(status(address, transaction, "right").await, "503");
        let in_use = StandIn::start(address, "right").await.unwrap_err();
        assert_eq!(in_use.kind(), io::ErrorKind::AddrInUse);
    }
}
