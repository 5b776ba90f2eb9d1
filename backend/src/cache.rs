//! The tiers: memory, then the store. Neither can fail a request, and the types say so: a look-up
//! returns an option, not a result.

pub mod admission;
pub mod breaker;
pub mod clock;
mod freshness;
pub mod in_flight;
pub mod memory;
mod pins;
pub mod purges;
pub mod store;
mod stored;
pub mod texts;
mod throttled_log;
pub mod writer;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::clock::Clock;
pub use self::freshness::Freshness;
use self::memory::Memory;
use self::pins::Pins;
use self::purges::Purges;
use self::store::StoreOpenError;
use self::stored::StoreTier;
use crate::config;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::embeddings::response::KeptAnswers;
use crate::telemetry::{MemoryGauges, Metrics, Span, StoreGauges};

/// All tiers.
#[derive(Debug)]
pub struct Cache {
    memory: Option<Memory>,
    stored: Option<StoreTier>,
    pins: Pins,
    purges: Arc<Purges>,
    max_age: Option<Duration>,
    clock: Arc<Clock>,
    /// The corrections of the clock that memory has followed.
    corrections: AtomicU64,
}

impl Cache {
    /// Opens the configured tiers.
    pub fn open(
        cache: &config::CacheConfig,
        store: Option<&config::StoreConfig>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StoreOpenError> {
        let clock = Arc::new(Clock::new());
        let stored = store
            .map(|configured| StoreTier::open(configured, &clock, metrics))
            .transpose()?;
        let listed = stored.as_ref().map(|stored| Arc::clone(&stored.store));
        Ok(Self {
            memory: Memory::new(cache.memory_bytes),
            stored,
            pins: Pins::default(),
            purges: Arc::new(Purges::new(
                listed.filter(|_| cache.purge.is_some()),
                Arc::clone(&clock),
            )),
            max_age: cache.entry_max_age,
            clock,
            corrections: AtomicU64::new(0),
        })
    }

    /// The condition for entries of a model and a scope, as of now.
    pub fn freshness(&self, model: &str, scope: &str) -> Freshness {
        self.follow_corrections();
        Freshness::new(self.now_ms(), self.max_age, self.purges.last(model, scope))
    }

    /// The time by which entries and purges are put in order, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Looks up one key in memory.
    pub fn get_memory(&self, key: &Key, fresh: Freshness) -> Option<Arc<Entry>> {
        let entry = self
            .memory
            .as_ref()?
            .get(key)
            .filter(|entry| fresh.allows(entry))?;
        if let Some(stored) = &self.stored {
            stored.used_again(key, &entry, fresh);
        }
        Some(entry)
    }

    /// Looks up keys in the store, and puts what it finds into memory. Results are in the order of
    /// the keys.
    pub async fn get_store(&self, keys: Vec<Key>, fresh: Freshness) -> Vec<Option<Arc<Entry>>> {
        let Some(stored) = &self.stored else {
            return vec![None; keys.len()];
        };
        let found = stored.get_all(&keys, self.purges.are_known()).await;
        let fresh = found
            .into_iter()
            .map(|entry| entry.filter(|entry| fresh.allows(entry)));
        let remember = |(key, entry): (Key, Option<Entry>)| {
            let entry = Arc::new(entry?);
            self.remember(key, &entry);
            Some(entry)
        };
        keys.into_iter().zip(fresh).map(remember).collect()
    }

    /// The answers that are often asked for, if there is memory for any.
    pub fn kept_answers(&self) -> Option<&dyn KeptAnswers> {
        let memory = self.memory.as_ref()?;
        Some(memory.texts())
    }

    /// Whether there is a store.
    pub fn has_store(&self) -> bool {
        self.stored.is_some()
    }

    /// Puts a new vector into memory and queues its write to the store. `fresh` says what is stale,
    /// and `span` lasts until it is written.
    pub fn insert(&self, key: Key, entry: &Arc<Entry>, fresh: Freshness, span: &Arc<Span>) {
        // Asked for before the clock was set back: no purge of the next time could end it.
        if self.clock.is_ahead(entry.created_ms) {
            return;
        }
        self.remember(key, entry);
        if let Some(stored) = &self.stored {
            stored.insert(key, entry, fresh, span);
        }
    }

    /// How full memory is.
    pub fn memory_gauges(&self) -> MemoryGauges {
        self.memory
            .as_ref()
            .map_or_else(MemoryGauges::default, Memory::gauges)
    }

    /// The state of the store, if there is one.
    pub fn store_gauges(&self) -> Option<StoreGauges> {
        let stored = self.stored.as_ref()?;
        Some(StoreGauges {
            reads: stored.store.reads_state(),
            writes: stored.store.writes_state(),
            writes_pending: stored.writer.pending(),
            rights: stored.store.rights(),
            purges_age: self.purges.age(),
        })
    }

    /// The purges so far; handlers add to them.
    pub fn purges(&self) -> &Arc<Purges> {
        &self.purges
    }

    /// Listens to other gateways' purges, and checks what the store lets the gateway do, for as long
    /// as it is polled.
    pub async fn watch(&self) -> Infallible {
        let Some(stored) = &self.stored else {
            return std::future::pending().await;
        };
        tokio::select! {
            never = self.purges.watch() => never,
            never = stored.store.watch_rights() => never,
        }
    }

    /// Waits for pending writes.
    pub async fn finish(&self) {
        if let Some(stored) = &self.stored {
            stored.writer.finish().await;
        }
    }

    /// Forgets the entries in memory when the clock was set right: purges that came since would not
    /// count for those that an older time calls younger.
    fn follow_corrections(&self) {
        let corrections = self.clock.corrections();
        if self.corrections.load(Ordering::Relaxed) != corrections {
            self.corrections.store(corrections, Ordering::Relaxed);
            self.memory.iter().for_each(Memory::clear);
        }
    }

    fn remember(&self, key: Key, entry: &Arc<Entry>) {
        if let Some(memory) = &self.memory {
            memory.put(key, Arc::clone(entry));
        }
    }
}
