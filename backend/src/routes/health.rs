//! Whether we live, whether we want work, and what we counted.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::app::App;
use crate::error::{Error, NO_STORE};
use crate::telemetry::classic;

/// The `OpenMetrics` text format.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// The text format before it.
const CLASSIC: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What is asked for by kubelets and scrapers.
pub const PATHS: [&str; 3] = [HEALTHZ, READYZ, METRICS];
pub(crate) const HEALTHZ: &str = "/healthz";
pub(crate) const READYZ: &str = "/readyz";
pub(crate) const METRICS: &str = "/metrics";

/// Their routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(HEALTHZ, get(healthz))
        .route(READYZ, get(readyz))
        .route(METRICS, get(metrics))
}

/// `GET /healthz`: the process answers. Nothing else is looked at: a restart mends no upstream.
pub async fn healthz() -> Response {
    ([(CACHE_CONTROL, NO_STORE)], "ok\n").into_response()
}

/// `GET /readyz`: 503 as soon as we shut down.
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    readiness(app.is_ready())
}

/// `GET /metrics`: all counters.
pub async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    exposition(app.metrics.render(&app.gauges()), &headers)
}

/// Whatever is only to be looked at is asked for otherwise.
pub(crate) async fn only_read() -> Response {
    let mut answer = Error::MethodNotAllowed.into_response();
    let methods = HeaderValue::from_static("GET, HEAD");
    answer.headers_mut().insert(ALLOW, methods);
    answer
}

pub(crate) fn readiness(ready: bool) -> Response {
    let (status, text) = match ready {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    };
    (status, [(CACHE_CONTROL, NO_STORE)], text).into_response()
}

/// Who accepts text and not `OpenMetrics` gets the older format: older scrapers, and browsers,
/// which do not show the newer one but save it as a file.
pub(crate) fn exposition(page: String, request: &HeaderMap) -> Response {
    let accepted = request.get_all(ACCEPT).iter();
    let accepted: Vec<_> = accepted.filter_map(|value| value.to_str().ok()).collect();
    let accepts = |kind: &str| accepted.iter().any(|value| value.contains(kind));
    let text = accepts("text/plain") || accepts("text/html");
    let (kind, page) = match text && !accepts("application/openmetrics-text") {
        true => (CLASSIC, classic::from_open_metrics(&page)),
        false => (OPEN_METRICS, page),
    };
    ([(CACHE_CONTROL, NO_STORE), (CONTENT_TYPE, kind)], page).into_response()
}
