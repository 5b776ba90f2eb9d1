//! Envoy's statistics of this VM. Workers add to the same numbers.

use super::envoy;
use super::worker::with_worker;
use crate::stats::{HASHED, HELD, Outcome, Reason};

/// The numbers under which Envoy knows our metrics in this VM.
pub(super) struct Meters {
    hashed: u32,
    held: u32,
    skipped: [u32; Reason::ALL.len()],
}

/// Defines all metrics, once in a VM, so that they show as zero before the first request.
pub(super) fn define() {
    if with_worker(|worker| worker.meters.is_none()) == Some(true) {
        let meters = Meters::new();
        with_worker(|worker| worker.meters = meters);
    }
}

/// Counts how one request ended.
pub(super) fn count(outcome: Outcome) {
    let meter = |meters: &Meters| match outcome {
        Outcome::Hashed(_) => Some(meters.hashed),
        Outcome::Skipped(reason) => meters.skipped.get(reason as usize).copied(),
    };
    add(meter, 1);
}

/// One request more, or one less, is held.
pub(super) fn count_held(change: i64) {
    add(|meters| Some(meters.held), change);
}

impl Meters {
    fn new() -> Option<Self> {
        let mut skipped = [0; Reason::ALL.len()];
        for (id, reason) in skipped.iter_mut().zip(Reason::ALL) {
            *id = envoy::counter(reason.counter())?;
        }
        Some(Self {
            hashed: envoy::counter(HASHED)?,
            held: envoy::gauge(HELD)?,
            skipped,
        })
    }
}

fn add(meter: impl FnOnce(&Meters) -> Option<u32>, offset: i64) {
    if let Some(Some(id)) = with_worker(|worker| worker.meters.as_ref().and_then(meter)) {
        envoy::add(id, offset);
    }
}
