//! The task that fetches what memory does not have: from the store, else from the upstream.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::ready;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use opentelemetry::trace::SpanKind;

use super::call::{CallResult, Called};
use super::{CallNotes, CoalescedResult, EmbeddingLookup, Leading, Resolver, Work};
use crate::access::Caller;
use crate::cache::in_flight::Leader;
use crate::embeddings::answer::Answer;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::{Key, KeyBuilder};
use crate::http::credentials::CredentialId;
use crate::http::error::Error;
use crate::telemetry::{Outcome, Span, semantics};

/// Calls of one request that run side by side.
pub(super) const CALLS_AT_ONCE: usize = 4;

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
    caller: Option<CredentialId>,
    payer: CredentialId,
}

/// Inputs of a call that has not begun.
enum Later {
    Claimed(Vec<LeaderInput>),
    Places(Vec<usize>),
}

/// What became of the inputs of one call.
#[derive(Default)]
struct EndedCall {
    call: Option<CallResult>,
    found: Vec<(usize, Arc<Entry>)>,
}

/// What the task fetched.
#[derive(Debug, Default)]
pub(super) struct FetchResult {
    pub(super) entries: Vec<(usize, Arc<Entry>, Outcome)>,
    pub(super) call: CallNotes,
    pub(super) failure: Option<Error>,
}

impl Fault {
    /// The failure of a call for `caller`.
    pub(super) fn new(error: Error, caller: &Caller) -> Self {
        let (caller, payer) = (caller.identity(), caller.payer);
        Self {
            error,
            caller,
            payer,
        }
    }

