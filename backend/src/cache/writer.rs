//! Writes to the store, in the background and bounded. At shutdown what waits is written.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::store::Store;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::Key;
use crate::telemetry::{Metrics, StoreOperation, StoreResult};

/// Writes that run side by side.
const WRITES_AT_ONCE: usize = 32;

/// The queue in front of the store.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Sender<(Key, Arc<Entry>)>,
    closing: CancellationToken,
    running: TaskTracker,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// Starts writing to `store`. At most `capacity` writes wait.
    pub fn start(store: Arc<Store>, capacity: usize, metrics: Arc<Metrics>) -> Self {
        let (queue, waiting) = mpsc::channel(capacity);
        let closing = CancellationToken::new();
        let running = TaskTracker::new();
        running.spawn(write_all(store, waiting, closing.clone()));
        running.close();
        Self {
            queue,
            closing,
            running,
            metrics,
        }
    }

    /// Has an entry written, or counts it as dropped.
    pub fn put(&self, key: Key, entry: Arc<Entry>) {
        if self.queue.try_send((key, entry)).is_err() {
            self.metrics
                .count_store(StoreOperation::Put, StoreResult::Dropped);
        }
    }

    /// Takes nothing more, and returns when what waited is written.
    pub async fn finish(&self) {
        self.closing.cancel();
        self.running.wait().await;
    }
}

async fn write_all(
    store: Arc<Store>,
    waiting: mpsc::Receiver<(Key, Arc<Entry>)>,
    closing: CancellationToken,
) {
    let hurry = &closing;
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
        .for_each_concurrent(WRITES_AT_ONCE, |(key, entry)| {
            let store = &store;
            async move { store.put(&key, &entry, hurry).await }
        })
        .await;
}
