//! One limit a minute, as a bucket that fills at an even rate.

use std::time::Duration;

use tokio::time::Instant;

use super::rate_headers::Allowance;

/// No call waits for longer, whatever a limit says.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

const MINUTE: f64 = 60.0;

/// What may still be asked for now, and how fast more comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    capacity: f64,
    /// A second.
    rate: f64,
    /// Below zero after a call of more than the capacity.
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket for so much a minute.
    pub(super) fn new(a_minute: usize, now: Instant) -> Self {
        let capacity = a_minute as f64;
        Self {
            capacity,
            rate: capacity / MINUTE,
            level: capacity,
            at: now,
        }
    }

    /// What an answer told, of which calls under way take `under_way`.
    pub(super) fn of(told: Allowance, under_way: f64, now: Instant) -> Self {
        let used = told.limit - told.remaining;
        let reset = told.reset.as_secs_f64();
        // The answer to the first call of a while tells nothing of the rate.
        let rate = match used > 0.0 && reset > 0.0 {
            true => used / reset,
            false => told.limit / MINUTE,
        };
        Self {
            capacity: told.limit,
            rate,
            level: told.remaining - under_way,
            at: now,
        }
    }

    /// Until `cost` can be taken. One above the capacity takes a full bucket.
    pub(super) fn wait(&self, cost: f64, now: Instant) -> Duration {
        let missing = cost.min(self.capacity) - self.filled(now);
        match missing > 0.0 {
            true => Duration::try_from_secs_f64(missing / self.rate)
                .map_or(LONGEST, |wait| wait.min(LONGEST)),
            false => Duration::ZERO,
        }
    }

    /// The same of what comes after `ahead`.
    pub(super) fn wait_behind(&self, ahead: f64, cost: f64, now: Instant) -> Duration {
        let mut then = *self;
        then.level = then.filled(now) - ahead;
        then.at = now;
        then.wait(cost, now)
    }

    /// Takes `cost`, or gives it back if it is negative.
    pub(super) fn take(&mut self, cost: f64, now: Instant) {
        self.level = self.filled(now) - cost;
        self.at = now;
    }

    fn filled(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.level + passed * self.rate).min(self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_fills_at_an_even_rate() {
        let now = Instant::now();
        let mut bucket = Bucket::new(60, now);
        assert_eq!(bucket.wait(60.0, now), Duration::ZERO);
        bucket.take(58.0, now);
        assert_eq!(bucket.wait(2.0, now), Duration::ZERO);
        assert_eq!(bucket.wait(5.0, now), 3 * SECOND);
        assert_eq!(bucket.wait(5.0, now + 3 * SECOND), Duration::ZERO);
        assert_eq!(bucket.wait_behind(4.0, 1.0, now), 3 * SECOND);
        // It does not run over.
        bucket.take(60.0, now + 1000 * SECOND);
        assert_eq!(bucket.wait(1.0, now + 1000 * SECOND), SECOND);
    }

    #[test]
    fn a_call_above_the_capacity_is_paid_off_by_those_after_it() {
        let now = Instant::now();
        let mut bucket = Bucket::new(60, now);
        assert_eq!(bucket.wait(90.0, now), Duration::ZERO);
        bucket.take(90.0, now);
        assert_eq!(bucket.wait(1.0, now), 31 * SECOND);
    }

    #[test]
    fn what_an_answer_told_counts() {
        let now = Instant::now();
        let told = Allowance {
            limit: 100.0,
            remaining: 10.0,
            reset: 45 * SECOND,
        };
        // 90 in 45 s; a call under way takes 8 of the 10.
        let bucket = Bucket::of(told, 8.0, now);
        assert_eq!(bucket.wait(2.0, now), Duration::ZERO);
        assert_eq!(bucket.wait(6.0, now), 2 * SECOND);
    }
}
