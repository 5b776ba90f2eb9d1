//! `Surrogate-Key`: the tags by which answers and vectors are purged.
//!
//! A tag holds letters, digits and [`PUNCTUATION`] only, so that it can stand in a ban expression
//! of Varnish. Any other character of a name becomes `_`: two names may then share a tag, and a
//! purge takes one too many rather than one too few.

mod answer;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use http::header::{HeaderMap, HeaderValue};

pub use self::answer::{of_answer, of_credential};
use crate::http::headers::{SURROGATE_KEY, X_PURGE_ALL};

/// What a tag may hold besides letters and digits. Varnish has the same list.
pub const PUNCTUATION: &str = "_.:/@%=~-";

/// The kind of the tag of a model.
pub(crate) const MODEL: &str = "model";

/// The kind of the tag of a scope.
pub(crate) const SCOPE: &str = "scope";

/// The kind and the name of the tag of everything.
pub(crate) const ALL: &str = "all";

/// Longer tags are refused: not every store takes longer object names. Varnish refuses them too.
pub const MAX_TAG_BYTES: usize = 256;

/// Bound on all different tags of one PURGE, with a blank between them. A ban of Varnish is one
/// regular expression: a dot of a tag takes three characters there, and from some 30 KiB on it is
/// too large.
pub const MAX_TAG_LIST_BYTES: usize = 8 << 10;

/// One tag: a kind and a name, both in their safe spelling. A tag without a kind is one that an
/// operator or a proxy has put on answers; no vector carries it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// Empty if the tag has none.
    kind: String,
    name: String,
}

/// Why the headers of a PURGE name nothing to purge. The messages are for callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TagError {
    #[error(
        "A tag of Surrogate-Key is a name, or a kind, a colon and a name, of letters, digits and \
         {PUNCTUATION} only."
    )]
    Malformed,
    #[error("A tag of Surrogate-Key is longer than {MAX_TAG_BYTES} bytes.")]
    TooLong,
    #[error("Surrogate-Key names no tag.")]
    Nothing,
    #[error("X-Purge-All must be true.")]
    NotTrue,
    #[error(
        "The different tags of Surrogate-Key are longer than {MAX_TAG_LIST_BYTES} bytes together. \
         Purge some at a time."
    )]
    TooMany,
}

impl TagError {
    /// A word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed | Self::TooLong | Self::Nothing | Self::NotTrue => "invalid_tag",
            Self::TooMany => "too_many_tags",
        }
    }
}

impl Tag {
    /// The tag of a name of some kind.
    pub fn new(kind: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            name: safe(name).into_owned(),
        }
    }

    /// The tag of everything that comes from one model.
    pub fn model(model: &str) -> Self {
        Self::new(MODEL, model)
    }

    /// The tag of everything that one scope shares.
    pub fn scope(scope: &str) -> Self {
        Self::new(SCOPE, scope)
    }

    /// The tag of everything.
    pub fn all() -> Self {
        Self::new(ALL, ALL)
    }

    /// Whether vectors carry tags of this kind.
    pub fn is_of_vectors(&self) -> bool {
        matches!(&*self.kind, MODEL | SCOPE) || *self == Self::all()
    }

    /// The part before the colon.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The part after the colon.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Kind and name.
    pub fn into_parts(self) -> (String, String) {
        (self.kind, self.name)
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        if text.len() > MAX_TAG_BYTES {
            return Err(TagError::TooLong);
        }
        let (kind, name) = match text.split_once(':') {
            Some(("", _)) => return Err(TagError::Malformed),
            Some(parts) => parts,
            None => ("", text),
        };
        let fits = kind.chars().all(|c| c.is_ascii_alphanumeric())
            && !name.is_empty()
            && name.chars().all(is_safe);
        let tag = || Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        fits.then(tag).ok_or(TagError::Malformed)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.kind.is_empty() {
            write!(f, "{}:", self.kind)?;
        }
        f.write_str(&self.name)
    }
}

/// Tags as the value of `Surrogate-Key`.
pub fn header(tags: &[Tag]) -> HeaderValue {
    let mut list = answer::TagList::with_capacity(0);
    for tag in tags {
        list.push(&tag.kind, &tag.name);
    }
    list.into_header()
}

/// The safe spelling of a name. Most are safe as they are.
pub(crate) fn safe(name: &str) -> Cow<'_, str> {
    match name.bytes().all(|byte| SAFE[usize::from(byte)]) {
        true => name.into(),
        false => name
            .chars()
            .map(|c| if is_safe(c) { c } else { '_' })
            .collect(),
    }
}

/// The tags that a PURGE names, each once. A header that is present and names none is an error.
pub fn to_purge(headers: &HeaderMap) -> Result<Vec<Tag>, TagError> {
    let mut tags = Vec::new();
    for value in headers.get_all(X_PURGE_ALL) {
        let all = value.as_bytes().eq_ignore_ascii_case(b"true");
        tags.push(all.then(Tag::all).ok_or(TagError::NotTrue)?);
    }
    let before = tags.len();
    let (mut seen, mut list_bytes) = (HashSet::new(), 0);
    for value in headers.get_all(SURROGATE_KEY) {
        let value = value.to_str().map_err(|_| TagError::Malformed)?;
        for tag in value.split([' ', ',']).filter(|tag| !tag.is_empty()) {
            if seen.insert(tag) {
                list_bytes += tag.len() + usize::from(list_bytes > 0);
                tags.push(tag.parse()?);
            }
        }
    }
    match headers.contains_key(SURROGATE_KEY) && tags.len() == before {
        true => Err(TagError::Nothing),
        false if list_bytes > MAX_TAG_LIST_BYTES => Err(TagError::TooMany),
        false => Ok(tags),
    }
}

fn is_safe(c: char) -> bool {
    c.is_ascii() && SAFE[c as usize]
}

/// By byte, whether a tag may hold it.
const SAFE: [bool; 256] = {
    let mut safe = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        safe[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut rest = PUNCTUATION.as_bytes();
    while let [first, after @ ..] = rest {
        safe[*first as usize] = true;
        rest = after;
    }
    safe
};

#[cfg(test)]
mod tests;
