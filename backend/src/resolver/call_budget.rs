//! Reserves a call and its vectors in the budget of all requests.

use super::EmbeddingLookup;
use crate::embeddings::entry::Entry;
use crate::embeddings::request::Input;
use crate::http::byte_budget::Reservation;
use crate::http::error::Error;
use crate::upstream::AnswerBudget;

/// As long as most vectors are.
const USUAL_DIMENSIONS: u32 = 1536;

/// A request may name any number, and get none.
const MOST_DIMENSIONS: u32 = 16_384;

impl EmbeddingLookup {
    /// Reserves what a call brings, before it is paid for: what is paid for is not thrown away.
    pub(super) fn reserve_call(&self, inputs: &[Input]) -> Result<AnswerBudget, Error> {
        self.context.reserve(self.expected_bytes(inputs.len()))?;
        self.reserve_answer(inputs, self.context.reservation())
    }

    /// The same of a call that is for other requests, too: nothing stays with this one.
    pub(super) fn reserve_batch(&self, inputs: &[Input]) -> Result<AnswerBudget, Error> {
        let reservation = self.context.reservation();
        reservation.grow(self.expected_bytes(inputs.len()))?;
        self.reserve_answer(inputs, reservation)
    }

    fn reserve_answer(
        &self,
        inputs: &[Input],
        reservation: Reservation,
    ) -> Result<AnswerBudget, Error> {
        let text: usize = inputs.iter().map(|input| input.raw.len()).sum();
        let vectors = self.expected_bytes(inputs.len());
        reservation.grow(text)?;
        // As base64.
        reservation.set_aside(vectors.saturating_mul(4) / 3)?;
        Ok(AnswerBudget::new(inputs.len(), reservation))
    }

    /// Counts vectors that a call brought, beyond what was reserved for so many inputs.
    pub(super) fn count(&self, brought: &[Option<Entry>], inputs: usize) {
        let bytes: usize = brought
            .iter()
            .flatten()
            .map(|entry| entry.vector.float_bytes())
            .sum();
        let reserved = self.expected_bytes(inputs);
        self.context.count(bytes.saturating_sub(reserved));
    }

    fn expected_bytes(&self, inputs: usize) -> usize {
        let dimensions = self.request.dimensions.unwrap_or(USUAL_DIMENSIONS);
        let numbers = dimensions.min(MOST_DIMENSIONS) as usize;
        inputs.saturating_mul(numbers * size_of::<f32>())
    }
}
