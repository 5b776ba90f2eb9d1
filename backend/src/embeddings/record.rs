//! A vector that was paid for elsewhere, as one line of a file: its input, its numbers, and what
//! is known besides.
//!
//! Nothing in it is guessed: a line that could mean another vector than its writer meant is refused.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::answer::vector;
use super::json::{self, MemberName, Members};
use super::request::{ACTS_ON_EACH_INPUT, Input, InputKind, Rules, parse_inputs};
use super::vector::is_sound;

/// Bytes of English text that make up a token, about.
const BYTES_A_TOKEN: usize = 4;

/// One input and its vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The input, as a client sends it.
    pub input: Input,
    /// Little-endian `f32`s: finite, and not all zero.
    pub floats: Vec<u8>,
    /// What the input costs, in tokens, if the record says so.
    pub tokens: Option<u32>,
    /// The model, if the record names one.
    pub model: Option<String>,
}

/// Why a line is no record. The texts follow the line's number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RecordFault {
    #[error("is not UTF-8")]
    NotUtf8,
    #[error("is no JSON: it holds NaN or Infinity, which is no number")]
    NotANumber,
    #[error("is not one whole JSON object: each line must be one, as `jq -c .` writes them")]
    NotJson,
    #[error("is a JSON list: each line must be one object, as `jq -c '.[]'` writes them")]
    List,
    #[error("has a name twice")]
    Repeated,
    #[error("has no {0:?}")]
    Absent(&'static str),
    #[error("\"input\" is no text and no list of tokens, or longer than MAX_INPUT_BYTES")]
    Input,
    #[error("\"input\" holds {0} inputs: each line must have one")]
    Inputs(usize),
    #[error(
        "\"embedding\" is no list of numbers (or an empty one), and no base64 of 32-bit floats"
    )]
    Embedding,
    #[error("\"embedding\" is empty, all zero or not finite as 32-bit floats")]
    Worthless,
    #[error("\"tokens\" is no whole number from 1 on")]
    Tokens,
    #[error("\"model\" is no text")]
    Model,
    #[error(
        "has {0:?}, which may decide the vector: name it in --fields if requests have it, else drop it"
    )]
    Field(String),
}

impl Record {
    /// Reads a line.
    pub fn parse(line: &Bytes, rules: &Rules) -> Result<Self, RecordFault> {
        let text = std::str::from_utf8(line).map_err(|_| RecordFault::NotUtf8)?;
        let members = Members::parse(text).ok_or_else(|| no_object(text))?;
        if members.repeats_a_name() {
            return Err(RecordFault::Repeated);
        }
        let of = |wanted: &str| {
            let mut members = members.0.iter();
            members.find_map(|(name, value)| (name == wanted).then_some(*value))
        };
        if let Some(field) = deciding(&members.0, rules) {
            return Err(RecordFault::Field(field.to_owned()));
        }
        let input = of("input").ok_or(RecordFault::Absent("input"))?;
        let embedding = of("embedding").ok_or(RecordFault::Absent("embedding"))?;
        Ok(Self {
            input: one_input(line, input, rules)?,
            floats: floats(embedding)?,
            tokens: of("tokens").map(tokens).transpose()?.flatten(),
            model: of("model").map(model).transpose()?.flatten(),
        })
    }

    /// What the input costs, in tokens: as the record says, as the input shows, or about.
    pub fn tokens_or_estimate(&self) -> (u32, bool) {
        match (self.tokens, self.input.kind) {
            (Some(tokens), _) | (None, InputKind::Tokens(tokens)) => (tokens, true),
            (None, InputKind::Text) => {
                let text = self.input.raw.len().saturating_sub(2);
                let about = text.div_ceil(BYTES_A_TOKEN).max(1);
                (u32::try_from(about).unwrap_or(u32::MAX), false)
            }
        }
    }
}

/// A field by which requests ask for another vector.
fn deciding<'a>(members: &'a [(MemberName<'_>, &RawValue)], rules: &Rules) -> Option<&'a str> {
    let decides = |name: &str| {
        ACTS_ON_EACH_INPUT.iter().any(|(field, _)| *field == name)
            || rules.cacheable_fields.iter().any(|field| field == name)
    };
    let mut names = members.iter().map(|(name, _)| &**name);
    names.find(|name| decides(name))
}

fn no_object(text: &str) -> RecordFault {
    match text.trim_start().as_bytes().first() {
        Some(b'[') => RecordFault::List,
        Some(b'{') if text.contains("NaN") || text.contains("Infinity") => RecordFault::NotANumber,
        _ => RecordFault::NotJson,
    }
}

fn one_input(line: &Bytes, value: &RawValue, rules: &Rules) -> Result<Input, RecordFault> {
    // A list of one text is that text.
    let mut inputs = parse_inputs(line, value, rules).ok_or(RecordFault::Input)?;
    match (inputs.pop(), inputs.len()) {
        (Some(input), 0) => Ok(input),
        (_, others) => Err(RecordFault::Inputs(others + 1)),
    }
}

fn floats(value: &RawValue) -> Result<Vec<u8>, RecordFault> {
    let floats = vector::decode(value.get()).ok_or(RecordFault::Embedding)?;
    match is_sound(&floats) {
        true => Ok(floats),
        false => Err(RecordFault::Worthless),
    }
}

fn tokens(value: &RawValue) -> Result<Option<u32>, RecordFault> {
    match value.get() {
        "null" => Ok(None),
        number => {
            // Where some records have none, pandas writes all as floats.
            let number = number.strip_suffix(".0").unwrap_or(number);
            let number = number.parse().ok().filter(|&number| number > 0);
            number.map(Some).ok_or(RecordFault::Tokens)
        }
    }
}

fn model(value: &RawValue) -> Result<Option<String>, RecordFault> {
    match value.get() {
        "null" => Ok(None),
        _ => {
            let name = json::text(value).ok_or(RecordFault::Model)?;
            Ok(Some(name.into_owned()))
        }
    }
}

#[cfg(test)]
mod tests;
