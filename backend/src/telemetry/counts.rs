//! Counters and histograms over closed sets of labels: counting is one atomic addition, without a
//! lock and without a look-up.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::labels::Label;

/// Upper bounds of a histogram, in microseconds: from a hit in memory to a long stream.
const BOUNDS_US: [u64; 20] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// One counter for each value of a label. Clones count together.
#[derive(Debug)]
pub struct Counts<L> {
    counters: Arc<[AtomicU64]>,
    label: PhantomData<L>,
}

impl<L: Label> Counts<L> {
    /// All at zero.
    pub fn new() -> Self {
        Self {
            counters: L::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            label: PhantomData,
        }
    }

    /// Adds to one counter.
    pub fn add(&self, label: L, count: u64) {
        // A hit counts most of its labels with nothing.
        if count > 0 {
            self.counters[label.index()].fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The value of one counter.
    pub fn get(&self, label: L) -> u64 {
        self.counters[label.index()].load(Ordering::Relaxed)
    }
}

impl<L: Label> Default for Counts<L> {
    fn default() -> Self {
        Self::new()
    }
}

impl<L> Clone for Counts<L> {
    fn clone(&self) -> Self {
        Self {
            counters: Arc::clone(&self.counters),
            label: PhantomData,
        }
    }
}

impl<L: Label> EncodeMetric for Counts<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        for &label in L::ALL {
            let labels = [(L::NAME, label.value())];
            encoder
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&self.get(label), None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// A histogram of durations. Clones observe together.
#[derive(Clone, Debug, Default)]
pub struct Timings(Arc<Observed>);

#[derive(Debug, Default)]
struct Observed {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

impl Timings {
    /// Adds one duration.
    pub fn observe(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // A linear search: most durations are in the first buckets.
        let bucket = BOUNDS_US.iter().position(|us| nanoseconds <= us * 1000);
        let bucket = bucket.unwrap_or(BOUNDS_US.len());
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum_ns.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// How many durations there were.
    pub(super) fn count(&self) -> u64 {
        let counts = self.0.buckets.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// All durations together.
    pub(super) fn sum(&self) -> Duration {
        Duration::from_nanos(self.0.sum_ns.load(Ordering::Relaxed))
    }

    /// Buckets as (upper bound in seconds, observations in it), the last one without a bound.
    fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_US
            .iter()
            .map(|&us| Duration::from_micros(us).as_secs_f64())
            .chain([f64::INFINITY]);
        let counts = self.0.buckets.iter().map(|n| n.load(Ordering::Relaxed));
        bounds.zip(counts).collect()
    }
}

impl EncodeMetric for Timings {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let sum = self.sum().as_secs_f64();
        let buckets = self.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// One histogram for each value of a label.
#[derive(Clone, Debug)]
pub struct TimingsBy<L> {
    histograms: Arc<[Timings]>,
    label: PhantomData<L>,
}

impl<L: Label> TimingsBy<L> {
    /// All without observations.
    pub fn new() -> Self {
        Self {
            histograms: L::ALL.iter().map(|_| Timings::default()).collect(),
            label: PhantomData,
        }
    }

    /// The histogram of one value.
    pub(super) fn get(&self, label: L) -> &Timings {
        &self.histograms[label.index()]
    }

    /// Adds one duration.
    pub fn observe(&self, label: L, duration: Duration) {
        self.histograms[label.index()].observe(duration);
    }
}

impl<L: Label> Default for TimingsBy<L> {
    fn default() -> Self {
        Self::new()
    }
}

impl<L: Label> EncodeMetric for TimingsBy<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        for &label in L::ALL {
            let labels = [(L::NAME, label.value())];
            self.histograms[label.index()].encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let timings = Timings::default();
        for us in [0, 50, 51, 300_000_000, 300_000_001] {
            timings.observe(Duration::from_micros(us));
        }
        let counts: Vec<_> = timings.buckets().iter().map(|bucket| bucket.1).collect();
        assert_eq!(counts[..3], [2, 1, 0]);
        assert_eq!(counts[BOUNDS_US.len() - 1..], [1, 1]);
    }

    #[test]
    fn bounds_ascend() {
        assert!(BOUNDS_US.is_sorted());
    }
}
