//! What a shared call brings to each of its requests.

use std::iter::repeat_with;
use std::sync::Arc;

use crate::http::error::Error;
use crate::resolver::division::RefusedBatch;
use crate::resolver::outcome::{Call, Checked};
use crate::upstream::{OverLimit, Size};

/// What a shared call brought to one of its requests.
#[derive(Debug)]
pub(super) enum Brought {
    /// An answer. Its headers are for the caller only if all requests are of one.
    Answer {
        checked: Box<Checked>,
        is_of_one: bool,
    },
    /// A failure of the upstream as such: another call would fail as well, or be charged twice.
    Failure(Error),
    /// Nothing: it must call by itself.
    Apart(Option<Arc<RefusedBatch>>),
}

impl Checked {
    /// The answer's parts: to so many inputs each, in order.
    pub(super) fn divide(self, call: &Call<'_>, counts: &[usize], is_of_one: bool) -> Vec<Brought> {
        let Self {
            answer,
            headers,
            sent,
            repeated,
        } = self;
        let parts = answer.divide(call.inputs, counts).into_iter();
        let part = |answer| Brought::Answer {
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
pub(super) fn failed(error: &Error, call: &Call<'_>) -> Vec<Brought> {
    if !is_made_again(error) {
        let failure = || Brought::Failure(error.clone());
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
    let apart = || Brought::Apart(refused.clone());
    repeat_with(apart).take(call.requests).collect()
}

/// Whether requests call by themselves after this failure of their call: one's input may be the
/// reason, or they may have less trouble with less. Of these, a call that broke off or brought an
/// unusable answer may be charged twice: that is counted and logged.
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
