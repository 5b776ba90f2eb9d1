//! `Surrogate-Key`: the tags by which a cache in front can purge an answer.
//!
//! A tag is made of letters, digits and `._:-` only, so that it can stand in a ban expression as
//! it is. Any other byte of a name becomes `_`: two names may then share a tag, and a purge
//! takes one too many rather than one too few.

use http::header::HeaderValue;

use crate::credentials::CredentialId;

/// All tags of an answer: its model, the scope of its vectors, the credential it was given to.
pub fn all(model: &str, scope: &str, credential: CredentialId) -> HeaderValue {
    let tags = format!(
        "{} {} credential:{credential}",
        tag("model", model),
        tag("scope", scope)
    );
    value(&tags)
}

/// The tag of everything that was given to one credential.
pub fn credential(credential: CredentialId) -> HeaderValue {
    value(&format!("credential:{credential}"))
}

/// One tag in its safe spelling.
pub fn tag(kind: &str, name: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    format!("{kind}:{}", name.chars().map(safe).collect::<String>())
}

/// Tags hold nothing that a header could not; an empty header is what is left if they did.
fn value(tags: &str) -> HeaderValue {
    HeaderValue::from_str(tags).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_safe_in_a_ban_expression() {
        assert_eq!(
            tag("model", "text-embedding-3.small"),
            "model:text-embedding-3.small"
        );
        assert_eq!(
            tag("model", "BAAI/bge m3\r\nX: ü"),
            "model:BAAI_bge_m3__X___"
        );
    }
}
