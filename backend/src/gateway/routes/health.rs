//! Probes for the kubelet, and metrics for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ALLOW, HeaderMap, HeaderValue};

use crate::gateway::app::App;
use crate::http::error::Error;
use crate::http::probes::{HEALTHZ, METRICS, READYZ, healthz, readiness};
use crate::telemetry::exposition::exposition;
use crate::telemetry::{BreakerState, Gauges};

/// Purges of other gateways that may be older than this are worth a remark.
const PURGES_LATE: Duration = Duration::from_secs(30);

/// The routes of [`crate::http::probes::PATHS`].
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(HEALTHZ, get(healthz))
        .route(READYZ, get(readyz))
        .route(METRICS, get(metrics))
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    readiness(app.is_ready(), &remarks(&app.gauges()))
}

/// What is amiss with the store, a line each. It makes no gateway unready: every request is
/// answered without a store too, and no replica would be left.
fn remarks(gauges: &Gauges) -> String {
    let Some(store) = &gauges.store else {
        return String::new();
    };
    let mut remarks = String::new();
    if let Some(rights) = store.rights.filter(|rights| !rights.are_complete()) {
        remarks.push_str(&format!("store: cannot {}\n", rights.missing()));
    }
    for (what, state) in [("reads", store.reads), ("writes", store.writes)] {
        if state != BreakerState::Closed {
            remarks.push_str(&format!("store: {what} fail, left alone\n"));
        }
    }
    if let Some(age) = store.purges_age.filter(|age| *age > PURGES_LATE) {
        remarks.push_str(&format!("purges: not listed for {} s\n", age.as_secs()));
    }
    remarks
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
