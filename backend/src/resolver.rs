//! Resolves the inputs of a request to their vectors: by memory, another request's call, the store,
//! the upstream, in this order.
//!
//! A task that no connection owns fetches what memory does not have: a client that goes away takes
//! nothing from waiters, and the tiers keep what the upstream charged for.

mod call;
mod fetch;
mod lookup;
pub mod permits;
pub mod request_context;
mod waits;

use std::sync::Arc;

use futures_util::future::{Either, ready};
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::fetch::{Fault, LeaderInput};
use self::lookup::PartialResult;
pub use self::lookup::{CallNotes, EmbeddingLookup, Resolved};
use crate::access::Access;
use crate::cache::in_flight::{Claim, InFlight, Waiter};
use crate::cache::{Cache, Freshness};
use crate::embeddings::answer::Unsound;
use crate::embeddings::entry::Entry;
use crate::http::error::Error;
use crate::telemetry::{Metrics, Outcome, Span, Tally, semantics};
use crate::upstream::Client;

/// How often a look-up waits for other requests. If those fail for reasons of their own, it calls
/// the upstream itself: with N failing callers, the last must not wait N times.
const SHARED_ROUNDS: usize = 2;

/// The outcome of an input in flight.
type CoalescedResult = Result<(Arc<Entry>, Outcome), Fault>;

/// The tiers and the upstream behind them.
#[derive(Debug)]
pub struct Resolver {
    cache: Cache,
    upstream: Arc<Client>,
    access: Arc<Access>,
    metrics: Arc<Metrics>,
    /// Tracks the tasks that outlive their request.
    tracker: TaskTracker,
    in_flight: Arc<InFlight<CoalescedResult>>,
}

impl Resolver {
    /// A resolver over `cache` and `upstream`, which reports to `access` and `metrics`.
    pub fn new(
        cache: Cache,
        upstream: Arc<Client>,
        access: Arc<Access>,
        metrics: Arc<Metrics>,
        tracker: TaskTracker,
    ) -> Self {
        let in_flight = InFlight::new();
        Self {
            cache,
            upstream,
            access,
            metrics,
            tracker,
            in_flight,
        }
    }

    /// The tiers.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Resolves a look-up, or returns the reason why not. If memory has all of it, the returned
    /// future is ready.
    pub fn resolve(
        self: &Arc<Self>,
        lookup: EmbeddingLookup,
    ) -> impl Future<Output = Result<Resolved, Error>> + Send + use<> {
        let mut found = PartialResult::nothing(lookup.distinct.len());
        if self.may_read(&lookup) {
            self.get_memory(&lookup, &mut found);
        }
        if found.is_complete() && found.is_uniform() {
            self.count(&found.tally);
            return Either::Left(ready(Ok(found.into())));
        }
        let resolver = Arc::clone(self);
        // Boxed, so that a request that finds all in memory does not carry this future's size.
        Either::Right(Box::pin(async move {
            let found = resolver.complete(lookup, found).await?;
            resolver.count(&found.tally);
            Ok(found.into())
        }))
    }

    /// Fetches what memory does not have.
    async fn complete(
        self: &Arc<Self>,
        lookup: EmbeddingLookup,
        mut found: PartialResult,
    ) -> Result<PartialResult, Error> {
        let lookup = Arc::new(lookup);
        self.fetch_rest(&lookup, &mut found).await?;
        match found.is_uniform() {
            true => Ok(found),
            false => self.fetch_anew(&lookup, &found).await,
        }
    }

    /// Fetches all inputs anew: the model behind the name has changed, so older vectors do not
    /// compare.
    async fn fetch_anew(
        self: &Arc<Self>,
        lookup: &Arc<EmbeddingLookup>,
        old: &PartialResult,
    ) -> Result<PartialResult, Error> {
        let lookup = Arc::new(EmbeddingLookup {
            read: false,
            ..EmbeddingLookup::clone(lookup)
        });
        let mut found = PartialResult::nothing(lookup.distinct.len());
        found.call = old.call.clone();
        self.fetch_rest(&lookup, &mut found).await?;
        match found.is_uniform() {
            true => Ok(found),
            false => Err(Error::Unsound(Arc::new(Unsound::Mixed))),
        }
    }

    /// Runs rounds until nothing is missing. Ends because the last round waits for no other
    /// request.
    async fn fetch_rest(
        self: &Arc<Self>,
        lookup: &Arc<EmbeddingLookup>,
        found: &mut PartialResult,
    ) -> Result<(), Error> {
        let mut rounds = 0;
        while !found.is_complete() {
            let share = lookup.read && !lookup.only_if_cached && rounds < SHARED_ROUNDS;
            self.round(lookup, found, share).await?;
            rounds += 1;
        }
        Ok(())
    }

