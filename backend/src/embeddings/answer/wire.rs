//! An embeddings answer as it arrives.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The mark that some servers put in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Deserialize)]
pub(super) struct WireAnswer<'a> {
    #[serde(borrow)]
    pub(super) data: Vec<WireItem<'a>>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct WireItem<'a> {
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(borrow)]
    pub(super) embedding: &'a RawValue,
}

#[derive(Deserialize)]
struct WireUsage<'a> {
    #[serde(borrow, default)]
    prompt_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    total_tokens: Option<&'a RawValue>,
}

impl<'a> WireAnswer<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The model's name, if it is one.
    pub(super) fn model(&self) -> Option<String> {
        serde_json::from_str(self.model?.get()).ok()
    }

    /// What was charged, if a whole number says so.
    pub(super) fn tokens(&self) -> Option<u64> {
        // A list would count as an object without names.
        let object = self.usage?.get();
        let object = object.starts_with('{').then_some(object)?;
        let usage: WireUsage<'_> = serde_json::from_str(object).ok()?;
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
