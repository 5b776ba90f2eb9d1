//! The status page's figures: totals, the health of the tiers, recent errors.
//!
//! Every figure is read back from the text of `/metrics`, so that nothing is counted twice. None
//! holds a client's text, not even a model's name.

mod errors;
mod samples;

use std::hash::{BuildHasher, RandomState};

use serde::Serialize;
use tokio::time::Instant;

use self::errors::RecentErrors;
pub use self::errors::{ErrorKind, RecentError};
use self::samples::Samples;
use crate::config::build::VERSION;
use crate::config::{StatusPage, StorePlace};
use crate::embeddings::clock;

/// The kind of a store that is not configured.
const NO_STORE: &str = "none";

/// What the page needs besides the metrics.
#[derive(Debug)]
pub struct StatusState {
    started: Instant,
    replica: String,
    token_price: f64,
    store: &'static str,
    errors: RecentErrors,
}

/// All figures of the page, as JSON.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Status<'a> {
    /// A random id of this process: behind one address there may be several.
    pub replica: &'a str,
    pub version: &'static str,
    pub ready: bool,
    pub uptime_seconds: u64,
    /// The gateway's time, against which the page shows the errors' ages.
    pub now_ms: u64,
    /// In dollars for a million tokens, until the viewer sets another price.
    pub token_price: f64,
    pub inputs: Inputs,
    pub tokens: Tokens,
    pub requests: Requests,
    pub memory: MemoryStatus,
    pub store: StoreStatus,
    pub upstream: UpstreamStatus,
    pub errors: Vec<RecentError>,
}

/// Inputs by where their vectors came from.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Inputs {
    pub memory: u64,
    pub store: u64,
    pub collapsed: u64,
    pub repeat: u64,
    pub miss: u64,
}

/// Tokens of embeddings calls, of all models together.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Tokens {
    pub nominal: u64,
    pub billed: u64,
    pub saved: u64,
}

/// Requests that have ended, and those that run now.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Requests {
    pub embeddings: u64,
    pub passthrough: u64,
    pub in_flight: u64,
}

/// The memory tier.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MemoryStatus {
    pub bytes: u64,
    pub limit_bytes: u64,
    pub entries: u64,
}

/// The store.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StoreStatus {
    /// `s3`, `directory`, `memory` or `none`.
    pub kind: &'static str,
    /// `closed` (in use), `open` (not used) or `half_open` (one operation tries).
    pub breaker: &'static str,
    pub operations: u64,
    /// Operations that timed out, or that the store refused or could not be reached for.
    pub failed: u64,
    pub writes_pending: u64,
    pub writes_dropped: u64,
}

/// Embeddings calls to the upstream.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct UpstreamStatus {
    pub calls: u64,
    /// Calls without vectors.
    pub failed: u64,
    /// Failed calls that no client caused.
    pub faulty: u64,
    /// The duration of all calls together.
    pub seconds: f64,
}

impl StatusState {
    /// A state without errors.
    pub fn new(page: &StatusPage, store: Option<&StorePlace>) -> Self {
        let number = RandomState::new().hash_one(clock::unix_ms());
        Self {
            started: Instant::now(),
            replica: format!("{number:016x}"),
            token_price: page.token_price,
            store: store.map_or(NO_STORE, StorePlace::kind),
            errors: RecentErrors::default(),
        }
    }

    /// Notes an answer that was an error.
    pub fn note(&self, kind: ErrorKind) {
        self.errors.note(kind, clock::unix_ms());
    }

    /// The figures as of now, from the text of `/metrics`.
    pub fn read(&self, metrics: &str, ready: bool) -> Status<'_> {
        let samples = Samples::parse(metrics);
        Status {
            replica: &self.replica,
            version: VERSION,
            ready,
            uptime_seconds: self.started.elapsed().as_secs(),
            now_ms: clock::unix_ms(),
            token_price: self.token_price,
            inputs: Inputs::read(&samples),
            tokens: Tokens::read(&samples),
            requests: Requests::read(&samples),
            memory: MemoryStatus::read(&samples),
            store: StoreStatus::read(&samples, self.store),
            upstream: UpstreamStatus::read(&samples),
            errors: self.errors.latest_first(),
        }
    }
}

impl Inputs {
    fn read(samples: &Samples<'_>) -> Self {
        let inputs = |outcome| samples.count("inputs_total", &[("outcome", outcome)]);
        Self {
            memory: inputs("memory"),
            store: inputs("store"),
            collapsed: inputs("collapsed"),
            repeat: inputs("repeat"),
            miss: inputs("miss"),
        }
    }
}

impl Tokens {
    fn read(samples: &Samples<'_>) -> Self {
        Self {
            nominal: samples.count("nominal_tokens_total", &[]),
            billed: samples.count("billed_tokens_total", &[]),
            saved: samples.count("saved_tokens_total", &[]),
        }
    }
}

impl Requests {
    fn read(samples: &Samples<'_>) -> Self {
        let requests = |route| samples.count("requests_total", &[("route", route)]);
        Self {
            embeddings: requests("embeddings"),
            passthrough: requests("passthrough"),
            in_flight: samples.count("in_flight_requests", &[]),
        }
    }
}

impl MemoryStatus {
    fn read(samples: &Samples<'_>) -> Self {
        Self {
            bytes: samples.count("memory_bytes", &[]),
            limit_bytes: samples.count("memory_limit_bytes", &[]),
            entries: samples.count("memory_entries", &[]),
        }
    }
}

impl StoreStatus {
    fn read(samples: &Samples<'_>, kind: &'static str) -> Self {
        let operations = |result| samples.count("store_operations_total", &[("result", result)]);
        let is = |state| samples.count("store_breaker_state", &[("state", state)]) > 0;
        let tried = ["ok", "absent", "unusable", "timeout", "failed"];
        let states = ["open", "half_open"];
        Self {
            kind,
            breaker: states
                .into_iter()
                .find(|&state| is(state))
                .unwrap_or("closed"),
            operations: tried.into_iter().map(operations).sum(),
            failed: operations("timeout") + operations("failed"),
            writes_pending: samples.count("store_writes_pending", &[]),
            writes_dropped: samples.count("store_writes_dropped_total", &[]),
        }
    }
}

impl UpstreamStatus {
    fn read(samples: &Samples<'_>) -> Self {
        let calls = samples.count("upstream_calls_total", &[]);
        let good = samples.count("upstream_calls_total", &[("result", "200")]);
        Self {
            calls,
            failed: calls.saturating_sub(good),
            faulty: samples.count_where("upstream_calls_total", "result", is_fault),
            seconds: samples.sum("upstream_call_duration_seconds_sum", &[]),
        }
    }
}

/// Whether a result is a fault of the upstream, rather than its refusal of a wrong request.
fn is_fault(result: &str) -> bool {
    result == "429" || !result.starts_with(['2', '4'])
}
