//! `POST /v1/embeddings`: the vectors of a request, or what a fault makes of them.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::faults::Shape;
use crate::refusal::Refusal;
use crate::request::{EmbeddingsRequest, Encoding};
use crate::vector::{Seed, unit_vector};

/// One entry of `data`.
#[derive(Debug, Clone)]
struct Item {
    index: usize,
    vector: Vec<f32>,
    encoding: Encoding,
    undecodable: bool,
}

/// Answers a request; `told` hears of it before it is answered.
pub(crate) fn answer(
    body: &Value,
    variant: &str,
    shape: Option<Shape>,
    told: impl FnOnce(&EmbeddingsRequest),
) -> Result<Answer, Refusal> {
    let request = EmbeddingsRequest::parse(body)?;
    told(&request);
    let mut items = items(&request, variant);
    if let Some(shape) = shape {
        misshape(&mut items, shape);
    }
    let tokens = request.tokens();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    let model = request.model.answered_as;
    let data: Vec<String> = items.iter().map(written).collect();
    // Put together by hand, since JSON has no NaN and some upstreams send it all the same.
    let body = format!(
        r#"{{"object":"list","data":[{}],"model":"{model}","usage":{usage}}}"#,
        data.join(",")
    );
    Ok(Answer::json(body).by(model, tokens))
}

fn items(request: &EmbeddingsRequest, variant: &str) -> Vec<Item> {
    let items = request.inputs.iter().enumerate().map(|(index, input)| {
        let seed = Seed {
            model: request.model,
            input,
            extra: &request.extra,
            variant,
        };
        Item {
            index,
            vector: unit_vector(&seed, request.dimensions),
            encoding: request.encoding,
            undecodable: false,
        }
    });
    items.collect()
}

/// Spoils the right answer. Where one vector is spoilt it is the last one.
fn misshape(items: &mut Vec<Item>, shape: Shape) {
    match shape {
        Shape::Reversed => items.reverse(),
        Shape::Short => items.truncate(items.len().saturating_sub(1)),
        Shape::Long => items.extend(items.last().cloned().map(|last| Item {
            index: last.index + 1,
            ..last
        })),
        Shape::RepeatedIndex => items.iter_mut().for_each(|item| item.index = 0),
        Shape::WrongDimensions => items.iter_mut().for_each(|item| item.vector.truncate(7)),
        Shape::FloatDespiteBase64 => {
            items
                .iter_mut()
                .for_each(|item| item.encoding = Encoding::Float);
        }
        Shape::Nan | Shape::Infinity | Shape::Zeros | Shape::MixedDimensions | Shape::BadBase64 => {
            items
                .last_mut()
                .into_iter()
                .for_each(|last| spoil(last, shape));
        }
    }
}

fn spoil(item: &mut Item, shape: Shape) {
    match shape {
        Shape::Nan => item.vector.fill(f32::NAN),
        Shape::Infinity => item.vector.fill(f32::INFINITY),
        Shape::Zeros => item.vector.fill(0.0),
        Shape::MixedDimensions => item.vector.truncate(item.vector.len() / 2),
        _ => item.undecodable = true,
    }
}

fn written(item: &Item) -> String {
    let embedding = match item.encoding {
        Encoding::Float => floats(&item.vector),
        Encoding::Base64 if item.undecodable => r#""!not base64!""#.to_owned(),
        Encoding::Base64 => format!(r#""{}""#, base64(&item.vector)),
    };
    format!(
        r#"{{"object":"embedding","index":{},"embedding":{embedding}}}"#,
        item.index
    )
}

/// The shortest decimal that reads back as the same f32; NaN and infinity as Python writes them.
fn floats(vector: &[f32]) -> String {
    let mut text = String::from("[");
    for value in vector {
        let separator = if text.len() > 1 { "," } else { "" };
        let written = if value.is_infinite() {
            write!(text, "{separator}Infinity")
        } else {
            write!(text, "{separator}{value}")
        };
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
    text.push(']');
    text
}

fn base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    base64_simd::STANDARD.encode_to_string(bytes)
}
