//! Models whose vectors are shortened by the gateway, and whether the self-test has ended that.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// The models that the operator lists. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct DerivationsOff {
    models: Arc<RwLock<BTreeMap<Box<str>, bool>>>,
}

impl DerivationsOff {
    /// Notes whether the vectors of a listed model are left to the upstream.
    pub fn note(&self, model: &str, is_off: bool) {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        models.insert(model.into(), is_off);
    }

    /// How many are left to the upstream.
    pub fn count(&self) -> usize {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.values().filter(|is_off| **is_off).count()
    }
}

impl EncodeMetric for DerivationsOff {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        for (model, &is_off) in models.iter() {
            let labels = [("model", &**model)];
            let so = u32::from(is_off);
            encoder.encode_family(&labels)?.encode_gauge(&so)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}
