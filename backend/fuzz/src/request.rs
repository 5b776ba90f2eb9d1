//! A request body is what `serde_json` reads, is called again as it was understood, and has the
//! same keys wherever it is read again.

use std::collections::HashMap;

use bytes::Bytes;
use embedding_gateway::embeddings::batch::Batch;
use embedding_gateway::embeddings::key::{KeyBuilder, KeyScope};
use embedding_gateway::embeddings::request::{
    EmbeddingRequest, Encoding, Input, InputKind, Parsed, Refused, Rules, parse,
};
use embedding_gateway::embeddings::response::write_call;
use serde_json::Value;

const MAX_INPUTS: usize = 8;
const MAX_INPUT_BYTES: usize = 512;

/// Reads `data` as the body of a request.
pub fn check(data: &[u8]) {
    let read = serde_json::from_slice::<Value>(data);
    match parse(&Bytes::copy_from_slice(data), &rules()) {
        Err(Refused::NotJson) => assert!(read.is_err(), "JSON is refused as none"),
        Err(_) => {}
        Ok(Parsed::Foreign(_)) => assert!(std::str::from_utf8(data).is_ok()),
        Ok(Parsed::Understood(request)) => {
            // A number too large for an f64 is JSON all the same.
            if let Ok(value) = read {
                means_what_it_says(&request, &value);
            }
            reads_back(&request);
            names_each_input_once(request);
        }
    }
}

fn rules() -> Rules {
    Rules {
        max_inputs: MAX_INPUTS,
        max_input_bytes: MAX_INPUT_BYTES,
        cacheable_fields: vec!["vouched".into()],
    }
}

fn means_what_it_says(request: &EmbeddingRequest, value: &Value) {
    assert_eq!(value["model"], *request.model);
    assert_eq!(
        value["dimensions"].as_u64(),
        request.dimensions.map(u64::from)
    );
    let encoding = request.encoding.map(Encoding::name);
    assert_eq!(value["encoding_format"].as_str(), encoding);
    let said = match &value["input"] {
        Value::Array(list) if !list[0].is_number() => list.iter().collect(),
        one => vec![one],
    };
    assert_eq!(said.len(), request.inputs.len());
    for (said, input) in said.into_iter().zip(&request.inputs) {
        assert_eq!(meaning(input), *said);
        assert!(input.raw.len() <= MAX_INPUT_BYTES);
        let tokens = said
            .as_array()
            .map(|tokens| InputKind::Tokens(tokens.len() as u32));
        assert_eq!(input.kind, tokens.unwrap_or(InputKind::Text));
    }
    for name in value.as_object().unwrap().keys() {
        let known = ["model", "input", "dimensions", "encoding_format"].contains(&name.as_str());
        let kept = [&request.extra, &request.unkeyed].map(|members| member(members, name));
        let is_null = value[name].is_null();
        assert!(
            known || is_null || kept.into_iter().flatten().any(|kept| kept == value[name]),
            "{name} is lost"
        );
    }
}

fn meaning(input: &Input) -> Value {
    serde_json::from_slice(&input.raw).unwrap()
}

/// A member of an object without its braces.
fn member(members: &str, name: &str) -> Option<Value> {
    let object: Value = serde_json::from_str(&format!("{{{members}}}")).unwrap();
    object.get(name).cloned()
}

fn reads_back(request: &EmbeddingRequest) {
    let call = write_call(request, &request.model, &request.inputs, request.encoding);
    let Ok(Parsed::Understood(again)) = parse(&call.into(), &rules()) else {
        panic!("a call of its own is not understood");
    };
    let parts = |request: &EmbeddingRequest| {
        let (model, extra) = (request.model.to_string(), request.extra.clone());
        let inputs: Vec<_> = request.inputs.iter().map(meaning).collect();
        let unkeyed = request.unkeyed.clone();
        (
            model,
            extra,
            unkeyed,
            request.dimensions,
            request.encoding,
            inputs,
        )
    };
    assert_eq!(parts(request), parts(&again));
    assert_eq!(keys(request), keys(&again));
}

fn builder(request: &EmbeddingRequest) -> KeyBuilder {
    let scope = KeyScope {
        namespace: "n".into(),
        upstream: "u".into(),
        scope: "s".into(),
    };
    KeyBuilder::new(&scope, request)
}

fn keys(request: &EmbeddingRequest) -> Vec<[u8; 32]> {
    let builder = builder(request);
    let key = |input| *builder.key(input).as_bytes();
    request.inputs.iter().map(key).collect()
}

/// Two inputs have one key if, and only if, they mean the same.
fn names_each_input_once(request: EmbeddingRequest) {
    let keys = keys(&request);
    let mut by_meaning = HashMap::new();
    for (input, key) in request.inputs.iter().zip(&keys) {
        let first = *by_meaning.entry(meaning(input).to_string()).or_insert(*key);
        assert_eq!(first, *key);
    }
    let batch = Batch::new(&builder(&request), request.inputs);
    assert_eq!(batch.distinct.len(), by_meaning.len());
    let placed = batch
        .places
        .iter()
        .map(|&place| *batch.distinct[place].0.as_bytes());
    assert!(placed.eq(keys));
}
