//! The store tier: one object an input, in a bucket or a directory.
//!
//! Every failure reads as a miss and is counted. Only this folder knows object names.

mod markers;
mod open;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

pub use self::markers::Unmarked;
pub use self::open::Unopenable;
use super::breaker::{Attempt, Breaker, Change};
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::telemetry::{BreakerState, Metrics, StoreOperation, StoreResult};

/// The prefix of every object of this format, so that a lifecycle rule can tell formats apart.
const FORMAT_PREFIX: &str = "v1";

/// Look-ups of one batch that run side by side.
const LOOKUPS_AT_ONCE: usize = 64;

/// What each further input of a batch adds to the deadline of its look-ups.
const DEADLINE_PER_INPUT: Duration = Duration::from_millis(2);

/// No request waits for a write, so it may take longer than a look-up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Objects named by key.
#[derive(Debug)]
pub struct Store {
    objects: Box<dyn ObjectStore>,
    prefix: Path,
    timeout: Duration,
    breaker: Breaker,
    metrics: Arc<Metrics>,
}

impl Store {
    /// Looks up many keys side by side. Results are in the order of the keys.
    pub async fn get_all(&self, keys: Vec<Key>) -> Vec<Option<Entry>> {
        let more = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let deadline = Instant::now() + self.timeout + DEADLINE_PER_INPUT * more;
        let look_ups = stream::iter(keys).map(|key| self.get(key, deadline));
        look_ups.buffered(LOOKUPS_AT_ONCE).collect().await
    }

    /// Writes one entry as soon as the breaker allows it, or drops it once `hurry` is cancelled.
    pub async fn put(&self, key: &Key, entry: &Entry, hurry: &CancellationToken) {
        let attempt = loop {
            match self.breaker.ask() {
                Ok(attempt) => break attempt,
                Err(_) if hurry.is_cancelled() => {
                    self.metrics.writes_dropped.inc();
                    return;
                }
                Err(until) => tokio::select! {
                    () = sleep_until(until) => {}
                    () = hurry.cancelled() => {}
                },
            }
        };
        let began = Instant::now();
        let (path, object) = (self.path(key), entry.to_object(key));
        let result = match timeout(WRITE_TIMEOUT, self.objects.put(&path, object.into())).await {
            Ok(Ok(_)) => StoreResult::Ok,
            Ok(Err(error)) => failed(&error),
            Err(_) => StoreResult::Timeout,
        };
        self.report(attempt, StoreOperation::Put, result, began);
    }

    async fn get(&self, key: Key, deadline: Instant) -> Option<Entry> {
        let Ok(attempt) = self.breaker.ask() else {
            self.metrics
                .count_store(StoreOperation::Get, StoreResult::Skipped, None);
            return None;
        };
        let began = Instant::now();
        let (result, entry) = match timeout_at(deadline, self.read(&key)).await {
            Ok(Ok(bytes)) => match Entry::from_object(&key, &bytes) {
                Ok(entry) => (StoreResult::Ok, Some(entry)),
                Err(reason) => {
                    tracing::warn!(%key, %reason, "an object in the store is unusable");
                    (StoreResult::Unusable, None)
                }
            },
            Ok(Err(object_store::Error::NotFound { .. })) => (StoreResult::Absent, None),
            Ok(Err(error)) => (failed(&error), None),
            Err(_) => (StoreResult::Timeout, None),
        };
        self.report(attempt, StoreOperation::Get, result, began);
        entry
    }

    async fn read(&self, key: &Key) -> object_store::Result<bytes::Bytes> {
        self.objects.get(&self.path(key)).await?.bytes().await
    }

    /// Whether the gateway uses the store.
    pub fn breaker_state(&self) -> BreakerState {
        self.breaker.describe()
    }

    fn report(
        &self,
        attempt: Attempt<'_>,
        operation: StoreOperation,
        result: StoreResult,
        began: Instant,
    ) {
        self.metrics
            .count_store(operation, result, Some(began.elapsed()));
        match attempt.report(!matches!(
            result,
            StoreResult::Failed | StoreResult::Timeout
        )) {
            Change::Opened => tracing::warn!("the store keeps failing and is left alone for now"),
            Change::Closed => tracing::info!("the store works again"),
            Change::None => {}
        }
    }

    /// `prefix/v1/ab/abcd…`: two digits of fan-out keep local directories small.
    fn path(&self, key: &Key) -> Path {
        let name = key.to_string();
        self.prefix
            .clone()
            .join(FORMAT_PREFIX)
            .join(&name[..2])
            .join(name.as_str())
    }
}

fn failed(error: &object_store::Error) -> StoreResult {
    tracing::debug!(%error, "an operation of the store failed");
    StoreResult::Failed
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};

    use super::*;
    use crate::telemetry::Gauges;

    /// An empty store where each look-up takes `wait`.
    fn store(wait: Duration) -> (Store, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        let throttled = ThrottleConfig {
            wait_get_per_call: wait,
            ..ThrottleConfig::default()
        };
        let store = Store {
            objects: Box::new(ThrottledStore::new(InMemory::new(), throttled)),
            prefix: Path::default(),
            timeout: Duration::from_millis(500),
            breaker: Breaker::new(),
            metrics: Arc::clone(&metrics),
        };
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
    async fn a_slow_store_is_waited_for_no_longer_than_the_deadline() {
        let (store, metrics) = store(Duration::from_secs(10));
        let began = Instant::now();
        store.get_all(keys(5)).await;
        let deadline = store.timeout + 5 * DEADLINE_PER_INPUT;
        let late = began.elapsed().saturating_sub(deadline);
        assert!(late <= Duration::from_millis(1), "{:?}", began.elapsed());
        assert_eq!(count(&metrics, "timeout"), 5);
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
