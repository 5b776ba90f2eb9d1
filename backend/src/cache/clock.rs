//! The time by which vectors and purges are put in order.
//!
//! The machine's clock decides at the start only: from then on time passes as the monotonic clock
//! has it, so that no step of the machine's clock can put a purge before what it ended. Gateways
//! that share a store agree on its time, which stands in its answers: each keeps the difference
//! between that and its own time within what the answers allow.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::embeddings::clock::unix_ms;

/// Gateways on one store differ by less. What claims to be from further in the future has been
/// written by another clock.
pub const TOLERANCE: Duration = Duration::from_secs(2);

/// One gateway's time.
#[derive(Debug)]
pub struct Clock {
    began: Instant,
    began_ms: i64,
    /// Bounds of `difference_ms`.
    bounds: Mutex<Option<(i64, i64)>>,
    difference_ms: AtomicI64,
    /// The latest time that was told.
    latest_ms: AtomicU64,
    /// How often the store showed that this gateway's time was wrong.
    corrections: AtomicU64,
}

/// A time that the store told, and when: between these two moments.
#[derive(Clone, Copy, Debug)]
pub struct ToldTime {
    /// When the request for it was sent.
    pub sent: Instant,
    /// When the answer was there.
    pub received: Instant,
    /// The time told, in Unix milliseconds.
    pub time_ms: u64,
    /// It was told to this precision, rounded down.
    pub precision: Duration,
}

impl Clock {
    /// Begins with the machine's time.
    pub fn new() -> Self {
        Self::starting_at(unix_ms())
    }

    /// Begins with this time, in Unix milliseconds.
    pub fn starting_at(time_ms: u64) -> Self {
        Self {
            began: Instant::now(),
            began_ms: time_ms.cast_signed(),
            bounds: Mutex::new(None),
            difference_ms: AtomicI64::new(0),
            latest_ms: AtomicU64::new(0),
            corrections: AtomicU64::new(0),
        }
    }

    /// Unix milliseconds. They go back only if the store's time turns out to be further back than
    /// [`TOLERANCE`].
    pub fn now_ms(&self) -> u64 {
        let difference = self.difference_ms.load(Ordering::Relaxed);
        let now = (self.at(Instant::now()) + difference)
            .max(0)
            .cast_unsigned();
        let latest = self.latest_ms.load(Ordering::Relaxed);
        if latest.saturating_sub(now) > millis(TOLERANCE) {
            self.latest_ms.store(now, Ordering::Relaxed);
            return now;
        }
        self.latest_ms.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// Whether a time is further in the future than another gateway's clock may be ahead.
    pub fn is_ahead(&self, time_ms: u64) -> bool {
        time_ms > self.now_ms() + millis(TOLERANCE)
    }

    /// Whether the store has told its time.
    pub fn is_compared(&self) -> bool {
        self.bounds().is_some()
    }

    /// How often this gateway's time was set right by more than [`TOLERANCE`]. Times from before
    /// such a correction say nothing about their order with times from after it.
    pub fn corrections(&self) -> u64 {
        self.corrections.load(Ordering::Relaxed)
    }

    /// How far the store's time is ahead of this process's, as far as it is known.
    pub fn difference_ms(&self) -> i64 {
        self.difference_ms.load(Ordering::Relaxed)
    }

    /// Takes note of the store's time. An answer that took long leaves open when it was told, and
    /// is no measure.
    pub fn hear(&self, heard: ToldTime) {
        if heard.received.duration_since(heard.sent) > TOLERANCE {
            return;
        }
        let time = heard.time_ms.cast_signed();
        let precision = millis(heard.precision).cast_signed();
        let told = (
            time - self.at(heard.received),
            time + precision - self.at(heard.sent),
        );
        let mut bounds = self.bounds();
        let known = bounds.unwrap_or(told);
        let both = (known.0.max(told.0), known.1.min(told.1));
        // One of the two clocks was set: only what was told last holds.
        let (low, high) = if both.0 <= both.1 { both } else { told };
        *bounds = Some((low, high));
        let before = self.difference_ms.load(Ordering::Relaxed);
        let now = before.clamp(low, high.max(low));
        self.difference_ms.store(now, Ordering::Relaxed);
        let moved_ms = now - before;
        if moved_ms.unsigned_abs() > millis(TOLERANCE) {
            self.corrections.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(moved_ms, "the store's clock differs, and counts");
        }
    }

    /// This process's own time at some moment, in Unix milliseconds.
    fn at(&self, moment: Instant) -> i64 {
        self.began_ms + millis(moment.saturating_duration_since(self.began)).cast_signed()
    }

    fn bounds(&self) -> std::sync::MutexGuard<'_, Option<(i64, i64)>> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// A duration in milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NOW: u64 = 1_800_000_000_000;

    fn hear(clock: &Clock, time_ms: u64) {
        let moment = Instant::now();
        clock.hear(ToldTime {
            sent: moment,
            received: moment,
            time_ms,
            precision: SECOND,
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_agrees_within_its_precision_changes_nothing() {
        let clock = Clock::starting_at(NOW + 400);
        assert!(!clock.is_compared());
        hear(&clock, NOW);
        assert!(clock.is_compared());
        assert_eq!(clock.now_ms(), NOW + 400);
        tokio::time::advance(SECOND).await;
        hear(&clock, NOW + 1000);
        assert_eq!(clock.now_ms(), NOW + 1400);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_an_hour_ahead_or_behind_follows_the_stores() {
        for wrong in [NOW - 3_600_000, NOW + 3_600_000] {
            let clock = Clock::starting_at(wrong);
            assert_eq!(clock.now_ms(), wrong);
            hear(&clock, NOW);
            assert!(clock.now_ms().abs_diff(NOW) <= 1000, "{}", clock.now_ms());
            assert!(!clock.is_ahead(NOW + 2000) && clock.is_ahead(NOW + 4000));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_took_long_is_no_measure() {
        let clock = Clock::starting_at(NOW);
        let sent = Instant::now();
        tokio::time::advance(9 * SECOND).await;
        clock.hear(ToldTime {
            sent,
            received: Instant::now(),
            time_ms: NOW - 3_600_000,
            precision: SECOND,
        });
        assert!(!clock.is_compared());
        assert_eq!((clock.now_ms(), clock.corrections()), (NOW + 9000, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn corrections_are_counted_where_they_exceed_the_tolerance() {
        let clock = Clock::starting_at(NOW);
        for (told, corrections) in [(NOW - 1500, 0), (NOW - 3_600_000, 1), (NOW, 2)] {
            hear(&clock, told);
            assert_eq!(clock.corrections(), corrections, "{told}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_narrows_what_is_known() {
        let clock = Clock::starting_at(NOW);
        hear(&clock, NOW + 10_000);
        // The store's second changes 300 ms later: it is 700 ms further than it said.
        tokio::time::advance(Duration::from_millis(300)).await;
        hear(&clock, NOW + 11_000);
        assert_eq!(clock.now_ms(), NOW + 11_000);
    }

    #[tokio::test(start_paused = true)]
    async fn small_steps_back_do_not_turn_time_around() {
        let clock = Clock::starting_at(NOW);
        hear(&clock, NOW);
        let before = clock.now_ms();
        hear(&clock, NOW - 1900);
        assert!(clock.now_ms() >= before);
        tokio::time::advance(2 * SECOND).await;
        assert!(clock.now_ms() > before);
    }
}
