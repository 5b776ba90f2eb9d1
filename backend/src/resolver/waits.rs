//! Measures how long a request waited for the upstream.

use std::time::Duration;

use tokio::time::Instant;

/// Waits, which may overlap.
#[derive(Clone, Debug, Default)]
pub struct Waits(Vec<(Instant, Instant)>);

impl Waits {
    /// Adds one wait.
    pub fn add(&mut self, began: Instant, ended: Instant) {
        self.0.push((began, ended));
    }

    /// Adds other waits.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The length of the union of all waits.
    pub fn total(mut self) -> Duration {
        self.0.sort_unstable();
        let mut total = Duration::ZERO;
        let mut counted: Option<Instant> = None;
        for (began, ended) in self.0 {
            let began = counted.map_or(began, |until| began.max(until));
            total += ended.saturating_duration_since(began);
            counted = counted.max(Some(ended));
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_counts_once() {
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let waits = [(4, 6), (0, 3), (1, 2), (5, 8), (20, 21)];
        let waits = Waits(waits.map(|(from, to)| (at(from), at(to))).into());
        assert_eq!(waits.total(), Duration::from_secs(3 + 4 + 1));
        assert_eq!(Waits::default().total(), Duration::ZERO);
    }
}
