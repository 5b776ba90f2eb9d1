//! The stand-in's own routes: `/stats`, `/faults`, `/keys`, `/vectors` and `/rate`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use crate::Standin;
use crate::answer::JSON;
use crate::faults::Faults;
use crate::keys::Keys;
use crate::rate::Rate;
use crate::variant::Variant;

type Shared = State<Arc<Standin>>;

/// `GET /stats`.
pub(crate) async fn read_stats(State(standin): Shared) -> Response {
    tell(&standin.stats.read())
}

/// `DELETE /stats`.
pub(crate) async fn reset_stats(State(standin): Shared) -> StatusCode {
    standin.stats.reset();
    StatusCode::NO_CONTENT
}

/// `GET /faults`.
pub(crate) async fn read_faults(State(standin): Shared) -> Response {
    tell(&copy(&standin.faults))
}

/// `PUT /faults`: one fault or a list, in place of all that were set.
pub(crate) async fn set_faults(State(standin): Shared, body: Bytes) -> Response {
    set(&standin.faults, Faults::parse(&body))
}

/// `DELETE /faults`.
pub(crate) async fn clear_faults(State(standin): Shared) -> Response {
    set(&standin.faults, Ok(Faults::default()))
}

/// `GET /keys`.
pub(crate) async fn read_keys(State(standin): Shared) -> Response {
    tell(&copy(&standin.keys))
}

/// `PUT /keys`: in place of all that was set.
pub(crate) async fn set_keys(State(standin): Shared, body: Bytes) -> Response {
    set(&standin.keys, serde_json::from_slice(&body))
}

/// `DELETE /keys`.
pub(crate) async fn clear_keys(State(standin): Shared) -> Response {
    set(&standin.keys, Ok(Keys::default()))
}

/// `GET /vectors`.
pub(crate) async fn read_variant(State(standin): Shared) -> Response {
    tell(&copy(&standin.variant))
}

/// `PUT /vectors`: in place of all that was set.
pub(crate) async fn set_variant(State(standin): Shared, body: Bytes) -> Response {
    set(&standin.variant, serde_json::from_slice(&body))
}

/// `DELETE /vectors`.
pub(crate) async fn clear_variant(State(standin): Shared) -> Response {
    set(&standin.variant, Ok(Variant::default()))
}

/// `GET /rate`.
pub(crate) async fn read_rate(State(standin): Shared) -> Response {
    tell(&copy(&standin.rate))
}

/// `PUT /rate`: in place of all that was set.
pub(crate) async fn set_rate(State(standin): Shared, body: Bytes) -> Response {
    set(&standin.rate, serde_json::from_slice(&body))
}

/// `DELETE /rate`.
pub(crate) async fn clear_rate(State(standin): Shared) -> Response {
    set(&standin.rate, Ok(Rate::default()))
}

fn tell(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(json) => ([("content-type", JSON)], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn copy<T: Clone>(shared: &Mutex<T>) -> T {
    shared
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Stores what was parsed and tells it back; a mistake is told at once, not found out later.
fn set<T: Clone + Serialize>(shared: &Mutex<T>, parsed: Result<T, serde_json::Error>) -> Response {
    match parsed {
        Ok(value) => {
            shared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&value);
            tell(&value)
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
