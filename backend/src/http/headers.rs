//! Header names, and which headers cross between client and upstream.

mod directives;

use http::Version;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap,
    HeaderName, RETRY_AFTER, VIA, WWW_AUTHENTICATE,
};

pub use self::directives::Directives;

/// Lower-case hex SHA-256 of the request body, computed by the filter in the proxy in front.
pub const X_BODY_HASH: HeaderName = HeaderName::from_static("x-body-hash");

/// The client's `Cache-Control`, copied by Varnish, which drops the original from its fetches.
pub const X_CLIENT_CACHE_CONTROL: HeaderName = HeaderName::from_static("x-client-cache-control");

/// The tokens that the upstream charged for this request; `usage` in the body is nominal.
pub const X_EMBEDDING_BILLED_TOKENS: HeaderName =
    HeaderName::from_static("x-embedding-billed-tokens");

/// How the answer came about (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Tags by which Varnish purges the answer.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// The method that purges. No registry lists it; caches have long agreed on it.
pub const PURGE: &str = "PURGE";

/// `true` purges everything.
pub const X_PURGE_ALL: HeaderName = HeaderName::from_static("x-purge-all");

/// Headers of one connection (RFC 9110, 7.6.1). `Trailer` announces what does cross.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
    "proxy-connection",
];

/// Headers of the way to the gateway, or for the gateway alone; the upstream gets none of them.
static OURS: [HeaderName; 11] = [
    HOST,
    EXPECT,
    VIA,
    FORWARDED,
    X_BODY_HASH,
    X_CLIENT_CACHE_CONTROL,
    SURROGATE_KEY,
    X_PURGE_ALL,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// Headers that proxies in front add.
const OUR_PREFIXES: [&str; 4] = ["x-forwarded-", "x-envoy-", "x-b3-", "x-varnish"];

/// Headers of the upstream's answer to an embeddings call that the client gets: what OpenAI's and
/// Azure's SDKs read (`tests/chain/sdk_headers.json` names the sources), and no cookie.
static FROM_UPSTREAM: [HeaderName; 9] = [
    CONTENT_TYPE,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ms-retry-after-ms"),
    HeaderName::from_static("x-should-retry"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("apim-request-id"),
    HeaderName::from_static("x-ms-request-id"),
];

/// More names than a client and the proxies in front of it usually send.
const FEW: usize = 24;

/// More such headers, by their prefix.
const FROM_UPSTREAM_PREFIXES: [&str; 2] = ["x-ratelimit-", "openai-"];

/// Removes the headers of one connection, including those that `Connection` names.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // Fast path: few requests have any.
    if !headers
        .keys()
        .any(|name| HOP_BY_HOP.contains(&name.as_str()))
    {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().map(HeaderName::as_str).chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes the headers that only the gateway and the proxies in front of it need.
pub fn remove_ours(headers: &mut HeaderMap) {
    let prefixed = |name: &&HeaderName| OUR_PREFIXES.iter().any(|p| name.as_str().starts_with(p));
    let named: Vec<HeaderName> = headers.keys().filter(prefixed).cloned().collect();
    for name in named.iter().chain(&OURS) {
        headers.remove(name);
    }
}

/// Removes cookies: they could carry an identity besides the credential headers.
pub fn remove_cookies(headers: &mut HeaderMap) {
    headers.remove(COOKIE);
}

/// The headers of the upstream's answer to an embeddings call that the client gets.
pub fn for_caller(answer: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in answer {
        let prefixed = FROM_UPSTREAM_PREFIXES
            .iter()
            .any(|p| name.as_str().starts_with(p));
        if prefixed || FROM_UPSTREAM.contains(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// Whether a request says for which host it is, and says it once (RFC 9112, 3.2). HTTP/1.0 need not
/// say it, and HTTP/2 says it in its target.
pub fn names_one_host<B>(request: &http::Request<B>) -> bool {
    let mut named = request.headers().get_all(HOST).iter();
    match (named.next(), named.next()) {
        (_, Some(_)) => false,
        (None, _) => request.version() != Version::HTTP_11,
        (Some(_), None) => true,
    }
}

/// The bytes of headers on the wire: name, colon, blank, value and the end of the line.
pub fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}

/// Whether a header is there. Most of those that are asked for are not, and among few names it
/// takes less to compare each than to hash one.
pub fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    match headers.keys_len() <= FEW {
        true => headers.keys().any(|other| other == name),
        false => headers.contains_key(name),
    }
}

/// The length that the sender announced for the body.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::forwarded;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn hop_by_hop_headers_go_and_so_does_what_connection_names() {
        let mut given = headers(&[
            ("connection", "close, X-Private"),
            ("connection", "x-second"),
            ("x-private", "1"),
            ("x-second", "2"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "x"),
            ("x-kept", "3"),
        ]);
        remove_hop_by_hop(&mut given);
        assert_eq!(names(&given), ["x-kept"]);
    }

    #[test]
    fn the_operator_can_have_none_of_them_forwarded() {
        let ours = OURS.iter().map(HeaderName::as_str);
        for name in HOP_BY_HOP.into_iter().chain(ours) {
            assert!(forwarded::is_reserved(name), "{name}");
        }
        for prefix in OUR_PREFIXES {
            assert!(forwarded::is_reserved(&format!("{prefix}x")), "{prefix}");
        }
    }

    #[test]
    fn what_is_between_us_and_the_proxies_stays_here() {
        let mut given = headers(&[
            ("host", "gateway"),
            ("x-body-hash", "0"),
            ("x-client-cache-control", "no-store"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-envoy-attempt-count", "1"),
            ("traceparent", "00-0"),
            ("openai-beta", "assistants=v2"),
        ]);
        remove_ours(&mut given);
        assert_eq!(names(&given), ["openai-beta"]);
    }

    #[test]
    fn callers_see_rate_limits_and_whether_to_retry_but_no_cookies() {
        let answer = headers(&[
            ("set-cookie", "__cf_bm=1"),
            ("x-ratelimit-remaining-tokens", "5"),
            ("retry-after", "3"),
            ("x-should-retry", "false"),
            ("openai-processing-ms", "17"),
            ("server", "cloudflare"),
        ]);
        let kept = for_caller(&answer);
        let expected = [
            "x-ratelimit-remaining-tokens",
            "retry-after",
            "x-should-retry",
            "openai-processing-ms",
        ];
        assert_eq!(names(&kept), expected);
    }
}
