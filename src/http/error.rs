//! Errors of the listener, as Matrix writes them.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// An answer that is not success.
#[derive(Clone, Copy, Debug)]
pub(super) enum ApiError {
    /// No `Authorization` header.
    MissingToken,
    /// Not the registration's `hs_token`.
    WrongToken,
    /// The body is too large or broke off.
    Body(StatusCode),
    /// The body is not a transaction.
    NotJson,
    /// It could not be stored.
    Storage,
    /// What should be a server's name is none.
    NoServerName,
    /// There is no such user, room or path.
    NotFound,
    /// The path exists, the method does not.
    WrongMethod,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, errcode, error) = match self {
            Self::MissingToken => (
                StatusCode::UNAUTHORIZED,
                "M_UNAUTHORIZED",
                "the Authorization header is missing",
            ),
            Self::WrongToken => (
                StatusCode::FORBIDDEN,
                "M_FORBIDDEN",
                "the token is not this registration's hs_token",
            ),
            Self::Body(StatusCode::PAYLOAD_TOO_LARGE) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "M_TOO_LARGE",
                "the body is larger than appservice.max_body",
            ),
            Self::Body(status) => (status, "M_UNKNOWN", "the body could not be read"),
            Self::NotJson => (
                StatusCode::BAD_REQUEST,
                "M_NOT_JSON",
                "the body is not a transaction",
            ),
            Self::Storage => (
                StatusCode::SERVICE_UNAVAILABLE,
                "M_UNKNOWN",
                "the transaction could not be stored; send it again",
            ),
            Self::NoServerName => (
                StatusCode::BAD_REQUEST,
                "M_INVALID_PARAM",
                "that is not a server name",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "M_NOT_FOUND", "not found"),
            Self::WrongMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                "M_UNRECOGNIZED",
                "this path does not take that method",
            ),
        };
        (status, Json(json!({"errcode": errcode, "error": error}))).into_response()
    }
}

pub(super) async fn not_found() -> ApiError {
    ApiError::NotFound
}

pub(super) async fn wrong_method() -> ApiError {
    ApiError::WrongMethod
}
