//! The endpoint-broadcaster: one PURGE, for the backend and every Varnish behind a name.
//!
//! [`build_router`] makes the service of a [`Broadcaster`]. It keeps no list: it resolves the names
//! anew for each purge.

mod call;
pub mod config;
mod discovery;
mod error;
mod fanout;
mod metrics;
mod purge_request;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{HeaderMap, InvalidHeaderValue};
use http::request::Parts;
use http_body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::config::BroadcasterConfig;
use self::error::PurgeError;
use self::fanout::Fanout;
use self::metrics::FanoutMetrics;
use self::purge_request::Purge;
use self::report::{PurgeOutcome, Report};
use crate::config::PurgeRule;
use crate::http::headers;
use crate::http::headers::PURGE;
use crate::http::probes::{self, HEALTHZ, METRICS, READYZ};
use crate::telemetry::exposition::exposition;
use crate::telemetry::labels::Label as _;

/// The state that all requests share.
#[derive(Debug)]
pub struct Broadcaster {
    rule: PurgeRule,
    header_bytes: usize,
    permits: Arc<Semaphore>,
    fanout: Fanout,
    metrics: FanoutMetrics,
    tracker: TaskTracker,
    draining: AtomicBool,
}

impl Broadcaster {
    /// A broadcaster as configured. It opens no connections.
    pub fn new(config: BroadcasterConfig) -> Result<Arc<Self>, InvalidHeaderValue> {
        Ok(Arc::new(Self {
            fanout: Fanout::new(&config)?,
            rule: config.purge,
            header_bytes: config.connections.header_bytes,
            permits: Arc::new(Semaphore::new(config.concurrent_purges)),
            metrics: FanoutMetrics::new(),
            tracker: TaskTracker::new(),
            draining: AtomicBool::new(false),
        }))
    }

    /// Makes `/readyz` fail, so that the kubelet takes the pod out of its Service.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Waits for purges that outlive their clients' connections.
    pub async fn finish(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn admit(
        &self,
        request: &Parts,
        body: &Body,
    ) -> Result<(Purge, OwnedSemaphorePermit), PurgeError> {
        let limit = self.header_bytes;
        if headers::size(&request.headers) > limit {
            return Err(PurgeError::HeadersTooLarge { limit });
        }
        if !self.rule.admits(&request.headers) {
            return Err(PurgeError::UnknownToken);
        }
        if !body.is_end_stream() {
            return Err(PurgeError::BodyNotAllowed);
        }
        let purge = Purge::new(request)?;
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        Ok((purge, permit.map_err(|_| PurgeError::Busy)?))
    }

    fn count(&self, ended: &Result<Report, PurgeError>) {
        self.metrics.count(outcome(ended));
        if let Ok(report) = ended {
            self.metrics.observe(report);
        }
    }
}

/// The whole service.
pub fn build_router(broadcaster: Arc<Broadcaster>) -> Router {
    Router::new()
        .route(HEALTHZ, get(probes::healthz).fallback(refuse_method))
        .route(READYZ, get(readyz).fallback(refuse_method))
        .route(METRICS, get(metrics).fallback(refuse_method))
        .fallback(refuse_method)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&broadcaster),
            take_purge,
        ))
        .with_state(broadcaster)
}

async fn refuse_method() -> PurgeError {
    PurgeError::MethodNotAllowed
}

async fn readyz(State(broadcaster): State<Arc<Broadcaster>>) -> Response {
    probes::readiness(!broadcaster.draining.load(Ordering::Relaxed), "")
}

async fn metrics(State(broadcaster): State<Arc<Broadcaster>>, headers: HeaderMap) -> Response {
    exposition(broadcaster.metrics.render(), &headers)
}

/// Takes every `PURGE`, at any path.
async fn take_purge(
    State(broadcaster): State<Arc<Broadcaster>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().as_str() != PURGE {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let ended = match broadcaster.admit(&parts, &body) {
        Ok((purge, permit)) => run(broadcaster, purge, permit).await,
        Err(refusal) => {
            tracing::warn!(code = refusal.code(), "PURGE refused");
            let ended = Err(refusal);
            broadcaster.count(&ended);
            ended
        }
    };
    ended.into_response()
}

/// Runs to its end even if the client hangs up: half a purge is worse than none.
async fn run(
    broadcaster: Arc<Broadcaster>,
    purge: Purge,
    permit: OwnedSemaphorePermit,
) -> Result<Report, PurgeError> {
    let tracker = broadcaster.tracker.clone();
    let running = tracker.spawn(async move {
        let began = Instant::now();
        let ended = broadcaster.fanout.run(&purge).await;
        tell(&purge, &ended, began);
        broadcaster.count(&ended);
        drop(permit);
        ended
    });
    running.await.unwrap_or(Err(PurgeError::Internal))
}

fn outcome(ended: &Result<Report, PurgeError>) -> PurgeOutcome {
    match ended {
        Ok(report) => report.outcome(),
        Err(refusal) => refusal.outcome(),
    }
}

/// Logs one line for each fan-out, without the query, which may hold a key.
fn tell(purge: &Purge, ended: &Result<Report, PurgeError>, began: Instant) {
    let (path, tags, all) = (purge.target.path(), purge.tags(), purge.is_all());
    let duration_ms = began.elapsed().as_millis();
    let outcome = outcome(ended).value();
    match ended {
        Ok(report) if report.failed == 0 => {
            let total = report.total;
            tracing::info!(outcome, path, tags, all, total, duration_ms, "purged");
        }
        Ok(report) => {
            let (success, failed, failures) = (report.success, report.failed, report.failures());
            tracing::warn!(
                outcome,
                path,
                tags,
                all,
                success,
                failed,
                failures,
                duration_ms,
                "not purged everywhere"
            );
        }
        Err(error) => {
            tracing::warn!(outcome, path, tags, all, %error, duration_ms, "not purged");
        }
    }
}
