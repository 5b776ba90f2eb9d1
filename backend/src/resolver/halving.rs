//! Calls that the upstream finds too large: halved until it takes their parts, or until the one
//! input is found that it takes in no call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::coalescing::LeaderInput;
use super::fault::ends_all;
use super::outcome::CallResult;
use super::paced::turn_deadline;
use super::{EmbeddingLookup, Resolver};
use crate::http::error::Error;
use crate::upstream::{OverLimit, Size};

/// What became of inputs that were to be one call.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) ended: Vec<CallResult>,
    /// Of the calls that were refused and divided.
    pub(super) waits: Vec<(Instant, Instant)>,
    billed_tokens: u64,
    /// Whether any of them failed.
    has_failed: bool,
    /// Whether it is of no use to go on.
    ends: bool,
}

/// A call of several requests that the upstream found too large, until all of them have called by
/// themselves.
#[derive(Debug)]
pub(super) struct RefusedBatch {
    over: OverLimit,
    size: Size,
    requests_left: AtomicUsize,
    billed_tokens: AtomicU64,
    has_failed: AtomicBool,
}

impl Resolver {
    /// Divides inputs into calls that the upstream takes, as far as is known.
    pub(super) fn divide(
        &self,
        lookup: &EmbeddingLookup,
        mut claimed: Vec<LeaderInput>,
    ) -> Vec<Vec<LeaderInput>> {
        let sizes = claimed.iter().map(|input| lookup.size(input.place));
        let calls = lookup.group.divide(&lookup.request.model, sizes);
        if calls.len() < 2 {
            return vec![claimed];
        }
        let parts = calls.into_iter().map(|inputs| {
            let rest = claimed.split_off(inputs.min(claimed.len()));
            std::mem::replace(&mut claimed, rest)
        });
        parts.collect()
    }

    /// Calls the upstream, with less at a time if that is too much. The call must have had its turn
    /// until then.
    pub(super) async fn call_divided(
        &self,
        lookup: &EmbeddingLookup,
        claimed: Vec<LeaderInput>,
        until: Instant,
    ) -> Parts {
        let (claimed, waited, called) = self.call(lookup, claimed, until).await;
        match &called {
            Err(Error::Refused(refusal)) if claimed.len() > 1 => match OverLimit::of(refusal) {
                Some(over) => self.call_halves(lookup, claimed, over, waited).await,
                None => Parts::of((claimed, waited, called)),
            },
            _ => Parts::of((claimed, waited, called)),
        }
    }

    /// Boxed, because halves are divided in turn.
    fn call_halves<'a>(
        &'a self,
        lookup: &'a EmbeddingLookup,
        mut claimed: Vec<LeaderInput>,
        over: OverLimit,
        refused: (Instant, Instant),
    ) -> BoxFuture<'a, Parts> {
        let size: Size = claimed.iter().map(|input| lookup.size(input.place)).sum();
        let second = claimed.split_off(claimed.len().div_ceil(2));
        let mut parts = Parts::default();
        parts.waits.push(refused);
        async move {
            for half in [claimed, second] {
                // The first half may have taught what the second is divided by.
                for call in self.divide(lookup, half) {
                    if !parts.ends {
                        let until = turn_deadline(lookup);
                        parts.add(self.call_divided(lookup, call, until).await);
                    }
                }
            }
            if !parts.has_failed {
                let model = &lookup.request.model;
                lookup
                    .group
                    .note_division(model, over, size, parts.billed_tokens);
            }
            parts
        }
        .boxed()
    }

    /// Notes how a request of a refused batch has ended. If none has failed, its size was the
    /// reason.
    pub(super) fn end_apart(&self, lookup: &EmbeddingLookup, batch: &RefusedBatch, parts: &Parts) {
        batch
            .billed_tokens
            .fetch_add(parts.billed_tokens, Ordering::AcqRel);
        batch
            .has_failed
            .fetch_or(parts.has_failed, Ordering::AcqRel);
        let is_last = batch.requests_left.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last && !batch.has_failed.load(Ordering::Acquire) {
            let (model, tokens) = (&lookup.request.model, &batch.billed_tokens);
            let tokens = tokens.load(Ordering::Acquire);
            lookup
                .group
                .note_division(model, batch.over, batch.size, tokens);
        }
    }
}

impl RefusedBatch {
    pub(super) fn new(over: OverLimit, size: Size, requests: usize) -> Self {
        Self {
            over,
            size,
            requests_left: AtomicUsize::new(requests),
            billed_tokens: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
        }
    }
}

impl Parts {
    pub(super) fn of(ended: CallResult) -> Self {
        let mut parts = Self::default();
        match &ended.2 {
            Ok(called) => parts.billed_tokens = called.answer.billed_tokens,
            Err(error) => {
                parts.has_failed = true;
                parts.ends = ends_all(error);
            }
        }
        parts.ended.push(ended);
        parts
    }

    /// Notes whether the same inputs were in a call before that may have been charged.
    pub(super) fn note_repeat(&mut self, may_be_charged: bool) {
        let mut called = self.ended.iter_mut();
        let first = called.find_map(|(_, _, called)| called.as_mut().ok());
        if let Some(first) = first {
            first.repeated += u32::from(may_be_charged);
        }
    }

    fn add(&mut self, later: Self) {
        self.ended.extend(later.ended);
        self.waits.extend(later.waits);
        self.billed_tokens += later.billed_tokens;
        self.has_failed |= later.has_failed;
        self.ends |= later.ends;
    }
}

/// A refusal of a call for one input that is too long names this input: the client's place for it
/// is another than the call's.
pub(super) fn placed(error: Error, claimed: &[LeaderInput]) -> Error {
    match (error, claimed) {
        (Error::Refused(refusal), [input]) if OverLimit::is_of_input(&refusal) => {
            Error::InputRefused {
                index: input.place,
                refusal: Arc::clone(&refusal),
            }
        }
        (error, _) => error,
    }
}
