//! An embeddings request as far as the gateway understands it.
//!
//! What it does not fully understand (an unknown shape of `input`, a field that may change how
//! vectors are written or that couples the inputs of a batch, a repeated name, a lone surrogate)
//! it calls [`Parsed::Foreign`]: such a body goes to the upstream as it is and never near the
//! cache, because a guess could name another text's vector.
//!
//! Limits hold while the body is read: a body is never taken apart further than they allow.

mod fields;
mod inputs;
mod model;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

pub use self::fields::ACTS_ON_EACH_INPUT;
use self::fields::Meaning;
pub(super) use self::inputs::tokens;
pub use self::model::{named_model, with_model};
use super::json::{self, Members};

/// Longer model names are foreign: they would end up in keys, tags and metrics, and no operator
/// could purge by a tag that long.
pub const MAX_MODEL_BYTES: usize = 250;

/// Bound on the fields beside the known ones together: they are re-written for every call.
const MAX_EXTRA_BYTES: usize = 64 * 1024;

/// What is too much, and what the operator knows besides.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Inputs of a request.
    pub max_inputs: usize,
    /// Bytes of one input, as JSON.
    pub max_input_bytes: usize,
    /// Fields that the operator vouches for, beside [`ACTS_ON_EACH_INPUT`].
    pub cacheable_fields: Vec<String>,
}

/// What a body turned out to be.
#[derive(Debug)]
pub enum Parsed {
    /// Every part of it has one meaning that the gateway knows.
    Understood(EmbeddingRequest),
    /// JSON, and the upstream's to judge.
    Foreign(Foreign),
}

/// Why a request is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A field that may change what the vectors are, or how they are written.
    Field,
    /// The shape of the body or of a known field.
    Shape,
}

/// The request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The body is not one JSON value in UTF-8 (RFC 8259).
    NotJson,
    /// More inputs than [`Rules::max_inputs`].
    TooManyInputs,
    /// An input, at this place, of more than [`Rules::max_input_bytes`].
    InputTooLarge(usize),
}

/// How the client wants vectors written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// A JSON list of numbers.
    #[default]
    Float,
    /// Base64 of the little-endian `f32`s.
    Base64,
}

/// One embeddings request.
///
/// [`super::key`] destructures it: a new field does not compile until its author decides whether
/// it names another vector.
#[derive(Clone, Debug)]
pub struct EmbeddingRequest {
    /// The model that the client asks for.
    pub model: Arc<str>,
    /// The length of the vectors that the client asks for.
    pub dimensions: Option<u32>,
    /// How to write the vectors. Absent and `null` mean [`Encoding::Float`].
    pub encoding: Option<Encoding>,
    /// Fields that change no vector, as the caller's `user`: `"name":value,…` as they were
    /// written, without braces.
    pub unkeyed: String,
    /// What to embed, in order; never empty.
    pub inputs: Vec<Input>,
    /// Fields that act on each input by itself: `"name":value,…` in canonical form, without
    /// braces.
    pub extra: String,
}

/// One thing to embed. It keeps the client's spelling, because that is what goes upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The JSON value as it was written, validated.
    pub raw: Bytes,
    /// What `raw` holds.
    pub kind: InputKind,
}

/// The two kinds of input; equal bytes of different kinds are different inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A JSON string.
    Text,
    /// A JSON list of token numbers, this many.
    Tokens(u32),
}

impl Encoding {
    /// Its name in `encoding_format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Base64 => "base64",
        }
    }
}

/// Why a part of a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Foreign(Foreign),
    Refused(Refused),
}

const SHAPE: Stop = Stop::Foreign(Foreign::Shape);

/// Reads the value of `input`, which is a part of `body`, alone.
pub(super) fn parse_inputs(body: &Bytes, value: &RawValue, rules: &Rules) -> Option<Vec<Input>> {
    inputs::parse(body, value, rules).ok()
}

/// Reads a request body.
pub fn parse(body: &Bytes, rules: &Rules) -> Result<Parsed, Refused> {
    let text = std::str::from_utf8(body).map_err(|_| Refused::NotJson)?;
    let Some(members) = Members::parse(text) else {
        return match json::is_json(text) {
            true => Ok(Parsed::Foreign(Foreign::Shape)),
            false => Err(Refused::NotJson),
        };
    };
    match understand(body, members, rules) {
        Ok(request) => Ok(Parsed::Understood(request)),
        Err(Stop::Foreign(foreign)) => Ok(Parsed::Foreign(foreign)),
        Err(Stop::Refused(refused)) => Err(refused),
    }
}

fn understand(body: &Bytes, members: Members<'_>, rules: &Rules) -> Result<EmbeddingRequest, Stop> {
    if members.repeats_a_name() {
        return Err(SHAPE);
    }
    let (mut model, mut inputs, mut dimensions) = (None, None, None);
    let mut encoding = None;
    let (mut extra, mut unkeyed) = (Vec::new(), String::new());
    for (name, value) in members.0 {
        match fields::meaning(&name, value.get(), rules) {
            Meaning::Model => model = Some(parse_model(value).ok_or(SHAPE)?),
            Meaning::Inputs => inputs = Some(value),
            Meaning::Dimensions => dimensions = parse_dimensions(value).ok_or(SHAPE)?,
            Meaning::Encoding => encoding = parse_encoding(value).ok_or(SHAPE)?,
            Meaning::NoVector => push_member(&mut unkeyed, &name, value).ok_or(SHAPE)?,
            Meaning::EachInput => extra.push((name, value)),
            Meaning::Absent => {}
            Meaning::Foreign(foreign) => return Err(Stop::Foreign(foreign)),
        }
    }
    let model = model.ok_or(SHAPE)?;
    let extra = canonical_extra(&mut extra).ok_or(SHAPE)?;
    // Last, for only what is understood without them is worth to be taken apart.
    let inputs = inputs::parse(body, inputs.ok_or(SHAPE)?, rules)?;
    Ok(EmbeddingRequest {
        model,
        dimensions,
        encoding,
        unkeyed,
        inputs,
        extra,
    })
}

fn parse_model(value: &RawValue) -> Option<Arc<str>> {
    let model = json::text(value)?;
    (!model.is_empty() && model.len() <= MAX_MODEL_BYTES).then(|| model.into())
}

fn parse_dimensions(value: &RawValue) -> Option<Option<u32>> {
    match value.get() {
        "null" => Some(None),
        number => number.parse().ok().filter(|&n: &u32| n > 0).map(Some),
    }
}

fn parse_encoding(value: &RawValue) -> Option<Option<Encoding>> {
    match value.get() {
        "null" => Some(None),
        "\"float\"" => Some(Some(Encoding::Float)),
        "\"base64\"" => Some(Some(Encoding::Base64)),
        _ => None,
    }
}

fn push_member(members: &mut String, name: &str, value: &RawValue) -> Option<()> {
    if members.len() + value.get().len() > MAX_EXTRA_BYTES {
        return None;
    }
    if !members.is_empty() {
        members.push(',');
    }
    members.push_str(&serde_json::to_string(name).ok()?);
    members.push(':');
    members.push_str(value.get());
    Some(())
}

fn canonical_extra(extra: &mut [(json::MemberName<'_>, &RawValue)]) -> Option<String> {
    let written: usize = extra
        .iter()
        .map(|(name, value)| name.len() + value.get().len())
        .sum();
    let mut canonical = String::new();
    (written <= MAX_EXTRA_BYTES).then(|| json::canonicalise_members(extra, &mut canonical))??;
    Some(canonical)
}

#[cfg(test)]
mod tests;
