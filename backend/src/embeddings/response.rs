//! Writes the body of an answer to a client, and the body of a call to the upstream.
//!
//! Both go straight into one buffer; no vector becomes a tree of numbers in between. A large answer
//! is written in [`Pieces`] instead, at the speed at which the client reads them.

mod pieces;

use std::sync::Arc;

use base64_simd::STANDARD;
use bytes::Bytes;

use super::decimal;
use super::entry::Entry;
use super::request::{EmbeddingRequest, Encoding, Input};
use super::vector::Vector;

pub use self::pieces::Pieces;

/// `{"object":"embedding","index":…,"embedding":…},` around a vector.
const ITEM_BYTES: usize = 64;

/// Head and tail of a body.
const FRAME_BYTES: usize = 192;

/// Most `f32`s of a unit vector take 11 to 13 characters and a comma.
const FLOAT_BYTES: usize = 14;

/// The most memory that a piece takes. Longer answers are written piece by piece, so that a client
/// that reads slowly holds no more than this.
pub const PIECE_BYTES: usize = 256 * 1024;

/// The length of an answer in floats is known only when it is written, and Varnish stores no
/// answer without a length. So answers that Varnish may store, of up to 8 MiB, are written at once
/// into this much memory.
const WHOLE_FLOAT_BYTES: usize = 10 * 1024 * 1024;

/// Whether an answer is written at once rather than in pieces.
pub fn is_written_whole(entries: &[Arc<Entry>], places: &[usize], encoding: Encoding) -> bool {
    let limit = match encoding {
        Encoding::Float => WHOLE_FLOAT_BYTES,
        Encoding::Base64 => PIECE_BYTES,
    };
    capacity(entries, places, encoding) <= limit
}

/// Has answers with one vector at hand, those that clients ask for again and again.
pub trait KeptAnswers {
    /// What [`write_answer`] would write of this entry alone.
    fn answer(&self, entry: &Arc<Entry>, encoding: Encoding) -> Bytes;

    /// Appends what [`push_list`] would.
    fn push_list(&self, body: &mut Vec<u8>, entry: &Arc<Entry>);
}

/// What stands before the vector and behind it in an answer with one entry.
pub fn frame_of_one(entry: &Arc<Entry>) -> (Vec<u8>, Vec<u8>) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    push_head(&mut before);
    push_item_head(&mut before, 0);
    after.push(b'}');
    push_tail(&mut after, std::slice::from_ref(entry), &[0]);
    (before, after)
}

/// The body of a 200: one item for each of `places`, which point into `entries`.
///
/// The model's name is that of the first place; tokens are the nominal sum over all places.
pub fn write_answer(
    entries: &[Arc<Entry>],
    places: &[usize],
    encoding: Encoding,
    kept: Option<&dyn KeptAnswers>,
) -> Vec<u8> {
    let mut body = Vec::with_capacity(capacity(entries, places, encoding));
    push_head(&mut body);
    for (index, &place) in places.iter().enumerate() {
        let entry = &entries[place];
        match (encoding, kept) {
            (Encoding::Float, Some(kept)) => {
                push_item_head(&mut body, index);
                kept.push_list(&mut body, entry);
                body.push(b'}');
            }
            _ => push_item(&mut body, index, &entry.vector, encoding),
        }
    }
    push_tail(&mut body, entries, places);
    body
}

/// The body of a call for `inputs` of `model` in `encoding`: all of `request` but its own model,
/// inputs and encoding.
pub fn write_call<'a>(
    request: &EmbeddingRequest,
    model: &str,
    inputs: impl IntoIterator<Item = &'a Input>,
    encoding: Option<Encoding>,
) -> Vec<u8> {
    let mut body = br#"{"model":"#.to_vec();
    push_string(&mut body, model);
    body.extend_from_slice(br#","input":["#);
    for (index, input) in inputs.into_iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&input.raw);
    }
    body.push(b']');
    if let Some(encoding) = encoding {
        body.extend_from_slice(br#","encoding_format":""#);
        body.extend_from_slice(encoding.name().as_bytes());
        body.push(b'"');
    }
    if let Some(dimensions) = request.dimensions {
        body.extend_from_slice(br#","dimensions":"#);
        push_integer(&mut body, dimensions.into());
    }
    for members in [&request.unkeyed, &request.extra] {
        if !members.is_empty() {
            body.push(b',');
            body.extend_from_slice(members.as_bytes());
        }
    }
    body.push(b'}');
    body
}

/// What the upstream would have charged for the whole answer.
pub fn nominal_tokens(entries: &[Arc<Entry>], places: &[usize]) -> u64 {
    let tokens = |&place: &usize| u64::from(entries[place].tokens);
    places.iter().map(tokens).sum()
}

fn push_head(body: &mut Vec<u8>) {
    body.extend_from_slice(br#"{"object":"list","data":["#);
}

fn push_item(body: &mut Vec<u8>, index: usize, vector: &Vector, encoding: Encoding) {
    push_item_head(body, index);
    push_vector(body, vector, encoding);
    body.push(b'}');
}

fn push_item_head(body: &mut Vec<u8>, index: usize) {
    if index > 0 {
        body.push(b',');
    }
    body.extend_from_slice(br#"{"object":"embedding","index":"#);
    push_integer(body, index as u64);
    body.extend_from_slice(br#","embedding":"#);
}

fn push_tail(body: &mut Vec<u8>, entries: &[Arc<Entry>], places: &[usize]) {
    body.extend_from_slice(br#"],"model":"#);
    push_string(
        body,
        places.first().map_or("", |&place| &entries[place].model),
    );
    body.extend_from_slice(br#","usage":{"prompt_tokens":"#);
    let tokens = nominal_tokens(entries, places);
    push_integer(body, tokens);
    body.extend_from_slice(br#","total_tokens":"#);
    push_integer(body, tokens);
    body.extend_from_slice(b"}}");
}

fn capacity(entries: &[Arc<Entry>], places: &[usize], encoding: Encoding) -> usize {
    let items = places.iter();
    FRAME_BYTES
        + items
            .map(|&p| item_capacity(&entries[p], encoding))
            .sum::<usize>()
        + decimal::SLACK
}

fn item_capacity(entry: &Entry, encoding: Encoding) -> usize {
    let vector = match encoding {
        Encoding::Base64 => STANDARD.encoded_length(entry.vector.float_bytes()),
        Encoding::Float => entry.dimensions() * FLOAT_BYTES,
    };
    ITEM_BYTES + vector
}

fn push_vector(body: &mut Vec<u8>, vector: &Vector, encoding: Encoding) {
    match encoding {
        Encoding::Base64 => {
            body.push(b'"');
            vector.each_chunk(|floats| STANDARD.encode_append(floats, body));
            body.push(b'"');
        }
        Encoding::Float => decimal::push_list(body, vector),
    }
}

/// Appends the vector of an entry as a list of decimals.
pub fn push_list(body: &mut Vec<u8>, entry: &Entry) {
    decimal::push_list(body, &entry.vector);
}

fn push_integer(body: &mut Vec<u8>, number: u64) {
    body.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_string(body: &mut Vec<u8>, text: &str) {
    // Writing a string to memory cannot fail; if it did, an empty string would stand here.
    let begin = body.len();
    if serde_json::to_writer(&mut *body, text).is_err() {
        body.truncate(begin);
        body.extend_from_slice(b"\"\"");
    }
}

#[cfg(test)]
mod tests;
