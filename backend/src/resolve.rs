//! From the inputs of a request to their vectors: memory, somebody else's work, the store, the
//! upstream, in this order.
//!
//! What memory does not have is fetched by a task that belongs to nobody's connection: a caller
//! that goes away does not take away what others wait for, and what was paid for is kept.

mod call;
mod fetch;
mod order;
mod waits;

use std::sync::Arc;

use futures_util::future::{Either, ready};
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::fetch::{Fault, Led};
use self::order::Found;
pub use self::order::{CallNotes, Order, Supply, Tally};
use crate::access::Access;
use crate::cache::coalesce::{Claim, Flights, Follow};
use crate::cache::{Cache, Freshness};
use crate::embeddings::answer::Unsound;
use crate::embeddings::entry::Entry;
use crate::error::Error;
use crate::openai::Client;
use crate::telemetry::{Metrics, Outcome, Span, semantics};

/// How often an order waits for others' work. If that fails each time for reasons of theirs, it
/// goes its own way: with N callers in trouble, the last must not wait N times.
const SHARED_ROUNDS: usize = 2;

/// What becomes of an input under way.
type Landing = Result<(Arc<Entry>, Outcome), Fault>;

/// The tiers and the upstream behind them.
#[derive(Debug)]
pub struct Resolver {
    cache: Cache,
    upstream: Arc<Client>,
    access: Arc<Access>,
    metrics: Arc<Metrics>,
    /// Knows the tasks that outlive their request.
    tracker: TaskTracker,
    flights: Arc<Flights<Landing>>,
}

impl Resolver {
    /// A resolver over `cache` and `upstream`. The remaining arguments are what it reports to.
    pub fn new(
        cache: Cache,
        upstream: Arc<Client>,
        access: Arc<Access>,
        metrics: Arc<Metrics>,
        tracker: TaskTracker,
    ) -> Self {
        let flights = Flights::new();
        Self {
            cache,
            upstream,
            access,
            metrics,
            tracker,
            flights,
        }
    }

    /// The tiers.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Fulfils an order, or explains why not. What is in memory is there when this returns, and the
    /// future only hands it over.
    pub fn resolve(
        self: &Arc<Self>,
        order: Order,
    ) -> impl Future<Output = Result<Supply, Error>> + Send + use<> {
        let mut found = Found::nothing(order.distinct.len());
        if self.may_read(&order) {
            self.recall(&order, &mut found);
        }
        if found.is_complete() && found.is_uniform() {
            self.count(&found.tally);
            return Either::Left(ready(Ok(found.into())));
        }
        let resolver = Arc::clone(self);
        // In a box: who finds all in memory has no use for the room that this takes.
        Either::Right(Box::pin(async move {
            let found = resolver.complete(order, found).await?;
            resolver.count(&found.tally);
            Ok(found.into())
        }))
    }

    /// Gets what memory does not have.
    async fn complete(self: &Arc<Self>, order: Order, mut found: Found) -> Result<Found, Error> {
        let order = Arc::new(order);
        self.fetch_rest(&order, &mut found).await?;
        match found.is_uniform() {
            true => Ok(found),
            false => self.fetch_anew(&order, &found).await,
        }
    }

    /// The model behind the name has changed: what is left of the old one is worthless.
    async fn fetch_anew(self: &Arc<Self>, order: &Arc<Order>, old: &Found) -> Result<Found, Error> {
        let order = Arc::new(Order {
            read: false,
            ..Order::clone(order)
        });
        let mut found = Found::nothing(order.distinct.len());
        found.call = old.call.clone();
        self.fetch_rest(&order, &mut found).await?;
        match found.is_uniform() {
            true => Ok(found),
            false => Err(Error::Unsound(Arc::new(Unsound::Mixed))),
        }
    }

    /// Goes on until nothing is missing. Ends because the last round waits for nobody else.
    async fn fetch_rest(
        self: &Arc<Self>,
        order: &Arc<Order>,
        found: &mut Found,
    ) -> Result<(), Error> {
        let mut rounds = 0;
        while !found.is_complete() {
            let share = order.read && !order.only_if_cached && rounds < SHARED_ROUNDS;
            self.round(order, found, share).await?;
            rounds += 1;
        }
        Ok(())
    }

    /// Tries once to get all that is missing. What fails for somebody else's reason stays
    /// missing; what fails for a reason of ours is the answer.
    async fn round(
        self: &Arc<Self>,
        order: &Arc<Order>,
        found: &mut Found,
        share: bool,
    ) -> Result<(), Error> {
        let (led, followed) = self.claim(order, found, share);
        let task = (!led.is_empty()).then(|| {
            self.tracker
                .spawn(Arc::clone(self).fetch(Arc::clone(order), led))
        });
        let mut span = match followed.is_empty() {
            true => Span::default(),
            false => order
                .ticket
                .trace
                .span(SpanKind::Internal, || "coalesced wait"),
        };
        span.describe(|| [semantics::count("embedding_gateway.inputs", followed.len())]);
        for (place, follow) in followed {
            let began = Instant::now();
            let outcome = follow.outcome().await;
            if !matches!(outcome, Some(Ok((_, Outcome::Memory | Outcome::Store)))) {
                found.call.waits.add(began, Instant::now());
            }
            match outcome {
                // Asked for before a purge, and we came after it.
                Some(Ok((entry, _))) if !self.freshness(order).allows(&entry) => {}
                Some(Ok((entry, Outcome::Miss))) => found.put(place, entry, Outcome::Collapsed),
                Some(Ok((entry, source))) => found.put(place, entry, source),
                Some(Err(fault)) if fault.concerns(&order.caller) => return Err(fault.error),
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

    /// Divides what is missing into what we lead and what we follow.
    fn claim(
        &self,
        order: &Order,
        found: &mut Found,
        share: bool,
    ) -> (Vec<Led>, Vec<(usize, Follow<Landing>)>) {
        let (mut led, mut followed) = (Vec::new(), Vec::new());
        let fresh = self.freshness(order);
        for place in found.missing() {
            let key = order.distinct[place].0;
            if !share {
                led.push(Led {
                    place,
                    flight: None,
                });
                continue;
            }
            let may_hit = self.access.may_hit(&order.caller, &order.request.model);
            match self.flights.claim(key, order.caller.payer, may_hit) {
                Claim::Follow(follow) => followed.push((place, follow)),
                // Whoever led before us may have landed since we looked.
                Claim::Lead(lead) => match self.cache.recall(&key, fresh).filter(|_| may_hit) {
                    Some(entry) => {
                        lead.land(Ok((Arc::clone(&entry), Outcome::Memory)));
                        found.put(place, entry, Outcome::Memory);
                    }
                    None => led.push(Led {
                        place,
                        flight: Some(lead),
                    }),
                },
            }
        }
        (led, followed)
    }

    fn may_read(&self, order: &Order) -> bool {
        order.read && self.access.may_hit(&order.caller, &order.request.model)
    }

    fn freshness(&self, order: &Order) -> Freshness {
        self.cache
            .freshness(&order.request.model, &order.realm.scope)
    }

    fn recall(&self, order: &Order, found: &mut Found) {
        let fresh = self.freshness(order);
        for (place, (key, _)) in order.distinct.iter().enumerate() {
            if let Some(entry) = self.cache.recall(key, fresh) {
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
