//! How errors are written: in OpenAI's envelope, or in the upstream's own words.

use axum::Extension;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

use super::{BUSY_RETRY_AFTER, Code, Error, NO_STORE, seconds};

/// The value of `error` in OpenAI's envelope.
pub(crate) fn object(status: StatusCode, message: &str, param: Option<&str>, code: &str) -> Value {
    let kind = match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "server_error",
    };
    json!({ "message": message, "type": kind, "param": param, "code": code })
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (mut headers, body) = match &self {
            Self::Refused(refusal) => (refusal.headers.clone(), refusal.body.clone()),
            own => (own.headers(), own.envelope()),
        };
        headers.insert(CACHE_CONTROL, NO_STORE);
        let code = Extension(Code(self.code()));
        // As a `Body`: for bytes axum would set a content type where the upstream sent none.
        (self.status(), code, headers, Body::from(body)).into_response()
    }
}

impl Error {
    fn envelope(&self) -> Bytes {
        let param = match self {
            Self::TooManyInputs { .. } | Self::InputTooLarge { .. } | Self::InputRefused { .. } => {
                Some("input")
            }
            Self::ModelNotAllowed => Some("model"),
            _ => None,
        };
        let mut message = self.to_string();
        if let Self::InputRefused { refusal, .. } = self
            && let Some(words) = refusal.words()
        {
            message = format!("{message} {words}");
        }
        let error = object(self.status(), &message, param, self.code());
        json!({ "error": error }).to_string().into()
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Self::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            Self::Busy | Self::NoRoom => {
                headers.insert(RETRY_AFTER, BUSY_RETRY_AFTER);
            }
            Self::RateLimited { retry_after } => {
                headers.insert(RETRY_AFTER, seconds(*retry_after).into());
            }
            Self::InputRefused { refusal, .. } => {
                let told = refusal.headers.iter();
                let told = told.filter(|(name, _)| *name != CONTENT_TYPE);
                headers.extend(told.map(|(name, value)| (name.clone(), value.clone())));
            }
            _ => {}
        }
        headers
    }
}
