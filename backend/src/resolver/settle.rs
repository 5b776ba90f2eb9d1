//! What a call brought, on its way to waiters, to the request and into the tiers.

use std::sync::Arc;

use opentelemetry::trace::SpanKind;

use super::call::Called;
use super::coalescing::LeaderInput;
use super::fault::Fault;
use super::fetch::FetchResult;
use super::{EmbeddingLookup, Resolver, Work};
use crate::embeddings::answer::Answer;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::KeyBuilder;
use crate::http::error::Error;
use crate::telemetry::{Outcome, Span};

/// How the vectors of one answer are kept.
struct Settlement<'a> {
    resolver: &'a Resolver,
    lookup: &'a EmbeddingLookup,
    /// If the answer is of another scope than the look-up.
    keys: Option<KeyBuilder>,
    /// Whether the vectors are of one model with those before.
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
    pub(super) fn settle_proof(
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

    fn settle(
        &self,
        lookup: &EmbeddingLookup,
        claimed: Vec<LeaderInput>,
        called: Called,
        fetched: &mut FetchResult,
    ) {
        fetched.call.billed_tokens += called.answer.billed_tokens;
        if !called.headers.is_empty() {
            fetched.call.headers = called.headers;
        }
        let agrees = fetched.agrees_with(&called.answer);
        let settlement = Settlement::new(self, lookup, called.scope.as_ref(), agrees);
        fetched.call.scope = called.scope.or_else(|| fetched.call.scope.take());
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
            settlement.take(claim, entry, fetched);
        }
        if let Some(fault) = fault {
            fetched.failure.get_or_insert(fault.error);
        }
    }
}

impl<'a> Settlement<'a> {
    fn new(
        resolver: &'a Resolver,
        lookup: &'a EmbeddingLookup,
        scope: Option<&Arc<str>>,
        agrees: bool,
    ) -> Self {
        let keys = scope
            .map(|scope| KeyBuilder::new(&lookup.key_scope.with_scope(scope), &lookup.request));
        let keeps = lookup.write && agrees;
        let span = match keeps && resolver.cache.has_store() {
            true => lookup
                .context
                .trace
                .span(SpanKind::Internal, || "store write"),
            false => Span::default(),
        };
        Self {
            resolver,
            lookup,
            keys,
            agrees,
            span: Arc::new(span),
        }
    }

    /// Keeps one vector, and completes its claim.
    fn take(&self, claim: LeaderInput, entry: Entry, fetched: &mut FetchResult) {
        let lookup = self.lookup;
        let (key, input) = &lookup.distinct[claim.place];
        let key = self.keys.as_ref().map_or(*key, |keys| keys.key(input));
        // A vector that is there and not stale stays: others have it already.
        if let Some(there) = self.resolver.entry_in_memory(lookup, &key, lookup.write) {
            claim.complete(&there, Outcome::Miss, fetched);
            return;
        }
        let entry = Arc::new(entry);
        if lookup.write && self.agrees {
            self.resolver.cache.insert(key, &entry, &self.span);
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
                before.vector.len() == entry.vector.len() && before.model == entry.model
            }
            _ => true,
        }
    }
}
