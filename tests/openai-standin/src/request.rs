//! The embeddings request: parsed and refused as the real API does it.

use serde_json::{Map, Value};

use crate::models::{
    EmbeddingModel, MAX_INPUT_TOKENS, MAX_INPUTS, MAX_REQUEST_TOKENS, embedding_model,
};
use crate::refusal::Refusal;

/// Bytes of text that count as one token. The real tokenizer is not needed to count, only a rule
/// that tests can repeat.
const BYTES_PER_TOKEN: usize = 4;
/// Fields with a meaning of their own, and `user`, which changes no vector.
const KNOWN_FIELDS: [&str; 5] = ["dimensions", "encoding_format", "input", "model", "user"];

/// One thing to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// A string.
    Text(String),
    /// Token numbers.
    Tokens(Vec<u64>),
}

impl Input {
    /// Tokens that it is billed for.
    pub(crate) fn tokens(&self) -> usize {
        match self {
            Self::Text(text) => text.len().div_ceil(BYTES_PER_TOKEN),
            Self::Tokens(tokens) => tokens.len(),
        }
    }

    /// The text itself, or the tokens as JSON without blanks.
    pub(crate) fn canonical(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Tokens(tokens) => {
                let numbers: Vec<String> = tokens.iter().map(u64::to_string).collect();
                format!("[{}]", numbers.join(","))
            }
        }
    }
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// A list of numbers.
    Float,
    /// Base64 of little-endian f32.
    Base64,
}

/// A valid embeddings request.
#[derive(Debug)]
pub(crate) struct EmbeddingsRequest {
    pub(crate) model: &'static EmbeddingModel,
    pub(crate) inputs: Vec<Input>,
    pub(crate) dimensions: usize,
    pub(crate) encoding: Encoding,
    /// Canonical JSON of all fields that the API does not know.
    pub(crate) extra: String,
}

impl EmbeddingsRequest {
    /// Parses a body that is JSON already.
    pub(crate) fn parse(body: &Value) -> Result<Self, Refusal> {
        let fields = body.as_object().ok_or_else(Refusal::not_json)?;
        let model = model(fields)?;
        let inputs = inputs(fields.get("input"))?;
        check_lengths(&inputs, fields.get("input").is_some_and(is_batch))?;
        Ok(Self {
            model,
            inputs,
            dimensions: dimensions(fields.get("dimensions"), model)?,
            encoding: encoding(fields.get("encoding_format"))?,
            extra: extra(fields),
        })
    }

    /// Tokens of all inputs.
    pub(crate) fn tokens(&self) -> usize {
        self.inputs.iter().map(Input::tokens).sum()
    }
}

fn model(fields: &Map<String, Value>) -> Result<&'static EmbeddingModel, Refusal> {
    let name = fields
        .get("model")
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty());
    let name = name.ok_or_else(Refusal::missing_model)?;
    embedding_model(name).ok_or_else(|| Refusal::unknown_model(name))
}

fn inputs(input: Option<&Value>) -> Result<Vec<Input>, Refusal> {
    match input {
        Some(Value::String(text)) => Ok(vec![Input::Text(text.clone())]),
        Some(Value::Array(items)) if items.is_empty() => Err(Refusal::bad_input()),
        Some(Value::Array(items)) if items.iter().all(Value::is_u64) => Ok(vec![tokens(items)?]),
        Some(Value::Array(items)) if items.len() > MAX_INPUTS => Err(Refusal::many_inputs()),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => Ok(items
            .iter()
            .filter_map(Value::as_str)
            .map(|text| Input::Text(text.to_owned()))
            .collect()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| tokens(item.as_array().ok_or_else(Refusal::bad_input)?))
            .collect(),
        _ => Err(Refusal::bad_input()),
    }
}

fn tokens(items: &[Value]) -> Result<Input, Refusal> {
    let tokens: Option<Vec<u64>> = items.iter().map(Value::as_u64).collect();
    match tokens {
        Some(tokens) if !tokens.is_empty() => Ok(Input::Tokens(tokens)),
        _ => Err(Refusal::bad_input()),
    }
}

/// Whether the input is a list of inputs, so that a refusal names the place in it.
fn is_batch(input: &Value) -> bool {
    input
        .as_array()
        .is_some_and(|items| !items.iter().all(Value::is_u64))
}

fn check_lengths(inputs: &[Input], batch: bool) -> Result<(), Refusal> {
    for (index, input) in inputs.iter().enumerate() {
        let place = if batch {
            format!("input[{index}]")
        } else {
            "input".to_owned()
        };
        match input.tokens() {
            0 => return Err(Refusal::empty_input(&place)),
            tokens if tokens > MAX_INPUT_TOKENS => return Err(Refusal::long_input(&place)),
            _ => {}
        }
    }
    match inputs.iter().map(Input::tokens).sum::<usize>() {
        tokens if tokens > MAX_REQUEST_TOKENS => Err(Refusal::many_tokens(tokens)),
        _ => Ok(()),
    }
}

fn dimensions(value: Option<&Value>, model: &EmbeddingModel) -> Result<usize, Refusal> {
    let value = match value {
        None | Some(Value::Null) => return Ok(model.dimensions),
        Some(_) if !model.shortens => return Err(Refusal::fixed_dimensions()),
        Some(value) => value,
    };
    let wanted = value
        .as_u64()
        .and_then(|wanted| usize::try_from(wanted).ok());
    match wanted {
        Some(wanted) if wanted > model.dimensions => {
            let bound = format!("less than or equal to {}", model.dimensions);
            Err(Refusal::bad_dimensions(&value.to_string(), &bound))
        }
        Some(wanted) if wanted > 0 => Ok(wanted),
        _ => Err(Refusal::bad_dimensions(
            &value.to_string(),
            "an integer greater than or equal to 1",
        )),
    }
}

fn encoding(value: Option<&Value>) -> Result<Encoding, Refusal> {
    match value {
        None => Ok(Encoding::Float),
        Some(Value::String(name)) if name == "float" => Ok(Encoding::Float),
        Some(Value::String(name)) if name == "base64" => Ok(Encoding::Base64),
        // The real API is written in Python and says so.
        Some(Value::Null) => Err(Refusal::bad_encoding("None")),
        Some(Value::String(name)) => Err(Refusal::bad_encoding(name)),
        Some(other) => Err(Refusal::bad_encoding(&other.to_string())),
    }
}

/// Sorted by key, since `serde_json` keeps objects sorted.
fn extra(fields: &Map<String, Value>) -> String {
    let unknown: Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| !KNOWN_FIELDS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Value::Object(unknown).to_string()
}
