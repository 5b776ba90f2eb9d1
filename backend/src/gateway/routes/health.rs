//! Probes for the kubelet, and metrics for Prometheus.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ALLOW, HeaderMap, HeaderValue};

use crate::gateway::app::App;
use crate::http::error::Error;
use crate::http::probes::{HEALTHZ, METRICS, READYZ, healthz, readiness};
use crate::telemetry::exposition::exposition;

/// The routes of [`crate::http::probes::PATHS`].
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(HEALTHZ, get(healthz))
        .route(READYZ, get(readyz))
        .route(METRICS, get(metrics))
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    readiness(app.is_ready())
}

async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    exposition(app.metrics.render(&app.gauges()), &headers)
}

/// Refuses methods other than GET and HEAD at these paths.
pub(crate) async fn only_read() -> Response {
    let mut answer = Error::MethodNotAllowed.into_response();
    let methods = HeaderValue::from_static("GET, HEAD");
    answer.headers_mut().insert(ALLOW, methods);
    answer
}