    /// Tries once to get all that is missing. Inputs that fail for another request's reason stay
    /// missing; a failure for this request's own reason ends the look-up.
    async fn round(
        self: &Arc<Self>,
        lookup: &Arc<EmbeddingLookup>,
        found: &mut PartialResult,
        share: bool,
    ) -> Result<(), Error> {
        let (claimed, waiters) = self.claim(lookup, found, share);
        let task = (!claimed.is_empty()).then(|| {
            self.tracker
                .spawn(Arc::clone(self).fetch(Arc::clone(lookup), claimed))
        });
        let mut span = match waiters.is_empty() {
            true => Span::default(),
            false => lookup
                .context
                .trace
                .span(SpanKind::Internal, || "coalesced wait"),
        };
        span.describe(|| [semantics::count("embedding_gateway.inputs", waiters.len())]);
        for (place, waiter) in waiters {
            let began = Instant::now();
            let outcome = waiter.outcome().await;
            if !matches!(outcome, Some(Ok((_, Outcome::Memory | Outcome::Store)))) {
                found.call.waits.add(began, Instant::now());
            }
            match outcome {
                // The call began before a purge, this request after it.
                Some(Ok((entry, _))) if !self.freshness(lookup).allows(&entry) => {}
                Some(Ok((entry, Outcome::Miss))) => found.put(place, entry, Outcome::Collapsed),
                Some(Ok((entry, source))) => found.put(place, entry, source),
                Some(Err(fault)) if fault.concerns(&lookup.caller) => return Err(fault.error),
                Some(Err(_)) | None => {}
            }
        }
        drop(span);
        let Some(task) = task else { return Ok(()) };
        let fetched = task.await.map_err(|_| Error::Internal)?;
        for (place, entry, source) in fetched.entries {
            found.put(place, entry, source);
        }
        found.call.add(fetched.call);
        fetched.failure.map_or(Ok(()), Err)
    }

    /// Divides what is missing into inputs that this request leads, and inputs that it waits for.
    fn claim(
        &self,
        lookup: &EmbeddingLookup,
        found: &mut PartialResult,
        share: bool,
    ) -> (Vec<LeaderInput>, Vec<(usize, Waiter<CoalescedResult>)>) {
        let (mut claimed, mut waiters) = (Vec::new(), Vec::new());
        let fresh = self.freshness(lookup);
        for place in found.missing() {
            let key = lookup.distinct[place].0;
            if !share {
                claimed.push(LeaderInput {
                    place,
                    leader: None,
                });
                continue;
            }
            let may_hit = self.access.may_hit(&lookup.caller, &lookup.request.model);
            match self.in_flight.claim(key, lookup.caller.payer, may_hit) {
                Claim::Waiter(waiter) => waiters.push((place, waiter)),
                // An earlier leader may have completed since the look-up in memory.
                Claim::Leader(leader) => {
                    match self.cache.get_memory(&key, fresh).filter(|_| may_hit) {
                        Some(entry) => {
                            leader.complete(Ok((Arc::clone(&entry), Outcome::Memory)));
                            found.put(place, entry, Outcome::Memory);
                        }
                        None => claimed.push(LeaderInput {
                            place,
                            leader: Some(leader),
                        }),
                    }
                }
            }
        }
        (claimed, waiters)
    }

    fn may_read(&self, lookup: &EmbeddingLookup) -> bool {
        lookup.read && self.access.may_hit(&lookup.caller, &lookup.request.model)
    }

    fn freshness(&self, lookup: &EmbeddingLookup) -> Freshness {
        self.cache
            .freshness(&lookup.request.model, &lookup.key_scope.scope)
    }

    fn get_memory(&self, lookup: &EmbeddingLookup, found: &mut PartialResult) {
        let fresh = self.freshness(lookup);
        for (place, (key, _)) in lookup.distinct.iter().enumerate() {
            if let Some(entry) = self.cache.get_memory(key, fresh) {
                found.put(place, entry, Outcome::Memory);
            }
        }
    }

    fn count(&self, tally: &Tally) {
        let inputs = &self.metrics.inputs;
        inputs.add(Outcome::Memory, tally.memory as u64);
        inputs.add(Outcome::Store, tally.store as u64);
        inputs.add(Outcome::Collapsed, tally.collapsed as u64);
        inputs.add(Outcome::Miss, tally.miss as u64);
    }
}
