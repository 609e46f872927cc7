//! Keys, for anybody: this Vizard's document, what is pinned of others, and the page on which people seal addresses.

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use ruma::ServerName;
use serde_json::{Value, json};

use super::error::ApiError;

/// Nothing but what this listener serves may be loaded, asked or shown around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /_vizard/v1/server_keys`, `GET /.well-known/matrix/vizard`, `GET /seal/server_keys`.
pub(super) async fn own(State(state): State<super::State>) -> Response {
    document(state.keys.document().json())
}

/// `GET /_vizard/v1/server_keys/{server_name}`: what is pinned for another server that the admin named in the configuration, and
/// whether more than homeservers vouches for it; of this one, its document. Of any other there is nothing to see: that it is pinned,
/// and since when, would tell whom people here invite.
pub(super) async fn pinned(
    State(state): State<super::State>,
    Path(server): Path<String>,
) -> Result<Response, ApiError> {
    let server = <&ServerName>::try_from(server.as_str()).map_err(|_| ApiError::NoServerName)?;
    let own = state.keys.document();
    if own.server() == server {
        return Ok(document(&json!({ "document": own.json() })));
    }
    if !state.peers.is_named(server) {
        return Err(ApiError::NotFound);
    }
    let peer = state.peers.pinned(server).await.map_err(|error| {
        tracing::error!(%error, "pinned keys could not be read");
        ApiError::Storage
    })?;
    let peer = peer.ok_or(ApiError::NotFound)?;
    // What the configuration does not let count is not shown as if it did.
    let pinned = state.peers.counting(&peer).ok_or(ApiError::NotFound)?;
    Ok(document(&json!({
        "document": pinned.json(),
        "anchored": state.peers.is_anchored(&peer),
    })))
}

/// Public, for pages of any origin too, and never an old copy.
fn document(json: &Value) -> Response {
    let headers = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Json(json)).into_response()
}

/// `GET /seal`.
pub(super) async fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("seal/page.html"))
}

/// `GET /seal/app.js`.
pub(super) async fn script() -> Response {
    file(
        "text/javascript; charset=utf-8",
        include_str!("seal/app.js"),
    )
}

/// `GET /seal/style.css`.
pub(super) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("seal/style.css"))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (StatusCode::OK, headers, text).into_response()
}
