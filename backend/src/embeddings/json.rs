//! JSON taken apart without losing anything: number tokens stay as they were written and a
//! repeated name is noticed. `serde_json::Value` does neither.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Bounds the recursion: deeper values are not canonicalised. No known embeddings parameter nests
/// more than twice.
const MAX_DEPTH: usize = 16;

/// An object of more members is not taken apart: no request has as many.
const MAX_MEMBERS: usize = 64;

/// Members of most requests, with some to spare.
const USUAL: usize = 6;

/// Up to so many names are compared with each other, without a table.
const FEW: usize = 8;

/// The members of one JSON object in the order in which they were written.
#[derive(Debug)]
pub(super) struct Members<'a>(pub(super) Vec<(MemberName<'a>, &'a RawValue)>);

/// A member's name: only one that was written with escapes is copied.
pub(super) type MemberName<'a> = Cow<'a, str>;

impl<'a> Members<'a> {
    /// Takes an object apart, or `None` if `text` is no object, a name is no Unicode string, or
    /// there are more than [`MAX_MEMBERS`].
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether a name stands twice. Readers differ in which of the two they believe.
    pub(super) fn repeats_a_name(&self) -> bool {
        let mut names = self.0.iter().map(|(name, _)| &**name);
        if self.0.len() <= FEW {
            let before = |place| self.0[..place].iter().map(|(name, _)| &**name);
            return names
                .enumerate()
                .any(|(place, name)| before(place).any(|other| other == name));
        }
        let mut seen = HashSet::with_capacity(self.0.len());
        !names.all(|name| seen.insert(name))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(USUAL);
                while let Some((Borrowed(name), value)) = map.next_entry()? {
                    if members.len() == MAX_MEMBERS {
                        return Err(A::Error::custom("too many members"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Borrows where possible, which serde does not do for a bare `Cow`.
#[derive(Deserialize)]
#[serde(transparent)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text that a JSON string stands for, or `None` if `raw` is none, or no Unicode.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let Borrowed(text) = serde_json::from_str(raw.get()).ok()?;
    Some(text)
}

/// Whether `text` is one JSON value and nothing else.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The elements of an array, or `None` if `raw` is none.
pub(super) fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// Appends the canonical form of `members`, without the braces: no white space, names sorted,
/// strings in one spelling, numbers as they were written.
///
/// `None` if something is too deep, or has no single meaning.
pub(super) fn canonicalise_members(
    members: &mut [(MemberName<'_>, &RawValue)],
    out: &mut String,
) -> Option<()> {
    write_members(members, out, MAX_DEPTH)
}

fn canonicalise_within(raw: &RawValue, out: &mut String, depth: usize) -> Option<()> {
    let inner = depth.checked_sub(1)?;
    match raw.get().as_bytes().first()? {
        b'{' => {
            let mut members = Members::parse(raw.get()).filter(|m| !m.repeats_a_name())?;
            out.push('{');
            write_members(&mut members.0, out, inner)?;
            out.push('}');
        }
        b'[' => {
            out.push('[');
            for (index, element) in elements(raw)?.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonicalise_within(element, out, inner)?;
            }
            out.push(']');
        }
        b'"' => write_string(&serde_json::from_str::<String>(raw.get()).ok()?, out)?,
        _ => out.push_str(raw.get()),
    }
    Some(())
}

fn write_members(
    members: &mut [(MemberName<'_>, &RawValue)],
    out: &mut String,
    depth: usize,
) -> Option<()> {
    members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(name, out)?;
        out.push(':');
        canonicalise_within(value, out, depth)?;
    }
    Some(())
}

fn write_string(text: &str, out: &mut String) -> Option<()> {
    out.push_str(&serde_json::to_string(text).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Option<String> {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        let mut out = String::new();
        canonicalise_within(raw, &mut out, MAX_DEPTH).map(|()| out)
    }

    #[test]
    fn white_space_order_and_spelling_of_strings_do_not_matter() {
        assert_eq!(
            canonical(r#"{ "b" : [1, 2 ], "a": "\u0041" }"#),
            canonical(r#"{"a":"A","b":[1,2]}"#)
        );
    }

    #[test]
    fn numbers_keep_every_digit() {
        assert_eq!(canonical("9007199254740993").unwrap(), "9007199254740993");
        assert_eq!(canonical("1.0").unwrap(), "1.0");
        assert_ne!(canonical("1e2"), canonical("100"));
    }

    #[test]
    fn what_has_no_single_meaning_is_refused() {
        assert_eq!(canonical(r#"{"a":1,"a":2}"#), None);
        assert_eq!(canonical(r#"{"a":[{"b":1,"\u0062":2}]}"#), None);
        assert_eq!(canonical(r#""\ud800""#), None);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(canonical(&nested(MAX_DEPTH)).is_some());
        assert_eq!(canonical(&nested(MAX_DEPTH + 1)), None);
        assert!(is_json(&nested(100_000)));
    }
}
