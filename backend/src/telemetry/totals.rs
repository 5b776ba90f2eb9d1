//! Totals for the status page, read from the counters of `/metrics`.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Metrics;
use super::labels::{Label, Route, StoreOperation, StoreResult};

/// Tokens of all models together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenTotals {
    /// What answers would have cost without a cache.
    pub nominal: u64,
    /// What the upstream charged.
    pub billed: u64,
    /// What answers did not cost, thanks to the cache.
    pub saved: u64,
}

/// Embeddings calls to the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTotals {
    /// All calls.
    pub calls: u64,
    /// Calls without a 200.
    pub failed: u64,
    /// Failed calls that no client caused.
    pub faulty: u64,
    /// The duration of all calls together.
    pub duration: Duration,
}

impl Metrics {
    /// Requests of a route that have ended.
    pub fn ended_requests(&self, route: Route) -> u64 {
        self.durations.get(route).count()
    }

    /// Tokens of all models together.
    pub fn token_totals(&self) -> TokenTotals {
        let mut totals = TokenTotals::default();
        self.models.for_each(|tokens| {
            totals.nominal += tokens.nominal.load(Relaxed);
            totals.billed += tokens.billed.load(Relaxed);
            totals.saved += tokens.saved.load(Relaxed);
        });
        totals
    }

    /// Operations of the store that ended in this way, look-ups and writes together.
    pub fn store_operations(&self, result: StoreResult) -> u64 {
        let operations = StoreOperation::ALL.iter();
        operations
            .map(|&operation| self.store_count(operation, result))
            .sum()
    }

    /// Bytes that objects of the store would have more without half precision, read and written.
    pub fn store_saved_bytes(&self) -> u64 {
        let operations = StoreOperation::ALL.iter();
        operations.map(|&each| self.store_saved.get(each)).sum()
    }

    /// Embeddings calls to the upstream.
    pub fn upstream_totals(&self) -> UpstreamTotals {
        let calls = self.upstream_durations.count();
        UpstreamTotals {
            calls,
            failed: calls.saturating_sub(self.upstream_good.get()),
            faulty: self.upstream_faulty.get(),
            duration: self.upstream_durations.sum(),
        }
    }
}

/// Whether a result is a fault of the upstream, rather than its refusal of a wrong request.
pub(super) fn is_fault(result: &str) -> bool {
    result == "429" || !result.starts_with(['2', '4'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_fails_and_is_no_fault() {
        let metrics = Metrics::new();
        for result in ["200", "400", "429", "503", "unreachable"] {
            metrics.count_upstream(result.into(), Duration::from_millis(2));
        }
        let expected = UpstreamTotals {
            calls: 5,
            failed: 4,
            faulty: 3,
            duration: Duration::from_millis(10),
        };
        assert_eq!(metrics.upstream_totals(), expected);
    }

    #[test]
    fn totals_are_sums_over_the_other_labels() {
        let metrics = Metrics::new();
        metrics.models.count_answer("a", 5, 2);
        metrics.models.count_answer("b", 1, 0);
        metrics.models.count_billed("a", 2);
        let expected = TokenTotals {
            nominal: 6,
            billed: 2,
            saved: 4,
        };
        assert_eq!(metrics.token_totals(), expected);
        metrics.count_store(StoreOperation::Get, StoreResult::Ok, None);
        metrics.count_store(StoreOperation::Put, StoreResult::Ok, None);
        assert_eq!(metrics.store_operations(StoreResult::Ok), 2);
        metrics.count_request(Route::Purge, 200, Duration::ZERO);
        assert_eq!(metrics.ended_requests(Route::Purge), 1);
    }
}
