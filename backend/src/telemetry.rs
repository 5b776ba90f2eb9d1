//! Log lines and counters. Neither ever holds an input, a vector or a key.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

use crate::config::LogFormat;

/// Our own lines. Libraries may warn, but not say more: at trace level they print headers.
const OWN_TARGET: &str = "embedding_gateway";

/// What the gateway counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Answers by route and status.
    pub requests: Family<RequestLabels, Counter>,
    /// Inputs by what became of them.
    pub inputs: Family<InputLabels, Counter>,
    /// Requests by what their `X-Body-Hash` was worth.
    pub body_hashes: Family<BodyHashLabels, Counter>,
    /// Embeddings calls to the upstream, by how they ended.
    pub upstream_calls: Family<UpstreamLabels, Counter>,
    /// Tokens that the upstream charged.
    pub billed_tokens: Counter<u64, AtomicU64>,
    /// Store operations by how they ended.
    pub store: Family<StoreLabels, Counter>,
}

/// Labels of [`Metrics::requests`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// Which part of the gateway answered.
    pub route: Route,
    /// The answer's status.
    pub status: u16,
}

/// The parts of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Route {
    Embeddings,
    Passthrough,
    Other,
}

/// Labels of [`Metrics::inputs`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InputLabels {
    /// What became of an input.
    pub outcome: Outcome,
}

/// What becomes of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Outcome {
    Memory,
    Store,
    Collapsed,
    Miss,
    Repeat,
}

/// Labels of [`Metrics::body_hashes`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BodyHashLabels {
    /// What the header was worth.
    pub verdict: HashVerdict,
}

/// What a request's `X-Body-Hash` is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum HashVerdict {
    /// It is the hash of the body that arrived.
    Match,
    /// There is none.
    Absent,
    /// It is the hash of something else.
    Mismatch,
}

/// Labels of [`Metrics::upstream_calls`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UpstreamLabels {
    /// The status, or a word for what happened instead.
    pub result: String,
}

/// Labels of [`Metrics::store`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StoreLabels {
    /// What was tried.
    pub operation: StoreOperation,
    /// How it ended.
    pub result: StoreResult,
}

/// What a store does for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "the names say it")]
pub enum StoreOperation {
    Get,
    Put,
}

/// How an operation of the store ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum StoreResult {
    /// Found, or written.
    Ok,
    /// Not there.
    Absent,
    /// There, and not what it should be.
    Unusable,
    /// Not in time.
    Timeout,
    /// The store refused or could not be reached.
    Failed,
    /// Not tried: the breaker is open.
    Skipped,
    /// Not tried: too much was waiting.
    Dropped,
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("embedding_gateway"),
            requests: Family::default(),
            inputs: Family::default(),
            body_hashes: Family::default(),
            upstream_calls: Family::default(),
            billed_tokens: Counter::default(),
            store: Family::default(),
        };
        metrics.register();
        metrics
    }

    /// Everything in the text format of `OpenMetrics`.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail; if it did, half a page would be worse than none.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }

    /// Counts `count` inputs with one outcome.
    pub fn count_inputs(&self, outcome: Outcome, count: usize) {
        if count > 0 {
            self.inputs
                .get_or_create(&InputLabels { outcome })
                .inc_by(count as u64);
        }
    }

    /// Counts one operation of the store.
    pub fn count_store(&self, operation: StoreOperation, result: StoreResult) {
        self.store
            .get_or_create(&StoreLabels { operation, result })
            .inc();
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "requests",
            "Answers by route and status",
            self.requests.clone(),
        );
        registry.register(
            "inputs",
            "Inputs by what became of them",
            self.inputs.clone(),
        );
        let help = "Embeddings requests by what their X-Body-Hash was worth";
        registry.register("body_hashes", help, self.body_hashes.clone());
        let help = "Embeddings calls to the upstream by how they ended";
        registry.register("upstream_calls", help, self.upstream_calls.clone());
        let help = "Tokens that the upstream charged for embeddings";
        registry.register("billed_tokens", help, self.billed_tokens.clone());
        let help = "Operations of the store by how they ended";
        registry.register("store_operations", help, self.store.clone());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Starts logging to standard error.
pub fn start_logging(format: LogFormat, filter: &str) -> Result<(), TryInitError> {
    let ceiling = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(OWN_TARGET, LevelFilter::TRACE);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let wanted = EnvFilter::builder().parse_lossy(filter);
    tracing_subscriber::registry()
        .with(lines.with_filter(ceiling).with_filter(wanted))
        .try_init()
}
