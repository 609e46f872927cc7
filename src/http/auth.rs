//! The homeserver's token, in the `Authorization` header alone, compared in constant time.

use std::sync::atomic::Ordering;

use axum::{
    extract::{Request, State},
    http::header::AUTHORIZATION,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::ApiError;

/// Lets a request with the right token pass.
pub(super) async fn check(
    State(state): State<super::State>,
    request: Request,
    next: Next,
) -> Response {
    let Some(shown) = request.headers().get(AUTHORIZATION) else {
        return ApiError::MissingToken.into_response();
    };
    let shown = shown.to_str().ok().and_then(|header| {
        let (scheme, token) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if !shown.is_some_and(|shown| same(shown, state.hs_token.expose())) {
        metrics::counter!("vizard_failures_total", "class" => "wrong_token").increment(1);
        return ApiError::WrongToken.into_response();
    }
    state.heard.store(state.clock.now(), Ordering::SeqCst);
    next.run(request).await
}

/// Compares hashes, so that neither content nor length shows in the time it takes.
fn same(one: &str, other: &str) -> bool {
    Sha256::digest(one).ct_eq(&Sha256::digest(other)).into()
}
