//! Writes to the store in the background, bounded, and drained at shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::store::Store;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::telemetry::{Metrics, Span};

/// Writes that run side by side.
const WRITES_AT_ONCE: usize = 32;

/// An entry to write, and the span that lasts until all writes of its call have ended.
type Write = (Key, Arc<Entry>, Option<Arc<Span>>);

/// The queue in front of the store.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Sender<Write>,
    closing: CancellationToken,
    running: TaskTracker,
    pending: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// Starts writing to `store`. At most `capacity` writes wait.
    pub fn start(store: Arc<Store>, capacity: usize, metrics: Arc<Metrics>) -> Self {
        let (queue, waiting) = mpsc::channel(capacity);
        let closing = CancellationToken::new();
        let running = TaskTracker::new();
        let pending = Arc::default();
        let writing = write_all(store, waiting, closing.clone(), Arc::clone(&pending));
        running.spawn(writing);
        running.close();
        Self {
            queue,
            closing,
            running,
            pending,
            metrics,
        }
    }

    /// Queues an entry, or counts it as dropped. `span` ends with the write.
    pub fn put(&self, key: Key, entry: Arc<Entry>, span: Option<Arc<Span>>) {
        self.pending.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send((key, entry, span)).is_err() {
            self.pending.fetch_sub(1, Ordering::Relaxed);
            self.metrics.writes_dropped.inc();
        }
    }

    /// How many writes are queued or running.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Closes the queue, and returns when all queued writes have ended.
    pub async fn finish(&self) {
        self.closing.cancel();
        self.running.wait().await;
    }
}

async fn write_all(
    store: Arc<Store>,
    waiting: mpsc::Receiver<Write>,
    closing: CancellationToken,
    pending: Arc<AtomicUsize>,
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
        next.map(|entry| (entry, (waiting, closing)))
    });
    entries
        .for_each_concurrent(WRITES_AT_ONCE, |(key, entry, span)| {
            let store = &store;
            async move {
                store.put(&key, &entry, hurry).await;
                pending.fetch_sub(1, Ordering::Relaxed);
                drop(span);
            }
        })
        .await;
}
