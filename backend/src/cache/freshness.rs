//! When an entry may be served.

use std::time::Duration;

use super::Cache;
use super::clock::millis;
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

impl Cache {
    /// How long an entry stays fresh, if entries have a maximum age.
    pub fn remaining(&self, created_ms: u64) -> Option<Duration> {
        let ends = created_ms.saturating_add(millis(self.max_age?));
        Some(Duration::from_millis(ends.saturating_sub(self.now_ms())))
    }
}
