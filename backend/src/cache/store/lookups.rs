//! Look-ups of entries: each has a deadline, all of a batch have a budget, and those of all
//! requests together are bounded.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::ObjectStoreExt;
use tokio::time::{Instant, timeout_at};

use super::fault::{Fault, reason};
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

impl Store {
    /// Looks up many keys side by side. The answers stand in the order of the keys.
    pub async fn get_all(&self, keys: Vec<Key>) -> Vec<Option<Entry>> {
        let more = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let budget = Instant::now() + self.timeout + DEADLINE_PER_INPUT * more;
        let look_ups = stream::iter(keys).map(|key| self.get(key, budget));
        look_ups.buffered(LOOKUPS_AT_ONCE).collect().await
    }

    /// Looks up one key, before the budget of its batch ends.
    async fn get(&self, key: Key, budget: Instant) -> Option<Entry> {
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
        entry
    }

    fn skip(&self) -> Option<Entry> {
        let (operation, result) = (StoreOperation::Get, StoreResult::Skipped);
        self.metrics.count_store(operation, result, None);
        None
    }

    /// The object's bytes, and when it was written.
    async fn read(&self, key: &Key) -> object_store::Result<(Bytes, u64)> {
        let found = self.objects.get(&self.path(key)).await?;
        let written = found.meta.last_modified.timestamp_millis();
        let bytes = found.bytes().await?;
        Ok((bytes, u64::try_from(written).unwrap_or_default()))
    }

    fn decode(&self, key: &Key, object: &[u8], written_ms: u64) -> (StoreResult, Option<Entry>) {
        match Entry::from_object(key, object) {
            Ok(mut entry) => {
                // No vector was asked for after it was written: its gateway's clock was ahead.
                let latest = written_ms + millis(WRITTEN_PRECISION);
                entry.created_ms = entry.created_ms.min(latest);
                self.count_object(StoreOperation::Get, object.len(), &entry);
                (StoreResult::Ok, Some(entry))
            }
            Err(reason) => {
                tracing::warn!(%key, %reason, "an object in the store is unusable");
                (StoreResult::Unusable, None)
            }
        }
    }

    fn failed(&self, error: &object_store::Error) -> StoreResult {
        match Fault::of(error) {
            Fault::Absent => StoreResult::Absent,
            // A key that may not list is refused what does not exist.
            Fault::Denied if self.rights.may_read() => StoreResult::Absent,
            Fault::Denied | Fault::Failed => {
                complain(&self.failed_reads, "reads", &reason(error));
                StoreResult::Failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};

    use object_store::path::Path;

    use super::*;
    use crate::telemetry::{Gauges, Metrics};

    const CONNECTIONS: usize = 100;

    /// An empty store where each look-up takes `wait`.
    fn store(wait: Duration) -> (Store, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        let throttled = ThrottleConfig {
            wait_get_per_call: wait,
            ..ThrottleConfig::default()
        };
        let objects = ThrottledStore::new(InMemory::new(), throttled);
        let timeout = Duration::from_millis(500);
        let store = Store::on(
            Box::new(objects),
            Path::default(),
            timeout,
            CONNECTIONS,
            Arc::clone(&metrics),
        );
        (store, metrics)
    }

    fn keys(count: u32) -> Vec<Key> {
        let key = |n: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            bytes.into()
        };
        (0..count).map(key).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_batch_does_not_trip_the_deadline_of_a_healthy_store() {
        let (store, metrics) = store(Duration::from_millis(100));
        let began = Instant::now();
        store.get_all(keys(2048)).await;
        assert!(began.elapsed() > 2 * store.timeout, "{:?}", began.elapsed());
        assert_eq!(count(&metrics, "absent"), 2048);
        assert_eq!(count(&metrics, "timeout"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_store_is_waited_for_no_longer_than_one_look_up_may_take() {
        let (store, metrics) = store(Duration::from_secs(10));
        let began = Instant::now();
        store.get_all(keys(60)).await;
        let late = began.elapsed().saturating_sub(store.timeout);
        assert!(late <= Duration::from_millis(1), "{:?}", began.elapsed());
        assert_eq!(count(&metrics, "timeout"), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn look_ups_of_all_requests_together_are_bounded_and_waiting_costs_their_time() {
        let (store, metrics) = store(Duration::from_millis(400));
        let began = Instant::now();
        let requests = (0..1024).map(|_| store.get_all(keys(1)));
        let all = futures_util::future::join_all(requests);
        let most = async {
            let mut most = 0;
            loop {
                most = most.max(CONNECTIONS - store.connections.available_permits());
                if began.elapsed() > Duration::from_millis(450) {
                    return most;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let (_, most) = tokio::join!(all, most);
        assert_eq!(most, CONNECTIONS);
        let budget = store.timeout + DEADLINE_PER_INPUT;
        let late = began.elapsed().saturating_sub(budget);
        assert!(late <= Duration::from_millis(2), "{:?}", began.elapsed());
        // The first hundred had their time; the second began too late to end.
        assert_eq!(count(&metrics, "absent"), CONNECTIONS as u64);
        assert_eq!(count(&metrics, "skipped"), 1024 - CONNECTIONS as u64);
        assert_eq!(count(&metrics, "timeout"), 0);
        assert_eq!(store.reads_state(), crate::telemetry::BreakerState::Closed);
    }

    /// How many look-ups ended like that.
    fn count(metrics: &Metrics, result: &str) -> u64 {
        let labels = format!("_store_operations_total{{operation=\"get\",result=\"{result}\"}} ");
        let page = metrics.render(&Gauges::default());
        let value = page
            .lines()
            .find_map(|line| line.split_once(&labels)?.1.parse().ok());
        value.unwrap_or(0)
    }
}
