//! The status page's figures: totals, the health of the tiers, recent errors.
//!
//! Every figure is read from the counters of `/metrics`. None holds a client's text, not even a
//! model's name.

mod errors;
mod figures;

use std::hash::{BuildHasher, RandomState};

use serde::Serialize;
use tokio::time::Instant;

use self::errors::RecentErrors;
pub use self::errors::{ErrorKind, RecentError};
pub use self::figures::{
    Derived, Inputs, MemoryStatus, Requests, StoreStatus, TokenFigures, UpstreamStatus,
};
use crate::config::build::VERSION;
use crate::config::{StatusPage, StorePlace};
use crate::embeddings::clock;
use crate::telemetry::{Gauges, Metrics};

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
    pub tokens: TokenFigures,
    pub requests: Requests,
    pub derived: Derived,
    pub memory: MemoryStatus,
    pub store: StoreStatus,
    pub upstream: UpstreamStatus,
    pub errors: Vec<RecentError>,
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
            tokens: TokenFigures::read(metrics),
            requests: Requests::read(metrics, gauges),
            derived: Derived::read(metrics),
            memory: MemoryStatus::read(gauges.memory),
            store: StoreStatus::read(metrics, gauges.store, self.store),
            upstream: UpstreamStatus::read(metrics),
            errors: self.errors.latest_first(),
        }
    }
}
