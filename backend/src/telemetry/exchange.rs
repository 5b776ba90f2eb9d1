//! One request from its head to the last byte of its answer: counted and logged when it ends,
//! however it ends.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode, Uri};
use tokio::time::Instant;

use super::logging::REQUEST_TARGET;
use super::trace_id::TraceId;
use super::{Metrics, Route};
use crate::resolve::Tally;

/// What nginx logs for a client that went away before it got an answer.
const CLIENT_GONE: u16 = 499;

/// Of a longer path no more is logged.
const MAX_PATH_BYTES: usize = 256;

/// A request that is being answered. Its end is its drop.
#[derive(Debug)]
pub struct Exchange {
    metrics: Arc<Metrics>,
    route: Route,
    method: Method,
    uri: Uri,
    trace_id: Option<TraceId>,
    began: Instant,
    status: Option<StatusCode>,
    facts: Option<Facts>,
    bytes: u64,
    complete: bool,
}

/// What an answer with vectors tells about itself: a member of its extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its different inputs by where their vectors came from.
    pub tally: Tally,
    /// Inputs that only repeat another one.
    pub repeats: usize,
    /// What it is worth.
    pub nominal_tokens: u64,
    /// What it cost.
    pub billed_tokens: u64,
    /// How long the request waited for the upstream.
    pub waited: Duration,
}

impl Exchange {
    /// A request has begun.
    pub fn begin<B>(metrics: &Arc<Metrics>, route: Route, request: &Request<B>) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            route,
            method: request.method().clone(),
            uri: request.uri().clone(),
            trace_id: TraceId::of(request.headers()),
            began: Instant::now(),
            status: None,
            facts: None,
            bytes: 0,
            complete: false,
        }
    }

    /// Its answer has begun.
    pub fn answer(&mut self, status: StatusCode, facts: Option<Facts>) {
        self.status = Some(status);
        self.facts = facts;
    }

    /// Its answer has gone on by so many bytes.
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Its answer is complete.
    pub fn complete(mut self) {
        self.complete = true;
    }

    fn log(&self, status: u16, duration: Duration) {
        let facts = self.facts.as_ref();
        tracing::info!(
            target: REQUEST_TARGET,
            method = name(&self.method),
            path = path(&self.uri),
            status,
            duration_ms = duration.as_micros() as f64 / 1000.0,
            bytes = self.bytes,
            cut_off = (!self.complete).then_some(true),
            memory = facts.map(|facts| facts.tally.memory),
            store = facts.map(|facts| facts.tally.store),
            miss = facts.map(|facts| facts.tally.miss),
            collapsed = facts.map(|facts| facts.tally.collapsed),
            repeat = facts.map(|facts| facts.repeats),
            nominal_tokens = facts.map(|facts| facts.nominal_tokens),
            billed_tokens = facts.map(|facts| facts.billed_tokens),
            trace_id = self.trace_id.as_ref().map(TraceId::as_str),
            "request"
        );
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let duration = self.began.elapsed();
        let status = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        self.metrics.count_request(self.route, status, duration);
        if let Some(facts) = &self.facts {
            let added = duration.saturating_sub(facts.waited);
            self.metrics.added_latency.observe(added);
        }
        self.log(status, duration);
    }
}

/// A method that we know; a client may call its own as it likes.
fn name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PURGE" => "PURGE",
        _ => "_OTHER",
    }
}

/// The path without the query, which may hold a key.
fn path(uri: &Uri) -> &str {
    let path = uri.path();
    &path[..path.floor_char_boundary(MAX_PATH_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_between_characters() {
        let long: Uri = format!("/{}", "é".repeat(200)).parse().unwrap();
        assert_eq!(path(&long).len(), MAX_PATH_BYTES - 1);
        assert_eq!(path(&Uri::from_static("/v1/x?key=secret")), "/v1/x");
    }

    #[test]
    fn unknown_methods_have_no_name() {
        assert_eq!(name(&Method::POST), "POST");
        assert_eq!(name(&Method::from_bytes(b"secret").unwrap()), "_OTHER");
    }
}
