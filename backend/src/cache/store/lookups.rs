//! Look-ups of entries: each has a deadline, all of a batch have a budget, and those of all
//! requests together are bounded.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::ObjectStoreExt;
use tokio::time::{Instant, timeout_at};

use super::fault::{StoreFault, reason};
use super::{Store, complain};
use crate::cache::clock::millis;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::telemetry::{StoreOperation, StoreResult};

/// Look-ups of one batch that run side by side.
const LOOKUPS_AT_ONCE: usize = 64;

/// What each further input of a batch adds to the budget of its look-ups.
const DEADLINE_PER_INPUT: Duration = Duration::from_millis(2);

/// Stores tell when an object was written in whole seconds, rounded down.
const WRITTEN_PRECISION: Duration = Duration::from_secs(1);

/// What a look-up has told of an entry.
#[derive(Debug)]
pub enum LookedUp {
    /// It is there.
    Found(Entry),
    /// There is none that can be used.
    Absent,
    /// Nothing: the look-up failed, took too long or was not tried.
    Unknown,
}

impl LookedUp {
    /// The entry, if it is known to be there.
    pub fn entry(self) -> Option<Entry> {
        match self {
            Self::Found(entry) => Some(entry),
            Self::Absent | Self::Unknown => None,
        }
    }
}

impl Store {
    /// Looks up many keys side by side. The answers stand in the order of the keys.
    pub async fn get_all(&self, keys: Vec<Key>) -> Vec<LookedUp> {
        let more = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let budget = Instant::now() + self.timeout + DEADLINE_PER_INPUT * more;
        let look_ups = stream::iter(keys).map(|key| self.get(key, budget));
        look_ups.buffered(LOOKUPS_AT_ONCE).collect().await
    }

    /// Looks up one key, before the budget of its batch ends.
    async fn get(&self, key: Key, budget: Instant) -> LookedUp {
        let Ok(Ok(_connection)) = timeout_at(budget, self.connections.acquire()).await else {
            return self.skip();
        };
        let Ok(attempt) = self.reads.ask() else {
            return self.skip();
        };
        let began = Instant::now();
        let deadline = began + self.timeout;
        let (result, entry) = match timeout_at(deadline.min(budget), self.read(&key)).await {
            Ok(Ok((bytes, written_ms))) => self.decode(&key, &bytes, written_ms),
            Ok(Err(error)) => (self.failed(&error), None),
            // What other look-ups of the batch have left was too little time to judge the store.
            Err(_) if budget < deadline => return self.skip(),
            Err(_) => {
                complain(&self.failed_reads, "reads", "no answer in time");
                (StoreResult::Timeout, None)
            }
        };
        self.report(attempt, StoreOperation::Get, result, began);
        match (entry, result) {
            (Some(entry), _) => LookedUp::Found(entry),
            (None, StoreResult::Absent | StoreResult::Unusable) => LookedUp::Absent,
            (None, _) => LookedUp::Unknown,
        }
    }

    fn skip(&self) -> LookedUp {
        let (operation, result) = (StoreOperation::Get, StoreResult::Skipped);
        self.metrics.count_store(operation, result, None);
        LookedUp::Unknown
    }

    /// The object's bytes, and when it was written.
    pub(super) async fn read(&self, key: &Key) -> object_store::Result<(Bytes, u64)> {
        let found = self.objects.get(&self.path(key)).await?;
        let written = found.meta.last_modified.timestamp_millis();
        let bytes = found.bytes().await?;
        Ok((bytes, u64::try_from(written).unwrap_or_default()))
    }

    pub(super) fn decode(
        &self,
        key: &Key,
        object: &[u8],
        written_ms: u64,
    ) -> (StoreResult, Option<Entry>) {
        match Entry::from_object(key, object) {
            Ok(mut entry) => {
                date_by_writing(&mut entry, written_ms);
                self.count_object(StoreOperation::Get, object.len(), &entry);
                (StoreResult::Ok, Some(entry))
            }
            Err(reason) => {
                tracing::warn!(%key, %reason, "an object in the store is unusable");
                (StoreResult::Unusable, None)
            }
        }
    }

    pub(super) fn failed(&self, error: &object_store::Error) -> StoreResult {
        match StoreFault::of(error) {
            StoreFault::Absent => StoreResult::Absent,
            // A key that may not list is refused what does not exist.
            StoreFault::Denied if self.rights.may_read() => StoreResult::Absent,
            StoreFault::Denied | StoreFault::Failed => {
                complain(&self.failed_reads, "reads", &reason(error));
                StoreResult::Failed
            }
        }
    }
}

/// No vector was asked for after it was written: its gateway's clock was ahead.
pub(super) fn date_by_writing(entry: &mut Entry, written_ms: u64) {
    let latest = written_ms + millis(WRITTEN_PRECISION);
    entry.created_ms = entry.created_ms.min(latest);
}

#[cfg(test)]
mod tests;
