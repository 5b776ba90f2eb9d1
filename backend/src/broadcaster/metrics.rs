//! The broadcaster's metrics.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::report::{PurgeOutcome, Report};
use crate::config::build::{COMMIT, VERSION};
use crate::telemetry::counts::{Counts, Timings};

/// The metrics and their registry.
#[derive(Debug)]
pub(super) struct FanoutMetrics {
    registry: Registry,
    fanouts: Counts<PurgeOutcome>,
    endpoint_duration: Timings,
}

impl FanoutMetrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("endpoint_broadcaster");
        let fanouts = Counts::new();
        let help = "PURGE requests by how they ended";
        registry.register("fanouts", help, fanouts.clone());
        let endpoint_duration = Timings::default();
        let help = "Until one Varnish had answered, or failed to";
        registry.register("endpoint_duration_seconds", help, endpoint_duration.clone());
        let build = Info::new([("version", VERSION), ("commit", COMMIT)]);
        registry.register("build", "The program that runs", build);
        Self {
            registry,
            fanouts,
            endpoint_duration,
        }
    }

    pub(super) fn count(&self, outcome: PurgeOutcome) {
        self.fanouts.add(outcome, 1);
    }

    pub(super) fn observe(&self, report: &Report) {
        for endpoint in &report.results {
            self.endpoint_duration.observe(endpoint.duration);
        }
    }

    /// All metrics in the text format of `OpenMetrics`.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail. If it did, an empty page is better than half a page.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}
