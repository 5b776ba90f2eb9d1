//! The figures, each read from a counter or a gauge.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::telemetry::labels::Label as _;
use crate::telemetry::{
    BreakerState, Bypass, Gauges, MemoryGauges, Metrics, Outcome, Route, StoreGauges, StoreResult,
    StoreRights,
};

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
pub struct TokenFigures {
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
    /// Embeddings requests that went past the cache, so that each was paid for, by the reason.
    pub bypassed: BTreeMap<&'static str, u64>,
    pub in_flight: u64,
}

/// Vectors of fewer dimensions that were made of full ones.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Derived {
    pub vectors: u64,
    /// Models that are listed and left to the upstream, because its own vectors differ.
    pub models_off: u64,
}

/// The memory tier.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MemoryStatus {
    pub bytes: u64,
    pub limit_bytes: u64,
    pub entries: u64,
    /// What its vectors would take more without half precision.
    pub saved_bytes: u64,
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
    /// What the objects that were read and written would have more without half precision.
    pub saved_bytes: u64,
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
    /// Upstreams that give other vectors for a model, and serve it no more.
    pub different: u64,
    /// Models whose vectors are not those of before.
    pub drifted: u64,
}

impl Inputs {
    pub(super) fn read(metrics: &Metrics) -> Self {
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

impl TokenFigures {
    pub(super) fn read(metrics: &Metrics) -> Self {
        let totals = metrics.token_totals();
        Self {
            nominal: totals.nominal,
            billed: totals.billed,
            saved: totals.saved,
        }
    }
}

impl Requests {
    pub(super) fn read(metrics: &Metrics, gauges: &Gauges) -> Self {
        let bypassed = |&reason: &Bypass| (reason.value(), metrics.bypassed.get(reason));
        Self {
            bypassed: Bypass::ALL.iter().map(bypassed).collect(),
            embeddings: metrics.ended_requests(Route::Embeddings),
            passthrough: metrics.ended_requests(Route::Passthrough),
            in_flight: gauges.in_flight_requests as u64,
        }
    }
}

impl Derived {
    pub(super) fn read(metrics: &Metrics) -> Self {
        Self {
            vectors: metrics.derived.get(),
            models_off: metrics.derivations_off.count() as u64,
        }
    }
}

impl MemoryStatus {
    pub(super) fn read(gauges: MemoryGauges) -> Self {
        Self {
            bytes: gauges.bytes,
            limit_bytes: gauges.limit_bytes,
            entries: gauges.entries as u64,
            saved_bytes: gauges.saved_bytes,
        }
    }
}

impl StoreStatus {
    pub(super) fn read(metrics: &Metrics, gauges: Option<StoreGauges>, kind: &'static str) -> Self {
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
            saved_bytes: metrics.store_saved_bytes(),
        }
    }
}

impl UpstreamStatus {
    pub(super) fn read(metrics: &Metrics) -> Self {
        let totals = metrics.upstream_totals();
        let (different, drifted) = metrics.comparisons.counts();
        Self {
            different: different as u64,
            drifted: drifted as u64,
            calls: totals.calls,
            failed: totals.failed,
            faulty: totals.faulty,
            seconds: totals.duration.as_secs_f64(),
        }
    }
}
