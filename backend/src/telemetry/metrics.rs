//! The gateway's metrics: how they are counted. `registration` names them.

mod registration;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::comparisons::Comparisons;
use super::counts::{Counts, Timings, TimingsBy};
use super::derived::DerivationsOff;
use super::gauges::Gauges;
use super::labels::{
    Bypass, Failover, HashVerdict, Label, Outcome, Reload, Route, SelfTest, SharedCall,
    StoreOperation, StoreResult,
};
use super::models::Models;
use super::totals::is_fault;
use crate::http::error::Error;

/// The prefix of every name.
pub(super) const PREFIX: &str = "embedding_gateway";

/// Error statuses whose series exist from the start.
const ERRORS: [u16; 9] = [400, 401, 403, 404, 429, 500, 502, 503, 504];

/// Errors that stand in for an upstream's status.
const NO_ANSWER: [Error; 3] = [
    Error::Unreachable,
    Error::UpstreamTimeout,
    Error::UpstreamBroken,
];

/// The gateway's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Inputs of answered requests by where their vectors came from.
    pub inputs: Counts<Outcome>,
    /// Embeddings requests that went past the cache, by reason.
    pub bypassed: Counts<Bypass>,
    /// Vectors that were made of longer ones.
    pub derived: Counter,
    /// Comparisons of such vectors with the upstream's own.
    pub self_tests: Counts<SelfTest>,
    /// Models whose shorter vectors are not made, although the operator lists them.
    pub derivations_off: DerivationsOff,
    /// Embeddings requests by what their `X-Body-Hash` was worth.
    pub body_hashes: Counts<HashVerdict>,
    /// Tokens by model.
    pub models: Arc<Models>,
    /// Time from an embeddings request to its answer without the waits for the upstream.
    pub added_latency: Timings,
    /// Time that embeddings calls waited for their turn.
    pub rate_waits: Timings,
    /// What comparisons of upstreams found.
    pub comparisons: Comparisons,
    /// Calls that went to another upstream.
    pub failovers: Counts<Failover>,
    /// Readings of the file of upstreams after the first.
    pub upstream_reloads: Counts<Reload>,
    /// Calls to the upstream that several requests shared.
    pub shared_calls: Counts<SharedCall>,
    /// The requests that had a part in them.
    pub shared_call_requests: Counter,
    /// Writes to the store that were dropped.
    pub writes_dropped: Counter,
    requests: Family<RequestLabels, Counter>,
    /// Of these, those with a 200 by route: to look such a series up takes longer than to count.
    answered: Vec<Counter>,
    pub(super) durations: TimingsBy<Route>,
    upstream_calls: Family<UpstreamLabels, Counter>,
    /// Calls with a 200, and calls that failed by a fault of the upstream, for the status page: a
    /// family of counters does not list its labels.
    pub(super) upstream_good: Counter,
    pub(super) upstream_faulty: Counter,
    pub(super) upstream_durations: Timings,
    store: Family<StoreLabels, Counter>,
    store_durations: TimingsBy<StoreOperation>,
    /// Bytes of objects that were read and written.
    pub(super) store_bytes: Counts<StoreOperation>,
    /// Bytes that these objects would have more without half precision.
    pub(super) store_saved: Counts<StoreOperation>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Route,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    result: Cow<'static, str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabels {
    operation: StoreOperation,
    result: StoreResult,
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            inputs: Counts::new(),
            bypassed: Counts::new(),
            derived: Counter::default(),
            self_tests: Counts::new(),
            derivations_off: DerivationsOff::default(),
            body_hashes: Counts::new(),
            models: Arc::default(),
            added_latency: Timings::default(),
            rate_waits: Timings::default(),
            comparisons: Comparisons::default(),
            failovers: Counts::new(),
            upstream_reloads: Counts::new(),
            shared_calls: Counts::new(),
            shared_call_requests: Counter::default(),
            writes_dropped: Counter::default(),
            requests: Family::default(),
            answered: Vec::new(),
            durations: TimingsBy::new(),
            upstream_calls: Family::default(),
            upstream_good: Counter::default(),
            upstream_faulty: Counter::default(),
            upstream_durations: Timings::default(),
            store: Family::default(),
            store_durations: TimingsBy::new(),
            store_bytes: Counts::new(),
            store_saved: Counts::new(),
        };
        metrics.begin_series();
        metrics.register_requests();
        metrics.register_derivations();
        metrics.register_tokens();
        metrics.register_neighbours();
        metrics
    }

    /// Everything in the text format of `OpenMetrics`, with `gauges` as they are now.
    pub fn render(&self, gauges: &Gauges) -> String {
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &gauges.registry()))
            .and_then(|()| encode_eof(&mut text));
        // Writing to a string does not fail. If it did, an empty page is better than half a page.
        if written.is_err() {
            text.clear();
        }
        text
    }

    /// Counts a request that has ended.
    pub fn count_request(&self, route: Route, status: u16, duration: Duration) {
        match self.answered.get(route.index()) {
            Some(answered) if status == 200 => answered.inc(),
            _ => self.request_count(route, status).inc(),
        };
        self.durations.observe(route, duration);
    }

    fn request_count(&self, route: Route, status: u16) -> Counter {
        let labels = RequestLabels { route, status };
        self.requests.get_or_create_owned(&labels)
    }

    /// Counts an embeddings call to the upstream by its status, or by the error's code without one.
    pub fn count_upstream(&self, result: Cow<'static, str>, duration: Duration) {
        self.upstream_good.inc_by((result == "200").into());
        self.upstream_faulty.inc_by(is_fault(&result).into());
        self.upstream_calls
            .get_or_create(&UpstreamLabels { result })
            .inc();
        self.upstream_durations.observe(duration);
    }

    /// Counts an operation of the store. `duration` is absent if the breaker skipped it.
    pub fn count_store(
        &self,
        operation: StoreOperation,
        result: StoreResult,
        duration: Option<Duration>,
    ) {
        self.count_by(operation, result, 1);
        if let Some(duration) = duration {
            self.store_durations.observe(operation, duration);
        }
    }

    /// Counts an object that was read or written, and the bytes that half precision saved of it.
    pub fn count_object(&self, operation: StoreOperation, bytes: usize, saved: usize) {
        self.store_bytes.add(operation, bytes as u64);
        self.store_saved.add(operation, saved as u64);
    }

    fn count_by(&self, operation: StoreOperation, result: StoreResult, count: u64) {
        self.store
            .get_or_create(&StoreLabels { operation, result })
            .inc_by(count);
    }

    pub(super) fn store_count(&self, operation: StoreOperation, result: StoreResult) -> u64 {
        let counter = self.store.get(&StoreLabels { operation, result });
        counter.map_or(0, |counter| counter.get())
    }

    /// Creates the series of common errors: a counter that appears with its first event hides that
    /// event from every rate.
    fn begin_series(&mut self) {
        for &route in Route::ALL {
            self.answered.push(self.request_count(route, 200));
        }
        for route in [Route::Embeddings, Route::Passthrough] {
            for status in ERRORS {
                self.request_count(route, status);
            }
        }
        let statuses = [200].into_iter().chain(ERRORS);
        let statuses = statuses.map(|status| Cow::Owned(status.to_string()));
        let words = NO_ANSWER.map(|error| Cow::Borrowed(error.code()));
        for result in statuses.chain(words) {
            self.upstream_calls
                .get_or_create(&UpstreamLabels { result })
                .inc_by(0);
        }
        for &result in StoreResult::ALL {
            let operation = StoreOperation::Get;
            self.count_by(operation, result, 0);
        }
        for result in [StoreResult::Ok, StoreResult::Timeout, StoreResult::Failed] {
            let operation = StoreOperation::Put;
            self.count_by(operation, result, 0);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
