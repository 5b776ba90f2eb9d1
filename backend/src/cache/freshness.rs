//! When an entry may be served.

use crate::embeddings::entry::Entry;

/// The condition for serving an entry: not too old, and not purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub(super) created_after_ms: u64,
    /// No purge of today could end what comes from later.
    pub(super) created_until_ms: u64,
}

impl Freshness {
    /// Whether an entry may be served.
    pub fn allows(self, entry: &Entry) -> bool {
        entry.created_ms > self.created_after_ms && entry.created_ms <= self.created_until_ms
    }
}
