//! An embeddings answer as it arrives.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The mark that some servers put in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A JSON object: `derive` would take a list for one, its elements in the order of the fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnswerVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for AnswerVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(AnswerVisitor(PhantomData))
    }
}

fn objects<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|Object(object)| object).collect())
}

#[derive(serde::Deserialize)]
pub(super) struct WireAnswer<'a> {
    #[serde(borrow, deserialize_with = "objects")]
    pub(super) data: Vec<WireItem<'a>>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(serde::Deserialize)]
pub(super) struct WireItem<'a> {
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(borrow)]
    pub(super) embedding: &'a RawValue,
}

#[derive(serde::Deserialize)]
struct WireUsage<'a> {
    #[serde(borrow, default)]
    prompt_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    total_tokens: Option<&'a RawValue>,
}

impl<'a> WireAnswer<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let Object(answer) = serde_json::from_slice(body).ok()?;
        Some(answer)
    }

    /// The model's name, if it is one.
    pub(super) fn model(&self) -> Option<String> {
        serde_json::from_str(self.model?.get()).ok()
    }

    /// What was charged, if a whole number says so.
    pub(super) fn tokens(&self) -> Option<u64> {
        let Object(usage): Object<WireUsage<'_>> = serde_json::from_str(self.usage?.get()).ok()?;
        let number = |raw: &RawValue| raw.get().parse().ok();
        let prompt = usage.prompt_tokens.and_then(number);
        prompt.or_else(|| usage.total_tokens.and_then(number))
    }
}

/// The body without a byte order mark, and with `null` for what Python writes as a number and
/// JSON does not know: an answer with one such number is paid for like any other.
pub(super) fn readable(body: &[u8]) -> Cow<'_, [u8]> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        Ok(_) => body.into(),
        Err(_) => without_non_numbers(body).into(),
    }
}

fn without_non_numbers(body: &[u8]) -> Vec<u8> {
    const NON_NUMBERS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let mut clean = Vec::with_capacity(body.len());
    let (mut rest, mut in_string) = (body, false);
    while let [first, after @ ..] = rest {
        let found = NON_NUMBERS.iter().find(|word| rest.starts_with(word));
        match (in_string, found) {
            (false, Some(word)) => {
                clean.extend_from_slice(b"null");
                rest = &rest[word.len()..];
                continue;
            }
            (true, _) if *first == b'\\' && !after.is_empty() => {
                clean.extend_from_slice(&rest[..2]);
                rest = &rest[2..];
                continue;
            }
            _ => {}
        }
        in_string ^= *first == b'"';
        clean.push(*first);
        rest = after;
    }
    clean
}
