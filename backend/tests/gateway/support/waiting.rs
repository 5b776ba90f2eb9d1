//! Polls for a state that no event announces.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Longer than any state takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition holds; a test that waits in vain fails.
#[track_caller]
pub fn until(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let wait = async {
            while !condition() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let held = timeout(PATIENCE, wait).await;
        assert!(held.is_ok(), "{caller}: not within {PATIENCE:?}");
    }
}
