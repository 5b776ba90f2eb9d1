//! A circuit breaker: the gateway does not use a store that keeps failing for a while.
//!
//! Closed: all operations go through. Open: none does. After a pause one operation may try; if it
//! succeeds the breaker closes, else the pause begins again. Reads and writes share one breaker,
//! because they share one store.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::BreakerState;

/// This many failures in a row open the breaker: fewer may be chance.
const FAILURES_TO_OPEN: u32 = 8;

/// Short, so that the gateway soon uses a recovered store again; one probe per pause is cheap.
const PAUSE: Duration = Duration::from_secs(5);

/// While a probe runs, writers ask again after this time.
const PROBE_PATIENCE: Duration = Duration::from_millis(100);

/// The breaker of one store.
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<Circuit>,
}

#[derive(Debug)]
enum Circuit {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

/// The permission for one operation. Dropped without a report, it counts as not used.
#[derive(Debug)]
pub struct Attempt<'a> {
    breaker: &'a Breaker,
}

/// How an operation changed the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Not at all.
    None,
    /// The gateway stops using the store.
    Opened,
    /// The gateway uses the store again.
    Closed,
}

impl Breaker {
    /// A closed breaker.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(Circuit::Closed { failures: 0 }),
        }
    }

    /// Permission to try now, or the time to ask again.
    pub fn ask(&self) -> Result<Attempt<'_>, Instant> {
        let mut state = self.state();
        match *state {
            Circuit::Closed { .. } => {}
            Circuit::Open { until } if until <= Instant::now() => *state = Circuit::Probing,
            Circuit::Open { until } => return Err(until),
            Circuit::Probing => return Err(Instant::now() + PROBE_PATIENCE),
        }
        Ok(Attempt { breaker: self })
    }

    /// The breaker's state, for metrics and the page.
    pub fn describe(&self) -> BreakerState {
        match *self.state() {
            Circuit::Closed { .. } => BreakerState::Closed,
            Circuit::Open { .. } => BreakerState::Open,
            Circuit::Probing => BreakerState::HalfOpen,
        }
    }

    fn state(&self) -> MutexGuard<'_, Circuit> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Reports whether the operation succeeded.
    pub fn report(self, success: bool) -> Change {
        let mut state = self.breaker.state();
        let (next, change) = match (&*state, success) {
            (Circuit::Closed { .. }, true) => (Circuit::Closed { failures: 0 }, Change::None),
            // A late success of an operation that began before counts like a probe's.
            (_, true) => (Circuit::Closed { failures: 0 }, Change::Closed),
            (Circuit::Closed { failures }, false) if failures + 1 < FAILURES_TO_OPEN => (
                Circuit::Closed {
                    failures: failures + 1,
                },
                Change::None,
            ),
            (Circuit::Closed { .. }, false) => (open(), Change::Opened),
            (Circuit::Open { until }, false) => (Circuit::Open { until: *until }, Change::None),
            (Circuit::Probing, false) => (open(), Change::None),
        };
        *state = next;
        change
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if matches!(*state, Circuit::Probing) {
            *state = Circuit::Open {
                until: Instant::now(),
            };
        }
    }
}

fn open() -> Circuit {
    Circuit::Open {
        until: Instant::now() + PAUSE,
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Breaker {
        let breaker = Breaker::new();
        for _ in 1..FAILURES_TO_OPEN {
            assert_eq!(breaker.ask().unwrap().report(false), Change::None);
        }
        assert_eq!(breaker.ask().unwrap().report(false), Change::Opened);
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it() {
        let breaker = Breaker::new();
        for _ in 0..100 {
            for _ in 1..FAILURES_TO_OPEN {
                breaker.ask().unwrap().report(false);
            }
            breaker.ask().unwrap().report(true);
        }
        assert_eq!(breaker.describe(), BreakerState::Closed);
        assert_eq!(opened().ask().unwrap_err(), Instant::now() + PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_may_try() {
        let breaker = opened();
        tokio::time::advance(PAUSE).await;
        assert_eq!(breaker.describe(), BreakerState::Open);
        let probe = breaker.ask().unwrap();
        assert_eq!(breaker.describe(), BreakerState::HalfOpen);
        assert!(breaker.ask().is_err());
        assert_eq!(probe.report(true), Change::Closed);
        assert!(breaker.ask().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_begins_the_pause_again() {
        let breaker = opened();
        tokio::time::advance(PAUSE).await;
        breaker.ask().unwrap().report(false);
        assert_eq!(breaker.ask().unwrap_err(), Instant::now() + PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_probe_lets_the_next_one_try() {
        let breaker = opened();
        tokio::time::advance(PAUSE).await;
        drop(breaker.ask().unwrap());
        assert!(breaker.ask().is_ok());
    }
}
