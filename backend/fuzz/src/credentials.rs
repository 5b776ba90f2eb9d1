//! A credential takes its headers along, shows none of them, and has another name than any other.

use embedding_gateway::http::credentials::{
    CREDENTIAL_HEADERS, CREDENTIAL_QUERIES, Credential, in_query,
};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::lines;

const FURTHER: [HeaderName; 2] = [
    HeaderName::from_static("x-a"),
    HeaderName::from_static("x-b"),
];

/// Reads `data` as the headers of two requests with an empty line between them, and as a query.
pub fn check(data: &[u8]) {
    let middle = data.windows(2).position(|pair| pair == b"\n\n");
    let (one, other) = data.split_at(middle.unwrap_or(data.len()));
    let (one, other) = (lines::headers(one), lines::headers(other));
    let same = parts(&one) == parts(&other);
    assert_eq!(taken(one).id == taken(other).id, same);
    if let Ok(query) = std::str::from_utf8(data) {
        assert_eq!(in_query(query), second_reading(query));
    }
}

fn parts(headers: &HeaderMap) -> Vec<(HeaderName, Vec<HeaderValue>)> {
    let names = CREDENTIAL_HEADERS.into_iter().chain(FURTHER);
    let values = |name: HeaderName| {
        let values = headers.get_all(&name).iter().cloned().collect();
        (name, values)
    };
    names.map(values).collect()
}

fn taken(mut headers: HeaderMap) -> Credential {
    let before = headers.len();
    let credential = Credential::take(&mut headers, &FURTHER);
    assert_eq!(headers.len() + credential.headers.len(), before);
    assert!(parts(&headers).iter().all(|(_, values)| values.is_empty()));
    assert!(
        credential
            .headers
            .iter()
            .all(|(_, value)| value.is_sensitive())
    );
    let is_name = |id: String| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_name(credential.id.to_string()) && is_name(credential.key_id().to_string()));
    credential
}

fn second_reading(query: &str) -> bool {
    let members = query.replace(';', "&");
    let mut names = members
        .split('&')
        .map(|member| member.split_once('=').map_or(member, |(name, _)| name));
    names.any(|name| {
        let name = percent_decode_str(name)
            .decode_utf8_lossy()
            .to_ascii_lowercase();
        CREDENTIAL_QUERIES.contains(&&*name)
    })
}
