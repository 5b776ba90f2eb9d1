//! Whether requests of an HTTP/2 connection are running. For HTTP/1 hyper knows by itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Activity(Mutex<RunningRequests>);

#[derive(Debug)]
struct RunningRequests {
    running: usize,
    /// When the last one began or ended.
    changed: Instant,
}

/// A request that runs until this is dropped, with its answer.
#[derive(Debug)]
pub(super) struct Running(Arc<Activity>);

impl Default for Activity {
    fn default() -> Self {
        let changed = Instant::now();
        Self(Mutex::new(RunningRequests {
            running: 0,
            changed,
        }))
    }
}

impl Activity {
    /// Notes a request that begins.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.change(|running| running + 1);
        Running(Arc::clone(self))
    }

    /// Returns when no request has run for so long.
    pub(super) async fn idles(&self, patience: Duration) {
        loop {
            let deadline = self.deadline(patience);
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }

    fn deadline(&self, patience: Duration) -> Instant {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match state.running {
            0 => state.changed,
            _ => Instant::now(),
        };
        since + patience
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = change(state.running);
        state.changed = Instant::now();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.change(|running| running - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_idles_from_its_last_request_on() {
        let activity = Arc::new(Activity::default());
        let running = activity.begin();
        let began = Instant::now();
        let ends = async {
            tokio::time::sleep(25 * SECOND).await;
            drop(running);
        };
        tokio::join!(ends, activity.idles(10 * SECOND));
        assert_eq!(began.elapsed().as_secs(), 35);
    }
}
