//! Which requests are hashed, and which are never held.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use body_hash_core::config::{Config, HostPattern, PathPrefix};
use body_hash_core::policy::{RequestHead, reason_to_skip};
use body_hash_core::stats::Reason;

struct Headers(Vec<(&'static str, &'static [u8])>);

impl RequestHead for Headers {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }
}

fn skip(json: &str, headers: &[(&'static str, &'static [u8])]) -> Option<Reason> {
    let mut all = headers.to_vec();
    all.extend([
        (":method", &b"POST"[..]),
        (":path", b"/v1/embeddings?x=1"),
        (":authority", b"api.example.com:8080"),
    ]);
    reason_to_skip(
        &Config::parse(json.as_bytes()).unwrap(),
        &Headers(all),
        false,
    )
}

const CONFIG: &str = r#"{"maxBodyBytes":1000}"#;

#[test]
fn a_post_is_hashed_whatever_else_it_carries() {
    assert_eq!(skip(CONFIG, &[]), None);
    assert_eq!(skip(CONFIG, &[("content-length", b"1")]), None);
    assert_eq!(skip(CONFIG, &[("content-length", b"1000")]), None);
    assert_eq!(skip(CONFIG, &[("content-type", b"application/json")]), None);
    assert_eq!(skip(CONFIG, &[("content-type", b"application/gr")]), None);
    assert_eq!(skip(CONFIG, &[("content-type", b"\xff\xfe")]), None);
    assert_eq!(skip(CONFIG, &[("content-length", b"\xff")]), None);
    assert_eq!(skip(CONFIG, &[("content-length", b"+5")]), None);
}

#[test]
fn what_has_no_end_to_wait_for_is_never_held() {
    assert_eq!(
        skip(CONFIG, &[(":method", b"CONNECT")]),
        Some(Reason::Connect)
    );
    assert_eq!(
        skip(CONFIG, &[(":protocol", b"websocket")]),
        Some(Reason::Connect)
    );
    assert_eq!(
        skip(CONFIG, &[("upgrade", b"websocket")]),
        Some(Reason::Upgrade)
    );
    for value in [
        &b"application/grpc"[..],
        b"application/grpc+proto",
        b"Application/GRPC-web",
    ] {
        let headers = Headers(vec![("content-type", value)]);
        let config = Config::parse(CONFIG.as_bytes()).unwrap();
        assert_eq!(reason_to_skip(&config, &headers, false), Some(Reason::Grpc));
    }
}

#[test]
fn a_client_that_waits_for_the_upstreams_100_is_not_held() {
    assert_eq!(
        skip(CONFIG, &[("expect", b"100-Continue ")]),
        Some(Reason::Expect)
    );
    assert_eq!(skip(CONFIG, &[("expect", b"")]), None);
    let empty = [("expect", &b"100-continue"[..]), ("content-length", b"0")];
    assert_eq!(skip(CONFIG, &empty), Some(Reason::NoBody));
}

#[test]
fn the_length_alone_can_decide() {
    assert_eq!(
        skip(CONFIG, &[("content-length", b"0")]),
        Some(Reason::NoBody)
    );
    assert_eq!(
        skip(CONFIG, &[("content-length", b"1001")]),
        Some(Reason::TooLarge)
    );
    let huge = b"99999999999999999999999999999999999999999";
    assert_eq!(
        skip(CONFIG, &[("content-length", huge)]),
        Some(Reason::TooLarge)
    );
}

#[test]
fn headers_that_are_the_whole_request_have_no_body() {
    let config = Config::parse(CONFIG.as_bytes()).unwrap();
    assert_eq!(
        reason_to_skip(&config, &Headers(Vec::new()), true),
        Some(Reason::NoBody)
    );
}

#[test]
fn only_selected_hosts_and_paths_are_hashed() {
    let selected = |lists: &str| skip(&format!(r#"{{{lists}}}"#), &[]).is_none();
    assert!(selected(r#""hosts":["other","api.example.com"]"#));
    assert!(selected(
        r#""hosts":["*.example.com"],"pathPrefixes":["/v1/embeddings"]"#
    ));
    assert!(!selected(r#""hosts":["example.com"]"#));
    assert!(!selected(
        r#""hosts":["*.example.com"],"pathPrefixes":["/v2"]"#
    ));
    assert!(!selected(r#""hosts":["other"],"pathPrefixes":["/v1"]"#));
}

#[test]
fn a_request_without_host_or_path_fits_no_list() {
    let lists = r#"{"hosts":["a"],"pathPrefixes":["/"]}"#;
    let config = Config::parse(lists.as_bytes()).unwrap();
    let reason = reason_to_skip(&config, &Headers(Vec::new()), false);
    assert_eq!(reason, Some(Reason::NotSelected));
}

#[test]
fn hosts_ignore_case_and_port() {
    let fits = |pattern, authority: &str| {
        HostPattern::parse(pattern)
            .unwrap()
            .matches(authority.as_bytes())
    };
    assert!(fits("API.example.com", "api.EXAMPLE.com"));
    assert!(fits("api.example.com", "api.example.com:443"));
    assert!(!fits("api.example.com", "api.example.com.evil"));
    assert!(!fits("api.example.com", "evilapi.example.com"));
    assert!(fits("*.example.com", "a.b.Example.com:1"));
    assert!(!fits("*.example.com", "example.com"));
    assert!(!fits("*.example.com", ".example.com"));
    assert!(!fits("*.example.com", "evilexample.com"));
    assert!(fits("[::1]", "[::1]:8080"));
    assert!(fits("[::1]", "[::1]"));
    assert!(!fits("a", ""));
}

#[test]
fn paths_are_compared_by_whole_segments_without_the_query() {
    let fits = |prefix, path: &str| PathPrefix::parse(prefix).unwrap().matches(path.as_bytes());
    assert!(fits("/v1", "/v1"));
    assert!(fits("/v1", "/v1?a=/b"));
    assert!(fits("/v1", "/v1/embeddings"));
    assert!(!fits("/v1", "/v1beta"));
    assert!(!fits("/v1", "/V1"));
    assert!(fits("/v1/", "/v1/x"));
    assert!(!fits("/v1/", "/v1"));
    assert!(fits("/", "/anything"));
    assert!(!fits("/", "*"));
}
