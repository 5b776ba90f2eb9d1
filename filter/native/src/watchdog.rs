//! Wakes the requests that a filter holds and whose bodies do not grow.
//!
//! Each configuration has one thread for it, which sleeps while nothing is held. It ends with the configuration: the
//! module may be unmapped right after that.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A request goes on at most a quarter of its time-out later than that.
const TICKS_PER_TIMEOUT: u32 = 4;

/// How to reach a request on its own worker thread.
pub(crate) trait Wake: Send {
    /// Has `on_wake` called soon; nothing happens if the request has ended.
    fn wake(&self);
}

/// The requests that one configuration holds.
#[derive(Debug)]
pub(crate) struct Watchdog {
    tick: Duration,
    state: Mutex<HeldRequests>,
    changed: Condvar,
}

#[derive(Default)]
struct HeldRequests {
    held: BTreeMap<u64, WatchedRequest>,
    next: u64,
    ended: bool,
}

struct WatchedRequest {
    idle_ticks: Arc<AtomicU32>,
    wake: Box<dyn Wake>,
}

/// A request's place with its watchdog. It ends with this value; the watchdog wakes the request no more afterwards.
#[derive(Debug)]
pub(crate) struct Watched {
    watchdog: Arc<Watchdog>,
    key: u64,
    idle_ticks: Arc<AtomicU32>,
}

impl Watchdog {
    pub(crate) fn new(timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            tick: timeout / TICKS_PER_TIMEOUT,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Watches over a request from now on.
    pub(crate) fn watch(self: &Arc<Self>, wake: Box<dyn Wake>) -> Watched {
        let idle_ticks = Arc::new(AtomicU32::new(0));
        let mut state = self.state();
        let key = state.next;
        state.next += 1;
        let entry = WatchedRequest {
            idle_ticks: Arc::clone(&idle_ticks),
            wake,
        };
        state.held.insert(key, entry);
        // With more than one the thread is awake already.
        let first = state.held.len() == 1;
        drop(state);
        if first {
            self.changed.notify_one();
        }
        Watched {
            watchdog: Arc::clone(self),
            key,
            idle_ticks,
        }
    }

    /// Ticks until [`Watchdog::end`]. What the thread runs.
    pub(crate) fn run(&self) {
        let mut next = Instant::now() + self.tick;
        while self.wait_until(next) {
            next = Instant::now() + self.tick;
            // A panic must not end the watch: no request would go on after a stall.
            let caught: Result<(), Box<dyn Any + Send>> =
                catch_unwind(AssertUnwindSafe(|| self.tick()));
            // Its payload might panic again when it is dropped.
            caught.unwrap_or_else(std::mem::forget);
        }
    }

    /// Makes [`Watchdog::run`] return.
    pub(crate) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_one();
    }

    /// Sleeps until the time of the next tick, and longer while nothing is held. False when the watch ends.
    fn wait_until(&self, mut time: Instant) -> bool {
        let mut state = self.state();
        loop {
            if state.ended {
                return false;
            }
            if state.held.is_empty() {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                time = Instant::now() + self.tick;
                continue;
            }
            let Some(left) = time.checked_duration_since(Instant::now()) else {
                return true;
            };
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Every request that has made no progress for a whole time-out is woken, once.
    fn tick(&self) {
        let state = self.state();
        for entry in state.held.values() {
            if entry.idle_ticks.fetch_add(1, Ordering::Relaxed) == TICKS_PER_TIMEOUT {
                entry.wake.wake();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, HeldRequests> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Wakes the request soon, progress or not.
    pub(crate) fn wake(&self) {
        if let Some(request) = self.watchdog.state().held.get(&self.key) {
            request.wake.wake();
        }
    }

    /// The body has grown.
    pub(crate) fn touch(&self) {
        self.idle_ticks.store(0, Ordering::Relaxed);
    }

    /// Whether it has not for a whole time-out; what has come since the watchdog looked counts.
    pub(crate) fn is_stalled(&self) -> bool {
        self.idle_ticks.load(Ordering::Relaxed) > TICKS_PER_TIMEOUT
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let entry = self.watchdog.state().held.remove(&self.key);
        // Outside of the lock.
        drop(entry);
    }
}

impl fmt::Debug for HeldRequests {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HeldRequests")
            .field("held", &self.held.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
