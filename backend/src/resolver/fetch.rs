//! The task that fetches what memory does not have: from the store, else from the upstream.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::ready;
use futures_util::{StreamExt, stream};

use super::coalescing::{LeaderInput, Leading};
use super::fault::ends_all;
use super::halving::Parts;
use super::{CallNotes, EmbeddingLookup, Resolver, Work};
use crate::embeddings::entry::Entry;
use crate::http::error::Error;
use crate::telemetry::Outcome;

/// Calls of one request that run side by side.
pub(super) const CALLS_AT_ONCE: usize = 4;

/// Inputs of a call that has not begun.
enum Later {
    Claimed(Vec<LeaderInput>),
    Places(Vec<usize>),
}

/// What became of the inputs of one call.
#[derive(Default)]
struct EndedCall {
    calls: Parts,
    found: Vec<(usize, Arc<Entry>)>,
}

/// What the task fetched.
#[derive(Debug, Default)]
pub(super) struct FetchResult {
    pub(super) entries: Vec<(usize, Arc<Entry>, Outcome)>,
    pub(super) call: CallNotes,
    pub(super) failure: Option<Error>,
}

impl Resolver {
    /// Fetches `claimed`, tells waiters, and puts the vectors into the tiers.
    pub(super) async fn fetch(
        self: Arc<Self>,
        work: Arc<Work>,
        claimed: Vec<LeaderInput>,
        share: bool,
    ) -> FetchResult {
        let lookup = &work.lookup;
        let mut fetched = FetchResult::default();
        let reads = self.may_read(lookup);
        let missing = match reads {
            true => self.get_store(lookup, claimed, &mut fetched).await,
            false => claimed,
        };
        if lookup.only_if_cached {
            fetched.failure = (!missing.is_empty()).then_some(Error::NotCached);
            return fetched;
        }
        let store_asked = reads || work.earned.store_asked;
        let missing = self.settle_proof(&work, missing, store_asked, &mut fetched);
        let missing = missing.await;
        let calls = later(self.divide(lookup, missing), share);
        self.call_all(lookup, calls, store_asked, &mut fetched)
            .await;
        fetched
    }

    /// Makes the calls of a request, as long as none of them is refused.
    async fn call_all(
        &self,
        lookup: &EmbeddingLookup,
        calls: Vec<Later>,
        store_asked: bool,
        fetched: &mut FetchResult,
    ) {
        let refused = AtomicBool::new(false);
        let calls = stream::iter(calls)
            .take_while(|_| ready(!refused.load(Ordering::Relaxed)))
            .map(|inputs| self.start_call(lookup, inputs, store_asked));
        let mut calls = pin!(calls.buffer_unordered(CALLS_AT_ONCE));
        while let Some(ended) = calls.next().await {
            self.end_call(lookup, ended, fetched);
            let ends = fetched.failure.as_ref().is_some_and(ends_all);
            refused.fetch_or(ends, Ordering::Relaxed);
        }
    }

    /// Claims what is not claimed yet, and calls the upstream for what is left.
    async fn start_call(
        &self,
        lookup: &EmbeddingLookup,
        inputs: Later,
        store_asked: bool,
    ) -> EndedCall {
        let leading = match inputs {
            Later::Claimed(inputs) => Leading {
                inputs,
                found: Vec::new(),
            },
            // Inputs that others fetch meanwhile stay missing: the next round waits for them.
            Later::Places(places) => self.claim(lookup, places, true).leading,
        };
        let mut calls = match leading.inputs.is_empty() {
            true => Parts::default(),
            false => self.call_batched(lookup, leading.inputs).await,
        };
        for (claimed, _, called) in &mut calls.ended {
            if let Ok(called) = called {
                self.recall(lookup, claimed, store_asked, called).await;
            }
        }
        EndedCall {
            calls,
            found: leading.found,
        }
    }

    fn end_call(&self, lookup: &EmbeddingLookup, ended: EndedCall, fetched: &mut FetchResult) {
        for (place, entry) in ended.found {
            fetched.entries.push((place, entry, Outcome::Memory));
        }
        for (began, until) in ended.calls.waits {
            fetched.call.waits.add(began, until);
        }
        for (claimed, (began, until), called) in ended.calls.ended {
            fetched.call.waits.add(began, until);
            self.end(lookup, claimed, called, fetched);
        }
    }
}

/// A claim that is shared begins when its call does: until then another request may pay sooner.
fn later(calls: Vec<Vec<LeaderInput>>, share: bool) -> Vec<Later> {
    let calls = calls.into_iter().enumerate();
    let later = calls.map(|(at, inputs)| match share && at >= CALLS_AT_ONCE {
        true => Later::Places(inputs.into_iter().map(|input| input.place).collect()),
        false => Later::Claimed(inputs),
    });
    later.collect()
}
