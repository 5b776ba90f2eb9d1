//! Writes of entries. No request waits for one.

use std::sync::atomic::Ordering;

use object_store::{Error, ObjectStoreExt, PutMode, PutPayload};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::fault::reason;
use super::{Store, WRITE_TIMEOUT, complain};
use crate::cache::Freshness;
use crate::cache::breaker::Attempt;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::telemetry::{StoreOperation, StoreResult};

impl Store {
    /// Writes one entry, as soon as the breaker lets it; dropped if `hurry` comes first. If its
    /// look-up told nothing, `keeps` says what may stay that is there.
    pub async fn put(
        &self,
        key: &Key,
        entry: &Entry,
        keeps: Option<Freshness>,
        hurry: &CancellationToken,
    ) {
        let Some(attempt) = self.may_write(hurry).await else {
            self.metrics.writes_dropped.inc();
            return;
        };
        if !self.is_from_the_past(entry).await {
            self.metrics.writes_dropped.inc();
            return;
        }
        let began = Instant::now();
        let result = match timeout(WRITE_TIMEOUT, self.write(key, entry, keeps)).await {
            Ok(Ok(written)) => {
                if let Some(bytes) = written {
                    self.count_object(StoreOperation::Put, bytes, entry);
                }
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

    /// The bytes that were written; `None` if what is there stays.
    async fn write(
        &self,
        key: &Key,
        entry: &Entry,
        keeps: Option<Freshness>,
    ) -> object_store::Result<Option<usize>> {
        let (path, object) = (self.path(key), PutPayload::from(entry.to_object(key)));
        let bytes = Some(object.content_length());
        if let Some(fresh) = keeps.filter(|_| self.rights.may_create()) {
            let create = PutMode::Create.into();
            match self.objects.put_opts(&path, object.clone(), create).await {
                Err(Error::AlreadyExists { .. }) if self.stays(key, entry, fresh).await? => {
                    return Ok(None);
                }
                Err(Error::AlreadyExists { .. }) => {}
                created => return created.map(|_| bytes),
            }
        }
        self.objects.put(&path, object).await.map(|_| bytes)
    }

    /// Whether what is there is a vector of the same kind as a newer one, and not stale.
    async fn stays(
        &self,
        key: &Key,
        newer: &Entry,
        fresh: Freshness,
    ) -> object_store::Result<bool> {
        let (object, written_ms) = self.read(key).await?;
        let (_, there) = self.decode(key, &object, written_ms);
        Ok(there.is_some_and(|there| {
            let is_alike = there.model == newer.model && there.dimensions() == newer.dimensions();
            is_alike && fresh.allows(&there)
        }))
    }
}
