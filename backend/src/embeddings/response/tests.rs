use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::request::{self, Parsed, Rules};
use super::*;

const RULES: Rules = Rules {
    max_inputs: 2,
    max_input_bytes: 10,
    cacheable_fields: Vec::new(),
};

fn entry(numbers: &[f32], tokens: u32) -> Arc<Entry> {
    Arc::new(Entry {
        model: "m\"2".into(),
        tokens,
        created_ms: 0,
        vector: numbers.iter().copied().collect(),
    })
}

fn written(entries: &[Arc<Entry>], places: &[usize], encoding: Encoding) -> Value {
    serde_json::from_slice(&write_answer(entries, places, encoding, None)).unwrap()
}

#[test]
fn an_answer_has_openais_shape() {
    let entries = [entry(&[0.5, -0.25], 3), entry(&[1.0, 1e-8], 4)];
    assert_eq!(
        written(&entries, &[1, 0, 1], Encoding::Float),
        json!({
            "object": "list",
            "data": [
                {"object": "embedding", "index": 0, "embedding": [1.0, 1e-8]},
                {"object": "embedding", "index": 1, "embedding": [0.5, -0.25]},
                {"object": "embedding", "index": 2, "embedding": [1.0, 1e-8]},
            ],
            "model": "m\"2",
            "usage": {"prompt_tokens": 11, "total_tokens": 11},
        })
    );
}

#[test]
fn base64_is_little_endian() {
    let answer = written(&[entry(&[1.0], 1)], &[0], Encoding::Base64);
    assert_eq!(answer["data"][0]["embedding"], "AACAPw==");
}

#[test]
fn the_buffer_is_not_outgrown() {
    let numbers: Vec<f32> = (1..=1536).map(|n| (n as f32).sin() / 27.7).collect();
    let entries = [entry(&numbers, 1)];
    for encoding in [Encoding::Float, Encoding::Base64] {
        let body = write_answer(&entries, &[0], encoding, None);
        assert!(
            body.len() <= capacity(&entries, &[0], encoding),
            "{encoding:?}"
        );
    }
}

#[test]
fn a_call_keeps_everything_but_the_other_inputs() {
    let body = Bytes::from_static(
            br#"{"user":"u\n","input":["a","\u0062"],"model":"m","task":"t","dimensions":3,"encoding_format":"float"}"#,
        );
    let Ok(Parsed::Understood(request)) = request::parse(&body, &RULES) else {
        panic!("foreign")
    };
    assert_eq!(
        String::from_utf8(write_call(
            &request,
            "m",
            &request.inputs[1..],
            Some(Encoding::Base64)
        ))
        .unwrap(),
        r#"{"model":"m","input":["\u0062"],"encoding_format":"base64","dimensions":3,"user":"u\n","task":"t"}"#
    );
}

proptest! {
    #[test]
    fn both_encodings_are_bit_identical(numbers in proptest::collection::vec(proptest::num::f32::NORMAL | proptest::num::f32::SUBNORMAL | proptest::num::f32::ZERO, 1..50)) {
        let entries = [entry(&numbers, 1)];
        let float = written(&entries, &[0], Encoding::Float);
        let text = float["data"][0]["embedding"].to_string();
        let read: Vec<f32> = text.trim_matches(['[', ']']).split(',').map(|n| n.parse().unwrap()).collect();
        let base64 = written(&entries, &[0], Encoding::Base64);
        let bytes = STANDARD.decode_to_vec(base64["data"][0]["embedding"].as_str().unwrap()).unwrap();
        let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read), bits(&numbers));
        let wanted: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        prop_assert_eq!(bytes, wanted);
    }
}
