//! Gauges: read from their owners at each scrape, never kept as copies.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{BreakerState, Label};
use super::metrics::PREFIX;

/// How full everything is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Requests that have begun and not ended.
    pub in_flight_requests: usize,
    /// The memory tier.
    pub memory: MemoryGauges,
    /// The store, if there is one.
    pub store: Option<StoreGauges>,
}

/// How full the memory tier is. All zero if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryGauges {
    /// The bytes that its entries take.
    pub bytes: u64,
    /// The bound of `bytes`.
    pub limit_bytes: u64,
    /// The number of entries.
    pub entries: usize,
}

/// The state of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreGauges {
    /// Whether the gateway uses the store.
    pub breaker: BreakerState,
    /// Writes that have not ended.
    pub writes_pending: usize,
}

impl Gauges {
    pub(super) fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        let running = gauge(self.in_flight_requests as u64);
        registry.register(
            "in_flight_requests",
            "Requests that have not ended",
            running,
        );
        let (help, bytes) = ("What the memory tier's entries take", self.memory.bytes);
        registry.register_with_unit("memory", help, Unit::Bytes, gauge(bytes));
        let (help, limit) = ("Bound of the memory tier", self.memory.limit_bytes);
        registry.register_with_unit("memory_limit", help, Unit::Bytes, gauge(limit));
        let entries = gauge(self.memory.entries as u64);
        registry.register("memory_entries", "Entries of the memory tier", entries);
        if let Some(store) = self.store {
            let pending = gauge(store.writes_pending as u64);
            let help = "Writes to the store that have not ended";
            registry.register("store_writes_pending", help, pending);
            let help = "1 for the state that the store's breaker is in";
            registry.register("store_breaker_state", help, OneOf(store.breaker));
        }
        registry
    }
}

fn gauge(value: u64) -> ConstGauge<u64> {
    ConstGauge::new(value)
}

/// 1 for one value of a label, 0 for all others.
#[derive(Debug)]
struct OneOf<L>(L);

impl<L: Label> EncodeMetric for OneOf<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        for &label in L::ALL {
            let labels = [(L::NAME, label.value())];
            let so = u32::from(label.index() == self.0.index());
            encoder.encode_family(&labels)?.encode_gauge(&so)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}
