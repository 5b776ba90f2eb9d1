//! One cached vector, and what answers say about it. [`super::object`] is what a store keeps of it.

use std::sync::Arc;

use super::vector::Vector;

/// `answer::check` drops longer names of answering models, so an object's length field holds all.
pub const MAX_MODEL_BYTES: usize = 1024;

/// A vector, and what answers say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The model's name as the upstream answered it.
    pub model: Arc<str>,
    /// What the upstream charged for it, in tokens.
    pub tokens: u32,
    /// When the call that brought it began, in Unix milliseconds.
    pub created_ms: u64,
    /// Finite, and not all zero.
    pub vector: Vector,
}

impl Entry {
    /// How many numbers the vector has.
    pub fn dimensions(&self) -> usize {
        self.vector.dimensions()
    }

    /// The same with fewer numbers, if its vector [can be shortened](Vector::shortened).
    pub fn shortened(&self, dimensions: usize) -> Option<Self> {
        Some(Self {
            model: Arc::clone(&self.model),
            tokens: self.tokens,
            created_ms: self.created_ms,
            vector: self.vector.shortened(dimensions)?,
        })
    }
}
