//! The lists of decimals of vectors that clients ask for again and again: to copy a list takes a
//! tenth of the time that it takes to write it.
//!
//! A list belongs to one entry and not to its key, so a newer vector never gets an older one's list.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::memory::{weight, weight_of};
use crate::embeddings::entry::Entry;
use crate::embeddings::response::{FloatLists, push_list};

/// A list of 1,536 numbers and its vector.
const USUAL_BYTES: u64 = 28 * 1024;

/// How many entries are remembered as asked for once.
const REMEMBERED: usize = 4096;

/// The lists, bounded in bytes.
#[derive(Debug)]
pub struct Texts {
    lists: Cache<usize, Arc<List>, ListWeight>,
    /// Addresses of entries whose list was written once; each may take the place of another one.
    written: Box<[AtomicUsize]>,
    hasher: RandomState,
}

/// Holds its entry, so that no other entry can come to have the same address.
#[derive(Debug)]
struct List {
    entry: Arc<Entry>,
    text: Box<[u8]>,
}

#[derive(Clone, Debug)]
struct ListWeight;

impl Weighter<usize, Arc<List>> for ListWeight {
    fn weight(&self, _: &usize, list: &Arc<List>) -> u64 {
        weight_of(list.text.len()) + weight(&list.entry)
    }
}

impl Texts {
    /// Lists of at most `bytes`, with their entries.
    pub fn new(bytes: u64) -> Self {
        let usual_count = usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX);
        Self {
            lists: Cache::with_weighter(usual_count.max(1), bytes, ListWeight),
            written: (0..REMEMBERED).map(|_| AtomicUsize::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The bytes that all lists take.
    pub fn bytes(&self) -> u64 {
        self.lists.weight()
    }

    /// The bytes that they may take.
    pub fn limit_bytes(&self) -> u64 {
        self.lists.capacity()
    }

    /// Whether the list of the entry at this address was written before. Most are written once, and
    /// are not worth keeping.
    fn was_written(&self, address: usize) -> bool {
        let place = self.hasher.hash_one(address) as usize % REMEMBERED;
        self.written[place].swap(address, Relaxed) == address
    }
}

impl FloatLists for Texts {
    fn push_list(&self, body: &mut Vec<u8>, entry: &Arc<Entry>) {
        let address = Arc::as_ptr(entry).addr();
        if let Some(list) = self.lists.get(&address) {
            body.extend_from_slice(&list.text);
            return;
        }
        let begin = body.len();
        push_list(body, entry);
        if self.was_written(address) {
            let list = List {
                entry: Arc::clone(entry),
                text: body[begin..].into(),
            };
            self.lists.insert(address, Arc::new(list));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(first: f32) -> Arc<Entry> {
        let numbers = (0..100_u8).map(|n| first + f32::from(n));
        Arc::new(Entry {
            model: "m".into(),
            tokens: 1,
            created_ms: 0,
            vector: numbers.collect(),
        })
    }

    fn written(entry: &Arc<Entry>) -> Vec<u8> {
        let mut body = Vec::new();
        push_list(&mut body, entry);
        body
    }

    fn answer(texts: &Texts, entry: &Arc<Entry>) -> Vec<u8> {
        let mut body = b"before".to_vec();
        texts.push_list(&mut body, entry);
        body.split_off(b"before".len())
    }

    #[test]
    fn a_list_is_kept_from_the_second_time_on_and_is_always_the_same() {
        let texts = Texts::new(1 << 20);
        let entry = entry(0.5);
        for kept in [false, true, true] {
            assert_eq!(answer(&texts, &entry), written(&entry));
            assert_eq!(texts.bytes() > 0, kept);
        }
    }

    #[test]
    fn an_entry_never_gets_the_list_of_another_one() {
        let texts = Texts::new(1 << 20);
        for round in 0..2000_u16 {
            // Dropped at the end of each round, unless its list is kept: addresses come again.
            let entry = entry(f32::from(round));
            for _ in 0..round % 3 + 1 {
                assert_eq!(answer(&texts, &entry), written(&entry), "{round}");
            }
        }
    }

    #[test]
    fn lists_never_outgrow_their_bound() {
        let texts = Texts::new(64 * 1024);
        let entries: Vec<_> = (0..200_u8).map(|n| entry(f32::from(n))).collect();
        for _ in 0..3 {
            for entry in &entries {
                assert_eq!(answer(&texts, entry), written(entry));
                assert!(texts.bytes() <= 64 * 1024);
            }
        }
        assert!(texts.bytes() > 32 * 1024);
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let texts = Texts::new(0);
        let entry = entry(1.5);
        for _ in 0..3 {
            assert_eq!(answer(&texts, &entry), written(&entry));
        }
        assert_eq!(texts.bytes(), 0);
    }
}
