//! Tokens by model, for a bounded number of models.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Models with series of their own. An upstream that takes any name must not cause an unbounded
/// number of series.
const MAX_MODELS: usize = 50;

/// The label value for all further models.
const OTHER: &str = "other";

/// The tokens of one model.
#[derive(Debug, Default)]
pub struct Tokens {
    /// What answers would have cost without a cache.
    pub nominal: AtomicU64,
    /// What the upstream charged.
    pub billed: AtomicU64,
    /// What answers did not cost, thanks to the cache.
    pub saved: AtomicU64,
}

/// The tokens of all models. Callers pass only models that the upstream accepted.
#[derive(Debug, Default)]
pub struct Models {
    known: RwLock<BTreeMap<Box<str>, Tokens>>,
}

impl Models {
    /// Calls `read` with the tokens of one model, or of all further models together.
    fn with<T>(&self, model: &str, read: impl FnOnce(&Tokens) -> T) -> T {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(tokens) = known.get(model) {
            return read(tokens);
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let name = match known.len() < MAX_MODELS || known.contains_key(model) {
            true => model,
            false => OTHER,
        };
        read(known.entry(name.into()).or_default())
    }

    /// Calls `read` with the tokens of each model.
    pub(super) fn for_each(&self, mut read: impl FnMut(&Tokens)) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().for_each(&mut read);
    }

    /// Counts an answer: its nominal tokens, and those that the upstream charged.
    pub fn count_answer(&self, model: &str, nominal: u64, billed: u64) {
        self.with(model, |tokens| {
            tokens.nominal.fetch_add(nominal, Ordering::Relaxed);
            let saved = nominal.saturating_sub(billed);
            tokens.saved.fetch_add(saved, Ordering::Relaxed);
        });
    }

    /// Counts what the upstream charged for a call.
    pub fn count_billed(&self, model: &str, billed: u64) {
        self.with(model, |tokens| {
            tokens.billed.fetch_add(billed, Ordering::Relaxed);
        });
    }
}

/// One of the three counters of all models, as a metric.
#[derive(Debug)]
pub(super) struct ByModel {
    pub(super) models: Arc<Models>,
    pub(super) read: fn(&Tokens) -> &AtomicU64,
}

impl EncodeMetric for ByModel {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let known = &self.models.known;
        let known = known.read().unwrap_or_else(PoisonError::into_inner);
        for (model, tokens) in known.iter() {
            let labels = [("model", &**model)];
            let count = (self.read)(tokens).load(Ordering::Relaxed);
            encoder
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_models_share_one_series() {
        let models = Models::default();
        for n in 0..MAX_MODELS + 10 {
            models.count_answer(&format!("m{n}"), 2, 0);
        }
        models.count_answer("m0", 3, 1);
        let read = |model| models.with(model, |tokens| tokens.nominal.load(Ordering::Relaxed));
        assert_eq!(read("m0"), 5);
        assert_eq!(read(OTHER), 20);
        assert_eq!(models.known.read().unwrap().len(), MAX_MODELS + 1);
    }

    #[test]
    fn an_answer_that_cost_more_than_it_is_worth_saved_nothing() {
        let models = Models::default();
        models.count_answer("m", 2, 5);
        models.count_answer("m", 7, 4);
        let saved = models.with("m", |tokens| tokens.saved.load(Ordering::Relaxed));
        assert_eq!(saved, 3);
    }
}
