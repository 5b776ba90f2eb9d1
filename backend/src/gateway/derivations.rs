//! What is known of the models of `DERIVE_DIMENSIONS`: whether what the upstream gives for fewer
//! dimensions is the beginning of its full vector, scaled to length 1.
//!
//! A self-test tells, once for each name that a model answers under and each set of parameters.
//! The routes make it; here stands what came of it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::in_flight::InFlight;
use crate::embeddings::entry::Entry;
use crate::embeddings::key::{Key, KeyBuilder, KeyScope};
use crate::embeddings::request::EmbeddingRequest;
use crate::embeddings::vector::Likeness;
use crate::telemetry::{Metrics, SelfTest};

/// Sets of parameters that are tested. Each costs a call, and clients choose them.
const MAX_SETS: usize = 256;

/// Names that one model answers under.
const MAX_NAMES: usize = 8;

/// Between two self-tests that the upstream does not let end.
const PAUSE: Duration = Duration::from_secs(30);

/// Two forward passes of one model differ by less than a millionth.
const LEAST_COSINE: f64 = 0.999_99;

/// Float16s over a norm have a length that differs from 1 by some hundred thousandths.
const NORM_TOLERANCE: f64 = 1e-3;

/// The listed models, and what is known of them.
#[derive(Debug)]
pub struct Derivations {
    models: Vec<String>,
    sets: RwLock<HashMap<Key, FamilyState>>,
    /// Self-tests under way.
    pub tests: Arc<InFlight<()>>,
    /// Verdicts hold for all scopes: the upstream behind them is one.
    no_scope: Arc<str>,
    metrics: Arc<Metrics>,
}

/// What is known of one model with one set of parameters.
#[derive(Debug, Default)]
struct FamilyState {
    asked: Arc<str>,
    /// By the name under which the model answers; the last one is how it answers now.
    answered: Vec<AnsweredModel>,
    /// No self-test before.
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct AnsweredModel {
    model: Arc<str>,
    /// How long its full vectors are, if one was seen.
    length: Option<usize>,
    /// The verdict of the self-test.
    holds: Option<bool>,
}

/// The kind of the full vectors that may be shortened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    model: Arc<str>,
    length: usize,
}

/// How a request for vectors of fewer dimensions is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// From full vectors of this kind.
    Derive(Full),
    /// A self-test has to tell first.
    Test,
    /// As if the model were not listed.
    Ordinary,
}

impl Full {
    /// Whether an entry is of this kind.
    pub fn holds(&self, entry: &Entry) -> bool {
        self.model == entry.model && self.length == entry.dimensions()
    }
}

impl Derivations {
    /// Nothing is known of these models yet.
    pub fn new(models: Vec<String>, metrics: Arc<Metrics>) -> Self {
        for model in &models {
            metrics.derivations_off.note(model, false);
        }
        Self {
            models,
            sets: RwLock::default(),
            tests: InFlight::new(),
            no_scope: "".into(),
            metrics,
        }
    }

    /// Whether the operator lists this model.
    pub fn lists(&self, model: &str) -> bool {
        self.models.iter().any(|listed| listed == model)
    }

    /// The name of the set of parameters of a request for full vectors.
    pub fn set(&self, scope: &KeyScope, request: &EmbeddingRequest) -> Key {
        KeyBuilder::new(&scope.with_scope(&self.no_scope), request).family()
    }

    /// How a request for so many dimensions is answered, as far as is known.
    pub fn way(&self, set: &Key, dimensions: usize) -> Way {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        match sets.get(set) {
            Some(known) => known.way(dimensions),
            None if sets.len() < MAX_SETS => Way::Test,
            None => Way::Ordinary,
        }
    }

    /// Notes under which name the model answers, and how long a full vector of it is.
    pub fn see(&self, set: &Key, asked: &Arc<str>, model: &Arc<str>, length: Option<usize>) {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        let known = sets.get(set);
        if known.is_some_and(|known| known.is_last(model, length)) {
            return;
        }
        drop(sets);
        self.change(set, asked, |known| known.see(model, length));
    }

