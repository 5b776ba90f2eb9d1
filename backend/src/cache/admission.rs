//! Decides which vectors to write to the store.
//!
//! Writing an object to a cloud bucket costs as much as embedding some hundred tokens with a
//! cheap model. So short inputs, and inputs that no client asks for a second time, may cost more
//! to store than to embed again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::config::StoreAdmission;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;

/// Keys in one generation of the used-once set. Two full generations take about 32 MB.
const GENERATION: usize = 1 << 20;

/// The rule and its state.
#[derive(Debug)]
pub struct Admission {
    min_tokens: u32,
    used_once: Option<Mutex<UsedOnce>>,
}

/// Keys that were used once and not written. A full newer generation replaces the older one.
#[derive(Debug, Default)]
struct UsedOnce {
    newer: HashSet<u64>,
    older: HashSet<u64>,
}

impl Admission {
    /// The rule as configured.
    pub fn new(rule: StoreAdmission, min_tokens: u32) -> Self {
        let used_once = match rule {
            StoreAdmission::Always => None,
            StoreAdmission::SecondUse => Some(Mutex::default()),
        };
        Self {
            min_tokens,
            used_once,
        }
    }

    /// Whether to write a vector that the upstream just computed.
    pub fn admits_new(&self, key: &Key, entry: &Entry) -> bool {
        if entry.tokens < self.min_tokens {
            return false;
        }
        let Some(used_once) = &self.used_once else {
            return true;
        };
        let mut used_once = used_once.lock().unwrap_or_else(PoisonError::into_inner);
        // Computed a second time: memory evicted it, so the store should have it.
        let again = used_once.forget(key);
        if !again {
            used_once.remember(key);
        }
        again
    }

    /// Whether to write a vector that memory just served.
    pub fn admits_used(&self, key: &Key) -> bool {
        let Some(used_once) = &self.used_once else {
            return false;
        };
        used_once
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forget(key)
    }
}

impl UsedOnce {
    fn remember(&mut self, key: &Key) {
        if self.newer.len() >= GENERATION {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(short(key));
    }

    /// Removes a key, and tells whether it was there.
    fn forget(&mut self, key: &Key) -> bool {
        let short = short(key);
        self.newer.remove(&short) || self.older.remove(&short)
    }
}

/// The beginning of a key. Two keys that begin alike cost at most one write.
fn short(key: &Key) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embeddings::vector::Vector;

    fn entry(tokens: u32) -> Entry {
        Entry {
            model: "m".into(),
            tokens,
            created_ms: 0,
            vector: Vector::default(),
        }
    }

    fn key(n: u8) -> Key {
        [n; 32].into()
    }

    #[test]
    fn always_means_once_for_each_vector() {
        let admission = Admission::new(StoreAdmission::Always, 0);
        assert!(admission.admits_new(&key(1), &entry(1)));
        assert!(!admission.admits_used(&key(1)));
    }

    #[test]
    fn short_inputs_are_not_worth_a_place() {
        for rule in [StoreAdmission::Always, StoreAdmission::SecondUse] {
            let admission = Admission::new(rule, 10);
            for _ in 0..3 {
                assert!(!admission.admits_new(&key(1), &entry(9)));
                assert!(!admission.admits_used(&key(1)));
            }
        }
        assert!(Admission::new(StoreAdmission::Always, 10).admits_new(&key(1), &entry(10)));
    }

    #[test]
    fn the_second_use_is_written_whether_memory_had_it_or_not() {
        let admission = Admission::new(StoreAdmission::SecondUse, 0);
        assert!(!admission.admits_new(&key(1), &entry(1)));
        assert!(admission.admits_used(&key(1)));
        assert!(!admission.admits_used(&key(1)));

        assert!(!admission.admits_new(&key(2), &entry(1)));
        assert!(admission.admits_new(&key(2), &entry(1)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut used_once = UsedOnce::default();
        for n in 0..3 * GENERATION as u64 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            used_once.remember(&bytes.into());
        }
        assert!(used_once.newer.len() + used_once.older.len() <= 2 * GENERATION);
    }
}
