//! From the inputs of a request to their vectors: memory, store, upstream, in this order.
//!
//! What memory does not have is fetched by a task of its own: a caller that goes away does not
//! take away what others may want, and what was paid for is kept.

use std::pin::pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::HeaderMap;
use tokio_util::task::TaskTracker;

use crate::access::{Access, Caller};
use crate::cache::memory::Memory;
use crate::cache::store::Store;
use crate::cache::writer::Writer;
use crate::embeddings::answer::{self, Answer, Question};
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::embeddings::request::{EmbeddingRequest, Input};
use crate::embeddings::response;
use crate::error::Error;
use crate::openai::Client;
use crate::telemetry::{Metrics, Outcome, UpstreamLabels};

/// OpenAI's limit on the inputs of one call.
const MAX_CALL_INPUTS: usize = 2048;

/// Calls of one request that run side by side.
const CALLS_AT_ONCE: usize = 4;

/// The tiers and the upstream behind them.
#[derive(Debug)]
pub struct Resolver {
    /// The first tier.
    pub memory: Option<Memory>,
    /// The second.
    pub store: Option<Arc<Store>>,
    /// The second's queue.
    pub writer: Option<Writer>,
    /// What is left.
    pub upstream: Arc<Client>,
    /// Learns from the upstream's answers.
    pub access: Arc<Access>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Knows the tasks that outlive their request.
    pub tracker: TaskTracker,
}

/// What a request wants.
#[derive(Debug)]
pub struct Order {
    /// All of the request but its inputs.
    pub request: EmbeddingRequest,
    /// Its different inputs.
    pub distinct: Vec<(Key, Input)>,
    /// In whose name.
    pub caller: Caller,
    /// Whether vectors may come from a tier.
    pub read: bool,
    /// Whether vectors may go into a tier.
    pub write: bool,
    /// Whether the upstream must not be asked.
    pub only_if_cached: bool,
}

/// What a request gets.
#[derive(Debug, Default)]
pub struct Supply {
    /// One entry for each different input, in order.
    pub entries: Vec<Arc<Entry>>,
    /// Where they came from.
    pub tally: Tally,
    /// What the upstream charged, in tokens.
    pub billed_tokens: u64,
    /// What the upstream said besides, if it was asked.
    pub headers: HeaderMap,
}

/// Different inputs by where their vectors came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// From memory.
    pub memory: usize,
    /// From the store.
    pub store: usize,
    /// From the upstream.
    pub miss: usize,
}

/// A judged answer and what was said besides.
type Called = Result<(Answer, HeaderMap), Error>;

impl Resolver {
    /// Fulfils an order, or explains why not.
    pub async fn resolve(self: Arc<Self>, order: Order) -> Result<Supply, Error> {
        let mut found = vec![None; order.distinct.len()];
        let mut tally = Tally::default();
        if order.read {
            tally.memory = self.recall(&order, &mut found);
        }
        if tally.memory == found.len() {
            self.metrics.count_inputs(Outcome::Memory, tally.memory);
            let entries = found.into_iter().flatten().collect();
            return Ok(Supply {
                entries,
                tally,
                ..Supply::default()
            });
        }
        let tracker = self.tracker.clone();
        let fetched = tracker.spawn(self.fetch(order, found, tally)).await;
        fetched.unwrap_or(Err(Error::Internal))
    }

    fn recall(&self, order: &Order, found: &mut [Option<Arc<Entry>>]) -> usize {
        let Some(memory) = &self.memory else { return 0 };
        for ((key, _), place) in order.distinct.iter().zip(&mut *found) {
            *place = memory.get(key);
        }
        found.iter().flatten().count()
    }

