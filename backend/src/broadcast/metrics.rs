//! What the broadcaster counts.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::report::Outcome;

/// From a Varnish next door to one that hangs until any sensible time-out.
const DURATION_BUCKETS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

/// The counters, and the page that shows them.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    fanouts: Family<Labels, Counter>,
    endpoint_duration: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: Outcome,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("endpoint_broadcaster");
        let fanouts = Family::default();
        registry.register(
            "fanouts",
            "PURGE requests by how they ended",
            fanouts.clone(),
        );
        let endpoint_duration = Histogram::new(DURATION_BUCKETS);
        registry.register(
            "endpoint_duration_seconds",
            "Time until one Varnish had answered, or failed to",
            endpoint_duration.clone(),
        );
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program that runs", build);
        Self {
            registry,
            fanouts,
            endpoint_duration,
        }
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.fanouts.get_or_create(&Labels { outcome }).inc();
    }

    pub(super) fn observe(&self, endpoint: Duration) {
        self.endpoint_duration.observe(endpoint.as_secs_f64());
    }

    /// Everything in the text format of `OpenMetrics`.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail; if it did, half a page would be worse than none.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        self.as_str().encode(encoder)
    }
}
