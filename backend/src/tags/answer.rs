//! The `Surrogate-Key` that an answer carries. Every answer has one, so it is written straight
//! into one buffer.

use bytes::Bytes;
use http::header::HeaderValue;

use super::{MODEL, SCOPE, push_safe};
use crate::credentials::CredentialId;

/// The tags of an answer with vectors: its model, the scope that shares them, and the credential
/// that it was given to.
pub fn of_answer(model: &str, scope: &str, id: CredentialId) -> HeaderValue {
    let own = id.digits();
    let own = own.as_str();
    // A scope that nobody shares is the credential.
    let own = Some(own).filter(|own| *own != scope);
    let tags = [
        Some((MODEL, model)),
        Some((SCOPE, scope)),
        own.map(|own| (SCOPE, own)),
    ];
    // Without room to spare, it becomes a header's value as it is.
    let room = |(kind, name): (&str, &str)| kind.len() + ":".len() + name.len() + " ".len();
    let room: usize = tags.iter().copied().flatten().map(room).sum();
    let mut text = String::with_capacity(room - " ".len());
    for (kind, name) in tags.into_iter().flatten() {
        push(&mut text, kind, name);
    }
    header(text)
}

/// The tag of everything that was given to one credential.
pub fn of_credential(id: CredentialId) -> HeaderValue {
    let mut tags = String::new();
    push(&mut tags, SCOPE, id.digits().as_str());
    header(tags)
}

fn push(tags: &mut String, kind: &str, name: &str) {
    if !tags.is_empty() {
        tags.push(' ');
    }
    tags.push_str(kind);
    tags.push(':');
    push_safe(tags, name);
}

/// Tags hold nothing that a header could not; an empty header is what is left if they did.
pub(super) fn header(tags: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(tags)).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::credentials::Credential;
    use crate::tags::Tag;

    #[test]
    fn an_answer_carries_the_tags_that_purge_it() {
        let id = Credential::take(&mut HeaderMap::new()).id;
        let (model, own) = (Tag::model("a b"), Tag::scope(&id.to_string()));
        let expected = |tags: &[Tag]| super::super::header(tags);
        assert_eq!(of_credential(id), expected(std::slice::from_ref(&own)));
        assert_eq!(
            of_answer("a b", &id.to_string(), id),
            expected(&[model.clone(), own.clone()])
        );
        assert_eq!(
            of_answer("a b", "organization:ö", id),
            expected(&[model, Tag::scope("organization:ö"), own])
        );
    }
}
