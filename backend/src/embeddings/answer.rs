//! An upstream's successful answer, judged before anyone sees or stores it.
//!
//! Vectors are placed by `index`, never by position. One doubtful vector condemns the whole
//! answer: what is wrong in one place may be shifted in all the others.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::entry::{self, Entry, MAX_MODEL_BYTES};
use super::request::{Input, InputKind};
use super::usage;

/// What the call asked for, as far as the answer must fit it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The inputs that were sent, in order.
    pub inputs: &'a [Input],
    /// The model of the call: the answer's own name for it counts more, if the upstream sends one.
    pub model: &'a str,
    /// The length of the vectors that the call asks for.
    pub dimensions: Option<u32>,
    /// When the call began, in Unix milliseconds.
    pub asked_ms: u64,
}

/// A sound answer.
#[derive(Debug)]
pub struct Answer {
    /// One entry for each input of the question, in the question's order.
    pub entries: Vec<Entry>,
    /// What the upstream charged for the call, in tokens.
    pub billed_tokens: u64,
}

/// Why an answer cannot be used. The texts name numbers and places, never content.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Unsound {
    #[error("the body is not an embeddings answer")]
    Unreadable,
    #[error("{found} vectors for {wanted} inputs")]
    Count { wanted: usize, found: usize },
    #[error("index {0} is out of range")]
    OutOfRange(u64),
    #[error("index {0} stands twice")]
    Repeated(usize),
    #[error("the vector at index {0} cannot be decoded")]
    Undecodable(usize),
    #[error("the vector at index {0} is empty, all zero or not finite")]
    Worthless(usize),
    #[error("vectors of several calls have different dimensions")]
    Mixed,
    #[error("the vector at index {index} has {found} dimensions instead of {wanted}")]
    Dimensions {
        index: usize,
        wanted: usize,
        found: usize,
    },
}

#[derive(Deserialize)]
struct WireAnswer<'a> {
    #[serde(borrow)]
    data: Vec<WireItem<'a>>,
    model: Option<String>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct WireItem<'a> {
    index: u64,
    #[serde(borrow)]
    embedding: &'a RawValue,
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

/// Judges the body of a 200.
pub fn check(body: &[u8], question: &Question<'_>) -> Result<Answer, Unsound> {
    let answer: WireAnswer<'_> = serde_json::from_slice(body).map_err(|_| Unsound::Unreadable)?;
    let vectors = place(&answer.data, question)?;

    let model: Arc<str> = answer
        .model
        .filter(|name| !name.is_empty() && name.len() <= MAX_MODEL_BYTES)
        .map_or_else(|| question.model.into(), Into::into);
    let weights: Vec<u64> = question.inputs.iter().map(weight).collect();
    let billed_tokens = answer
        .usage
        .and_then(|usage| usage.prompt_tokens.or(usage.total_tokens))
        .unwrap_or(0)
        .min(u32::MAX.into());
    let shares = usage::share_out(billed_tokens, &weights);

    let entries = vectors
        .into_iter()
        .zip(shares)
        .map(|(vector, tokens)| Entry {
            model: Arc::clone(&model),
            tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
            created_ms: question.asked_ms,
            vector,
        });
    Ok(Answer {
        entries: entries.collect(),
        billed_tokens,
    })
}

/// Puts each vector where its `index` says.
fn place(items: &[WireItem<'_>], question: &Question<'_>) -> Result<Vec<Box<[u8]>>, Unsound> {
    let wanted = question.inputs.len();
    if items.len() != wanted {
        return Err(Unsound::Count {
            wanted,
            found: items.len(),
        });
    }
    let mut length = question.dimensions.map(|n| n as usize);
    let mut vectors: Vec<Option<Box<[u8]>>> = vec![None; wanted];
    for item in items {
        let index = usize::try_from(item.index)
            .ok()
            .filter(|&index| index < wanted)
            .ok_or(Unsound::OutOfRange(item.index))?;
        if vectors[index].is_some() {
            return Err(Unsound::Repeated(index));
        }
        let vector = decode(item.embedding.get()).ok_or(Unsound::Undecodable(index))?;
        if !entry::is_sound(&vector) {
            return Err(Unsound::Worthless(index));
        }
        let found = vector.len() / size_of::<f32>();
        let wanted = *length.get_or_insert(found);
        if found != wanted {
            return Err(Unsound::Dimensions {
                index,
                wanted,
                found,
            });
        }
        vectors[index] = Some(vector.into());
    }
    // As many items as places, and none twice: every place is taken.
    Ok(vectors.into_iter().flatten().collect())
}

/// Little-endian `f32`s out of base64, or out of a list of numbers.
fn decode(raw: &str) -> Option<Vec<u8>> {
    if raw.starts_with('[') {
        return decode_list(raw);
    }
    let unescaped;
    let text = match raw.strip_prefix('"')?.strip_suffix('"')? {
        plain if !plain.contains('\\') => plain,
        // Some JSON writers escape the slash, which is a base64 digit.
        _ => {
            unescaped = serde_json::from_str::<String>(raw).ok()?;
            &unescaped
        }
    };
    let bytes = base64_simd::STANDARD.decode_to_vec(text).ok()?;
    bytes
        .len()
        .is_multiple_of(size_of::<f32>())
        .then_some(bytes)
}

/// Parsed as `f32` straight away: over `f64` a number could be rounded twice.
fn decode_list(raw: &str) -> Option<Vec<u8>> {
    let numbers = raw.strip_prefix('[')?.strip_suffix(']')?.split(',');
    let mut bytes = Vec::with_capacity(raw.len() / 2);
    for number in numbers {
        let number: f32 = number.trim().parse().ok()?;
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    Some(bytes)
}

/// What an input probably costs in relation to its neighbours.
fn weight(input: &Input) -> u64 {
    match input.kind {
        InputKind::Text => input.raw.len() as u64,
        InputKind::Tokens(count) => count.into(),
    }
}

#[cfg(test)]
mod tests {
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

    fn judge_bytes(
        body: &[u8],
        inputs: &[Input],
        dimensions: Option<u32>,
    ) -> Result<Answer, Unsound> {
        let question = Question {
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

    fn numbers(entry: &Entry) -> Vec<f32> {
        entry::floats(&entry.vector).collect()
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
            assert_eq!(
                judge(&data, 1).unwrap_err(),
                Unsound::Worthless(0),
                "{numbers:?}"
            );
        }
        let overflow = json!([{"index": 0, "embedding": [1e39]}]);
        assert_eq!(judge(&overflow, 1).unwrap_err(), Unsound::Worthless(0));
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
            assert_eq!(
                judge(&data, 1).unwrap_err(),
                Unsound::Undecodable(0),
                "{embedding}"
            );
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
            r#"{"data":[{"embedding":[1]}]}"#,
            r#"{"data":[{"index":0,"embedding":[NaN]}]}"#,
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
        assert_eq!(&*named.unwrap().entries[0].model, "answered-v2");
        assert_eq!(&*judge(&data, 1).unwrap().entries[0].model, "asked");
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
            answer.entries.iter().map(|entry| entry.tokens).sum::<u32>(),
            100
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
}
