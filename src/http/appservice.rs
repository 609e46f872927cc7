//! The application service API (Matrix specification, Application Service API, v1).

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
};
use serde_json::{Value, json};

use super::error::ApiError;
use crate::worker::Refused;

/// `PUT /_matrix/app/v1/transactions/{txnId}`. The number is not looked at: the homeserver may send an old one again after
/// newer ones, so events are told apart by their ids.
pub(super) async fn transaction(
    State(state): State<super::State>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ApiError> {
    let body = body.map_err(|rejection| ApiError::Body(rejection.status()))?;
    match state.intake.accept(body.into()).await {
        Ok(()) => Ok(Json(json!({}))),
        Err(Refused::NotJson) => Err(ApiError::NotJson),
        Err(Refused::Store(error)) => {
            tracing::error!(%error, "a transaction could not be stored; the homeserver will send it again");
            Err(ApiError::Storage)
        }
    }
}

/// `GET /_matrix/app/v1/users/{userId}` and `/rooms/{roomAlias}`: always unknown, so that nothing can be probed into
/// existence.
pub(super) async fn unknown() -> ApiError {
    ApiError::NotFound
}

/// `POST /_matrix/app/v1/ping`.
pub(super) async fn ping() -> Json<Value> {
    Json(json!({}))
}
