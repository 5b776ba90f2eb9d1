//! Envoy's statistics of this VM. Workers add to the same numbers.

use std::cell::OnceCell;

use crate::host::envoy;
use crate::stats::{HASHED, HELD, Outcome, Reason, SKIPPED};

/// Before every name. Envoy prefixes that with `wasmcustom.`.
const PREFIX: &str = "body_hash";

/// The numbers under which Envoy knows the filter's metrics in this VM.
struct MetricIds {
    hashed: u32,
    held: u32,
    skipped: [u32; Reason::ALL.len()],
}

thread_local! {
    static METRIC_IDS: OnceCell<MetricIds> = const { OnceCell::new() };
}

/// Defines all metrics, once in a VM, so that they show as zero before the first request.
pub(super) fn define() {
    with_cell(|cell| {
        if cell.get().is_none()
            && let Some(metrics) = MetricIds::new()
        {
            cell.get_or_init(|| metrics);
        }
    });
}

/// Counts how one request ended.
pub(super) fn count(outcome: Outcome) {
    let metric = |metrics: &MetricIds| match outcome {
        Outcome::Hashed(_) => Some(metrics.hashed),
        Outcome::Skipped(reason) => metrics.skipped.get(reason as usize).copied(),
    };
    add(metric, 1);
}

/// One request more, or one less, is held.
pub(super) fn count_held(change: i64) {
    add(|metrics| Some(metrics.held), change);
}

impl MetricIds {
    fn new() -> Option<Self> {
        let mut skipped = [0; Reason::ALL.len()];
        for (id, reason) in skipped.iter_mut().zip(Reason::ALL) {
            *id = envoy::counter(&format!("{PREFIX}.{SKIPPED}.{}", reason.name()))?;
        }
        Some(Self {
            hashed: envoy::counter(&format!("{PREFIX}.{HASHED}"))?,
            held: envoy::gauge(&format!("{PREFIX}.{HELD}"))?,
            skipped,
        })
    }
}

fn add(metric: impl FnOnce(&MetricIds) -> Option<u32>, offset: i64) {
    if let Some(id) = with_cell(|cell| cell.get().and_then(metric)).flatten() {
        envoy::add(id, offset);
    }
}

/// `None` while the VM ends.
fn with_cell<T>(act: impl FnOnce(&OnceCell<MetricIds>) -> T) -> Option<T> {
    METRIC_IDS.try_with(act).ok()
}
