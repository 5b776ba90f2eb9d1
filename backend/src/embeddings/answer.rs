//! An upstream's successful answer, judged before a client sees it or the cache stores it.
//!
//! Strict in what vectors need: they are placed by `index`, and a doubt about which is whose
//! condemns the whole answer. A vector that is worthless by itself condemns itself alone: the
//! others are paid for. Lenient in the rest: what names or counts is absent if it is unreadable.

mod division;
pub(super) mod vector;
mod wire;

use std::sync::Arc;

use self::wire::{WireAnswer, WireItem};
use super::entry::{Entry, MAX_MODEL_BYTES};
use super::request::{Input, InputKind};
use super::usage;
use super::vector::{Vector, is_sound};

/// What the call asked for, as far as the answer must fit it.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedAnswer<'a> {
    /// The inputs that were sent, in order.
    pub inputs: &'a [Input],
    /// The model of the call: the answer's own name for it counts more, if the upstream sends one.
    pub model: &'a str,
    /// The length of the vectors that the call asks for.
    pub dimensions: Option<u32>,
    /// When the call began, in Unix milliseconds.
    pub asked_ms: u64,
}

/// An answer whose vectors have their places.
#[derive(Debug)]
pub struct Answer {
    /// One entry for each input of the question, in the question's order; `None` where the vector
    /// is worthless.
    pub entries: Vec<Option<Entry>>,
    /// What is wrong with the first worthless one.
    pub fault: Option<Unsound>,
    /// Whether the upstream named the model.
    pub is_named: bool,
    /// What the upstream charged for the call, in tokens.
    pub billed_tokens: u64,
}

/// Why an answer cannot be used. The texts name numbers and places, never content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Unsound {
    #[error("the body is not an embeddings answer")]
    Unreadable,
    #[error("{found} vectors for {wanted} inputs")]
    Count { wanted: usize, found: usize },
    #[error("index {0} is out of range")]
    OutOfRange(u64),
    #[error("index {0} stands twice")]
    Repeated(usize),
    #[error("some vectors have an index and others have none")]
    Unplaced,
    #[error("the vector at index {0} cannot be decoded")]
    Undecodable(usize),
    #[error("the vector at index {0} is empty, all zero or not finite")]
    Worthless(usize),
    #[error("vectors of several calls are of different models or dimensions")]
    Mixed,
    #[error("the vector at index {index} has {found} dimensions instead of {wanted}")]
    Dimensions {
        index: usize,
        wanted: usize,
        found: usize,
    },
}

/// Judges the body of a 200.
pub fn check(body: &[u8], question: &ExpectedAnswer<'_>) -> Result<Answer, Unsound> {
    let readable = wire::readable(body);
    let answer = WireAnswer::parse(&readable).ok_or(Unsound::Unreadable)?;
    let (vectors, fault) = place(&answer.data, question)?;

    let model = answer.model();
    let model = model.filter(|name| !name.is_empty() && name.len() <= MAX_MODEL_BYTES);
    let is_named = model.is_some();
    let model: Arc<str> = model.map_or_else(|| question.model.into(), Into::into);
    let billed_tokens = answer.tokens().unwrap_or(0).min(u32::MAX.into());
    let shares = shares(billed_tokens, question.inputs);

    let entry = |(vector, tokens): (Option<Vector>, u64)| {
        Some(Entry {
            model: Arc::clone(&model),
            tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
            created_ms: question.asked_ms,
            vector: vector?,
        })
    };
    Ok(Answer {
        entries: vectors.into_iter().zip(shares).map(entry).collect(),
        fault,
        is_named,
        billed_tokens,
    })
}

/// A vector for each place, as far as it is worth anything.
type Placed = (Vec<Option<Vector>>, Option<Unsound>);

/// Puts each vector where its index says.
fn place(items: &[WireItem<'_>], question: &ExpectedAnswer<'_>) -> Result<Placed, Unsound> {
    let places = places(items, question.inputs.len())?;
    let mut length = question.dimensions.map(|n| n as usize);
    let mut vectors: Vec<Option<Vector>> = vec![None; items.len()];
    let mut fault = None;
    for (item, index) in items.iter().zip(places) {
        let vector = match sound_vector(item, index) {
            Ok(vector) => vector,
            Err(unsound) => {
                fault.get_or_insert(unsound);
                continue;
            }
        };
        let found = vector.len() / size_of::<f32>();
        let wanted = *length.get_or_insert(found);
        if found != wanted {
            return Err(Unsound::Dimensions {
                index,
                wanted,
                found,
            });
        }
        vectors[index] = Some(Vector::new(vector));
    }
    Ok((vectors, fault))
}

fn sound_vector(item: &WireItem<'_>, index: usize) -> Result<Vec<u8>, Unsound> {
    let vector = vector::decode(item.embedding.get()).ok_or(Unsound::Undecodable(index))?;
    match is_sound(&vector) {
        true => Ok(vector),
        false => Err(Unsound::Worthless(index)),
    }
}

/// Where each item belongs: each place once. If no item has an index, their order counts; if one
/// has none, it is the first, since proto3's JSON leaves a 0 out.
fn places(items: &[WireItem<'_>], wanted: usize) -> Result<Vec<usize>, Unsound> {
    let found = items.len();
    if found != wanted {
        return Err(Unsound::Count { wanted, found });
    }
    let without = items.iter().filter(|item| item.index.is_none()).count();
    if without == found {
        return Ok((0..found).collect());
    }
    if without > 1 {
        return Err(Unsound::Unplaced);
    }
    let mut taken = vec![false; wanted];
    let place = |item: &WireItem<'_>| {
        let named = item.index.unwrap_or(0);
        let index = usize::try_from(named).ok().filter(|&index| index < wanted);
        let index = index.ok_or(Unsound::OutOfRange(named))?;
        match std::mem::replace(&mut taken[index], true) {
            true => Err(Unsound::Repeated(index)),
            false => Ok(index),
        }
    };
    items.iter().map(place).collect()
}

/// What each input probably cost of all that was charged.
fn shares(billed_tokens: u64, inputs: &[Input]) -> Vec<u64> {
    let weights: Vec<u64> = inputs.iter().map(weight).collect();
    usage::share_out(billed_tokens, &weights)
}

/// What an input probably costs in relation to its neighbours.
fn weight(input: &Input) -> u64 {
    match input.kind {
        InputKind::Text => input.raw.len() as u64,
        InputKind::Tokens(count) => count.into(),
    }
}

#[cfg(test)]
mod tests;
