//! `input`: a string, a list of strings, one list of tokens, or a list of lists of tokens.
//!
//! Elements are looked at one by one as they are read, and reading ends at the first that is too
//! many, too large or of another shape: 16 MB of `["","",…]` are millions of elements.

use bytes::Bytes;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::is_text;
use super::{Input, InputKind, Refused, Rules, SHAPE, Stop};

/// Reads the value of `input`, which is a part of `body`.
pub(super) fn parse(body: &Bytes, value: &RawValue, rules: &Rules) -> Result<Vec<Input>, Stop> {
    let raw = value.get();
    if raw.starts_with('"') {
        return Ok(vec![input(body, raw, 0, rules, text)?]);
    }
    let first = first_of_list(raw).ok_or(SHAPE)?;
    let kind = match first {
        b'"' => text,
        b'[' => token_list,
        _ => return Ok(vec![input(body, raw, 0, rules, token_list)?]),
    };
    let mut inputs = Vec::new();
    each_element(raw, |element| {
        if inputs.len() == rules.max_inputs {
            return Err(Stop::Refused(Refused::TooManyInputs));
        }
        inputs.push(input(body, element, inputs.len(), rules, kind)?);
        Ok(())
    })?;
    Ok(inputs)
}

fn input(
    body: &Bytes,
    raw: &str,
    place: usize,
    rules: &Rules,
    kind: fn(&str) -> Option<InputKind>,
) -> Result<Input, Stop> {
    if raw.len() > rules.max_input_bytes {
        return Err(Stop::Refused(Refused::InputTooLarge(place)));
    }
    Ok(Input {
        kind: kind(raw).ok_or(SHAPE)?,
        raw: body.slice_ref(raw.as_bytes()),
    })
}

fn text(raw: &str) -> Option<InputKind> {
    is_text(raw).then_some(InputKind::Text)
}

fn token_list(raw: &str) -> Option<InputKind> {
    let count = tokens(raw)?.len();
    let count = u32::try_from(count).ok().filter(|&count| count > 0)?;
    Some(InputKind::Tokens(count))
}

/// The token numbers of a JSON list.
pub(in crate::embeddings) fn tokens(raw: &str) -> Option<Vec<u32>> {
    serde_json::from_str(raw).ok()
}

/// How the first element of a list begins.
fn first_of_list(raw: &str) -> Option<u8> {
    let elements = raw.strip_prefix('[')?.trim_ascii_start();
    elements.bytes().next().filter(|&byte| byte != b']')
}

/// Calls `take` with each element of the list `raw`, until it stops.
fn each_element(raw: &str, take: impl FnMut(&str) -> Result<(), Stop>) -> Result<(), Stop> {
    struct Elements<'s, F>(F, &'s mut Option<Stop>);

    impl<'de, F: FnMut(&str) -> Result<(), Stop>> Visitor<'de> for Elements<'_, F> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON list")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(element) = list.next_element::<&RawValue>()? {
                if let Err(stop) = (self.0)(element.get()) {
                    *self.1 = Some(stop);
                    return Err(A::Error::custom("stopped"));
                }
            }
            Ok(())
        }
    }

    let mut stopped = None;
    let elements = Elements(take, &mut stopped);
    let read = serde_json::Deserializer::from_str(raw).deserialize_seq(elements);
    match (stopped, read) {
        (Some(stop), _) => Err(stop),
        (None, Err(_)) => Err(SHAPE),
        (None, Ok(())) => Ok(()),
    }
}
