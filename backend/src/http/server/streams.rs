//! The streams of HTTP/2 connections: a client that does not read one of its answers loses that
//! stream, and not its neighbours.
//!
//! What is not read of one answer may fill the window of the whole connection, and then the others
//! stand still, too. So of those that do, the one that took most ends first; it gives back what it
//! took, and the others have their time again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::stall_guard::StallGuard;

tokio::task_local! {
    /// Watches the stream that the current task belongs to.
    static STREAM: Arc<StallGuard>;
}

/// Runs each stream of one connection as a task of its own, until it ends or its client stops
/// reading.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    patience: Duration,
    tasks: TaskTracker,
    guards: Arc<Mutex<Vec<Weak<StallGuard>>>>,
    last_end: Arc<Mutex<Option<Instant>>>,
}

impl Streams {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            tasks: TaskTracker::new(),
            guards: Arc::default(),
            last_end: Arc::default(),
        }
    }

    fn begin(&self) -> Arc<StallGuard> {
        let guard = Arc::new(StallGuard::of_stream());
        let mut guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        guards.retain(|guard| guard.strong_count() > 0);
        guards.push(Arc::downgrade(&guard));
        guard
    }

    /// Returns when this stream must end.
    async fn stalls(&self, guard: &StallGuard) {
        let mut spared_at = None;
        loop {
            tokio::select! {
                () = guard.stalls(self.patience) => {}
                () = guard.is_cut() => return,
            }
            let steps = Some(guard.steps());
            // Its client had no time yet to use what the other gave back. Once is enough.
            if self.has_just_ended_one() && spared_at != steps {
                spared_at = steps;
                continue;
            }
            self.note_end();
            match self.greediest() {
                Some(other) if !std::ptr::eq(&*other, guard) => other.cut(),
                _ => return,
            }
        }
    }

    fn note_end(&self) {
        *self.last_end() = Some(Instant::now());
    }

    fn has_just_ended_one(&self) -> bool {
        self.last_end()
            .is_some_and(|end| end.elapsed() < self.patience)
    }

    fn last_end(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last_end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the streams that stand still, the one that took most.
    fn greediest(&self) -> Option<Arc<StallGuard>> {
        let guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = guards
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|guard| guard.is_idle(self.patience / 2));
        idle.max_by_key(|guard| guard.taken())
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (guard, streams) = (self.begin(), self.clone());
        let stream: TaskLocalFuture<_, F> = STREAM.scope(Arc::clone(&guard), stream);
        // hyper tells a stream's end to nothing but the client: dropped, it is reset.
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                _ended = stream => {}
                () = streams.stalls(&guard) => {
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
