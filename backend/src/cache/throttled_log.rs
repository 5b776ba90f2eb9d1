//! Logs a fault that recurs at most once a minute, with a count of what it left out.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A store that fails does so often; one line in this time is enough.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// One kind of fault.
#[derive(Debug, Default)]
pub(in crate::cache) struct ThrottledLog(Mutex<LoggedFaults>);

#[derive(Debug, Default)]
struct LoggedFaults {
    last: Option<Instant>,
    unlogged: u64,
}

impl ThrottledLog {
    /// Counts a fault. Returns how many to log, if a line is due.
    pub(in crate::cache) fn due(&self) -> Option<u64> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.unlogged += 1;
        if logged.last.is_some_and(|last| last.elapsed() < LOG_PAUSE) {
            return None;
        }
        logged.last = Some(Instant::now());
        Some(std::mem::take(&mut logged.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_log_hears_of_it_once_a_minute() {
        let faults = ThrottledLog::default();
        assert_eq!(faults.due(), Some(1));
        assert_eq!((faults.due(), faults.due()), (None, None));
        tokio::time::advance(LOG_PAUSE).await;
        assert_eq!(faults.due(), Some(3));
    }
}
