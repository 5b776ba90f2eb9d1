//! One request from its head to the last byte of its answer: counted and logged when it ends,
//! however it ends.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode, Uri};
use tokio::time::Instant;

use super::request_line::RequestLine;
use super::semantics::{self, attribute, method_name, path, span_name};
use super::spans::{Trace, Tracer};
use super::trace_id::TraceId;
use super::{Bypass, Metrics, Route};
use crate::http::paths::EMBEDDINGS;
use crate::telemetry::Tally;

/// What nginx logs for a client that went away before it got an answer.
const CLIENT_GONE: u16 = 499;

/// A running request. Its drop ends it. Boxed, because it goes along with the request and then with
/// its answer.
#[derive(Debug)]
pub struct RequestRecord {
    metrics: Arc<Metrics>,
    route: Route,
    method: Method,
    /// `None` where the route has one path.
    uri: Option<Uri>,
    trace: Trace,
    trace_id: Option<TraceId>,
    began: Instant,
    status: Option<StatusCode>,
    outcome: Option<EmbeddingOutcome>,
    bypass: Option<Bypass>,
    bytes: u64,
    complete: bool,
}

/// What the log, the metrics and the trace say about an answer with vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbeddingOutcome {
    /// Its different inputs by where their vectors came from.
    pub tally: Tally,
    /// Inputs that only repeat another one.
    pub repeats: usize,
    /// What it would have cost without a cache.
    pub nominal_tokens: u64,
    /// What the upstream charged.
    pub billed_tokens: u64,
    /// How long the request waited for the upstream and for the client.
    pub waited: Duration,
}

impl RequestRecord {
    /// Begins the record of a request, and its trace if the tracer samples it.
    pub fn begin<B>(
        metrics: &Arc<Metrics>,
        tracer: Option<&Arc<Tracer>>,
        route: Route,
        request: &Request<B>,
    ) -> Box<Self> {
        let (trace, trace_id) = match tracer {
            Some(tracer) => {
                let (trace, id) = trace(tracer, route, request);
                (trace, Some(id))
            }
            None => (Trace::default(), TraceId::of(request.headers())),
        };
        Box::new(Self {
            metrics: Arc::clone(metrics),
            route,
            method: request.method().clone(),
            uri: (route != Route::Embeddings).then(|| request.uri().clone()),
            trace,
            trace_id,
            began: Instant::now(),
            status: None,
            outcome: None,
            bypass: None,
            bytes: 0,
            complete: false,
        })
    }

    /// The request's trace.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Notes that the answer has begun.
    pub fn answer(&mut self, status: StatusCode, outcome: Option<EmbeddingOutcome>) {
        self.status = Some(status);
        self.outcome = outcome;
    }

    /// It goes past the cache.
    pub fn bypass(&mut self, reason: Bypass) {
        self.bypass = Some(reason);
    }

    /// Its answer has gone on by so many bytes.
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Excludes client backpressure from the added latency.
    pub fn add_wait(&mut self, waited: Duration) {
        if let Some(outcome) = &mut self.outcome {
            outcome.waited += waited;
        }
    }

    /// Ends the record of a complete answer.
    pub fn complete(mut self) {
        self.complete = true;
    }

    fn log(&self, status: u16, duration: Duration) {
        let line = RequestLine {
            method: method_name(&self.method),
            path: self.uri.as_ref().map_or(EMBEDDINGS, path),
            status,
            duration,
            bytes: self.bytes,
            complete: self.complete,
            outcome: self.outcome.as_ref(),
            bypass: self.bypass,
            trace_id: self.trace_id.as_ref().map(TraceId::as_str),
        };
        line.log();
    }

    fn end_trace(&self) {
        if let Some(outcome) = &self.outcome {
            self.trace.describe(|| semantics::outcome(outcome));
        }
        match self.status {
            Some(status) => {
                let status = status.as_u16();
                self.trace.describe(|| [semantics::status(status)]);
                if status >= 500 {
                    self.trace.fail(&status.to_string());
                }
            }
            None => self
                .trace
                .describe(|| [attribute("error.type", "client_gone")]),
        }
        self.trace.end();
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let duration = self.began.elapsed();
        let status = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        self.metrics.count_request(self.route, status, duration);
        if let Some(outcome) = &self.outcome {
            let added = duration.saturating_sub(outcome.waited);
            self.metrics.added_latency.observe(added);
        }
        self.log(status, duration);
        self.end_trace();
    }
}

fn trace<B>(tracer: &Arc<Tracer>, route: Route, request: &Request<B>) -> (Trace, TraceId) {
    let method = span_name(request.method());
    let (trace, id) = tracer.trace(method, request.headers());
    trace.describe(|| semantics::request(route, request));
    if let Some(template) = semantics::route_template(route) {
        trace.rename(|| format!("{method} {template}"));
    }
    (trace, id)
}
