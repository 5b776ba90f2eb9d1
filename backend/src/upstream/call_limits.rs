//! How much one call may hold, as configured and as the upstream's refusals taught, and how the
//! inputs of a request are divided accordingly.
//!
//! No tokenizer is needed: a text of n bytes has at most n tokens. What may have more tokens than a
//! call is measured by the tokens a byte that the model's answers told.

use std::iter::Sum;
use std::ops::Add;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use super::over_limit::{Measure, OverLimit};
use crate::config::CallLimits;
use crate::embeddings::request::{Input, InputKind};

/// Models that are remembered. What is forgotten is learnt anew.
const MAX_MODELS: usize = 1024;

/// A limit that was learnt is believed so long: the upstream may have raised it.
const LEARNT_FOR: Duration = Duration::from_secs(60 * 60);

/// Tokens a byte until an answer tells: twice those of English.
const USUAL_DENSITY: f64 = 0.5;

/// The next text may be denser than the last.
const MARGIN: f64 = 1.1;

/// A sparser answer lowers the estimate by this part of the difference; a denser one raises it at
/// once, because a refusal costs more than a call too many.
const DECAY: f64 = 0.1;

/// Answers to less text tell little of the next.
const MIN_SAMPLE_BYTES: usize = 1024;

/// How much inputs hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    inputs: usize,
    bytes: usize,
    /// Of these, those of texts.
    text_bytes: usize,
    /// Of inputs that are lists of tokens.
    tokens: usize,
}

/// What is known of all models.
#[derive(Debug)]
pub(super) struct LearntLimits {
    configured: CallLimits,
    models: Cache<Arc<str>, Model>,
}

/// What is known of one model.
#[derive(Clone, Copy, Debug)]
struct Model {
    /// Tokens a byte of text.
    density: f64,
    limits: CallLimits,
    until: Instant,
}

impl Size {
    /// No input is smaller.
    pub const LEAST: Self = Self {
        inputs: 1,
        bytes: 2,
        text_bytes: 0,
        tokens: 1,
    };

    /// The size of one input.
    pub fn of(input: &Input) -> Self {
        let bytes = input.raw.len();
        let (text_bytes, tokens) = match input.kind {
            InputKind::Text => (bytes, 0),
            InputKind::Tokens(count) => (0, count as usize),
        };
        Self {
            inputs: 1,
            bytes,
            text_bytes,
            tokens,
        }
    }

    /// How many inputs it is of.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The tokens, by an estimate that is never above what there can be.
    fn tokens(&self, density: f64) -> usize {
        let of_text = (self.text_bytes as f64 * density * MARGIN) as usize;
        self.tokens + of_text.min(self.text_bytes)
    }

    fn fits(&self, limits: &CallLimits, density: f64) -> bool {
        self.inputs <= limits.inputs
            && self.bytes <= limits.bytes
            && self.tokens(density) <= limits.tokens
    }
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            inputs: self.inputs + other.inputs,
            bytes: self.bytes + other.bytes,
            text_bytes: self.text_bytes + other.text_bytes,
            tokens: self.tokens + other.tokens,
        }
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), Add::add)
    }
}

impl LearntLimits {
    pub(super) fn new(configured: CallLimits) -> Self {
        Self {
            configured,
            models: Cache::new(MAX_MODELS),
        }
    }

    /// Divides inputs into calls: how many of them, in order, each call takes.
    pub(super) fn divide(&self, model: &str, inputs: impl IntoIterator<Item = Size>) -> Vec<usize> {
        let known = self.known(model);
        let mut calls = Vec::new();
        let mut call = Size::default();
        for input in inputs {
            let longer = call + input;
            // An input that fits into no call goes alone: the upstream says what is wrong with it.
            call = match call.inputs == 0 || longer.fits(&known.limits, known.density) {
                true => longer,
                false => {
                    calls.push(call.inputs);
                    input
                }
            };
        }
        if call.inputs > 0 {
            calls.push(call.inputs);
        }
        calls
    }

    /// Whether one call may hold so much, as far as is known.
    pub(super) fn fits(&self, model: &str, size: Size) -> bool {
        let known = self.known(model);
        size.fits(&known.limits, known.density)
    }

    /// The tokens that inputs have, by an estimate.
    pub(super) fn tokens(&self, model: &str, size: Size) -> usize {
        size.tokens(self.known(model).density)
    }

    /// Learns from an answer how dense the texts of a model are.
    pub(super) fn answered(&self, model: &Arc<str>, size: Size, tokens: u64) {
        let of_text = (tokens as f64) - size.tokens as f64;
        if size.text_bytes < MIN_SAMPLE_BYTES || of_text <= 0.0 {
            return;
        }
        let found = (of_text / size.text_bytes as f64).min(1.0);
        let mut known = self.known(model);
        known.density = match self.models.get(&**model) {
            Some(before) if before.density > found => {
                before.density + (found - before.density) * DECAY
            }
            _ => found,
        };
        self.models.insert(Arc::clone(model), known);
    }

    /// Learns from a refused call whose parts the upstream took: of `size`, for `tokens` in all.
    pub(super) fn refused(&self, model: &Arc<str>, over: OverLimit, size: Size, tokens: u64) {
        self.answered(model, size, tokens);
        let mut known = self.known(model);
        let limits = &mut known.limits;
        let (limit, held) = match over.measure {
            Measure::Tokens => {
                let told = usize::try_from(tokens).ok().filter(|&tokens| tokens > 0);
                (
                    &mut limits.tokens,
                    told.unwrap_or_else(|| size.tokens(known.density)),
                )
            }
            Measure::Inputs => (&mut limits.inputs, size.inputs),
            Measure::Bytes => (&mut limits.bytes, size.bytes),
        };
        let stated = over.stated.filter(|&stated| stated < held);
        *limit = stated.unwrap_or(held / 2 + held / 4).clamp(1, *limit);
        tracing::info!(
            %model,
            limit = *limit,
            measure = ?over.measure,
            "the upstream takes less in a call: calls for this model are divided"
        );
        known.until = Instant::now() + LEARNT_FOR;
        self.models.insert(Arc::clone(model), known);
    }

    fn known(&self, model: &str) -> Model {
        let known = self.models.get(model);
        let density = known.map_or(USUAL_DENSITY, |model| model.density);
        let now = Instant::now();
        known
            .filter(|model| now < model.until)
            .unwrap_or_else(|| Model {
                density,
                limits: self.configured,
                until: now + LEARNT_FOR,
            })
    }
}

#[cfg(test)]
mod tests;
