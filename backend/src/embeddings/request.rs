//! An embeddings request as far as the gateway understands it.
//!
//! A body that it does not fully understand (an unknown shape of `input`, a repeated name, a lone
//! surrogate) is [`Parsed::Foreign`]: it goes to the upstream as it is and never near the cache,
//! because a guess could name another text's vector.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::json::{self, Members};

/// Longer model names are foreign: they would end up in keys, tags and metrics, and no operator
/// could purge by a tag that long.
pub const MAX_MODEL_BYTES: usize = 250;

/// Bound on the unknown fields together: they are hashed and re-written for every call.
const MAX_EXTRA_BYTES: usize = 64 * 1024;

/// What a body turned out to be.
#[derive(Debug)]
pub enum Parsed {
    /// Every part of it has one known meaning.
    Understood(EmbeddingRequest),
    /// JSON that the upstream must judge.
    Foreign,
}

/// The body is not one JSON value in UTF-8 (RFC 8259).
#[derive(Debug, PartialEq, Eq)]
pub struct NotJson;

/// How the client wants vectors written. Absent and `null` mean [`Encoding::Float`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A JSON list of numbers.
    Float,
    /// Base64 of the little-endian `f32`s.
    Base64,
}

/// One embeddings request.
///
/// [`super::key`] destructures it: a new field does not compile until someone decides whether
/// it names another vector.
#[derive(Clone, Debug)]
pub struct EmbeddingRequest {
    /// The model that the client asks for.
    pub model: Arc<str>,
    /// The length of the vectors that the client asks for.
    pub dimensions: Option<u32>,
    /// How to write the vectors.
    pub encoding: Encoding,
    /// The client's name for its end user: a JSON string as it was written.
    pub user: Option<Bytes>,
    /// What to embed, in order; never empty.
    pub inputs: Vec<Input>,
    /// Every other field: `"name":value,…` in canonical form, without braces.
    pub extra: String,
}

/// One thing to embed. It keeps the client's spelling, because that is what goes upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The JSON value as it was written, validated.
    pub raw: Bytes,
    /// What `raw` holds.
    pub kind: InputKind,
}

/// The two kinds of input; equal bytes of different kinds are different inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A JSON string.
    Text,
    /// A JSON list of token numbers, this many.
    Tokens(u32),
}

/// Reads a request body.
pub fn parse(body: &Bytes) -> Result<Parsed, NotJson> {
    let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
    let Some(members) = Members::parse(text) else {
        return if json::is_json(text) {
            Ok(Parsed::Foreign)
        } else {
            Err(NotJson)
        };
    };
    Ok(understand(body, members).map_or(Parsed::Foreign, Parsed::Understood))
}

fn understand(body: &Bytes, members: Members<'_>) -> Option<EmbeddingRequest> {
    if members.repeats_a_name() {
        return None;
    }
    let (mut model, mut inputs, mut dimensions, mut user) = (None, None, None, None);
    let mut encoding = Encoding::Float;
    let mut unknown = Vec::new();
    for (name, value) in members.0 {
        match &*name {
            "model" => model = Some(parse_model(value)?),
            "input" => inputs = Some(parse_inputs(body, value)?),
            "dimensions" => dimensions = parse_dimensions(value)?,
            "encoding_format" => encoding = parse_encoding(value)?,
            "user" => user = parse_user(body, value)?,
            _ => unknown.push((name, value)),
        }
    }
    Some(EmbeddingRequest {
        model: model?,
        dimensions,
        encoding,
        user,
        inputs: inputs?,
        extra: canonical_extra(&mut unknown)?,
    })
}

fn parse_model(value: &RawValue) -> Option<Arc<str>> {
    let model = json::text(value)?;
    (!model.is_empty() && model.len() <= MAX_MODEL_BYTES).then(|| model.into())
}

fn parse_dimensions(value: &RawValue) -> Option<Option<u32>> {
    match value.get() {
        "null" => Some(None),
        number => number.parse().ok().filter(|&n: &u32| n > 0).map(Some),
    }
}

