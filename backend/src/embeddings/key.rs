//! The key of a vector: SHA-256 over everything that decides which numbers an upstream answers.
//!
//! Each part is preceded by its length, so no letter can move from one part to its neighbour.
//! The input comes last: all that a batch shares is hashed once.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::request::{EmbeddingRequest, Input, InputKind, tokens};

/// Changes when the meaning of any part below changes. Each new value starts an empty cache.
const KEY_VERSION: &[u8] = b"embedding-gateway key 1";

/// The parts of a key that the request does not hold.
#[derive(Clone, Debug)]
pub struct KeyScope {
    /// The operator's name for this cache; another name is another, empty cache.
    pub namespace: Arc<str>,
    /// The upstream: its normalised base URL, or the operator's name for it.
    pub upstream: Arc<str>,
    /// The scope of the callers that share the vectors.
    pub scope: Arc<str>,
}

/// The key of one vector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

/// Computes the keys of one request's inputs.
#[derive(Clone, Debug)]
pub struct KeyBuilder {
    shared: Sha256,
}

impl KeyScope {
    /// The same key scope, with vectors shared in `scope`.
    #[must_use]
    pub fn with_scope(&self, scope: &Arc<str>) -> Self {
        Self {
            scope: Arc::clone(scope),
            ..self.clone()
        }
    }
}

impl Key {
    /// The 32 bytes themselves.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Key {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// 64 lower-case hex digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(const_hex::Buffer::<32>::new().format(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl KeyBuilder {
    /// The keys of the inputs of `request` in `scope`.
    pub fn new(scope: &KeyScope, request: &EmbeddingRequest) -> Self {
        // The encoding and the unkeyed fields do not change the vector; the inputs are named one by one.
        let EmbeddingRequest {
            model,
            dimensions,
            extra,
            encoding: _,
            unkeyed: _,
            inputs: _,
        } = request;
        let dimensions = dimensions.map(u32::to_le_bytes);

        let mut shared = Sha256::new();
        part(&mut shared, KEY_VERSION);
        part(&mut shared, scope.namespace.as_bytes());
        part(&mut shared, scope.upstream.as_bytes());
        part(&mut shared, scope.scope.as_bytes());
        part(&mut shared, model.as_bytes());
        part(
            &mut shared,
            dimensions.as_ref().map_or(&[], <[u8; 4]>::as_slice),
        );
        part(&mut shared, extra.as_bytes());
        Self { shared }
    }

    /// The key of one input's vector.
    pub fn key(&self, input: &Input) -> Key {
        let mut hash = self.shared.clone();
        match input.kind {
            InputKind::Text => {
                part(&mut hash, b"text");
                text_part(&mut hash, &input.raw);
            }
            InputKind::Tokens(_) => {
                part(&mut hash, b"tokens");
                part(&mut hash, &token_bytes(&input.raw));
            }
        }
        Key(hash.finalize().into())
    }
}

fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// The text that a JSON string stands for. Without an escape it is what is between the quotes.
fn text_part(hash: &mut Sha256, raw: &[u8]) {
    match raw {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => part(hash, text),
        _ => {
            let text: String = serde_json::from_slice(raw).unwrap_or_default();
            part(hash, text.as_bytes());
        }
    }
}

