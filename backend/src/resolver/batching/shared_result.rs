//! The result of a shared call for each of its requests.

use std::iter::repeat_with;
use std::sync::Arc;

use crate::http::error::Error;
use crate::resolver::failover::reason;
use crate::resolver::halving::RefusedBatch;
use crate::resolver::outcome::{Call, Checked};
use crate::telemetry::Failover;
use crate::upstream::{OverLimit, Size};

/// What a shared call brought to one of its requests.
#[derive(Debug)]
pub(super) enum SharedResult {
    /// An answer. Its headers are for the caller only if all requests are of one.
    Answer {
        checked: Box<Checked>,
        is_of_one: bool,
    },
    /// A failure of the upstream as such: another call would fail as well, or be charged twice.
    Failure(Error),
    /// Nothing: it must call by itself.
    MadeAgain(MadeAgain),
}

/// How a shared call failed that its requests make again, each by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct MadeAgain {
    /// If the upstream found the call too large.
    pub(super) refused: Option<Arc<RefusedBatch>>,
    /// Whether the upstream may have charged for it.
    pub(super) may_be_charged: bool,
}

impl Checked {
    /// The answer's parts: to so many inputs each, in order.
    pub(super) fn divide(
        self,
        call: &Call<'_>,
        counts: &[usize],
        is_of_one: bool,
    ) -> Vec<SharedResult> {
        let Self {
            answer,
            headers,
            sent,
            repeated,
        } = self;
        let parts = answer.divide(call.inputs, counts).into_iter();
        let part = |answer| SharedResult::Answer {
            checked: Box::new(Self {
                answer,
                headers: headers.clone(),
                sent,
                repeated,
            }),
            is_of_one,
        };
        parts.map(part).collect()
    }
}

/// What a failed call brings to each of its requests.
pub(super) fn failed(error: &Error, call: &Call<'_>) -> Vec<SharedResult> {
    if !is_made_again(error) {
        let failure = || SharedResult::Failure(error.clone());
        return repeat_with(failure).take(call.requests).collect();
    }
    let over = match error {
        Error::Refused(refusal) => OverLimit::of(refusal),
        _ => None,
    };
    let refused = over.map(|over| {
        let size = call.inputs.iter().map(Size::of).sum();
        Arc::new(RefusedBatch::new(over, size, call.requests))
    });
    let apart = MadeAgain {
        refused,
        may_be_charged: may_be_charged(error),
    };
    let apart = || SharedResult::MadeAgain(apart.clone());
    repeat_with(apart).take(call.requests).collect()
}

/// Whether a call that failed so may have been charged.
pub(super) fn may_be_charged(error: &Error) -> bool {
    matches!(error, Error::Unsound(_)) || reason(error).is_some_and(Failover::may_be_charged)
}

/// Whether requests call by themselves after this failure of their call: one's input may be the
/// reason, or they may have less trouble with less. Of these, a call that broke off or brought an
/// unusable answer may be charged twice: that is counted, logged and said.
pub(super) fn is_made_again(error: &Error) -> bool {
    matches!(
        error,
        Error::Refused(_)
            | Error::GatewayKeyRefused
            | Error::Unsound(_)
            | Error::UpstreamBroken
            | Error::RateLimited { .. }
            | Error::NoRoom
    )
}