    async fn fetch(
        self: Arc<Self>,
        order: Order,
        mut found: Vec<Option<Arc<Entry>>>,
        mut tally: Tally,
    ) -> Result<Supply, Error> {
        if order.read {
            tally.store = self.look_up(&order, &mut found).await;
        }
        let missing: Vec<usize> = (0..found.len()).filter(|&i| found[i].is_none()).collect();
        if order.only_if_cached && !missing.is_empty() {
            return Err(Error::NotCached);
        }
        tally.miss = missing.len();
        self.metrics.count_inputs(Outcome::Memory, tally.memory);
        self.metrics.count_inputs(Outcome::Store, tally.store);
        self.metrics.count_inputs(Outcome::Miss, tally.miss);

        let mut supply = Supply {
            tally,
            ..Supply::default()
        };
        let mut failure = None;
        let calls: Vec<Vec<usize>> = missing.chunks(MAX_CALL_INPUTS).map(<[_]>::to_vec).collect();
        let calls = stream::iter(calls).map(|places| self.call(&order, places));
        let mut answers = pin!(calls.buffer_unordered(CALLS_AT_ONCE));
        while let Some((places, outcome)) = answers.next().await {
            match outcome {
                Ok((answer, headers)) => {
                    supply.billed_tokens += answer.billed_tokens;
                    supply.headers = headers;
                    for (place, entry) in places.into_iter().zip(answer.entries) {
                        found[place] = Some(self.keep(&order, place, entry));
                    }
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        supply.entries = found.into_iter().flatten().collect();
        failure.map_or(Ok(supply), Err)
    }

    async fn look_up(&self, order: &Order, found: &mut [Option<Arc<Entry>>]) -> usize {
        let Some(store) = &self.store else { return 0 };
        let missing: Vec<usize> = (0..found.len()).filter(|&i| found[i].is_none()).collect();
        let keys: Vec<Key> = missing
            .iter()
            .map(|&place| order.distinct[place].0)
            .collect();
        let mut hits = 0;
        for (place, entry) in missing.into_iter().zip(store.get_all(keys).await) {
            let Some(entry) = entry.map(Arc::new) else {
                continue;
            };
            hits += 1;
            if let Some(memory) = &self.memory {
                memory.put(order.distinct[place].0, Arc::clone(&entry));
            }
            found[place] = Some(entry);
        }
        hits
    }

    /// Has the inputs at `places` embedded, and the answer judged.
    async fn call(&self, order: &Order, places: Vec<usize>) -> (Vec<usize>, Called) {
        let inputs: Vec<Input> = places
            .iter()
            .map(|&place| order.distinct[place].1.clone())
            .collect();
        let question = Question {
            inputs: &inputs,
            model: &order.request.model,
            dimensions: order.request.dimensions,
            asked_ms: unix_ms(),
        };
        let body = Bytes::from(response::write_call(&order.request, &inputs));
        let outcome = self
            .upstream
            .embeddings(order.caller.upstream.clone(), body)
            .await;
        let outcome = outcome.and_then(|reply| {
            let answer = answer::check(&reply.body, &question);
            answer
                .map(|answer| (answer, reply.headers))
                .map_err(|e| Error::Unsound(Arc::new(e)))
        });
        self.note(order, &outcome);
        (places, outcome)
    }

    fn note(&self, order: &Order, outcome: &Called) {
        let result = match outcome {
            Ok((answer, _)) => {
                self.metrics.billed_tokens.inc_by(answer.billed_tokens);
                self.access.accepted(&order.caller, &order.request.model);
                "200".to_owned()
            }
            Err(Error::Refused(refusal)) => {
                if matches!(refusal.status.as_u16(), 401 | 403) {
                    self.access.rejected(&order.caller);
                }
                refusal.status.as_u16().to_string()
            }
            Err(error) => {
                tracing::warn!(%error, "the upstream gave no usable answer");
                error.code().to_owned()
            }
        };
        self.metrics
            .upstream_calls
            .get_or_create(&UpstreamLabels { result })
            .inc();
    }

    fn keep(&self, order: &Order, place: usize, entry: Entry) -> Arc<Entry> {
        let (key, entry) = (order.distinct[place].0, Arc::new(entry));
        if order.write {
            if let Some(memory) = &self.memory {
                memory.put(key, Arc::clone(&entry));
            }
            if let Some(writer) = &self.writer {
                writer.put(key, Arc::clone(&entry));
            }
        }
        entry
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
