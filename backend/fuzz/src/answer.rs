//! An answer's vectors are those that `serde_json` and a decoder of base64 find at the same index,
//! and what clients get of them reads back bit for bit.

use std::sync::Arc;

use embedding_gateway::embeddings::answer::{self, Answer, ExpectedAnswer};
use embedding_gateway::embeddings::entry::Entry;
use embedding_gateway::embeddings::request::{Encoding, Input, InputKind};
use embedding_gateway::embeddings::response::{Pieces, write_answer};
use serde_json::Value;

/// Of the value itself: `serde_json` reads numbers as `f64`, and those are rounded once more.
const ROUNDED: f32 = 1e-6;

/// Reads the rest of `data` as an answer; its first byte says to how many inputs, and of how many
/// dimensions.
pub fn check(data: &[u8]) {
    let Some((&asked, body)) = data.split_first() else {
        return;
    };
    let inputs: Vec<_> = (0..1 + asked % 4).map(input).collect();
    let dimensions = Some(u32::from(asked >> 4)).filter(|&dimensions| dimensions > 0);
    let Ok(answer) = answer::check(body, &question(&inputs, dimensions)) else {
        return;
    };
    is_whole(&answer, inputs.len(), dimensions);
    if let Ok(value) = serde_json::from_slice(body) {
        is_what_was_sent(&answer, &value);
    }
    if let Some(entries) = answer.entries.into_iter().collect::<Option<Vec<_>>>() {
        reads_back(&entries);
    }
}

fn input(place: u8) -> Input {
    Input {
        raw: format!("[{place}]").into(),
        kind: InputKind::Tokens(1 + u32::from(place)),
    }
}

fn question(inputs: &[Input], dimensions: Option<u32>) -> ExpectedAnswer<'_> {
    ExpectedAnswer {
        inputs,
        model: "asked",
        dimensions,
        asked_ms: 17,
    }
}

fn is_whole(answer: &Answer, inputs: usize, dimensions: Option<u32>) {
    assert_eq!(answer.entries.len(), inputs);
    let sound: Vec<_> = answer.entries.iter().flatten().collect();
    assert_eq!(answer.fault.is_none(), sound.len() == inputs);
    let tokens: u64 = sound.iter().map(|entry| u64::from(entry.tokens)).sum();
    assert!(tokens <= answer.billed_tokens);
    for entry in &sound {
        assert!(entry.vector.is_sound());
        assert_eq!(entry.dimensions(), sound[0].dimensions());
        assert!(dimensions.is_none_or(|wanted| wanted as usize == entry.dimensions()));
    }
}

fn is_what_was_sent(answer: &Answer, value: &Value) {
    let data = value["data"].as_array().expect("vectors without data");
    assert_eq!(data.len(), answer.entries.len());
    for (place, item) in data.iter().enumerate() {
        let is_placed = data.iter().any(|item| !item["index"].is_null());
        let index = match item["index"].as_u64() {
            Some(index) => index as usize,
            None if is_placed => 0,
            None => place,
        };
        let Some(entry) = &answer.entries[index] else {
            continue;
        };
        match &item["embedding"] {
            Value::Array(numbers) => is_list(entry, numbers),
            Value::String(text) => {
                let bytes = base64_simd::STANDARD.decode_to_vec(text).unwrap();
                let mut kept = Vec::new();
                entry
                    .vector
                    .each_chunk(|chunk| kept.extend_from_slice(chunk));
                assert_eq!(kept, bytes);
            }
            other => panic!("{other} is no vector"),
        }
    }
}

fn is_list(entry: &Entry, numbers: &[Value]) {
    assert_eq!(entry.dimensions(), numbers.len());
    for (found, number) in entry.vector.to_floats().into_iter().zip(numbers) {
        let said = number.as_f64().unwrap() as f32;
        assert!((found - said).abs() <= said.abs() * ROUNDED + f32::from_bits(1));
    }
}

/// What a client gets, an upstream could have sent.
fn reads_back(entries: &[Entry]) {
    let inputs: Vec<_> = (0..entries.len() as u8).map(input).collect();
    let shared: Vec<_> = entries.iter().cloned().map(Arc::new).collect();
    let places: Vec<_> = (0..entries.len()).collect();
    for encoding in [Encoding::Float, Encoding::Base64] {
        let body = write_answer(&shared, &places, encoding, None);
        let pieces = Pieces::new(shared.clone(), places.clone(), encoding);
        assert_eq!(pieces.collect::<Vec<_>>().concat(), body);
        let again = answer::check(&body, &question(&inputs, None)).unwrap();
        for (entry, again) in entries.iter().zip(again.entries) {
            let again = again.unwrap();
            assert_eq!((&again.vector, &again.model), (&entry.vector, &entry.model));
        }
    }
}
