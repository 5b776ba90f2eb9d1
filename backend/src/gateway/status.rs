//! The status page's figures: totals, the health of the tiers, recent errors.
//!
//! Every figure is read from the counters of `/metrics`. None holds a client's text, not even a
//! model's name.

mod errors;

use std::hash::{BuildHasher, RandomState};

use serde::Serialize;
use tokio::time::Instant;

use self::errors::RecentErrors;
pub use self::errors::{ErrorKind, RecentError};
use crate::config::build::VERSION;
use crate::config::{StatusPage, StorePlace};
use crate::embeddings::clock;
use crate::telemetry::labels::Label as _;
use crate::telemetry::{
    BreakerState, Gauges, MemoryGauges, Metrics, Outcome, Route, StoreGauges, StoreResult,
    StoreRights,
};

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
    pub reads: &'static str,
    /// The same.
    pub writes: &'static str,
    /// What the store does not let the gateway do: `write`, `read`, `list`, `delete`.
    pub refused: Vec<&'static str>,
    /// Since the last complete list of other gateways' purges began.
    pub purges_age_seconds: f64,
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

    /// The figures as of now.
    pub fn read(&self, metrics: &Metrics, gauges: &Gauges, ready: bool) -> Status<'_> {
        Status {
            replica: &self.replica,
            version: VERSION,
            ready,
            uptime_seconds: self.started.elapsed().as_secs(),
            now_ms: clock::unix_ms(),
            token_price: self.token_price,
            inputs: Inputs::read(metrics),
            tokens: Tokens::read(metrics),
            requests: Requests::read(metrics, gauges),
            memory: MemoryStatus::read(gauges.memory),
            store: StoreStatus::read(metrics, gauges.store, self.store),
            upstream: UpstreamStatus::read(metrics),
            errors: self.errors.latest_first(),
        }
    }
}

impl Inputs {
    fn read(metrics: &Metrics) -> Self {
        let inputs = &metrics.inputs;
        Self {
            memory: inputs.get(Outcome::Memory),
            store: inputs.get(Outcome::Store),
            collapsed: inputs.get(Outcome::Collapsed),
            repeat: inputs.get(Outcome::Repeat),
            miss: inputs.get(Outcome::Miss),
        }
    }
}

impl Tokens {
    fn read(metrics: &Metrics) -> Self {
        let totals = metrics.token_totals();
        Self {
            nominal: totals.nominal,
            billed: totals.billed,
            saved: totals.saved,
        }
    }
}

impl Requests {
    fn read(metrics: &Metrics, gauges: &Gauges) -> Self {
        Self {
            embeddings: metrics.ended_requests(Route::Embeddings),
            passthrough: metrics.ended_requests(Route::Passthrough),
            in_flight: gauges.in_flight_requests as u64,
        }
    }
}

impl MemoryStatus {
    fn read(gauges: MemoryGauges) -> Self {
        Self {
            bytes: gauges.bytes,
            limit_bytes: gauges.limit_bytes,
            entries: gauges.entries as u64,
        }
    }
}

impl StoreStatus {
    fn read(metrics: &Metrics, gauges: Option<StoreGauges>, kind: &'static str) -> Self {
        let operations = |result| metrics.store_operations(result);
        let results = StoreResult::ALL.iter().copied();
        let state =
            |of: fn(StoreGauges) -> BreakerState| gauges.map_or(BreakerState::Closed, of).value();
        let rights = gauges.and_then(|gauges| gauges.rights);
        let purges_age = gauges.and_then(|gauges| gauges.purges_age);
        Self {
            kind,
            reads: state(|gauges| gauges.reads),
            writes: state(|gauges| gauges.writes),
            refused: rights.map(StoreRights::refused).unwrap_or_default(),
            purges_age_seconds: purges_age.unwrap_or_default().as_secs_f64(),
            operations: results
                .filter(|&result| result != StoreResult::Skipped)
                .map(operations)
                .sum(),
            failed: operations(StoreResult::Timeout) + operations(StoreResult::Failed),
            writes_pending: gauges.map_or(0, |gauges| gauges.writes_pending as u64),
            writes_dropped: metrics.writes_dropped.get(),
        }
    }
}

impl UpstreamStatus {
    fn read(metrics: &Metrics) -> Self {
        let totals = metrics.upstream_totals();
        Self {
            calls: totals.calls,
            failed: totals.failed,
            faulty: totals.faulty,
            seconds: totals.duration.as_secs_f64(),
        }
    }
}
