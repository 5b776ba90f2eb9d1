//! Writes to the store in the background, bounded, and drained at shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Freshness;
use super::memory::weight;
use super::store::Store;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::telemetry::{Metrics, Span};

/// Writes that run side by side.
const WRITES_AT_ONCE: usize = 32;

/// An entry to write.
#[derive(Debug)]
pub struct StoreWrite {
    /// Its name.
    pub key: Key,
    /// The entry itself.
    pub entry: Arc<Entry>,
    /// What may stay that is there; `None` if nothing is.
    pub keeps: Option<Freshness>,
    /// It ends with all writes of its call.
    pub span: Option<Arc<Span>>,
}

/// The queue in front of the store.
#[derive(Debug)]
pub struct StoreWriter {
    queue: mpsc::Sender<StoreWrite>,
    closing: CancellationToken,
    running: TaskTracker,
    pending: Arc<Pending>,
    max_bytes: u64,
    metrics: Arc<Metrics>,
}

/// What is queued or being written.
#[derive(Debug, Default)]
struct Pending {
    writes: AtomicUsize,
    bytes: AtomicU64,
}

impl Pending {
    /// Whether an entry is no more than may still wait.
    fn add(&self, entry: &Entry, max_bytes: u64) -> bool {
        let more = |bytes: u64| Some(bytes + weight(entry)).filter(|&bytes| bytes <= max_bytes);
        let added = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        self.writes
            .fetch_add(added.is_ok().into(), Ordering::Relaxed);
        added.is_ok()
    }

    fn remove(&self, entry: &Entry) {
        self.bytes.fetch_sub(weight(entry), Ordering::Relaxed);
        self.writes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl StoreWriter {
    /// Starts writing to `store`. At most `capacity` writes wait, and no more than `max_bytes`.
    pub fn start(
        store: Arc<Store>,
        capacity: usize,
        max_bytes: u64,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(capacity);
        let closing = CancellationToken::new();
        let running = TaskTracker::new();
        let pending = Arc::<Pending>::default();
        let writing = write_all(store, waiting, closing.clone(), Arc::clone(&pending));
        running.spawn(writing);
        running.close();
        Self {
            queue,
            closing,
            running,
            pending,
            max_bytes,
            metrics,
        }
    }

    /// Queues an entry, or counts it as dropped.
    pub fn put(&self, write: StoreWrite) {
        if !self.pending.add(&write.entry, self.max_bytes) {
            self.metrics.writes_dropped.inc();
        } else if let Err(refused) = self.queue.try_send(write) {
            self.pending.remove(&refused.into_inner().entry);
            self.metrics.writes_dropped.inc();
        }
    }

    /// How many writes are queued or running.
    pub fn pending(&self) -> usize {
        self.pending.writes.load(Ordering::Relaxed)
    }

    /// Closes the queue, and returns when all queued writes have ended.
    pub async fn finish(&self) {
        self.closing.cancel();
        self.running.wait().await;
    }
}

async fn write_all(
    store: Arc<Store>,
    waiting: mpsc::Receiver<StoreWrite>,
    closing: CancellationToken,
    pending: Arc<Pending>,
) {
    let (hurry, pending) = (&closing, &pending);
    let entries = stream::unfold((waiting, closing.clone()), |(mut waiting, closing)| async {
        let next = tokio::select! {
            biased;
            () = closing.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                waiting.recv().await
            }
            next = waiting.recv() => next,
        };
        next.map(|write| (write, (waiting, closing)))
    });
    entries
        .for_each_concurrent(WRITES_AT_ONCE, |write| {
            let store = &store;
            async move {
                let StoreWrite { key, entry, .. } = &write;
                store.put(key, entry, write.keeps, hurry).await;
                pending.remove(entry);
            }
        })
        .await;
}
