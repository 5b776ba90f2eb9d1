use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn inputs(count: usize) -> Vec<Input> {
    let text = |n: usize| Bytes::from(format!("\"{}\"", "x".repeat(n + 1)));
    (0..count)
        .map(|n| Input {
            raw: text(n),
            kind: InputKind::Text,
        })
        .collect()
}

fn judge_bytes(body: &[u8], inputs: &[Input], dimensions: Option<u32>) -> Result<Answer, Unsound> {
    let question = ExpectedAnswer {
        inputs,
        model: "asked",
        dimensions,
        asked_ms: 5,
    };
    check(body, &question)
}

fn judge_for(
    body: &serde_json::Value,
    inputs: &[Input],
    dimensions: Option<u32>,
) -> Result<Answer, Unsound> {
    judge_bytes(body.to_string().as_bytes(), inputs, dimensions)
}

fn judge(data: &serde_json::Value, count: usize) -> Result<Answer, Unsound> {
    judge_for(&json!({ "data": data }), &inputs(count), None)
}

fn base64(numbers: &[f32]) -> String {
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    base64_simd::STANDARD.encode_to_string(bytes)
}

fn numbers(entry: &Option<Entry>) -> Vec<f32> {
    let vector = entry.as_ref().map(|entry| entry.vector.to_floats());
    vector.unwrap_or_default()
}

/// What is wrong with the one vector of an answer.
#[track_caller]
fn fault(data: &serde_json::Value) -> Option<Unsound> {
    let answer = judge(data, 1).unwrap();
    assert_eq!(answer.entries, [None]);
    answer.fault
}

#[test]
fn vectors_are_placed_by_index() {
    let data = json!([
        {"index": 2, "embedding": base64(&[2.0, 2.5])},
        {"index": 0, "embedding": base64(&[0.0, 0.5])},
        {"index": 1, "embedding": base64(&[1.0, 1.5])},
    ]);
    let answer = judge(&data, 3).unwrap();
    let placed: Vec<_> = answer.entries.iter().map(numbers).collect();
    assert_eq!(placed, [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]]);
}

#[test]
fn a_list_of_numbers_is_taken() {
    let data = json!([{"index": 0, "embedding": [0.1, -3, 1e-3]}]);
    assert_eq!(
        numbers(&judge(&data, 1).unwrap().entries[0]),
        [0.1, -3.0, 0.001]
    );
}

#[test]
fn base64_with_escaped_slashes_is_taken() {
    let number = f32::from_le_bytes([0xff, 0xff, 0xff, 0x3f]);
    assert_eq!(base64(&[number]), "////Pw==");
    let body = br#"{"data":[{"index":0,"embedding":"\/\/\/\/Pw=="}]}"#;
    let answer = judge_bytes(body, &inputs(1), None).unwrap();
    assert_eq!(numbers(&answer.entries[0]), [number]);
}

#[test]
fn a_wrong_count_is_unsound() {
    let one = json!({"index": 0, "embedding": [1.0]});
    assert_eq!(
        judge(&json!([one]), 2).unwrap_err(),
        Unsound::Count {
            wanted: 2,
            found: 1
        }
    );
    assert_eq!(
        judge(&json!([]), 1).unwrap_err(),
        Unsound::Count {
            wanted: 1,
            found: 0
        }
    );
    assert_eq!(
        judge(&json!([one, one]), 1).unwrap_err(),
        Unsound::Count {
            wanted: 1,
            found: 2
        }
    );
}

#[test]
fn every_index_stands_exactly_once() {
    let item = |index: u64| json!({"index": index, "embedding": [1.0]});
    assert_eq!(
        judge(&json!([item(0), item(0)]), 2).unwrap_err(),
        Unsound::Repeated(0)
    );
    assert_eq!(
        judge(&json!([item(0), item(2)]), 2).unwrap_err(),
        Unsound::OutOfRange(2)
    );
}

