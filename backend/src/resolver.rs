//! Resolves the inputs of a request to their vectors: by memory, another request's call, the store,
//! the upstream, in this order.
//!
//! A task that no connection owns fetches what memory does not have: a client that goes away takes
//! nothing from waiters, and the tiers keep what the upstream charged for.

mod batching;
mod call;
mod call_budget;
mod coalescing;
pub mod comparison;
pub mod failover;
mod families;
mod fault;
mod fetch;
mod halving;
mod lookup;
pub(crate) mod maybe_future;
mod outcome;
mod paced;
pub mod permits;
mod proof;
pub mod request_context;
mod settle;
mod tiers;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use self::batching::{BatchKey, Participant};
use self::coalescing::{Claims, CoalescedResult};
use self::families::Families;
use self::fault::CallFault;
use self::fetch::CALLS_AT_ONCE;
use self::lookup::PartialResult;
pub use self::lookup::{CallNotes, EmbeddingLookup, Resolved};
use self::maybe_future::MaybeFuture;
use self::proof::Earned;
use crate::access::Access;
use crate::access::acceptance::Right;
use crate::cache::Cache;
use crate::cache::in_flight::InFlight;
use crate::embeddings::answer::Unsound;
use crate::embeddings::key::{KeyBuilder, KeyBuilders, KeyScope};
use crate::embeddings::request::EmbeddingRequest;
use crate::http::error::Error;
use crate::telemetry::{Metrics, Outcome};
use crate::upstream::Batches;

/// How often a look-up waits for other requests. If those fail for reasons of their own, it calls
/// the upstream itself: with N failing callers, the last must not wait N times.
const SHARED_ROUNDS: usize = 2;

/// The tiers before the upstreams.
#[derive(Debug)]
pub struct Resolver {
    cache: Cache,
    access: Arc<Access>,
    metrics: Arc<Metrics>,
    /// Tracks the tasks that outlive their request.
    tracker: TaskTracker,
    in_flight: Arc<InFlight<CoalescedResult>>,
    /// Calls under way that prove a credential's acceptance for a model.
    proofs: Arc<InFlight<Result<(), CallFault>>>,
    families: Families,
    keys: KeyBuilders,
    /// Calls that wait for the misses of further requests.
    batches: Batches<BatchKey, Participant>,
}

/// What a task fetches for.
#[derive(Debug)]
struct Work {
    lookup: EmbeddingLookup,
    earned: Earned,
}

impl Resolver {
    /// A resolver over `cache` and the upstreams of look-ups, which reports to `access` and `metrics`.
    /// Calls wait for `batch_window` for the misses of other requests.
    pub fn new(
        cache: Cache,
        batch_window: Duration,
        access: Arc<Access>,
        metrics: Arc<Metrics>,
        tracker: TaskTracker,
    ) -> Self {
        Self {
            cache,
            batches: Batches::new(batch_window),
            access,
            metrics,
            tracker,
            in_flight: InFlight::new(),
            proofs: InFlight::new(),
            families: Families::new(),
            keys: KeyBuilders::default(),
        }
    }

    /// The tiers.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The builder of the keys of a request.
    pub fn keys(&self, scope: &KeyScope, request: &EmbeddingRequest) -> KeyBuilder {
        self.keys.get(scope, request)
    }

    /// Resolves a look-up, or returns the reason why not: at once if memory has all of it.
    pub(crate) fn resolve(
        self: &Arc<Self>,
        lookup: EmbeddingLookup,
    ) -> MaybeFuture<Result<Resolved, Error>> {
        let mut found = PartialResult::nothing(lookup.distinct.len());
        let right = self.right(&lookup);
        if right != Right::None {
            self.get_memory(&lookup, &mut found);
        }
        if found.is_complete() && found.is_uniform() {
            if right == Right::Ending {
                self.renew(&lookup);
            }
            return MaybeFuture::now(Ok(found.into()));
        }
        let resolver = Arc::clone(self);
        MaybeFuture::later(async move {
            let found = resolver.complete(lookup, found).await?;
            Ok(found.into())
        })
    }

