//! The distinct inputs of a request, and where each of them stands in the answer.

use std::collections::HashMap;

use super::key::{Key, KeyBuilder};
use super::request::Input;

/// A request's inputs with its repeats collapsed.
#[derive(Debug)]
pub struct Batch {
    /// Each different input once, in order of first appearance.
    pub distinct: Vec<(Key, Input)>,
    /// For each place of the answer, which of `distinct` belongs there.
    pub places: Vec<usize>,
}

impl Batch {
    /// Computes the keys of `inputs` and collapses the repeats among them.
    pub fn new(keys: &KeyBuilder, inputs: Vec<Input>) -> Self {
        // A single input repeats nothing, so it needs no table.
        let inputs = match <[Input; 1]>::try_from(inputs) {
            Ok([input]) => {
                let distinct = vec![(keys.key(&input), input)];
                let places = vec![0];
                return Self { distinct, places };
            }
            Err(inputs) => inputs,
        };
        let mut distinct = Vec::with_capacity(inputs.len());
        let mut places = Vec::with_capacity(inputs.len());
        let mut first = HashMap::with_capacity(inputs.len());
        for input in inputs {
            let key = keys.key(&input);
            let place = *first.entry(key).or_insert_with(|| {
                distinct.push((key, input));
                distinct.len() - 1
            });
            places.push(place);
        }
        Self { distinct, places }
    }

    /// How many inputs only repeat another one.
    pub fn repeats(&self) -> usize {
        self.places.len() - self.distinct.len()
    }
}
