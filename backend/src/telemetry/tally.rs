//! Counts where the vectors of one request came from.

use super::Outcome;

/// Counts of a request's distinct inputs, by where their vectors came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// From memory.
    pub memory: usize,
    /// From the store.
    pub store: usize,
    /// From another request's call.
    pub collapsed: usize,
    /// From the upstream.
    pub miss: usize,
}

impl Tally {
    /// The count for an outcome.
    pub fn count_of(&mut self, source: Outcome) -> &mut usize {
        match source {
            Outcome::Memory => &mut self.memory,
            Outcome::Store => &mut self.store,
            Outcome::Collapsed => &mut self.collapsed,
            Outcome::Miss | Outcome::Repeat => &mut self.miss,
        }
    }

    /// How many came from a tier.
    pub fn hits(&self) -> usize {
        self.memory + self.store
    }
}
