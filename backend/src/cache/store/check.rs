//! Whether the bucket is there, and what the gateway's key may do in it.
//!
//! A wrong bucket and a missing right cost money and nothing else, so nothing else would tell.
//! The check also decides what a refused look-up means: S3 refuses a key that may read but not
//! list to read what does not exist.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::time::{sleep, timeout};

use super::Store;
use super::fault::{StoreFault, reason};
use crate::embeddings::clock::unix_ms;
use crate::telemetry::{StoreRight, StoreRights};

/// In front of the objects that a check writes, reads and deletes.
pub(super) const PROBE_PREFIX: &str = "probe";

/// Gateways share a few names, so that a key that may not delete leaves a few objects behind.
const PROBES: u64 = 16;

/// For each of the four operations.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Between two checks of a store that lets the gateway do everything, and of any other.
const PAUSES: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(60)];

impl Store {
    /// Checks the rights now and again, for as long as it is polled.
    pub async fn watch_rights(&self) -> Infallible {
        loop {
            let rights = self.check().await;
            sleep(PAUSES[usize::from(!rights.are_complete())]).await;
        }
    }

    /// Asks for an answer that tells the store's time. Whether one came.
    pub async fn tell_time(&self) -> bool {
        let probe = self.prefix.clone().join(PROBE_PREFIX);
        let read = self.try_reading(&probe).await;
        if let Err(reason) = &read {
            tracing::debug!(reason, "the store did not tell its time");
        }
        read.is_ok()
    }

    /// Tries everything that the gateway ever does, and logs what has changed.
    pub(super) async fn check(&self) -> StoreRights {
        let slot = RandomState::new().hash_one(unix_ms()) % PROBES;
        let folder = self.prefix.clone().join(PROBE_PREFIX);
        let probe = folder.join(slot.to_string());
        let tried = [
            (StoreRight::Write, self.try_writing(&probe).await),
            (StoreRight::Read, self.try_reading(&probe).await),
            (StoreRight::List, self.try_listing().await),
            (StoreRight::Delete, self.try_deleting(&probe).await),
        ];
        let granted = |right| {
            tried
                .iter()
                .any(|(tried, end)| *tried == right && end.is_ok())
        };
        let rights = StoreRights::new(granted);
        let first = self.rights.found().is_none();
        if self.rights.note(rights) {
            let reason = tried.into_iter().find_map(|(_, end)| end.err());
            match reason {
                Some(reason) => {
                    let missing = rights.missing();
                    tracing::warn!(
                        missing,
                        reason,
                        "the store does not let the gateway do all that it needs"
                    );
                }
                None if first => tracing::debug!("the store lets the gateway do all that it needs"),
                None => tracing::info!("the store lets the gateway do all that it needs again"),
            }
        }
        rights
    }

    async fn try_writing(&self, probe: &Path) -> Result<(), String> {
        in_time(self.objects.put(probe, PutPayload::new())).await?;
        self.try_creating(probe).await;
        Ok(())
    }

    /// Whether the store keeps what is there where a write asks for that. Not every S3 server does;
    /// and another gateway may have deleted the object in between.
    async fn try_creating(&self, probe: &Path) {
        let create = PutMode::Create.into();
        let again = self.objects.put_opts(probe, PutPayload::new(), create);
        if let Ok(Err(object_store::Error::AlreadyExists { .. })) = timeout(PATIENCE, again).await {
            self.rights.note_creation();
        }
    }

    /// The object may be gone: another gateway shares its name.
    async fn try_reading(&self, probe: &Path) -> Result<(), String> {
        let read = async { self.objects.get(probe).await?.bytes().await };
        in_time(or_absent(read)).await
    }

    /// Where the gateway lists.
    async fn try_listing(&self) -> Result<(), String> {
        let path = self.markers_path();
        let mut listed = self.objects.list(Some(&path));
        in_time(async { listed.next().await.transpose() }).await
    }

    async fn try_deleting(&self, probe: &Path) -> Result<(), String> {
        in_time(or_absent(self.objects.delete(probe))).await
    }
}

/// Takes an object that is not there for one that is.
async fn or_absent<T>(
    tried: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<()> {
    match tried.await {
        Err(error) if StoreFault::of(&error) != StoreFault::Absent => Err(error),
        _ => Ok(()),
    }
}

async fn in_time<T>(tried: impl Future<Output = object_store::Result<T>>) -> Result<(), String> {
    match timeout(PATIENCE, tried).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(reason(&error)),
        Err(_) => Err("the store did not answer in time".to_owned()),
    }
}

/// What the last check found.
#[derive(Debug, Default)]
pub(super) struct Rights {
    found: RwLock<Option<StoreRights>>,
    /// Whether a write may leave what is there.
    creates: AtomicBool,
}

impl Rights {
    /// `None` before the first check has ended.
    pub(super) fn found(&self) -> Option<StoreRights> {
        *self.found.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the key was allowed to read.
    pub(super) fn may_read(&self) -> bool {
        self.found()
            .is_some_and(|found| found.has(StoreRight::Read))
    }

    /// Whether the store is known to keep what is there where a write asks for that.
    pub(super) fn may_create(&self) -> bool {
        self.creates.load(Ordering::Relaxed)
    }

    fn note_creation(&self) {
        if !self.creates.swap(true, Ordering::Relaxed) {
            tracing::debug!("the store can keep what is there");
        }
    }

    /// Remembers what a check found. Returns whether that is news.
    fn note(&self, rights: StoreRights) -> bool {
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        found.replace(rights) != Some(rights)
    }
}
