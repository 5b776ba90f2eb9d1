//! What a look-up may take from the tiers.

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::trace::SpanKind;

use super::coalescing::LeaderInput;
use super::fetch::FetchResult;
use super::lookup::PartialResult;
use super::outcome::Called;
use super::{EmbeddingLookup, Resolver};
use crate::access::acceptance::Right;
use crate::cache::Freshness;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::telemetry::{Outcome, Span, semantics};

impl Resolver {
    /// The caller's right to what is in the tiers.
    pub(super) fn right(&self, lookup: &EmbeddingLookup) -> Right {
        match lookup.read {
            true => self.access.right(&lookup.caller, &lookup.request.model),
            false => Right::None,
        }
    }

    pub(super) fn may_read(&self, lookup: &EmbeddingLookup) -> bool {
        self.right(lookup) != Right::None
    }

    pub(super) fn freshness(&self, lookup: &EmbeddingLookup) -> Freshness {
        self.cache
            .freshness(&lookup.request.model, &lookup.key_scope.scope)
    }

    /// Whether an entry may be served: neither purged, nor too old, nor of a former model.
    pub(super) fn is_current(&self, lookup: &EmbeddingLookup, entry: &Entry) -> bool {
        self.freshness(lookup).allows(entry) && self.families.is_current(&lookup.family, entry)
    }

    pub(super) fn entry_in_memory(
        &self,
        lookup: &EmbeddingLookup,
        key: &Key,
        may_hit: bool,
    ) -> Option<Arc<Entry>> {
        let entry = self.cache.get_memory(key, self.freshness(lookup))?;
        let current = may_hit && self.families.is_current(&lookup.family, &entry);
        current.then_some(entry)
    }

    /// Takes from memory what is missing.
    pub(super) fn get_memory(&self, lookup: &EmbeddingLookup, found: &mut PartialResult) {
        let fresh = self.freshness(lookup);
        for (place, (key, _)) in lookup.distinct.iter().enumerate() {
            if found.entries[place].is_some() {
                continue;
            }
            let entry = self.cache.get_memory(key, fresh);
            if let Some(entry) =
                entry.filter(|entry| self.families.is_current(&lookup.family, entry))
            {
                found.put(place, entry, Outcome::Memory);
            }
        }
    }

    /// Looks for what the store has of the inputs of a call, unless it was asked before the call:
    /// vectors that are there and not stale stay the same in every cache.
    pub(super) async fn recall(
        &self,
        lookup: &EmbeddingLookup,
        claimed: &[LeaderInput],
        store_asked: bool,
        called: &mut Called,
    ) {
        let lookup = lookup.in_scope(called.scope.as_ref());
        let is_known = store_asked && matches!(lookup, Cow::Borrowed(_));
        if lookup.write && self.cache.has_store() && !is_known {
            let keys = claimed.iter().map(|input| lookup.distinct[input.place].0);
            let found = self
                .cache
                .get_store(keys.collect(), self.freshness(&lookup));
            called.stored = found.await;
        }
    }

    /// Looks into the store. Returns the inputs that it does not have.
    pub(super) async fn get_store(
        &self,
        lookup: &EmbeddingLookup,
        claimed: Vec<LeaderInput>,
        fetched: &mut FetchResult,
    ) -> Vec<LeaderInput> {
        let found = self.stored(lookup, &claimed).await;
        let mut missing = Vec::new();
        for (input, entry) in claimed.into_iter().zip(found) {
            match entry {
                Some(entry) => {
                    lookup.context.count(entry.vector.kept_bytes());
                    input.complete(&entry, Outcome::Store, fetched);
                }
                None => missing.push(input),
            }
        }
        missing
    }

    /// What the store has of these inputs, and is of their family.
    async fn stored(
        &self,
        lookup: &EmbeddingLookup,
        claimed: &[LeaderInput],
    ) -> Vec<Option<Arc<Entry>>> {
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
        found
    }
}