    /// Whether the waiter's own call would have failed too, and may know so. What the upstream
    /// said is for the caller that it said it to, even where both have one payer.
    pub(super) fn concerns(&self, waiter: &Caller) -> bool {
        match &self.error {
            Error::Refused(refusal) => {
                let limited = refusal.status == StatusCode::TOO_MANY_REQUESTS;
                let same = self.caller.is_some() && self.caller == waiter.identity();
                same && (limited || refusal.status.is_server_error())
            }
            // Another input of the leader's batch may be the cause.
            Error::Unsound(_) => false,
            _ => self.payer == waiter.payer,
        }
    }
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
        let missing = match self.may_read(lookup) {
            true => self.get_store(lookup, claimed, &mut fetched).await,
            false => {
                self.recall_stored(lookup, &claimed).await;
                claimed
            }
        };
        if lookup.only_if_cached {
            fetched.failure = (!missing.is_empty()).then_some(Error::NotCached);
            return fetched;
        }
        let missing = self.settle_proof(&work, missing, &mut fetched);
        let calls = in_calls(missing, self.upstream.max_inputs());
        // A claim begins when its call does: until then another request may pay sooner.
        let divided = calls.into_iter().enumerate();
        let calls: Vec<Later> = divided
            .map(|(at, claimed)| match share && at >= CALLS_AT_ONCE {
                true => Later::Places(claimed.into_iter().map(|input| input.place).collect()),
                false => Later::Claimed(claimed),
            })
            .collect();
        let refused = AtomicBool::new(false);
        let calls = stream::iter(calls)
            .take_while(|_| ready(!refused.load(Ordering::Relaxed)))
            .map(|inputs| self.start_call(lookup, inputs));
        let mut calls = pin!(calls.buffer_unordered(CALLS_AT_ONCE));
        while let Some(ended) = calls.next().await {
            self.end_call(lookup, ended, &mut fetched);
            let ends = fetched.failure.as_ref().is_some_and(ends_all);
            refused.fetch_or(ends, Ordering::Relaxed);
        }
        fetched
    }

    /// Claims what is not claimed yet, and calls the upstream for what is left.
    async fn start_call(&self, lookup: &EmbeddingLookup, inputs: Later) -> EndedCall {
        let leading = match inputs {
            Later::Claimed(inputs) => Leading {
                inputs,
                found: Vec::new(),
            },
            // Inputs that others fetch meanwhile stay missing: the next round waits for them.
            Later::Places(places) => self.claim(lookup, places, true).leading,
        };
        let call = match leading.inputs.is_empty() {
            true => None,
            false => Some(self.call(lookup, leading.inputs).await),
        };
        EndedCall {
            call,
            found: leading.found,
        }
    }

    fn end_call(&self, lookup: &EmbeddingLookup, ended: EndedCall, fetched: &mut FetchResult) {
        for (place, entry) in ended.found {
            fetched.entries.push((place, entry, Outcome::Memory));
        }
        let Some((claimed, (began, until), called)) = ended.call else {
            return;
        };
        fetched.call.waits.add(began, until);
        self.end(lookup, claimed, called, fetched);
    }

    /// Tells waiters and the request what a call brought.
    fn end(
        &self,
        lookup: &EmbeddingLookup,
        claimed: Vec<LeaderInput>,
        called: Result<Called, Error>,
        fetched: &mut FetchResult,
    ) {
        match called.and_then(|called| self.fits(lookup, called)) {
            Ok(called) => self.settle(lookup, claimed, called, fetched),
            Err(error) => {
                let fault = Fault::new(error, &lookup.caller);
                claimed.into_iter().for_each(|input| input.fail(&fault));
                fetched.failure.get_or_insert(fault.error);
            }
        }
    }

    /// Refuses an answer whose vectors are not of their family.
    fn fits(&self, lookup: &EmbeddingLookup, mut called: Called) -> Result<Called, Error> {
        let family = match &called.scope {
            Some(scope) => {
                KeyBuilder::new(&lookup.key_scope.with_scope(scope), &lookup.request).family()
            }
            None => lookup.family,
        };
        // An upstream that names no model now and then has not changed it.
        if let Some(model) = self
            .families
            .model(&family)
            .filter(|_| !called.answer.is_named)
        {
            for entry in called.answer.entries.iter_mut().flatten() {
                entry.model = Arc::clone(&model);
            }
        }
        if let Some(entry) = called.answer.entries.iter().flatten().next() {
            let fits = self.families.accept(&family, entry);
            fits.map_err(|unsound| Error::Unsound(Arc::new(unsound)))?;
        }
        Ok(called)
    }

    /// Uses the vector of the call that proved the caller's acceptance, if no tier has a better.
    fn settle_proof(
        &self,
        work: &Work,
        mut missing: Vec<LeaderInput>,
        fetched: &mut FetchResult,
    ) -> Vec<LeaderInput> {
        let Some(proof) = &work.proof else {
            return missing;
        };
        if let Some(at) = missing.iter().position(|input| input.place == proof.place) {
            let claimed = vec![missing.swap_remove(at)];
            self.end(&work.lookup, claimed, Ok(proof.called()), fetched);
        }
        missing
    }

    /// Brings into memory what a call is not to overwrite: it validates, and vectors that are there
    /// and not stale stay the same in every cache.
    async fn recall_stored(&self, lookup: &EmbeddingLookup, claimed: &[LeaderInput]) {
        if lookup.write && !lookup.read && self.cache.has_store() {
            let keys = claimed.iter().map(|input| lookup.distinct[input.place].0);
            self.cache
                .get_store(keys.collect(), self.freshness(lookup))
                .await;
        }
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
        // All first: the newest of them says what the family is.
        for entry in found.iter().flatten() {
            self.families.is_current(&lookup.family, entry);
        }
        let current = |entry: &Arc<Entry>| self.families.is_current(&lookup.family, entry);
        let found: Vec<_> = found
            .into_iter()
            .map(|entry| entry.filter(current))
            .collect();
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
        if !called.headers.is_empty() {
            fetched.call.headers = called.headers;
        }
        fetched.call.scope = called.scope.or_else(|| fetched.call.scope.take());
        let agrees = fetched.agrees_with(&called.answer);
        let span = match lookup.write && agrees && self.cache.has_store() {
            true => lookup
                .context
                .trace
                .span(SpanKind::Internal, || "store write"),
            false => Span::default(),
        };
        let span = Arc::new(span);
        let fault = called.answer.fault.map(|unsound| {
            let error = Error::Unsound(Arc::new(unsound));
            Fault::new(error, &lookup.caller)
        });
        for (claim, entry) in claimed.into_iter().zip(called.answer.entries) {
            let Some(entry) = entry else {
                if let Some(fault) = &fault {
                    claim.fail(fault);
                }
                continue;
            };
            let (key, input) = &lookup.distinct[claim.place];
            let key = keys.as_ref().map_or(*key, |keys| keys.key(input));
            // A vector that is there and not stale stays: others have it already.
            if let Some(there) = self.entry_in_memory(lookup, &key, lookup.write) {
                claim.complete(&there, Outcome::Miss, fetched);
                continue;
            }
            let entry = Arc::new(entry);
            if lookup.write && agrees {
                self.cache.insert(key, &entry, &span);
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
            (Some((_, before, _)), Some(entry)) => {
                before.vector.len() == entry.vector.len() && before.model == entry.model
            }
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

/// Whether the other calls of the request would be refused as well.
fn ends_all(error: &Error) -> bool {
    match error {
        Error::Refused(refusal) => matches!(
            refusal.status,
            StatusCode::UNAUTHORIZED
                | StatusCode::PAYMENT_REQUIRED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::TOO_MANY_REQUESTS
        ),
        Error::GatewayKeyRefused => true,
        _ => false,
    }
}
