//! The answers to the kubelet's probes, and the paths for the kubelet and for Prometheus.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CACHE_CONTROL;

use crate::http::error::NO_STORE;

/// Whether the process lives.
pub const HEALTHZ: &str = "/healthz";

/// Whether the process takes requests.
pub const READYZ: &str = "/readyz";

/// The counters of the process.
pub const METRICS: &str = "/metrics";

/// All three.
pub const PATHS: [&str; 3] = [HEALTHZ, READYZ, METRICS];

/// `GET /healthz`: the process answers. It checks nothing else: a restart mends no upstream.
pub async fn healthz() -> Response {
    ([(CACHE_CONTROL, NO_STORE)], "ok\n").into_response()
}

/// `GET /readyz`: 503 once the process shuts down. Behind the first line there may be remarks for
/// people, one a line.
pub fn readiness(ready: bool, remarks: &str) -> Response {
    let (status, text) = match ready {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    };
    let body = format!("{text}{remarks}");
    (status, [(CACHE_CONTROL, NO_STORE)], body).into_response()
}