    /// Notes that a self-test could not be made.
    pub fn pause(&self, set: &Key, asked: &Arc<str>) {
        self.metrics.self_tests.add(SelfTest::Undecided, 1);
        let until = Instant::now() + PAUSE;
        self.change(set, asked, |known| known.paused_until = Some(until));
    }

    /// Notes how like the upstream's shorter vector is to the one that was made of this full one.
    pub fn judge(&self, set: &Key, asked: &Arc<str>, full: &Entry, found: Likeness) {
        let Likeness { cosine, norm } = found;
        let holds = cosine >= LEAST_COSINE && (norm - 1.0).abs() <= NORM_TOLERANCE;
        let result = match holds {
            true => SelfTest::Same,
            false => SelfTest::Differs,
        };
        self.metrics.self_tests.add(result, 1);
        match holds {
            true => tracing::info!(model = &**asked, cosine, norm, "vectors are derived"),
            false => tracing::error!(
                model = &**asked,
                cosine,
                norm,
                "the upstream's shorter vectors are not the beginnings of its full ones: \
                 DERIVE_DIMENSIONS is off for this model"
            ),
        }
        let length = Some(full.dimensions());
        self.change(set, asked, |known| {
            let mut answered = known.answered.iter_mut();
            if let Some(tested) = answered.find(|it| it.is(&full.model, length)) {
                tested.holds = Some(holds);
            }
        });
    }

    fn change(&self, set: &Key, asked: &Arc<str>, change: impl FnOnce(&mut FamilyState)) {
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        if sets.len() >= MAX_SETS && !sets.contains_key(set) {
            return;
        }
        let known = sets.entry(*set).or_default();
        known.asked = Arc::clone(asked);
        change(known);
        let mut same = sets.values().filter(|known| known.asked == *asked);
        let is_off = same.any(FamilyState::is_off);
        self.metrics.derivations_off.note(asked, is_off);
    }
}

impl FamilyState {
    fn way(&self, dimensions: usize) -> Way {
        let last = self.answered.last();
        let length = last.and_then(|last| last.length);
        let is_paused = || self.paused_until.is_some_and(|end| Instant::now() < end);
        match (last.and_then(|last| Some((last, last.holds?))), length) {
            (_, Some(length)) if dimensions >= length => Way::Ordinary,
            (Some((last, true)), Some(length)) => Way::Derive(Full {
                model: Arc::clone(&last.model),
                length,
            }),
            (Some((_, false)), _) => Way::Ordinary,
            _ if is_paused() => Way::Ordinary,
            _ => Way::Test,
        }
    }

    fn is_off(&self) -> bool {
        let last = self.answered.last();
        last.is_some_and(|last| last.holds == Some(false))
    }

    fn is_last(&self, model: &str, length: Option<usize>) -> bool {
        let last = self.answered.last();
        last.is_some_and(|last| {
            last.is(model, length) && (length.is_none() || last.length == length)
        })
    }

    fn see(&mut self, model: &Arc<str>, length: Option<usize>) {
        let found = self.answered.iter().rposition(|it| it.is(model, length));
        let mut answered = match found {
            Some(at) => self.answered.remove(at),
            None => AnsweredModel {
                model: Arc::clone(model),
                length,
                holds: None,
            },
        };
        answered.length = length.or(answered.length);
        if self.answered.len() >= MAX_NAMES {
            self.answered.remove(0);
        }
        self.answered.push(answered);
    }
}

impl AnsweredModel {
    /// Whether this is the name, and nothing contradicts the length.
    fn is(&self, model: &str, length: Option<usize>) -> bool {
        let fits = length.is_none() || self.length.is_none() || self.length == length;
        *self.model == *model && fits
    }
}

#[cfg(test)]
mod tests;
