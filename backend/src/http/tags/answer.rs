//! The `Surrogate-Key` that an answer carries. Every answer has one, so it is written straight
//! into one buffer.

use bytes::Bytes;
use http::header::HeaderValue;

use super::{MODEL, SCOPE, safe};
use crate::http::credentials::CredentialId;

/// Tags on their way into a header. Nothing else writes tags.
pub(super) struct TagList(String);

impl TagList {
    /// An empty list with room for `bytes`.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Appends a tag; `name` must be in its safe spelling, and `kind` is empty if it has none.
    pub(super) fn push(&mut self, kind: &str, name: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        if !kind.is_empty() {
            self.0.push_str(kind);
            self.0.push(':');
        }
        self.0.push_str(name);
    }

    /// Tags hold only what a header may hold; otherwise the header would be empty.
    pub(super) fn into_header(self) -> HeaderValue {
        HeaderValue::from_maybe_shared(Bytes::from(self.0)).unwrap_or(HeaderValue::from_static(""))
    }
}

/// The tags of an answer with vectors: its model, the scope that shares them, and the digest of
/// the credential that asked.
pub fn of_answer(model: &str, scope: &str, own: &str) -> HeaderValue {
    // A credential that shares with no other is its own scope.
    let shared = Some(scope).filter(|scope| *scope != own);
    // With the exact capacity, the string becomes a header's value without a copy.
    let room = |kind: &str, name: &str| kind.len() + ":".len() + name.len() + " ".len();
    let others = shared.map_or(0, |scope| room(SCOPE, scope)) + room(SCOPE, own) - " ".len();
    let mut tags = TagList::with_capacity(room(MODEL, model) + others);
    tags.push(MODEL, &safe(model));
    if let Some(scope) = shared {
        tags.push(SCOPE, &safe(scope));
    }
    tags.push(SCOPE, own);
    tags.into_header()
}

/// The tag of all answers to one credential.
pub fn of_credential(id: CredentialId) -> HeaderValue {
    let mut tags = TagList::with_capacity(0);
    tags.push(SCOPE, id.digits().as_str());
    tags.into_header()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::http::credentials::Credential;
    use crate::http::tags::Tag;

    #[test]
    fn an_answer_carries_the_tags_that_purge_it() {
        let id = Credential::take(&mut HeaderMap::new(), &[]).id;
        let (digits, model) = (id.to_string(), Tag::model("a b"));
        let own = Tag::scope(&digits);
        let expected = |tags: &[Tag]| super::super::header(tags);
        assert_eq!(of_credential(id), expected(std::slice::from_ref(&own)));
        assert_eq!(
            of_answer("a b", &digits, &digits),
            expected(&[model.clone(), own.clone()])
        );
        assert_eq!(
            of_answer("a b", "organization:ö", &digits),
            expected(&[model, Tag::scope("organization:ö"), own])
        );
    }
}
