//! The memory tier: bounded in bytes, each entry weighed with its overhead. A part of the bound is
//! for answers that are often asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};

use super::texts::Texts;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::telemetry::MemoryGauges;

/// Key, entry, reference counts, the model's name and the cache's bookkeeping.
const FIXED_BYTES: u64 = 320;

/// The entry size that the table's capacity assumes: 1,536 float16s and the fixed part.
const USUAL_BYTES: u64 = 3 * 1024 + FIXED_BYTES;

/// One part of so many of the bound is for texts. A text takes two to six times the memory of its
/// vector, and saves a fraction of what a vector saves.
const TEXTS_SHARE: u64 = 16;

/// The memory tier.
#[derive(Debug)]
pub struct Memory {
    entries: Cache<Key, Arc<Entry>, TrueWeight, DefaultHashBuilder, SavedBytes>,
    saved: SavedBytes,
    texts: Texts,
}

/// The bytes that the vectors of all entries would take more as `f32`s.
#[derive(Clone, Debug, Default)]
struct SavedBytes(Arc<AtomicU64>);

impl Lifecycle<Key, Arc<Entry>> for SavedBytes {
    /// The first that are evicted: dropped when the cache is no longer locked.
    type RequestState = [Option<Arc<Entry>>; 2];

    fn on_evict(&self, evicted: &mut Self::RequestState, _: Key, entry: Arc<Entry>) {
        self.0.fetch_sub(saved(&entry), Ordering::Relaxed);
        if let Some(place) = evicted.iter_mut().find(|place| place.is_none()) {
            *place = Some(entry);
        }
    }
}

#[derive(Clone, Debug)]
struct TrueWeight;

impl Weighter<Key, Arc<Entry>> for TrueWeight {
    fn weight(&self, _: &Key, entry: &Arc<Entry>) -> u64 {
        weight(entry)
    }
}

/// What an entry takes in memory.
pub(super) fn weight(entry: &Entry) -> u64 {
    weight_of(entry.vector.kept_bytes())
}

/// What so many bytes take with all around them.
pub(super) fn weight_of(bytes: usize) -> u64 {
    let bytes = bytes as u64;
    // Allocators round up to size classes and have overhead: an eighth covers both.
    FIXED_BYTES + bytes + bytes / 8
}

impl Memory {
    /// A tier of at most `bytes`; `None` if `bytes` is 0.
    pub fn new(bytes: u64) -> Option<Self> {
        let usual_count = usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX);
        let for_texts = bytes / TEXTS_SHARE;
        let saved = SavedBytes::default();
        let entries = Cache::with(
            usual_count.max(1),
            bytes - for_texts,
            TrueWeight,
            DefaultHashBuilder::default(),
            saved.clone(),
        );
        let texts = Texts::new(for_texts);
        (bytes > 0).then_some(Self {
            entries,
            saved,
            texts,
        })
    }

    /// The entry of a key.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    /// Inserts an entry, and evicts others if they do not fit together.
    pub fn put(&self, key: Key, entry: Arc<Entry>) {
        self.saved.0.fetch_add(saved(&entry), Ordering::Relaxed);
        self.entries.insert(key, entry);
    }

    /// Forgets all entries.
    pub fn clear(&self) {
        for (_, entry) in self.entries.drain() {
            self.saved.0.fetch_sub(saved(&entry), Ordering::Relaxed);
        }
    }

    /// Answers with one vector.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// The bytes that all entries and texts take.
    pub fn bytes(&self) -> u64 {
        self.entries.weight() + self.texts.bytes()
    }

    /// How full it is.
    pub fn gauges(&self) -> MemoryGauges {
        MemoryGauges {
            bytes: self.bytes(),
            limit_bytes: self.entries.capacity() + self.texts.limit_bytes(),
            entries: self.entries.len(),
            saved_bytes: self.saved.0.load(Ordering::Relaxed),
        }
    }
}

fn saved(entry: &Entry) -> u64 {
    entry.vector.saved_bytes() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embeddings::vector::Vector;

    fn entry(bytes: usize) -> Arc<Entry> {
        Arc::new(Entry {
            model: "m".into(),
            tokens: 1,
            created_ms: 0,
            vector: Vector::new(vec![1; bytes]),
        })
    }

    fn key(n: u32) -> Key {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        bytes.into()
    }

    #[test]
    fn it_never_outgrows_its_bound() {
        let memory = Memory::new(1 << 20).unwrap();
        for n in 0..2000 {
            memory.put(key(n), entry(6144));
            assert!(memory.bytes() <= 1 << 20);
        }
        assert!(memory.bytes() > 900_000);
    }

    #[test]
    fn an_entry_larger_than_the_bound_is_not_kept() {
        let memory = Memory::new(4096).unwrap();
        memory.put(key(1), entry(100_000));
        assert!(memory.get(&key(1)).is_none());
        assert!(memory.bytes() <= 4096);
    }

    #[test]
    fn what_half_precision_saves_is_that_of_the_entries_it_holds() {
        let memory = Memory::new(1 << 20).unwrap();
        let (usual, too_large) = (entry(6144), entry(4 << 20));
        for n in 0..2000 {
            // Some are replaced, some are evicted, and one is never kept.
            memory.put(key(n % 900), Arc::clone(&usual));
            memory.put(key(n % 3), Arc::clone(&too_large));
        }
        let gauges = memory.gauges();
        assert!(gauges.entries > 100);
        assert_eq!(gauges.saved_bytes, gauges.entries as u64 * 3072);
        memory.clear();
        let gauges = memory.gauges();
        assert_eq!((gauges.entries, gauges.saved_bytes), (0, 0));
    }

    #[test]
    fn a_bound_of_nothing_is_no_tier() {
        assert!(Memory::new(0).is_none());
    }
}