#[test]
fn worthless_vectors_are_unsound() {
    for numbers in [
        &[f32::NAN, 1.0][..],
        &[f32::INFINITY, 1.0],
        &[0.0, 0.0],
        &[],
    ] {
        let data = json!([{"index": 0, "embedding": base64(numbers)}]);
        assert_eq!(fault(&data), Some(Unsound::Worthless(0)), "{numbers:?}");
    }
    let overflow = json!([{"index": 0, "embedding": [1e39]}]);
    assert_eq!(fault(&overflow), Some(Unsound::Worthless(0)));
}

#[test]
fn undecodable_vectors_are_unsound() {
    for embedding in [
        json!("?"),
        json!("AAAA"),
        json!([[1.0]]),
        json!(null),
        // How some servers write what is not a number.
        json!([0.5, null]),
        json!([]),
        json!(["1"]),
    ] {
        let data = json!([{"index": 0, "embedding": embedding}]);
        assert_eq!(fault(&data), Some(Unsound::Undecodable(0)), "{embedding}");
    }
}

#[test]
fn dimensions_are_those_asked_for_and_all_equal() {
    let data = json!([{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]);
    let mixed = Unsound::Dimensions {
        index: 1,
        wanted: 1,
        found: 2,
    };
    assert_eq!(judge(&data, 2).unwrap_err(), mixed);

    let body = json!({"data": [{"index": 0, "embedding": [1.0]}]});
    let wrong = Unsound::Dimensions {
        index: 0,
        wanted: 2,
        found: 1,
    };
    assert_eq!(judge_for(&body, &inputs(1), Some(2)).unwrap_err(), wrong);
}

#[test]
fn nonsense_is_unreadable() {
    for body in [
        "",
        "<html>",
        "{}",
        "[]",
        r#"{"data":[{"index":"0","embedding":[1]}]}"#,
        r#"{"data":[{"index":-1,"embedding":[1]}]}"#,
        r#"{"data":[{"index":0}]}"#,
        r#"{"data":[NaN,{"index":0,"embedding":[1]}"#,
        r#"[[{"index":0,"embedding":[1]}]]"#,
        r#"{"data":[[0,[1]]]}"#,
    ] {
        let judged = judge_bytes(body.as_bytes(), &inputs(1), None);
        assert_eq!(judged.unwrap_err(), Unsound::Unreadable);
    }
}

#[test]
fn the_upstreams_model_name_is_kept() {
    let data = json!([{"index": 0, "embedding": [1.0]}]);
    let named = judge_for(
        &json!({"data": data, "model": "answered-v2"}),
        &inputs(1),
        None,
    );
    assert_eq!(
        &*named.unwrap().entries[0].as_ref().unwrap().model,
        "answered-v2"
    );
    assert_eq!(
        &*judge(&data, 1).unwrap().entries[0].as_ref().unwrap().model,
        "asked"
    );
}

#[test]
fn tokens_are_shared_out_without_loss() {
    let data: Vec<_> = (0..3)
        .map(|index| json!({"index": index, "embedding": [1.0]}))
        .collect();
    let body = json!({"data": data, "usage": {"prompt_tokens": 100, "total_tokens": 100}});
    let answer = judge_for(&body, &inputs(3), None).unwrap();
    assert_eq!(answer.billed_tokens, 100);
    assert_eq!(
        answer
            .entries
            .iter()
            .flatten()
            .map(|entry| entry.tokens)
            .sum::<u32>(),
        100
    );
}

#[test]
fn an_index_may_be_left_out_where_its_value_is_clear() {
    let item = |number: f32| json!({"embedding": [number]});
    let at = |index: u64, number: f32| json!({"index": index, "embedding": [number]});
    let unnamed = json!({"index": null, "embedding": [1.0]});
    for data in [
        json!([item(1.0), item(2.0), item(3.0)]),
        json!([at(2, 3.0), at(1, 2.0), item(1.0)]),
        json!([at(2, 3.0), unnamed, at(1, 2.0)]),
    ] {
        let answer = judge(&data, 3).unwrap();
        let placed: Vec<_> = answer.entries.iter().map(numbers).collect();
        assert_eq!(placed, [[1.0], [2.0], [3.0]], "{data}");
    }
    let unclear = json!([at(1, 2.0), item(1.0), item(3.0)]);
    assert_eq!(judge(&unclear, 3).unwrap_err(), Unsound::Unplaced);
    let twice = json!([at(0, 2.0), item(1.0)]);
    assert_eq!(judge(&twice, 2).unwrap_err(), Unsound::Repeated(0));
}

#[test]
fn one_worthless_vector_condemns_only_itself() {
    let data = json!([
        {"index": 1, "embedding": [0.5, null]},
        {"index": 0, "embedding": [1.0, 2.0]},
        {"index": 2, "embedding": [0.0, 0.0]},
    ]);
    let answer = judge(&data, 3).unwrap();
    assert_eq!(numbers(&answer.entries[0]), [1.0, 2.0]);
    assert_eq!(&answer.entries[1..], [None, None]);
    assert_eq!(answer.fault, Some(Unsound::Undecodable(1)));
}

#[test]
fn what_python_writes_for_no_number_condemns_only_its_vector() {
    for word in ["NaN", "Infinity", "-Infinity"] {
        let body = format!(
            r#"{{"model":"NaN \" NaN","data":[{{"index":1,"embedding":[1,{word}]}},{{"index":0,"embedding":[1,2]}}]}}"#
        );
        let answer = judge_bytes(body.as_bytes(), &inputs(2), None).unwrap();
        assert_eq!(numbers(&answer.entries[0]), [1.0, 2.0]);
        assert_eq!(answer.entries[1], None);
        let model = &answer.entries[0].as_ref().unwrap().model;
        assert_eq!(&**model, "NaN \" NaN");
    }
}

#[test]
fn what_vectors_do_not_need_may_be_unreadable() {
    for rest in [
        r#""usage":"12""#,
        r#""usage":1.5"#,
        r#""usage":[1]"#,
        r#""usage":null"#,
        r#""usage":{"prompt_tokens":"12"}"#,
        r#""usage":{"prompt_tokens":1.5,"total_tokens":-3}"#,
        r#""usage":{"prompt_tokens":[1],"total_tokens":null}"#,
        r#""usage":{"prompt_tokens":99999999999999999999}"#,
        r#""model":null,"object":null"#,
        r#""model":7"#,
        r#""model":{"a":1}"#,
    ] {
        let body = format!("\u{feff}{{\"data\":[{{\"index\":0,\"embedding\":[1]}}],{rest}}}");
        let answer = judge_bytes(body.as_bytes(), &inputs(1), None).unwrap();
        assert_eq!(numbers(&answer.entries[0]), [1.0], "{rest}");
        assert_eq!(answer.billed_tokens, 0, "{rest}");
        assert_eq!(&*answer.entries[0].as_ref().unwrap().model, "asked");
    }
    let total =
        br#"{"data":[{"index":0,"embedding":[1]}],"usage":{"prompt_tokens":"x","total_tokens":7}}"#;
    assert_eq!(
        judge_bytes(total, &inputs(1), None).unwrap().billed_tokens,
        7
    );
}

proptest! {
    #[test]
    fn any_permutation_gives_every_input_its_own(order in Just((0..20_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let data: Vec<_> = order.iter()
            .map(|&index| json!({"index": index, "embedding": base64(&[index as f32 + 1.0])}))
            .collect();
        let answer = judge(&json!(data), 20).unwrap();
        for (index, entry) in answer.entries.iter().enumerate() {
            prop_assert_eq!(numbers(entry), [index as f32 + 1.0]);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(judge_bytes(&body, &inputs(1), None).is_err());
    }
}
