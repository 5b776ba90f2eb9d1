//! One request to purge, checked before it goes out: no Varnish gets what it would refuse.

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use http_body_util::Empty;

use super::error::PurgeError;
use crate::http::headers::{SURROGATE_KEY, X_PURGE_ALL};
use crate::http::tags::{self, Tag};

/// Bound on the target: a ban of a URL takes this much.
pub(super) const MAX_TARGET_BYTES: usize = 16 << 10;

/// A purge: of a URL, of tags or of everything.
#[derive(Clone, Debug)]
pub(super) struct Purge {
    method: Method,
    /// The path and query, byte for byte, because Varnish compares them.
    pub(super) target: PathAndQuery,
    headers: HeaderMap,
}

impl Purge {
    pub(super) fn new(request: &Parts) -> Result<Self, PurgeError> {
        let target = request.uri.path_and_query().cloned();
        let target = target.filter(is_bannable).ok_or(PurgeError::InvalidPath)?;
        let tags = tags::to_purge(&request.headers)?;
        let headers = headers(&tags);
        let method = request.method.clone();
        Ok(Self {
            method,
            target,
            headers,
        })
    }

    /// The request to one peer, with `host` as its `Host`.
    pub(super) fn request(&self, host: &HeaderValue) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.target.clone());
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(HOST, host.clone());
        let close = HeaderValue::from_static("close");
        request.headers_mut().insert(CONNECTION, close);
        request
    }

    /// The tags, for the log.
    pub(super) fn tags(&self) -> &str {
        let tags = self.headers.get(SURROGATE_KEY);
        tags.and_then(|tags| tags.to_str().ok()).unwrap_or_default()
    }

    pub(super) fn is_all(&self) -> bool {
        self.headers.contains_key(X_PURGE_ALL)
    }
}

/// The same rule as in `purge.vcl`: `^/[!#-\[\]-~]*$`.
fn is_bannable(target: &PathAndQuery) -> bool {
    let target = target.as_str();
    target.starts_with('/')
        && target.len() <= MAX_TARGET_BYTES
        && target
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

/// The headers of the tags. `all:all` becomes `X-Purge-All`, because Varnish takes it for a tag
/// like any other.
fn headers(tags: &[Tag]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if tags.contains(&Tag::all()) {
        headers.insert(X_PURGE_ALL, HeaderValue::from_static("true"));
    } else if !tags.is_empty() {
        headers.insert(SURROGATE_KEY, tags::header(tags));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tags::MAX_TAG_LIST_BYTES;

    fn purge(target: &str, headers: &[(&str, &str)]) -> Result<Purge, PurgeError> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Purge::new(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn the_target_is_kept_byte_for_byte() {
        for target in ["/", "/v1/embeddings?a='b'&c=%7b{}", "/a/../b//c?"] {
            assert_eq!(purge(target, &[]).unwrap().target.as_str(), target);
        }
        let absolute = purge("http://elsewhere/v1/embeddings?a", &[]).unwrap();
        assert_eq!(absolute.target, "/v1/embeddings?a");
    }

    #[test]
    fn a_target_that_cannot_be_banned_is_refused() {
        let long = format!("/{}", "a".repeat(MAX_TARGET_BYTES));
        for target in ["*", "/a\"b", "/a\\b", "/a?\\", "/a\u{e4}", &long] {
            let refused = purge(target, &[]).unwrap_err();
            assert_eq!(refused.code(), "invalid_path", "{target}");
        }
    }

    #[test]
    fn tags_are_sent_in_one_spelling() {
        let list = [
            ("surrogate-key", " model:a,,scope:b docs model:a"),
            ("surrogate-key", "model:c scope:b"),
        ];
        let tags = purge("/", &list).unwrap();
        assert_eq!(tags.tags(), "model:a scope:b docs model:c");
        for all in [
            ("x-purge-all", "True"),
            ("surrogate-key", "model:a all:all"),
        ] {
            let purge = purge("/", &[all]).unwrap();
            assert!(purge.is_all() && purge.tags().is_empty());
        }
    }

    #[test]
    fn more_tags_than_a_ban_holds_are_refused() {
        let tag = |n: usize| format!("m:{n:05} ");
        let list: String = (0..MAX_TAG_LIST_BYTES / tag(0).len()).map(tag).collect();
        assert!(purge("/", &[("surrogate-key", &list)]).is_ok());
        let one_more = format!("{list} model:a");
        let refused = purge("/", &[("surrogate-key", &one_more)]).unwrap_err();
        assert_eq!(refused.code(), "too_many_tags");
    }
}
