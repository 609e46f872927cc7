//! Health, for supervisors: `/health/live` while the process answers, `/health/ready` while it can do its work.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use crate::store::Store;

/// Whether Vizard is ready.
#[derive(Clone, Debug)]
pub struct Health {
    store: Store,
    started: Arc<AtomicBool>,
}

impl Health {
    /// Not ready yet.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            started: Arc::default(),
        }
    }

    /// The bot exists and lanes run.
    pub fn started(&self) {
        self.started.store(true, Ordering::SeqCst);
    }

    /// It is about to stop.
    pub fn stopping(&self) {
        self.started.store(false, Ordering::SeqCst);
    }
}

pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

pub(super) async fn ready(State(state): State<super::State>) -> (StatusCode, Json<Value>) {
    if !state.health.started.load(Ordering::SeqCst) {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "starting or stopping"})),
        );
    }
    if state.health.store.ping().await.is_err() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "the database does not answer"})),
        );
    }
    (StatusCode::OK, Json(json!({"status": "ready"})))
}