fn parse_encoding(value: &RawValue) -> Option<Encoding> {
    match value.get() {
        "null" | "\"float\"" => Some(Encoding::Float),
        "\"base64\"" => Some(Encoding::Base64),
        _ => None,
    }
}

fn parse_user(body: &Bytes, value: &RawValue) -> Option<Option<Bytes>> {
    match value.get() {
        "null" => Some(None),
        raw => is_text(raw).then(|| Some(body.slice_ref(raw.as_bytes()))),
    }
}

fn canonical_extra(unknown: &mut [(json::Name<'_>, &RawValue)]) -> Option<String> {
    let written: usize = unknown
        .iter()
        .map(|(name, value)| name.len() + value.get().len())
        .sum();
    let mut extra = String::new();
    (written <= MAX_EXTRA_BYTES).then(|| json::canonicalise_members(unknown, &mut extra))??;
    Some(extra)
}

/// `input`: a string, a list of strings, one list of tokens, or a list of lists of tokens.
fn parse_inputs(body: &Bytes, value: &RawValue) -> Option<Vec<Input>> {
    let raw = value.get();
    if raw.starts_with('"') {
        return Some(vec![text_input(body, raw)?]);
    }
    let elements = json::elements(value)?;
    match elements.first()?.get().as_bytes().first()? {
        b'"' => elements.iter().map(|e| text_input(body, e.get())).collect(),
        b'[' => elements.iter().map(|e| token_input(body, e)).collect(),
        _ => Some(vec![token_input(body, value)?]),
    }
}

fn text_input(body: &Bytes, raw: &str) -> Option<Input> {
    is_text(raw).then(|| Input {
        raw: body.slice_ref(raw.as_bytes()),
        kind: InputKind::Text,
    })
}

fn token_input(body: &Bytes, value: &RawValue) -> Option<Input> {
    let count = u32::try_from(tokens(value.get())?.len())
        .ok()
        .filter(|&n| n > 0)?;
    Some(Input {
        raw: body.slice_ref(value.get().as_bytes()),
        kind: InputKind::Tokens(count),
    })
}

/// Whether `raw` is a JSON string that stands for Unicode text (no lone surrogate).
fn is_text(raw: &str) -> bool {
    raw.starts_with('"') && (!raw.contains('\\') || serde_json::from_str::<String>(raw).is_ok())
}

/// The token numbers of a JSON list.
pub(super) fn tokens(raw: &str) -> Option<Vec<u32>> {
    serde_json::from_str(raw).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str) -> Result<Parsed, NotJson> {
        parse(&Bytes::copy_from_slice(body.as_bytes()))
    }

    fn understood(body: &str) -> EmbeddingRequest {
        match read(body) {
            Ok(Parsed::Understood(request)) => request,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[track_caller]
    fn assert_foreign(body: &str) {
        assert!(matches!(read(body), Ok(Parsed::Foreign)), "{body}");
    }

    fn with_input(input: &str) -> String {
        format!(r#"{{"model":"m","input":{input}}}"#)
    }

    #[test]
    fn the_four_shapes_of_input_are_understood() {
        let shape = |input: &str| {
            let kinds = understood(&with_input(input))
                .inputs
                .into_iter()
                .map(|i| i.kind);
            kinds.collect::<Vec<_>>()
        };
        assert_eq!(shape(r#""a""#), [InputKind::Text]);
        assert_eq!(shape(r#"["a","b"]"#), [InputKind::Text, InputKind::Text]);
        assert_eq!(shape("[1,2,3]"), [InputKind::Tokens(3)]);
        assert_eq!(
            shape("[[1],[2,3]]"),
            [InputKind::Tokens(1), InputKind::Tokens(2)]
        );
    }

    #[test]
    fn an_unknown_shape_of_input_is_foreign() {
        for input in [
            "[]",
            "[[]]",
            "{}",
            "null",
            "1",
            "true",
            r#"["a",1]"#,
            r#"[1,"a"]"#,
            r#"["a",["b"]]"#,
            "[1.5]",
            "[-1]",
            "[1.0]",
            "[4294967296]",
            "[[1],2]",
            "[null]",
            r#"[{"text":"a"}]"#,
        ] {
            assert_foreign(&with_input(input));
        }
    }

    #[test]
    fn json_that_is_no_request_is_foreign() {
        for body in [
            "{}",
            "[]",
            "\"\"",
            "null",
            "17",
            r#"{"model":"m"}"#,
            r#"{"input":"a"}"#,
        ] {
            assert_foreign(body);
        }
        for model in ["1", "null", "\"\""] {
            assert_foreign(&format!(r#"{{"model":{model},"input":"a"}}"#));
        }
    }

    #[test]
    fn known_fields_of_a_wrong_type_are_foreign() {
        for field in [
            r#""dimensions":0"#,
            r#""dimensions":-1"#,
            r#""dimensions":256.0"#,
            r#""dimensions":"256""#,
            r#""dimensions":4294967296"#,
            r#""encoding_format":"hex""#,
            r#""encoding_format":1"#,
            r#""user":1"#,
            r#""user":"\ud800""#,
        ] {
            assert_foreign(&format!(r#"{{"model":"m","input":"a",{field}}}"#));
        }
    }

    #[test]
    fn a_repeated_name_is_foreign_however_it_is_spelt() {
        assert_foreign(r#"{"model":"m","input":"a","input":"b"}"#);
        assert_foreign(r#"{"model":"m","input":"a","inp\u0075t":"b"}"#);
        assert_foreign(r#"{"model":"m","input":"a","x":{"y":1,"y":2}}"#);
    }

    #[test]
    fn a_lone_surrogate_is_foreign() {
        assert_foreign(&with_input(r#""\ud800""#));
        assert_foreign(&with_input(r#"["a","\udc00x"]"#));
        assert_foreign(r#"{"model":"m","input":"a","\ud800":1}"#);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for body in [
            "",
            " ",
            "{",
            "{]",
            "nul",
            r#"{"a":1}x"#,
            "{'a':1}",
            "\u{feff}{}",
            "NaN",
        ] {
            assert_eq!(read(body).err(), Some(NotJson), "{body}");
        }
        assert_eq!(parse(&Bytes::from_static(b"\"\xff\"")).err(), Some(NotJson));
        assert_eq!(
            parse(&Bytes::from_static(b"{\"input\":\"\xc3\"}")).err(),
            Some(NotJson)
        );
    }

    #[test]
    fn null_means_absent() {
        let request = understood(
            r#"{"model":"m","input":"a","dimensions":null,"encoding_format":null,"user":null}"#,
        );
        assert_eq!(request.dimensions, None);
        assert_eq!(request.encoding, Encoding::Float);
        assert_eq!(request.user, None);
        assert_eq!(request.extra, "");
    }

    #[test]
    fn unknown_fields_are_kept_in_canonical_form() {
        let request = understood(
            r#"{"z": 1.50, "input":"a", "a":{"d":1, "c":"\u0041"}, "model":"m","n":9007199254740993}"#,
        );
        assert_eq!(
            request.extra,
            r#""a":{"c":"A","d":1},"n":9007199254740993,"z":1.50"#
        );
    }

    #[test]
    fn too_large_unknown_fields_are_foreign() {
        let long = "x".repeat(MAX_EXTRA_BYTES);
        assert_foreign(&format!(r#"{{"model":"m","input":"a","x":"{long}"}}"#));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = parse(&Bytes::from(body));
        }

        #[test]
        fn any_text_is_understood_and_kept_as_written(text in any::<String>()) {
            let raw = serde_json::to_string(&text).unwrap();
            let request = understood(&with_input(&raw));
            prop_assert_eq!(&request.inputs[0].raw[..], raw.as_bytes());
        }
    }
}
