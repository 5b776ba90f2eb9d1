//! The `Surrogate-Key` that an answer carries. Every answer has one, so it is written straight
//! into one buffer.

use bytes::Bytes;
use http::header::HeaderValue;

use super::{MODEL, SCOPE, safe};
use crate::http::credentials::CredentialId;

/// The tags of an answer with vectors: its model, the scope that shares them, and the digest of
/// the credential that asked.
pub fn of_answer(model: &str, scope: &str, own: &str) -> HeaderValue {
    // A credential that shares with no other is its own scope.
    let shared = Some(scope).filter(|scope| *scope != own);
    // With the exact capacity, the string becomes a header's value without a copy.
    let room = |kind: &str, name: &str| kind.len() + ":".len() + name.len() + " ".len();
    let others = shared.map_or(0, |scope| room(SCOPE, scope)) + room(SCOPE, own) - " ".len();
    let mut tags = String::with_capacity(room(MODEL, model) + others);
    push_kind(&mut tags, MODEL);
    tags.push_str(&safe(model));
    if let Some(scope) = shared {
        push_kind(&mut tags, SCOPE);
        tags.push_str(&safe(scope));
    }
    push_kind(&mut tags, SCOPE);
    tags.push_str(own);
    header(tags)
}

/// The tag of all answers to one credential.
pub fn of_credential(id: CredentialId) -> HeaderValue {
    let mut tag = String::new();
    push_kind(&mut tag, SCOPE);
    tag.push_str(id.digits().as_str());
    header(tag)
}

fn push_kind(tags: &mut String, kind: &str) {
    if !tags.is_empty() {
        tags.push(' ');
    }
    tags.push_str(kind);
    tags.push(':');
}

/// Tags hold only what a header may hold; otherwise the header would be empty.
pub(super) fn header(tags: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(tags)).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::http::credentials::Credential;
    use crate::http::tags::Tag;

    #[test]
    fn an_answer_carries_the_tags_that_purge_it() {
        let id = Credential::take(&mut HeaderMap::new()).id;
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
