//! What a call brought, on its way to waiters, to the request and into the tiers.

use std::iter::repeat;
use std::sync::Arc;

use opentelemetry::trace::SpanKind;

use super::coalescing::LeaderInput;
use super::fault::CallFault;
use super::fetch::FetchResult;
use super::outcome::Called;
use super::{EmbeddingLookup, Resolver, Work};
use crate::embeddings::answer::Answer;
use crate::embeddings::entry::Entry;
use crate::http::error::Error;
use crate::telemetry::{Outcome, Span};

/// How the vectors of one answer are kept.
struct Settlement<'a> {
    resolver: &'a Resolver,
    /// In the scope of the answer.
    lookup: &'a EmbeddingLookup,
    /// Whether the vectors are kept: those of one model with the ones before.
    agrees: bool,
    /// Of the writes into the store.
    span: Arc<Span>,
}

impl Resolver {
    /// Tells waiters and the request what a call brought.
    pub(super) fn end(
        &self,
        lookup: &EmbeddingLookup,
        claimed: Vec<LeaderInput>,
        called: Result<Called, Error>,
        fetched: &mut FetchResult,
    ) {
        let scope = called.as_ref().ok().and_then(|called| called.scope.clone());
        let lookup = lookup.in_scope(scope.as_ref());
        match called.and_then(|called| self.fits(&lookup, called)) {
            Ok(called) => self.settle(&lookup, claimed, called, fetched),
            Err(error) => {
                let fault = CallFault::new(error, &lookup.caller);
                claimed.into_iter().for_each(|input| input.fail(&fault));
                fetched.failure.get_or_insert(fault.error);
            }
        }
    }

    /// Refuses an answer whose vectors are not of their family.
    fn fits(&self, lookup: &EmbeddingLookup, mut called: Called) -> Result<Called, Error> {
        let (family, answer) = (&lookup.family, &mut called.answer);
        // An upstream that names no model now and then has not changed it.
        let known = self.families.model(family);
        if let Some(model) = known.filter(|_| !answer.is_named) {
            for entry in answer.entries.iter_mut().flatten() {
                entry.model = Arc::clone(&model);
            }
        }
        if let Some(entry) = answer.entries.iter().flatten().next() {
            let fits = self.families.accept(family, entry);
            fits.map_err(|unsound| Error::Unsound(Arc::new(unsound)))?;
        }
        Ok(called)
    }

    /// Uses the vector of the call that proved the caller's acceptance, if no tier has a better.
    pub(super) async fn settle_proof(
        &self,
        work: &Work,
        mut missing: Vec<LeaderInput>,
        store_asked: bool,
        fetched: &mut FetchResult,
    ) -> Vec<LeaderInput> {
        let Some(proof) = &work.earned.proof else {
            return missing;
        };
        if let Some(at) = missing.iter().position(|input| input.place == proof.place) {
            let (claimed, mut called) = (vec![missing.swap_remove(at)], proof.called());
            self.recall(&work.lookup, &claimed, store_asked, &mut called)
                .await;
            self.end(&work.lookup, claimed, Ok(called), fetched);
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
        let agrees = fetched.agrees_with(&called.answer);
        fetched.call.billed_tokens += called.answer.billed_tokens;
        fetched.call.repeated += called.repeated;
        if !called.headers.is_empty() {
            fetched.call.headers = called.headers;
        }
        fetched.call.scope = called.scope.or_else(|| fetched.call.scope.take());
        let fault = called.answer.fault.map(|unsound| {
            let error = Error::Unsound(Arc::new(unsound));
            CallFault::new(error, &lookup.caller)
        });
        let settlement = Settlement::new(self, lookup, agrees);
        let stored = called.stored.into_iter().chain(repeat(None));
        let brought = called.answer.entries.into_iter().zip(stored);
        for (claim, (entry, stored)) in claimed.into_iter().zip(brought) {
            match (entry, &fault) {
                (Some(entry), _) => settlement.take(claim, entry, stored, fetched),
                (None, Some(fault)) => claim.fail(fault),
                (None, None) => {}
            }
        }
        if let Some(fault) = fault {
            fetched.failure.get_or_insert(fault.error);
        }
    }
}

impl<'a> Settlement<'a> {
    fn new(resolver: &'a Resolver, lookup: &'a EmbeddingLookup, agrees: bool) -> Self {
        let trace = &lookup.context.trace;
        let span = match lookup.write && agrees && resolver.cache.has_store() {
            true => trace.span(SpanKind::Internal, || "store write"),
            false => Span::default(),
        };
        Self {
            resolver,
            lookup,
            agrees,
            span: Arc::new(span),
        }
    }

    /// Keeps one vector, and completes its claim. A vector that is there and not stale stays:
    /// others have it already.
    fn take(
        &self,
        claim: LeaderInput,
        entry: Entry,
        stored: Option<Arc<Entry>>,
        fetched: &mut FetchResult,
    ) {
        let (resolver, lookup) = (self.resolver, self.lookup);
        let key = lookup.distinct[claim.place].0;
        let is_current = |there: &Arc<Entry>| resolver.is_current(lookup, there);
        let there = resolver
            .entry_in_memory(lookup, &key, lookup.write)
            .or_else(|| stored.filter(is_current));
        if let Some(there) = there {
            claim.complete(&there, Outcome::Miss, fetched);
            return;
        }
        let entry = Arc::new(entry);
        if lookup.write && self.agrees {
            let fresh = resolver.freshness(lookup);
            resolver.cache.insert(key, &entry, fresh, &self.span);
        }
        // Waiters for a vector that is not kept must ask anew.
        let leader = claim.leader.filter(|_| self.agrees);
        let claim = LeaderInput { leader, ..claim };
        claim.complete(&entry, Outcome::Miss, fetched);
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
                before.dimensions() == entry.dimensions() && before.model == entry.model
            }
            _ => true,
        }
    }
}
