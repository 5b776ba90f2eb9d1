//! The task that fetches what memory does not have: from the store, else from the upstream.

use std::pin::pin;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use http::StatusCode;
use opentelemetry::trace::SpanKind;

use super::call::Called;
use super::{CallNotes, CoalescedResult, EmbeddingLookup, Resolver};
use crate::access::Caller;
use crate::cache::in_flight::Leader;
use crate::embeddings::answer::Answer;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::{Key, KeyBuilder};
use crate::http::credentials::CredentialId;
use crate::http::error::Error;
use crate::telemetry::{Outcome, Span, semantics};

/// Calls of one request that run side by side.
const CALLS_AT_ONCE: usize = 4;

/// One input that this request fetches, and its lead over waiters, if it shares the input.
#[derive(Debug)]
pub(super) struct LeaderInput {
    pub(super) place: usize,
    pub(super) leader: Option<Leader<CoalescedResult>>,
}

/// The failure of a call, for its waiters.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) error: Error,
    payer: CredentialId,
}

/// What the task fetched.
#[derive(Debug, Default)]
pub(super) struct FetchResult {
    pub(super) entries: Vec<(usize, Arc<Entry>, Outcome)>,
    pub(super) call: CallNotes,
    pub(super) failure: Option<Error>,
}

impl Fault {
    /// Whether the waiter's own call would have failed too: the upstream limits the same
    /// credential, or is in trouble. Errors of the leader's request concern the leader alone.
    pub(super) fn concerns(&self, waiter: &Caller) -> bool {
        let shared = match &self.error {
            Error::Refused(refusal) => {
                refusal.status == StatusCode::TOO_MANY_REQUESTS || refusal.status.is_server_error()
            }
            // Another input of the leader's batch may be the cause.
            Error::Unsound(_) => false,
            _ => true,
        };
        shared && self.payer == waiter.payer
    }
}

impl Resolver {
    /// Fetches `claimed`, tells waiters, and puts the vectors into the tiers.
    pub(super) async fn fetch(
        self: Arc<Self>,
        lookup: Arc<EmbeddingLookup>,
        claimed: Vec<LeaderInput>,
    ) -> FetchResult {
        let mut fetched = FetchResult::default();
        let missing = match self.may_read(&lookup) {
            true => self.get_store(&lookup, claimed, &mut fetched).await,
            false => claimed,
        };
        if lookup.only_if_cached {
            fetched.failure = (!missing.is_empty()).then_some(Error::NotCached);
            return fetched;
        }
        let calls = stream::iter(in_calls(missing, self.upstream.max_inputs()))
            .map(|claimed| self.call(&lookup, claimed));
        let mut calls = pin!(calls.buffer_unordered(CALLS_AT_ONCE));
        while let Some((claimed, (began, ended), called)) = calls.next().await {
            fetched.call.waits.add(began, ended);
            match called {
                Ok(called) => self.settle(&lookup, claimed, called, &mut fetched),
                Err(error) => {
                    let fault = Fault {
                        error,
                        payer: lookup.caller.payer,
                    };
                    claimed.into_iter().for_each(|input| input.fail(&fault));
                    fetched.failure.get_or_insert(fault.error);
                }
            }
        }
        fetched
    }

    /// Looks into the store. Returns the inputs that it does not have.
    async fn get_store(
        &self,
        lookup: &EmbeddingLookup,
        claimed: Vec<LeaderInput>,
        fetched: &mut FetchResult,
    ) -> Vec<LeaderInput> {
        let key_of = |input: &LeaderInput| lookup.distinct[input.place].0;
        let keys: Vec<Key> = claimed.iter().map(key_of).collect();
        let mut span = match self.cache.has_store() {
            true => lookup
                .context
                .trace
                .span(SpanKind::Internal, || "store look-up"),
            false => Span::default(),
        };
        span.describe(|| [semantics::count("embedding_gateway.inputs", keys.len())]);
        let found = self.cache.get_store(keys, self.freshness(lookup)).await;
        let hits = found.iter().flatten().count();
        span.describe(|| [semantics::count("embedding_gateway.inputs.store", hits)]);
        drop(span);
        let mut missing = Vec::new();
        for (input, entry) in claimed.into_iter().zip(found) {
            match entry {
                Some(entry) => {
                    lookup.context.count(entry.vector.len());
                    input.complete(&entry, Outcome::Store, fetched);
                }
                None => missing.push(input),
            }
        }
        missing
    }

