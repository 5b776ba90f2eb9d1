//! Inputs that several requests miss at a time: one request fetches them, the others wait.

use std::sync::Arc;

use opentelemetry::trace::SpanKind;
use tokio::time::Instant;

use super::fault::CallFault;
use super::fetch::FetchResult;
use super::lookup::PartialResult;
use super::{EmbeddingLookup, Resolver};
use crate::cache::in_flight::{Claim, Leader, Waiter};
use crate::embeddings::entry::Entry;
use crate::http::error::Error;
use crate::telemetry::{Outcome, semantics};

/// The outcome of an input in flight.
pub(super) type CoalescedResult = Result<(Arc<Entry>, Outcome), CallFault>;

/// One input that this request fetches, and its lead over waiters, if it shares the input.
#[derive(Debug)]
pub(super) struct LeaderInput {
    pub(super) place: usize,
    pub(super) leader: Option<Leader<CoalescedResult>>,
}

/// What became of missing inputs.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) leading: Leading,
    pub(super) waiting: Vec<(usize, Waiter<CoalescedResult>)>,
}

#[derive(Debug, Default)]
pub(super) struct Leading {
    pub(super) inputs: Vec<LeaderInput>,
    /// Inputs whose entries came into memory in between.
    pub(super) found: Vec<(usize, Arc<Entry>)>,
}

impl Resolver {
    /// Waits for inputs that other requests fetch.
    pub(super) async fn wait(
        &self,
        lookup: &EmbeddingLookup,
        waiting: Vec<(usize, Waiter<CoalescedResult>)>,
        found: &mut PartialResult,
    ) -> Result<(), Error> {
        if waiting.is_empty() {
            return Ok(());
        }
        let trace = &lookup.context.trace;
        let mut span = trace.span(SpanKind::Internal, || "coalesced wait");
        span.describe(|| [semantics::count("embedding_gateway.inputs", waiting.len())]);
        for (place, waiter) in waiting {
            let began = Instant::now();
            let outcome = waiter.outcome().await;
            if !matches!(outcome, Some(Ok((_, Outcome::Memory | Outcome::Store)))) {
                found.call.waits.add(began, Instant::now());
            }
            match outcome {
                // The call began before a purge, this request after it.
                Some(Ok((entry, _))) if !self.is_current(lookup, &entry) => {}
                Some(Ok((entry, Outcome::Miss))) => found.put(place, entry, Outcome::Collapsed),
                Some(Ok((entry, source))) => found.put(place, entry, source),
                Some(Err(fault)) if fault.concerns(&lookup.caller) => return Err(fault.error),
                Some(Err(_)) | None => {}
            }
        }
        Ok(())
    }

    /// Divides missing inputs into those that this request leads, and those that it waits for.
    pub(super) fn claim(
        &self,
        lookup: &EmbeddingLookup,
        missing: impl IntoIterator<Item = usize>,
        share: bool,
    ) -> Claims {
        let mut claims = Claims::default();
        let may_hit = self.access.may_hit(&lookup.caller, &lookup.request.model);
        let unshared = |place| LeaderInput {
            place,
            leader: None,
        };
        for place in missing {
            if !share {
                claims.leading.inputs.push(unshared(place));
                continue;
            }
            let key = lookup.distinct[place].0;
            match self.in_flight.claim(key, lookup.caller.payer, may_hit) {
                Claim::Waiter(waiter) => claims.waiting.push((place, waiter)),
                // An earlier leader may have completed since the look-up in memory.
                Claim::Leader(leader) => match self.entry_in_memory(lookup, &key, may_hit) {
                    Some(entry) => {
                        leader.complete(Ok((Arc::clone(&entry), Outcome::Memory)));
                        claims.leading.found.push((place, entry));
                    }
                    None => claims.leading.inputs.push(LeaderInput {
                        place,
                        leader: Some(leader),
                    }),
                },
            }
        }
        claims
    }
}

impl LeaderInput {
    pub(super) fn complete(self, entry: &Arc<Entry>, source: Outcome, fetched: &mut FetchResult) {
        if let Some(leader) = self.leader {
            leader.complete(Ok((Arc::clone(entry), source)));
        }
        fetched
            .entries
            .push((self.place, Arc::clone(entry), source));
    }

    pub(super) fn fail(self, fault: &CallFault) {
        if let Some(leader) = self.leader {
            leader.complete(Err(fault.clone()));
        }
    }
}
