//! The names and meanings of the gateway's metrics.

use std::sync::Arc;

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Unit;

use super::Metrics;
use crate::config::build::{COMMIT, VERSION};
use crate::telemetry::log_writer::Lost;
use crate::telemetry::models::ByModel;

impl Metrics {
    pub(super) fn register_requests(&mut self) {
        let registry = &mut self.registry;
        let help = "Requests by route and status, 499 if the client went away";
        registry.register("requests", help, self.requests.clone());
        let help = "Time from a request's head to the last byte of its answer";
        let durations = self.durations.clone();
        registry.register_with_unit("request_duration", help, Unit::Seconds, durations);
        let help =
            "Time from an embeddings request to its answer, without waiting for the upstream";
        let added = self.added_latency.clone();
        registry.register_with_unit("added_latency", help, Unit::Seconds, added);
        let help = "Inputs of answered requests by what became of them";
        registry.register("inputs", help, self.inputs.clone());
        let help = "Embeddings requests that went past the cache, each of them paid for, by reason";
        registry.register("bypassed_requests", help, self.bypassed.clone());
        let help = "Embeddings requests by what their X-Body-Hash was worth";
        registry.register("body_hashes", help, self.body_hashes.clone());
        let help = "Log lines that were dropped, because the log's reader is too slow, or gone";
        registry.register("log_lines_dropped", help, Lost);
        let build = Info::new(vec![("version", VERSION), ("commit", COMMIT)]);
        registry.register("build", "The program that answers", build);
    }

    pub(super) fn register_derivations(&mut self) {
        let registry = &mut self.registry;
        let help = "Vectors that were made of longer ones, by DERIVE_DIMENSIONS";
        registry.register("derived_vectors", help, self.derived.clone());
        let help = "Comparisons of such vectors with the upstream's own by how they ended";
        registry.register("derivation_tests", help, self.self_tests.clone());
        let help = "1 if a comparison has ended the derivation of this model's vectors";
        registry.register("derivation_off", help, self.derivations_off.clone());
    }

    pub(super) fn register_tokens(&mut self) {
        let models = &self.models;
        let mut register = |name: &str, help: &str, read| {
            let models = Arc::clone(models);
            self.registry.register(name, help, ByModel { models, read });
        };
        let help = "Tokens that answers would have cost without a cache";
        register("nominal_tokens", help, |tokens| &tokens.nominal);
        let help = "Tokens that the upstream charged for embeddings";
        register("billed_tokens", help, |tokens| &tokens.billed);
        let help = "Tokens that answers did not cost, thanks to the cache";
        register("saved_tokens", help, |tokens| &tokens.saved);
    }

    pub(super) fn register_neighbours(&mut self) {
        let registry = &mut self.registry;
        let help = "Embeddings calls to the upstream by how they ended";
        registry.register("upstream_calls", help, self.upstream_calls.clone());
        let help = "Time that embeddings calls to the upstream took";
        let durations = self.upstream_durations.clone();
        registry.register_with_unit("upstream_call_duration", help, Unit::Seconds, durations);
        let help = "Time that embeddings calls waited for their turn at the upstream's pace";
        let waits = self.rate_waits.clone();
        registry.register_with_unit("rate_wait", help, Unit::Seconds, waits);
        let help = "Embeddings calls that went to another upstream of the model, by reason";
        registry.register("failovers", help, self.failovers.clone());
        let help = "Times that one of several upstreams was left alone after failures";
        registry.register(
            "upstream_ejections",
            help,
            self.comparisons.ejections.clone(),
        );
        let (differing, drifted) = (&self.comparisons.differing, &self.comparisons.drifted);
        let help = "Whether the upstream gives other vectors for the model, and serves it no more";
        registry.register("upstream_vectors_differ", help, differing.clone());
        let help = "Whether the model gives other vectors than the first ones, which are pinned";
        registry.register("model_drifted", help, drifted.clone());
        let help = "Readings of a changed file of upstreams, and each one that failed";
        registry.register("upstream_reloads", help, self.upstream_reloads.clone());
        let help = "Calls to the upstream that several requests shared, by how they ended";
        registry.register("shared_calls", help, self.shared_calls.clone());
        let help = "Requests that had a part in such a call";
        let requests = self.shared_call_requests.clone();
        registry.register("shared_call_requests", help, requests);
        let help = "Operations of the store by how they ended";
        registry.register("store_operations", help, self.store.clone());
        let help = "Time that operations of the store took";
        let durations = self.store_durations.clone();
        registry.register_with_unit("store_operation_duration", help, Unit::Seconds, durations);
        let help = "Bytes of the objects that were read from the store and written to it";
        registry.register_with_unit("store", help, Unit::Bytes, self.store_bytes.clone());
        let help = "Bytes that these objects would have more without half precision";
        registry.register_with_unit("store_saved", help, Unit::Bytes, self.store_saved.clone());
        let help = "Writes to the store that were given up, because too many waited or at the end";
        registry.register("store_writes_dropped", help, self.writes_dropped.clone());
    }
}