    /// Fetches what memory does not have.
    async fn complete(
        self: &Arc<Self>,
        mut lookup: EmbeddingLookup,
        mut found: PartialResult,
    ) -> Result<PartialResult, Error> {
        let patience = lookup.group.patience(1);
        let earned = timeout(patience, self.prove(&mut lookup, &mut found));
        let earned = earned.await.map_err(|_| Error::UpstreamTimeout)??;
        if earned.proof.is_some() {
            self.get_memory(&lookup, &mut found);
        }
        let work = Arc::new(Work { lookup, earned });
        self.fetch_rest(&work, &mut found).await?;
        if let Some(proof) = &work.earned.proof {
            found.is_paid_for(proof.place);
        }
        self.renew(&work.lookup);
        match found.is_uniform() {
            true => Ok(found),
            false => self.fetch_anew(&work, &found).await,
        }
    }

    /// Fetches all inputs anew: the model behind the name has changed, so older vectors do not
    /// compare.
    async fn fetch_anew(
        self: &Arc<Self>,
        work: &Arc<Work>,
        old: &PartialResult,
    ) -> Result<PartialResult, Error> {
        let lookup = EmbeddingLookup {
            read: false,
            ..EmbeddingLookup::clone(&work.lookup)
        };
        let mut found = PartialResult::nothing(lookup.distinct.len());
        found.call = old.call.clone();
        let earned = Earned::default();
        self.fetch_rest(&Arc::new(Work { lookup, earned }), &mut found)
            .await?;
        match found.is_uniform() {
            true => Ok(found),
            false => Err(Error::Unsound(Arc::new(Unsound::Mixed))),
        }
    }

    /// Runs rounds until nothing is missing. Ends because the last round waits for no other
    /// request, or because the client has waited long enough: calls go on without it.
    async fn fetch_rest(
        self: &Arc<Self>,
        work: &Arc<Work>,
        found: &mut PartialResult,
    ) -> Result<(), Error> {
        let lookup = &work.lookup;
        let deadline = Instant::now() + self.patience(lookup, &found.missing());
        let mut rounds = 0;
        while !found.is_complete() {
            let share = lookup.read && !lookup.only_if_cached && rounds < SHARED_ROUNDS;
            let round = self.round(work, found, share);
            timeout_at(deadline, round)
                .await
                .map_err(|_| Error::UpstreamTimeout)??;
            rounds += 1;
        }
        Ok(())
    }

    /// Tries once to get all that is missing. Inputs that fail for another request's reason stay
    /// missing; a failure for this request's own reason ends the look-up.
    async fn round(
        self: &Arc<Self>,
        work: &Arc<Work>,
        found: &mut PartialResult,
        share: bool,
    ) -> Result<(), Error> {
        let Claims { leading, waiting } = self.claim(&work.lookup, found.missing(), share);
        for (place, entry) in leading.found {
            found.put(place, entry, Outcome::Memory);
        }
        let task = (!leading.inputs.is_empty()).then(|| {
            let fetch = Arc::clone(self).fetch(Arc::clone(work), leading.inputs, share);
            self.tracker.spawn(fetch)
        });
        self.wait(&work.lookup, waiting, found).await?;
        let Some(task) = task else { return Ok(()) };
        let fetched = task.await.map_err(|_| Error::Internal)?;
        for (place, entry, source) in fetched.entries {
            found.put(place, entry, source);
        }
        found.call.add(fetched.call);
        fetched.failure.map_or(Ok(()), Err)
    }

    /// How long a client waits for calls for these inputs.
    fn patience(&self, lookup: &EmbeddingLookup, missing: &[usize]) -> Duration {
        let sizes = missing.iter().map(|&place| lookup.size(place));
        let calls = lookup.group.divide(&lookup.request.model, sizes);
        let waves = u32::try_from(calls.len().div_ceil(CALLS_AT_ONCE)).unwrap_or(u32::MAX);
        let largest = calls.into_iter().max().unwrap_or_default();
        lookup.group.patience(largest) * waves.max(1)
    }
}