    fn settle(
        &self,
        lookup: &EmbeddingLookup,
        claimed: Vec<LeaderInput>,
        called: Called,
        fetched: &mut FetchResult,
    ) {
        let keys = called
            .scope
            .as_ref()
            .map(|scope| KeyBuilder::new(&lookup.key_scope.with_scope(scope), &lookup.request));
        fetched.call.billed_tokens += called.answer.billed_tokens;
        fetched.call.headers = called.headers;
        fetched.call.scope = called.scope;
        let agrees = fetched.agrees_with(&called.answer);
        let span = match lookup.write && agrees && self.cache.has_store() {
            true => lookup
                .context
                .trace
                .span(SpanKind::Internal, || "store write"),
            false => Span::default(),
        };
        let span = Arc::new(span);
        let fault = called.answer.fault.map(|unsound| Fault {
            error: Error::Unsound(Arc::new(unsound)),
            payer: lookup.caller.payer,
        });
        for (claim, entry) in claimed.into_iter().zip(called.answer.entries) {
            let Some(entry) = entry.map(Arc::new) else {
                if let Some(fault) = &fault {
                    claim.fail(fault);
                }
                continue;
            };
            if lookup.write && agrees {
                let (key, input) = &lookup.distinct[claim.place];
                self.cache.insert(
                    keys.as_ref().map_or(*key, |keys| keys.key(input)),
                    &entry,
                    &span,
                );
            }
            // Waiters for a vector that is not kept must ask anew.
            let leader = claim.leader.filter(|_| agrees);
            let claim = LeaderInput { leader, ..claim };
            claim.complete(&entry, Outcome::Miss, fetched);
        }
        if let Some(fault) = fault {
            fetched.failure.get_or_insert(fault.error);
        }
    }
}

impl FetchResult {
    /// Whether vectors of a further call are as long as those of the calls before. If not, the
    /// upstream changed models in between. Either may be stale, so no more of them are kept, and
    /// the request fetches all anew.
    fn agrees_with(&self, answer: &Answer) -> bool {
        let mut before = self.entries.iter();
        let before = before.find(|(_, _, source)| *source == Outcome::Miss);
        match (before, answer.entries.iter().flatten().next()) {
            (Some((_, before, _)), Some(entry)) => before.vector.len() == entry.vector.len(),
            _ => true,
        }
    }
}

impl LeaderInput {
    fn complete(self, entry: &Arc<Entry>, source: Outcome, fetched: &mut FetchResult) {
        if let Some(leader) = self.leader {
            leader.complete(Ok((Arc::clone(entry), source)));
        }
        fetched
            .entries
            .push((self.place, Arc::clone(entry), source));
    }

    fn fail(self, fault: &Fault) {
        if let Some(leader) = self.leader {
            leader.complete(Err(fault.clone()));
        }
    }
}

/// Divides what is missing into calls of at most `max_inputs`.
fn in_calls(mut claimed: Vec<LeaderInput>, max_inputs: usize) -> Vec<Vec<LeaderInput>> {
    let mut calls = Vec::with_capacity(claimed.len().div_ceil(max_inputs));
    while !claimed.is_empty() {
        let rest = claimed.split_off(claimed.len().min(max_inputs));
        calls.push(std::mem::replace(&mut claimed, rest));
    }
    calls
}
