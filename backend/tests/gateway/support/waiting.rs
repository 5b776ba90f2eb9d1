//! Polls for a state that no event announces.

use std::time::{Duration, Instant};

use super::clock::turn;

/// Longer than any state takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition holds; a test that waits in vain fails. It does so while the clock is
/// stopped, too.
#[track_caller]
pub fn until(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        while !condition() {
            assert!(
                began.elapsed() < PATIENCE,
                "{caller}: not within {PATIENCE:?}"
            );
            turn().await;
        }
    }
}
