//! What Envoy does with the bytes that it has shown a filter, and the calls that go with it.

use body_hash_filter_abi::DataStatus;

use crate::config::Config;
use crate::host::envoy;
use crate::host::metrics::count_held;
use crate::host::resume::{release, settle, wake};
use crate::host::worker::with_worker;
use crate::stats::Outcome;
use crate::vm::single::SingleStep;
use crate::vm::tap::TapStep;

/// Obeys what a tap makes of its bytes.
pub(super) fn after_tap(step: TapStep) -> DataStatus {
    match step {
        TapStep::Continue(root) => {
            wake(root);
            DataStatus::Continue
        }
        TapStep::Stop(root) => {
            wake(root);
            DataStatus::StopAndWatermark
        }
        TapStep::LetGoFirst(ready) => {
            with_worker(|worker| worker.overtaking.begin(&ready));
            release(&ready);
            DataStatus::Continue
        }
        TapStep::Refuse => {
            envoy::refuse_half_a_body();
            DataStatus::StopAndWatermark
        }
    }
}

/// Obeys what a single filter makes of its bytes.
pub(super) fn after_single(config: &Config, step: SingleStep) -> DataStatus {
    match step {
        SingleStep::Stop(root) => {
            wake(root);
            DataStatus::StopAndWatermark
        }
        SingleStep::Continue(outcome) => {
            settle_held(config, outcome);
            DataStatus::Continue
        }
        SingleStep::LetGoFirst(ready) => {
            release(&ready);
            DataStatus::Continue
        }
    }
}

/// A held request goes on in its own callback.
pub(super) fn settle_held(config: &Config, outcome: Option<Outcome>) {
    if let Some(outcome) = outcome {
        count_held(-1);
        settle(config, outcome);
    }
}
