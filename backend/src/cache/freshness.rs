//! When an entry may be served.

use std::time::Duration;

use super::Cache;
use super::clock::{TOLERANCE, millis};
use crate::embeddings::entry::Entry;

/// The condition for serving an entry: not too old, and not purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub(super) created_after_ms: u64,
    /// No purge of today could end what comes from later.
    pub(super) created_until_ms: u64,
}

impl Freshness {
    /// The condition at this time, after the last purge that concerns the entries.
    pub(super) fn new(now_ms: u64, max_age: Option<Duration>, last_purge_ms: u64) -> Self {
        let expired = max_age.map_or(0, |age| now_ms.saturating_sub(millis(age)));
        Self {
            created_after_ms: expired.max(last_purge_ms),
            created_until_ms: now_ms + millis(TOLERANCE),
        }
    }

    /// Whether an entry may be served.
    pub fn allows(self, entry: &Entry) -> bool {
        self.allows_from(entry.created_ms)
    }

    /// Whether an entry of this time, in Unix milliseconds, may be served.
    pub fn allows_from(self, created_ms: u64) -> bool {
        created_ms > self.created_after_ms && created_ms <= self.created_until_ms
    }

    /// What an entry must be younger than, in Unix milliseconds.
    pub fn created_after_ms(self) -> u64 {
        self.created_after_ms
    }
}

impl Cache {
    /// How long an entry stays fresh, if entries have a maximum age.
    pub fn remaining(&self, created_ms: u64) -> Option<Duration> {
        let ends = created_ms.saturating_add(millis(self.max_age?));
        Some(Duration::from_millis(ends.saturating_sub(self.now_ms())))
    }
}
