//! Vizard's own listener: the application service API, and health. Metrics have a listener of their own.
//!
//! Handlers check the token, hand a transaction to the intake and answer; they decide nothing else.

mod appservice;
mod auth;
mod error;
mod health;
mod keys;
mod metrics;

use std::sync::{Arc, atomic::AtomicU64};

use axum::{Router, extract::DefaultBodyLimit, routing};

pub use health::Health;

use crate::{
    clock::Clock,
    config::Hidden,
    keys::{OwnKeys, Peers},
    peer::{SERVER_KEYS, WELL_KNOWN},
    worker::Intake,
};

/// What the handlers need.
#[derive(Clone, Debug)]
pub struct State {
    /// Takes transactions.
    pub intake: Intake,
    /// The token that the homeserver shows.
    pub hs_token: Arc<Hidden>,
    /// When the homeserver last called.
    pub heard: Arc<AtomicU64>,
    /// Time.
    pub clock: Clock,
    /// Whether Vizard is ready.
    pub health: Health,
    /// This Vizard's keys.
    pub keys: OwnKeys,
    /// Keys of others.
    pub peers: Peers,
    /// Whether there are sealed invites; without them neither keys nor the page are shown.
    pub invites: bool,
}

/// The routes of the application service listener.
pub fn router(state: State, max_body: usize) -> Router {
    let api = Router::new()
        .route(
            "/_matrix/app/v1/transactions/{txn}",
            routing::put(appservice::transaction),
        )
        .route(
            "/_matrix/app/v1/users/{user}",
            routing::get(appservice::unknown),
        )
        .route(
            "/_matrix/app/v1/rooms/{alias}",
            routing::get(appservice::unknown),
        )
        .route("/_matrix/app/v1/ping", routing::post(appservice::ping))
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            auth::check,
        ))
        .layer(DefaultBodyLimit::max(max_body));
    let public = if state.invites {
        public()
    } else {
        Router::new()
    };
    Router::new()
        .merge(api)
        .merge(public)
        .route("/health/live", routing::get(health::live))
        .route("/health/ready", routing::get(health::ready))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::wrong_method)
        .with_state(state)
}

/// The route of the metrics listener. `render` gives the text (Prometheus exposition format).
pub fn metrics_router(render: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
    metrics::router(render)
}

/// What anybody may read. A reverse proxy maps these paths of the server's name to this listener.
fn public() -> Router<State> {
    Router::new()
        .route(SERVER_KEYS, routing::get(keys::own))
        .route(WELL_KNOWN, routing::get(keys::own))
        .route(
            "/_vizard/v1/server_keys/{server}",
            routing::get(keys::pinned),
        )
        .route("/seal", routing::get(keys::page))
        .route("/seal/app.js", routing::get(keys::script))
        .route("/seal/style.css", routing::get(keys::style))
        .route("/seal/server_keys", routing::get(keys::own))
}
