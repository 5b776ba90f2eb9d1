//! The store with what decides which vectors are written to it, and how.

use std::sync::Arc;

use quick_cache::sync::Cache as Set;

use super::Freshness;
use super::admission::Admission;
use super::clock::Clock;
use super::store::{LookedUp, Store, StoreOpenError};
use super::writer::{StoreWrite, StoreWriter};
use crate::config;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::telemetry::{Metrics, Span};

/// Bound on keys whose look-up told nothing. A vector of one that was forgotten replaces another.
const MAX_DOUBTED: usize = 65_536;

/// The store, its queue and its rules.
#[derive(Debug)]
pub(super) struct StoreTier {
    pub(super) store: Arc<Store>,
    pub(super) writer: StoreWriter,
    admission: Admission,
    /// Keys whose look-up told nothing: there may be a vector, which is not to be replaced.
    doubted: Set<Key, ()>,
}

impl StoreTier {
    pub(super) fn open(
        configured: &config::StoreConfig,
        clock: &Arc<Clock>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StoreOpenError> {
        let store = Store::open(configured, clock, Arc::clone(metrics))?;
        let store = Arc::new(store);
        let writer = StoreWriter::start(
            Arc::clone(&store),
            configured.queue,
            configured.queue_bytes,
            Arc::clone(metrics),
        );
        let admission = Admission::new(configured.admission, configured.min_tokens);
        Ok(Self {
            store,
            writer,
            admission,
            doubted: Set::new(MAX_DOUBTED),
        })
    }

    /// Looks up many keys, if the store may be read.
    pub(super) async fn get_all(&self, keys: &[Key], may_read: bool) -> Vec<Option<Entry>> {
        let found = match may_read {
            true => self.store.get_all(keys.to_vec()).await,
            false => keys.iter().map(|_| LookedUp::Unknown).collect(),
        };
        for (key, found) in keys.iter().zip(&found) {
            if let LookedUp::Unknown = found {
                self.doubted.insert(*key, ());
            }
        }
        found.into_iter().map(LookedUp::entry).collect()
    }

    /// Queues the write of a new vector, if it is worth it.
    pub(super) fn insert(&self, key: Key, entry: &Arc<Entry>, fresh: Freshness, span: &Arc<Span>) {
        if self.admission.admits_new(&key, entry) {
            self.put(key, entry, fresh, Some(Arc::clone(span)));
        }
    }

    /// Queues the write of a vector that has become worth it.
    pub(super) fn used_again(&self, key: &Key, entry: &Arc<Entry>, fresh: Freshness) {
        if self.admission.admits_used(key) {
            self.put(*key, entry, fresh, None);
        }
    }

    fn put(&self, key: Key, entry: &Arc<Entry>, fresh: Freshness, span: Option<Arc<Span>>) {
        self.writer.put(StoreWrite {
            key,
            entry: Arc::clone(entry),
            keeps: self.doubted.remove(&key).map(|_| fresh),
            span,
        });
    }
}
