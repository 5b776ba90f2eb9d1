//! The streams of HTTP/2 connections: a client that does not read one of its answers loses that
//! stream, and not its neighbours.

use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task::futures::TaskLocalFuture;
use tokio_util::task::TaskTracker;

use super::stall_guard::StallGuard;

tokio::task_local! {
    /// Watches the stream that the current task belongs to.
    static STREAM: Arc<StallGuard>;
}

/// Runs each stream as a task of its own, until it ends or its client stops reading.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    patience: Duration,
    tasks: TaskTracker,
}

impl Streams {
    pub(super) fn new(patience: Duration) -> Self {
        let tasks = TaskTracker::new();
        Self { patience, tasks }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (guard, patience) = (Arc::new(StallGuard::default()), self.patience);
        let stream: TaskLocalFuture<_, F> = STREAM.scope(Arc::clone(&guard), stream);
        // hyper tells a stream's end to nothing but the client: dropped, it is reset.
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                _ended = stream => {}
                () = guard.stalls(patience) => {
                    tracing::debug!("a client does not read an answer");
                }
            }
        });
    }
}

/// The guard of the current stream; `None` on HTTP/1, where the connection has one.
pub(super) fn current() -> Option<Arc<StallGuard>> {
    STREAM.try_with(Arc::clone).ok()
}
