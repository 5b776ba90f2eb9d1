use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::request::{self, Parsed, Rules};
use super::*;

/// Computed from the description alone by the program beside it.
const GOLDEN: &str = include_str!("../../../tests/golden/keys.jsonl");

/// Of all tests: what is kept of one is there for the next.
static KEPT: LazyLock<KeyBuilders> = LazyLock::new(KeyBuilders::default);

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
            let kept = KEPT.get(key_scope, &request);
            assert_eq!(kept.family(), keys.family());
            request
                .inputs
                .iter()
                .inspect(|input| assert_eq!(kept.key(input), keys.key(input)))
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
