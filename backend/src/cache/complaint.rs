//! Trouble that comes often and is logged seldom.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A store that fails does so often; the log needs to say it once in this time.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// One kind of trouble, which is logged once in a while, with how often it came up meanwhile.
#[derive(Debug, Default)]
pub(in crate::cache) struct Complaint(Mutex<Complained>);

#[derive(Debug, Default)]
struct Complained {
    last: Option<Instant>,
    untold: u64,
}

impl Complaint {
    /// Takes note of one more. Returns how many to tell of, if it is time to.
    pub(in crate::cache) fn due(&self) -> Option<u64> {
        let mut complained = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        complained.untold += 1;
        if complained
            .last
            .is_some_and(|last| last.elapsed() < LOG_PAUSE)
        {
            return None;
        }
        complained.last = Some(Instant::now());
        Some(std::mem::take(&mut complained.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_log_hears_of_it_once_a_minute() {
        let complaint = Complaint::default();
        assert_eq!(complaint.due(), Some(1));
        assert_eq!((complaint.due(), complaint.due()), (None, None));
        tokio::time::advance(LOG_PAUSE).await;
        assert_eq!(complaint.due(), Some(3));
    }
}
