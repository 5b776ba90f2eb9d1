//! What is known of each of several upstreams: how often it was ejected, and what comparisons of
//! the upstreams of a model found.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// The last finding for each upstream and model.
#[derive(Debug, Default)]
pub struct Comparisons {
    pub(super) differing: Family<OfUpstream, Gauge>,
    pub(super) drifted: Family<OfModel, Gauge>,
    found: Mutex<Findings>,
    pub(super) ejections: Family<ByUpstream, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByUpstream {
    upstream: Arc<str>,
}

/// What is wrong now.
#[derive(Debug, Default)]
struct Findings {
    differing: BTreeSet<(Arc<str>, Arc<str>)>,
    drifted: BTreeSet<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfUpstream {
    model: Arc<str>,
    upstream: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfModel {
    model: Arc<str>,
}

impl Comparisons {
    /// Counts an ejection of one of several upstreams.
    pub fn count_ejection(&self, upstream: &Arc<str>) {
        let upstream = Arc::clone(upstream);
        self.ejections.get_or_create(&ByUpstream { upstream }).inc();
    }

    /// Notes whether an upstream gives other vectors for a model than its other upstreams.
    pub fn set_differing(&self, model: &Arc<str>, upstream: &Arc<str>, differs: bool) {
        let (model, upstream) = (Arc::clone(model), Arc::clone(upstream));
        let pair = (Arc::clone(&model), Arc::clone(&upstream));
        let labels = OfUpstream { model, upstream };
        self.differing.get_or_create(&labels).set(differs.into());
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match differs {
            true => found.differing.insert(pair),
            false => found.differing.remove(&pair),
        };
    }

    /// Notes whether a model gives other vectors than it gave at first.
    pub fn set_drifted(&self, model: &Arc<str>, has_drifted: bool) {
        let labels = OfModel {
            model: Arc::clone(model),
        };
        self.drifted.get_or_create(&labels).set(has_drifted.into());
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match has_drifted {
            true => found.drifted.insert(Arc::clone(model)),
            false => found.drifted.remove(model),
        };
    }

    /// How many upstreams differ, each for one model, and how many models have drifted.
    pub fn counts(&self) -> (usize, usize) {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        (found.differing.len(), found.drifted.len())
    }
}