fn token_bytes(raw: &[u8]) -> Vec<u8> {
    let tokens = std::str::from_utf8(raw)
        .ok()
        .and_then(tokens)
        .unwrap_or_default();
    tokens.into_iter().flat_map(u32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::request::{self, Parsed, Rules};
    use super::*;

    /// Computed from the description alone by the program beside it.
    const GOLDEN: &str = include_str!("../../tests/golden/keys.jsonl");

    fn key_scope([namespace, upstream, scope]: [&str; 3]) -> KeyScope {
        KeyScope {
            namespace: namespace.into(),
            upstream: upstream.into(),
            scope: scope.into(),
        }
    }

    /// Fields of one or two of these letters are vouched for.
    fn rules() -> Rules {
        let letters = ["", "a", "x", "y", ":"];
        let pairs = letters
            .iter()
            .flat_map(|a| letters.map(|b| format!("{a}{b}")));
        Rules {
            max_inputs: 100,
            max_input_bytes: 1000,
            cacheable_fields: pairs.collect(),
        }
    }

    fn keys(key_scope: &KeyScope, body: &str) -> Vec<String> {
        match request::parse(&Bytes::copy_from_slice(body.as_bytes()), &rules()) {
            Ok(Parsed::Understood(request)) => {
                let keys = KeyBuilder::new(key_scope, &request);
                request
                    .inputs
                    .iter()
                    .map(|input| keys.key(input).to_string())
                    .collect()
            }
            other => panic!("{body}: {other:?}"),
        }
    }

    fn key(body: &Value) -> String {
        let keys = keys(&key_scope(["", "", ""]), &body.to_string());
        assert_eq!(keys.len(), 1);
        keys[0].clone()
    }

    #[test]
    fn no_release_loses_the_cache_by_accident() {
        for line in GOLDEN.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let parts = [0, 1, 2].map(|part| line["realm"][part].as_str().unwrap());
            assert_eq!(
                json!(keys(&key_scope(parts), line["body"].as_str().unwrap())),
                line["keys"]
            );
        }
        let golden = GOLDEN.matches("\"keys\"").count();
        assert!(golden >= 19, "{golden}");
    }

    #[test]
    fn what_peers_confuse_is_distinct() {
        let bodies = [
            json!({"model": "m", "input": "hello", "dimensions": 256}),
            json!({"model": "m", "input": "hellodimensions: 256"}),
            json!({"model": "m", "input": "hello"}),
            json!({"model": "m", "input": "a-b"}),
            json!({"model": "m", "input": "ab"}),
            json!({"model": "m", "input": "1,2"}),
            json!({"model": "m", "input": [1, 2]}),
            json!({"model": "m", "input": "[1,2]"}),
            json!({"model": "m", "input": [12]}),
            json!({"model": "m", "input": "Apple"}),
            json!({"model": "m", "input": "apple "}),
            json!({"model": "m", "input": "apple"}),
            json!({"model": "mh", "input": "ello"}),
            json!({"model": "m", "input": "hello", "x": 1}),
            json!({"model": "m", "input": "hello", "x": "1"}),
            json!({"model": "m", "input": "hello", "x": null}),
            json!({"model": "m", "input": "hello", "x": {"y": 1}}),
            json!({"model": "m", "input": "hello", "x": [{"y": 1}]}),
        ];
        let distinct: HashSet<String> = bodies.iter().map(key).collect();
        assert_eq!(distinct.len(), bodies.len());
    }

    #[test]
    fn what_does_not_change_the_vector_does_not_change_the_key() {
        let plain = key(&json!({"model": "m", "input": "a", "x": 1, "y": 2}));
        for body in [
            r#"{"y":2,"input":["a"],"x":1,"model":"m"}"#,
            r#"{"x":1,"y":2,"input":"\u0061","model":"\u006d"}"#,
            r#"{"x":1,"y":2,"input":"a","model":"m","user":"u","encoding_format":"base64"}"#,
            r#"{"x":1,"y":2,"input":"a","model":"m","user":null,"dimensions":null}"#,
        ] {
            assert_eq!(keys(&key_scope(["", "", ""]), body), [&*plain], "{body}");
        }
    }

    #[test]
    fn numbers_that_differ_in_any_digit_are_distinct() {
        let with = |number: &str| {
            keys(
                &key_scope(["", "", ""]),
                &format!(r#"{{"model":"m","input":"a","x":{number}}}"#),
            )
        };
        assert_ne!(with("9007199254740993"), with("9007199254740992"));
        assert_ne!(with("0.1"), with("0.10000000000000001"));
    }

    /// Everything that names a vector, from an alphabet in which parts are easily confused.
    #[derive(Clone, Debug, PartialEq)]
    struct Named {
        key_scope: [String; 3],
        model: String,
        dimensions: Option<u32>,
        extra: BTreeMap<String, String>,
        input: Result<String, Vec<u32>>,
    }

    fn named() -> impl Strategy<Value = Named> {
        let part = "[a\",:\\[]{0,3}";
        let input = prop_oneof![
            part.prop_map(Ok),
            proptest::collection::vec(0..3_u32, 1..4).prop_map(Err),
        ];
        (
            [part, part, part],
            "[ab:]{1,2}",
            proptest::option::of(1..4_u32),
            proptest::collection::btree_map("[xy:]{1,2}", part, 0..3),
            input,
        )
            .prop_map(|(key_scope, model, dimensions, extra, input)| Named {
                key_scope,
                model,
                dimensions,
                extra,
                input,
            })
    }

    impl Named {
        fn key(&self) -> String {
            let mut body = json!({"model": self.model});
            body["input"] = match &self.input {
                Ok(text) => json!(text),
                Err(tokens) => json!(tokens),
            };
            if let Some(dimensions) = self.dimensions {
                body["dimensions"] = json!(dimensions);
            }
            for (name, value) in &self.extra {
                body[name] = json!(value);
            }
            keys(
                &key_scope(self.key_scope.each_ref().map(String::as_str)),
                &body.to_string(),
            )
            .remove(0)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn keys_are_equal_exactly_if_all_parts_are(one in named(), other in named()) {
            prop_assert_eq!(one == other, one.key() == other.key());
            prop_assert_eq!(one.key(), one.clone().key());
        }

        #[test]
        fn no_letter_moves_over_a_boundary(text in "[a-c]{4}", cut in 0..4_usize, other in 0..4_usize) {
            let split = |at: usize| key_scope([&text[..at], &text[at..], ""]);
            let keys = [cut, other].map(|at| keys(&split(at), r#"{"model":"m","input":"a"}"#));
            prop_assert_eq!(cut == other, keys[0] == keys[1]);
        }
    }
}
