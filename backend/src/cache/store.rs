//! The store tier: one object an input, in a bucket or a directory.
//!
//! Every failure reads as a miss and is counted. Only this folder knows object names.

mod archive;
mod check;
mod connector;
mod fault;
mod lookups;
mod markers;
mod open;
mod pins;
mod writes;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use self::archive::{Archive, ArchiveError, Folder, ListedObject, StoredObject, parse_key};
use self::check::Rights;
pub use self::lookups::LookedUp;
pub use self::markers::{Marker, MarkerError};
pub use self::open::StoreOpenError;
pub use self::pins::PinError;
use super::breaker::{Attempt, Breaker, Change};
use super::clock::Clock;
use super::throttled_log::ThrottledLog;
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
    failed_reads: ThrottledLog,
    failed_writes: ThrottledLog,
    /// What the store's answers set; `None` where they tell no time.
    clock: Option<Arc<Clock>>,
    /// It has answered, and told no time by which clocks can be compared.
    tells_no_time: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Store {
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

    fn path(&self, key: &Key) -> Path {
        path(&self.prefix, key)
    }
}

/// `prefix/v1/ab/abcd…`: two digits of fan-out keep local directories small.
fn path(prefix: &Path, key: &Key) -> Path {
    let name = key.to_string();
    prefix
        .clone()
        .join(FORMAT_PREFIX)
        .join(&name[..2])
        .join(name.as_str())
}

fn complain(complaint: &ThrottledLog, what: &'static str, reason: &str) {
    if let Some(failures) = complaint.due() {
        tracing::warn!(what, failures, reason, "the store fails");
    }
}

#[cfg(test)]
mod tests;
