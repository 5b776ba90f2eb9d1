//! The store tier: one object an input, in a bucket or a directory.
//!
//! Every failure reads as a miss and is counted. Only this folder knows object names.

mod check;
mod connector;
mod fault;
mod lookups;
mod markers;
mod open;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::check::Rights;
use self::fault::reason;
pub use self::markers::{Marker, Unmarked};
pub use self::open::Unopenable;
use super::breaker::{Attempt, Breaker, Change};
use super::clock::Clock;
use super::complaint::Complaint;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::telemetry::{BreakerState, Metrics, StoreOperation, StoreResult, StoreRights};

/// The prefix of every object of this format, so that a lifecycle rule can tell formats apart.
const FORMAT_PREFIX: &str = "v1";

/// No request waits for a write, so it may take longer than a look-up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Objects named by key.
#[derive(Debug)]
pub struct Store {
    objects: Box<dyn ObjectStore>,
    prefix: Path,
    /// Whether listings are in the order of the names, so that one may go on where one broke off.
    lists_in_order: bool,
    /// For one look-up.
    timeout: Duration,
    /// The look-ups of all requests together that may still begin.
    connections: Semaphore,
    /// A full store can be read, and one that is only written to may be.
    reads: Breaker,
    writes: Breaker,
    rights: Rights,
    failed_reads: Complaint,
    failed_writes: Complaint,
    /// What the store's answers set; `None` where they tell no time.
    clock: Option<Arc<Clock>>,
    /// It has answered, and told no time by which clocks can be compared.
    tells_no_time: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Store {
    /// Writes one entry, as soon as the breaker lets it; dropped if `hurry` comes first.
    pub async fn put(&self, key: &Key, entry: &Entry, hurry: &CancellationToken) {
        let Some(attempt) = self.may_write(hurry).await else {
            self.metrics.writes_dropped.inc();
            return;
        };
        if !self.is_from_the_past(entry).await {
            self.metrics.writes_dropped.inc();
            return;
        }
        let began = Instant::now();
        let (path, object) = (self.path(key), entry.to_object(key));
        let bytes = object.len();
        let result = match timeout(WRITE_TIMEOUT, self.objects.put(&path, object.into())).await {
            Ok(Ok(_)) => {
                self.count_object(StoreOperation::Put, bytes, entry);
                StoreResult::Ok
            }
            Ok(Err(error)) => {
                complain(&self.failed_writes, "writes", &reason(&error));
                StoreResult::Failed
            }
            Err(_) => {
                complain(&self.failed_writes, "writes", "no answer in time");
                StoreResult::Timeout
            }
        };
        self.report(attempt, StoreOperation::Put, result, began);
    }

    /// Waits until the breaker lets a write through; `None` if `hurry` comes first.
    async fn may_write(&self, hurry: &CancellationToken) -> Option<Attempt<'_>> {
        loop {
            match self.writes.ask() {
                Ok(attempt) => return Some(attempt),
                Err(_) if hurry.is_cancelled() => return None,
                Err(until) => tokio::select! {
                    () = sleep_until(until) => {}
                    () = hurry.cancelled() => {}
                },
            }
        }
    }

    /// Whether the store's time knows of the moment when a vector was asked for. A gateway whose
    /// clock was ahead cannot tell which purges came since, and the object would seem to be as
    /// young as its writing.
    async fn is_from_the_past(&self, entry: &Entry) -> bool {
        let Some(clock) = &self.clock else {
            return true;
        };
        if !clock.is_compared() && !self.tells_no_time.load(Ordering::Relaxed) {
            let answered = self.tell_time().await;
            let told = clock.is_compared();
            self.tells_no_time
                .store(answered && !told, Ordering::Relaxed);
        }
        !clock.is_ahead(entry.created_ms)
    }

    fn count_object(&self, operation: StoreOperation, bytes: usize, entry: &Entry) {
        let saved = entry.float_object_bytes().saturating_sub(bytes);
        self.metrics.count_object(operation, bytes, saved);
    }

    /// Whether it is read.
    pub fn reads_state(&self) -> BreakerState {
        self.reads.describe()
    }

    /// Whether it is written to.
    pub fn writes_state(&self) -> BreakerState {
        self.writes.describe()
    }

    /// What the gateway may do there; `None` before the first check.
    pub fn rights(&self) -> Option<StoreRights> {
        self.rights.found()
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
        let healthy = !matches!(result, StoreResult::Failed | StoreResult::Timeout);
        let what = match operation {
            StoreOperation::Get => "reads",
            StoreOperation::Put => "writes",
        };
        match attempt.report(healthy) {
            Change::Opened => tracing::warn!(what, "the store keeps failing and is left alone"),
            Change::Closed => tracing::info!(what, "the store works again"),
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

fn complain(complaint: &Complaint, what: &'static str, reason: &str) {
    if let Some(failures) = complaint.due() {
        tracing::warn!(what, failures, reason, "the store fails");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::memory::InMemory;
    use tokio::time::Instant;

    use super::*;
    use crate::cache::clock::Heard;
    use crate::embeddings::vector::Vector;

    const NOW: u64 = 1_800_000_000_000;
    const HOUR: u64 = 3_600_000;

    fn asked_for_at(created_ms: u64) -> Entry {
        Entry {
            model: "m".into(),
            tokens: 1,
            created_ms,
            vector: Vector::new(vec![1; 16]),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_clock_that_was_ahead_has_dated_is_not_written() {
        let clock = Arc::new(Clock::starting_at(NOW + HOUR));
        let (objects, metrics) = (Box::new(InMemory::new()), Arc::new(Metrics::new()));
        let store = Store {
            clock: Some(Arc::clone(&clock)),
            ..Store::on(
                objects,
                Path::default(),
                Duration::from_secs(1),
                1,
                Arc::clone(&metrics),
            )
        };
        let early = asked_for_at(clock.now_ms());
        let moment = Instant::now();
        clock.hear(Heard {
            sent: moment,
            received: moment,
            time_ms: NOW,
            precision: Duration::from_secs(1),
        });
        let late = asked_for_at(clock.now_ms());
        let written = async |key: [u8; 32], entry: &Entry| {
            store
                .put(&key.into(), entry, &CancellationToken::new())
                .await;
            store.get_all(vec![key.into()]).await[0].is_some()
        };
        assert!(!written([1; 32], &early).await);
        assert!(written([2; 32], &late).await);
        assert_eq!(metrics.writes_dropped.get(), 1);
    }
}
