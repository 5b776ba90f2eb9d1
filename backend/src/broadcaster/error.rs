//! Errors of a purge before any Varnish was called, in OpenAI's envelope like the gateway's.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use serde_json::{Value, json};

use super::call::Failure;
use super::purge_request::MAX_TARGET_BYTES;
use super::report::{PurgeOutcome, Report};
use crate::http::error::{self, BUSY_RETRY_AFTER, NO_STORE};
use crate::http::headers::PURGE;
use crate::http::tags::TagError;

/// No Varnish was called. Each variant is one thing that the client can do about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum PurgeError {
    #[error("This service takes PURGE only.")]
    MethodNotAllowed,
    #[error("The token is missing or not known here.")]
    UnknownToken,
    #[error("The request's headers are larger than {limit} bytes.")]
    HeadersTooLarge { limit: usize },
    #[error("A PURGE has no body: tags belong in Surrogate-Key.")]
    BodyNotAllowed,
    #[error(
        "The path must begin with a slash, hold printable ASCII without quotes and backslashes, \
         and be no longer than {MAX_TARGET_BYTES} bytes."
    )]
    InvalidPath,
    #[error(transparent)]
    Tag(#[from] TagError),
    #[error("Too many purges are running. Try again.")]
    Busy,
    #[error("The backend was not purged, so no Varnish was: {0}. Try again.")]
    BackendFailed(Failure),
    #[error("The backend was purged, but there is no address of a Varnish. Try again.")]
    NoAddress,
    #[error("The broadcaster failed.")]
    Internal,
}

impl PurgeError {
    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownToken => StatusCode::UNAUTHORIZED,
            Self::HeadersTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyNotAllowed | Self::InvalidPath | Self::Tag(_) => StatusCode::BAD_REQUEST,
            Self::BackendFailed(_) => StatusCode::BAD_GATEWAY,
            Self::Busy | Self::NoAddress => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error's code in the envelope, for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UnknownToken => "invalid_token",
            Self::HeadersTooLarge { .. } => "headers_too_large",
            Self::BodyNotAllowed => "body_not_allowed",
            Self::InvalidPath => "invalid_path",
            Self::Tag(error) => error.code(),
            Self::Busy => "busy",
            Self::BackendFailed(_) => "backend_failed",
            Self::NoAddress => "no_address",
            Self::Internal => "internal_error",
        }
    }

    /// The outcome for the metrics.
    pub(super) fn outcome(&self) -> PurgeOutcome {
        match self {
            Self::Busy => PurgeOutcome::Busy,
            Self::BackendFailed(_) => PurgeOutcome::BackendFailed,
            Self::NoAddress => PurgeOutcome::NoAddress,
            _ => PurgeOutcome::Refused,
        }
    }

    fn body(&self) -> String {
        let error = error::object(self.status(), &self.to_string(), None, self.code());
        // With an empty report, so that clients can read totals from every answer.
        let body = match self.outcome() {
            PurgeOutcome::BackendFailed | PurgeOutcome::NoAddress => serde_json::to_value(Failed {
                report: Report::default(),
                error,
            }),
            _ => Ok(json!({ "error": error })),
        };
        body.unwrap_or_default().to_string()
    }
}

#[derive(Serialize)]
struct Failed {
    #[serde(flatten)]
    report: Report,
    error: Value,
}

impl IntoResponse for PurgeError {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, NO_STORE);
        match self {
            Self::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static(PURGE));
            }
            Self::Busy => {
                headers.insert(RETRY_AFTER, BUSY_RETRY_AFTER);
            }
            _ => {}
        }
        (self.status(), headers, self.body()).into_response()
    }
}
