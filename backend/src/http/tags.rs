//! `Surrogate-Key`: the tags by which answers and vectors are purged.
//!
//! A tag holds letters, digits and [`PUNCTUATION`] only, so that it can stand in a ban expression
//! of Varnish. Any other character of a name becomes `_`: two names may then share a tag, and a
//! purge takes one too many rather than one too few.

mod answer;

use std::borrow::Cow;
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

/// One tag: a kind and a name, both in their safe spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    kind: String,
    name: String,
}

/// The text is no tag.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag is a kind, a colon and a name, of letters, digits and `{PUNCTUATION}`")]
pub struct NoTag;

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
    type Err = NoTag;

    fn from_str(text: &str) -> Result<Self, NoTag> {
        let (kind, name) = text.split_once(':').ok_or(NoTag)?;
        let fits = text.len() <= MAX_TAG_BYTES
            && !kind.is_empty()
            && kind.chars().all(|c| c.is_ascii_alphanumeric())
            && !name.is_empty()
            && name.chars().all(is_safe);
        fits.then(|| Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
        })
        .ok_or(NoTag)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
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

/// The tags that a PURGE names. A header that is present and names none is an error.
pub fn to_purge(headers: &HeaderMap) -> Result<Vec<Tag>, NoTag> {
    let mut tags = Vec::new();
    for value in headers.get_all(X_PURGE_ALL) {
        let all = value.as_bytes().eq_ignore_ascii_case(b"true");
        tags.push(all.then(Tag::all).ok_or(NoTag)?);
    }
    let before = tags.len();
    for value in headers.get_all(SURROGATE_KEY) {
        let value = value.to_str().map_err(|_| NoTag)?;
        for tag in value.split([' ', ',']).filter(|tag| !tag.is_empty()) {
            tags.push(tag.parse()?);
        }
    }
    let silent = headers.contains_key(SURROGATE_KEY) && tags.len() == before;
    if silent { Err(NoTag) } else { Ok(tags) }
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
mod tests {
    use super::*;
    use crate::embeddings::request::MAX_MODEL_BYTES;

    #[test]
    fn a_tag_is_safe_in_a_ban_expression() {
        let tag = |name| Tag::model(name).to_string();
        assert_eq!(tag("BAAI/bge-m3"), "model:BAAI/bge-m3");
        assert_eq!(tag("a b\r\nX: ü&&"), "model:a_b__X:____");
    }

    #[test]
    fn what_we_write_we_read() {
        for tag in [Tag::model("a/b"), Tag::scope("organization:x"), Tag::all()] {
            assert_eq!(tag.to_string().parse(), Ok(tag));
        }
    }

    #[test]
    fn the_longest_name_of_a_model_has_a_tag_too() {
        let longest = Tag::model(&"m".repeat(MAX_MODEL_BYTES)).to_string();
        assert_eq!(longest.len(), MAX_TAG_BYTES);
        assert!(longest.parse::<Tag>().is_ok());
    }

    #[test]
    fn a_purge_names_tags_or_everything_and_never_nothing() {
        let to_purge = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            super::to_purge(&headers)
        };
        let (a, b) = (Tag::new("m", "a"), Tag::new("m", "b"));
        assert_eq!(to_purge(&[]), Ok(vec![]));
        assert_eq!(to_purge(&[("x-purge-all", "TRUE")]), Ok(vec![Tag::all()]));
        let two = [("surrogate-key", " m:a,"), ("surrogate-key", "m:b")];
        assert_eq!(to_purge(&two), Ok(vec![a, b]));
        for (name, value) in [
            ("x-purge-all", ""),
            ("x-purge-all", "1"),
            ("surrogate-key", ""),
            ("surrogate-key", " , "),
            ("surrogate-key", "m:a\tm:b"),
        ] {
            assert_eq!(to_purge(&[(name, value)]), Err(NoTag), "{name}: {value}");
        }
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        let long = format!("model:{}", "x".repeat(MAX_TAG_BYTES));
        for text in [
            "",
            "model",
            "model:",
            ":x",
            "model:a b",
            "m*:b",
            "a/b:c",
            "m:a*",
            &long,
        ] {
            assert_eq!(text.parse::<Tag>(), Err(NoTag), "{text}");
        }
    }
}
