//! From the inputs of a request to their vectors: memory, somebody else's work, the store, the
//! upstream, in this order.
//!
//! What memory does not have is fetched by a task that belongs to nobody's connection: a caller
//! that goes away does not take away what others wait for, and what was paid for is kept.

mod fetch;

use std::sync::Arc;

use http::header::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;

use self::fetch::{Fault, Led};
use crate::access::{Access, Caller};
use crate::cache::coalesce::{Claim, Flights, Follow};
use crate::cache::{Cache, Freshness};
use crate::embeddings::answer::Unsound;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::{Key, Realm};
use crate::embeddings::request::{EmbeddingRequest, Input};
use crate::error::Error;
use crate::openai::Client;
use crate::tags::Tag;
use crate::telemetry::{Metrics, Outcome};

/// So often an order waits for others' work. If that fails each time for reasons of theirs, it
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

/// What a request wants.
#[derive(Clone, Debug)]
pub struct Order {
    /// All of the request but its inputs.
    pub request: EmbeddingRequest,
    /// Where its vectors are named.
    pub realm: Realm,
    /// Its different inputs.
    pub distinct: Vec<(Key, Input)>,
    /// In whose name.
    pub caller: Caller,
    /// Whether vectors may come from a tier, or from somebody else's call.
    pub read: bool,
    /// Whether vectors may go into a tier.
    pub write: bool,
    /// Whether the upstream must not be asked.
    pub only_if_cached: bool,
    /// Its place among the requests that run, held until the last call for it has ended.
    pub slot: Option<Arc<OwnedSemaphorePermit>>,
}

/// What a request gets.
#[derive(Debug)]
pub struct Supply {
    /// One entry for each different input, in order.
    pub entries: Vec<Arc<Entry>>,
    /// Where they came from.
    pub tally: Tally,
    /// What the upstream said besides, if it was asked.
    pub call: CallNotes,
}

/// What the upstream said besides the vectors.
#[derive(Clone, Debug, Default)]
pub struct CallNotes {
    /// What it charged, in tokens.
    pub billed_tokens: u64,
    /// Those of its headers that are for the caller.
    pub headers: HeaderMap,
    /// Whose vectors they turned out to be, if that was not known before.
    pub scope: Option<String>,
}

/// Different inputs by where their vectors came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// From memory.
    pub memory: usize,
    /// From the store.
    pub store: usize,
    /// From somebody else's call.
    pub collapsed: usize,
    /// From the upstream.
    pub miss: usize,
}

/// Entries on their way to becoming a supply.
struct Found {
    entries: Vec<Option<Arc<Entry>>>,
    tally: Tally,
    call: CallNotes,
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

    /// Fulfils an order, or explains why not.
    pub async fn resolve(self: &Arc<Self>, order: Order) -> Result<Supply, Error> {
        let mut found = Found::nothing(order.distinct.len());
        if self.may_read(&order) {
            self.recall(&order, &mut found);
        }
        let order = Arc::new(order);
        self.fetch_rest(&order, &mut found).await?;
        if !found.is_uniform() {
            found = self.fetch_anew(&order, &found).await?;
        }
        let Found {
            entries,
            tally,
            call,
        } = found;
        self.count(&tally);
        Ok(Supply {
            entries: entries.into_iter().flatten().collect(),
            tally,
            call,
        })
    }

    /// The model behind the name has changed: what is left of the old one is worthless.
    async fn fetch_anew(self: &Arc<Self>, order: &Arc<Order>, old: &Found) -> Result<Found, Error> {
        let order = Arc::new(Order {
            read: false,
            ..Order::clone(order)
        });
        let mut found = Found::nothing(order.distinct.len());
        self.fetch_rest(&order, &mut found).await?;
        found.call.billed_tokens += old.call.billed_tokens;
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
        for (place, follow) in followed {
            match follow.outcome().await {
                // Asked for before a purge, and we came after it.
                Some(Ok((entry, _))) if !self.freshness(order).allows(&entry) => {}
                Some(Ok((entry, Outcome::Miss))) => found.put(place, entry, Outcome::Collapsed),
                Some(Ok((entry, source))) => found.put(place, entry, source),
                Some(Err(fault)) if fault.concerns(&order.caller) => return Err(fault.error),
                Some(Err(_)) | None => {}
            }
        }
        let Some(task) = task else { return Ok(()) };
        let fetched = task.await.map_err(|_| Error::Internal)?;
        for (place, entry, source) in fetched.entries {
            found.put(place, entry, source);
        }
        found.call = fetched.call;
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
        self.cache.freshness(
            &Tag::model(&order.request.model),
            &Tag::scope(&order.realm.scope),
        )
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
        self.metrics.count_inputs(Outcome::Memory, tally.memory);
        self.metrics.count_inputs(Outcome::Store, tally.store);
        self.metrics
            .count_inputs(Outcome::Collapsed, tally.collapsed);
        self.metrics.count_inputs(Outcome::Miss, tally.miss);
    }
}

impl Found {
    fn nothing(count: usize) -> Self {
        Self {
            entries: vec![None; count],
            tally: Tally::default(),
            call: CallNotes::default(),
        }
    }

    fn put(&mut self, place: usize, entry: Arc<Entry>, source: Outcome) {
        *self.tally.count_of(source) += 1;
        self.entries[place] = Some(entry);
    }

    fn missing(&self) -> Vec<usize> {
        let empty = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.is_none());
        empty.map(|(place, _)| place).collect()
    }

    /// Whether all vectors are of one length.
    fn is_uniform(&self) -> bool {
        let mut lengths = self
            .entries
            .iter()
            .flatten()
            .map(|entry| entry.vector.len());
        let first = lengths.next();
        lengths.all(|length| Some(length) == first)
    }

    fn is_complete(&self) -> bool {
        self.entries.iter().all(Option::is_some)
    }
}

impl Tally {
    fn count_of(&mut self, source: Outcome) -> &mut usize {
        match source {
            Outcome::Memory => &mut self.memory,
            Outcome::Store => &mut self.store,
            Outcome::Collapsed => &mut self.collapsed,
            Outcome::Miss | Outcome::Repeat => &mut self.miss,
        }
    }

    /// How many came from a tier.
    pub fn hits(&self) -> usize {
        self.memory + self.store
    }
}
