//! Prometheus metrics.

use axum::{Router, http::header::CONTENT_TYPE, routing};

pub(super) fn router(render: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
    Router::new().route(
        "/metrics",
        routing::get(move || async move {
            (
                [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
                render(),
            )
        }),
    )
}
