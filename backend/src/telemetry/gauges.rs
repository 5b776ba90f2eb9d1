//! Gauges: read from their owners at each scrape, never kept as copies.

use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{BreakerState, Label, StoreOperation, StoreRight};
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
    /// The bytes that its vectors would take more without half precision.
    pub saved_bytes: u64,
}

/// The state of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreGauges {
    /// Whether the gateway reads the store.
    pub reads: BreakerState,
    /// Whether the gateway writes to the store.
    pub writes: BreakerState,
    /// Writes that have not ended.
    pub writes_pending: usize,
    /// What the gateway may do there; `None` before the first check.
    pub rights: Option<StoreRights>,
    /// Since the last complete listing of purges began; `None` where purges are not listed.
    pub purges_age: Option<Duration>,
}

/// What the gateway may do in the store, as the last check found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreRights([bool; StoreRight::ALL.len()]);

impl StoreRights {
    /// Those that were granted.
    pub fn new(granted: impl Fn(StoreRight) -> bool) -> Self {
        let mut rights = [false; StoreRight::ALL.len()];
        for &right in StoreRight::ALL {
            rights[right.index()] = granted(right);
        }
        Self(rights)
    }

    /// Whether this one was granted.
    pub fn has(self, right: StoreRight) -> bool {
        self.0[right.index()]
    }

    /// Whether all were granted.
    pub fn are_complete(self) -> bool {
        self.0.iter().all(|granted| *granted)
    }

    /// Those that were not.
    pub fn refused(self) -> Vec<&'static str> {
        let refused = StoreRight::ALL.iter().filter(|right| !self.has(**right));
        refused.map(|right| right.value()).collect()
    }

    /// Those that were not, with commas between them.
    pub fn missing(self) -> String {
        self.refused().join(", ")
    }
}

impl StoreGauges {
    /// The parts of the store that the gateway uses or leaves alone.
    fn breakers(&self) -> Breakers {
        Breakers([
            (StoreOperation::Get, self.reads),
            (StoreOperation::Put, self.writes),
        ])
    }

    fn register(&self, registry: &mut Registry) {
        let pending = gauge(self.writes_pending as u64);
        let help = "Writes to the store that have not ended";
        registry.register("store_writes_pending", help, pending);
        let help = "1 for the state that the store's breaker for an operation is in";
        registry.register("store_breaker_state", help, self.breakers());
        if let Some(rights) = self.rights {
            let help = "1 if the last check found that the store does not let the gateway do this";
            registry.register("store_refuses", help, rights);
        }
        if let Some(age) = self.purges_age {
            let help = "Time since the last complete listing of the purges of other gateways began";
            let age = ConstGauge::new(age.as_secs_f64());
            registry.register_with_unit("purges_age", help, Unit::Seconds, age);
        }
    }
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
        let help = "What the memory tier's vectors would take more as 32-bit floats";
        let saved = gauge(self.memory.saved_bytes);
        registry.register_with_unit("memory_saved", help, Unit::Bytes, saved);
        let entries = gauge(self.memory.entries as u64);
        registry.register("memory_entries", "Entries of the memory tier", entries);
        if let Some(store) = self.store {
            store.register(&mut registry);
        }
        registry
    }
}

fn gauge(value: u64) -> ConstGauge<u64> {
    ConstGauge::new(value)
}

/// By operation, 1 for the state that its breaker is in, 0 for all others.
#[derive(Debug)]
struct Breakers([(StoreOperation, BreakerState); 2]);

impl EncodeMetric for Breakers {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        for (operation, current) in self.0 {
            for &state in BreakerState::ALL {
                let labels = [
                    (StoreOperation::NAME, operation.value()),
                    (BreakerState::NAME, state.value()),
                ];
                let so = u32::from(state == current);
                encoder.encode_family(&labels)?.encode_gauge(&so)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl EncodeMetric for StoreRights {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        for &right in StoreRight::ALL {
            let labels = [(StoreRight::NAME, right.value())];
            let so = u32::from(!self.has(right));
            encoder.encode_family(&labels)?.encode_gauge(&so)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}
