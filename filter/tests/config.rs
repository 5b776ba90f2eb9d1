//! What a configuration may say, and that everything else is refused by name.

use std::time::Duration;

use body_hash_filter::config::Config;
use body_hash_filter::vm::instance::{Instance, Role};
use proptest::prelude::*;

fn parse(json: &str) -> Result<Instance, String> {
    Instance::parse(json.as_bytes()).map_err(|wrong| wrong.to_string())
}

#[test]
fn without_a_vm_there_is_no_role_and_every_field_has_its_default() {
    let parse = |json: &str| Config::parse(json.as_bytes()).map_err(|wrong| wrong.to_string());
    assert_eq!(parse(""), parse("{}"));
    assert_eq!(parse("{}").unwrap().max_body_bytes, 1_048_576);
    let line = parse(r#"{"role":"tap","header":""}"#).unwrap_err();
    assert!(
        line.contains("role: unknown field") && line.contains("header"),
        "{line}"
    );
}

#[test]
fn only_the_role_is_required() {
    let Instance { role, config } = parse(r#"{"role": "tap"}"#).unwrap();
    assert_eq!(role, Role::Tap);
    assert_eq!(config.header, "x-body-hash");
    assert_eq!(config.max_body_bytes, 1_048_576);
    assert_eq!(config.stall_timeout, Duration::from_secs(1));
    assert!(config.hosts.is_empty() && config.path_prefixes.is_empty());
}

#[test]
fn every_field_is_read() {
    let Instance { role, config } = parse(
        r#" {"role":"single","header":"X-Digest","maxBodyBytes":32768,"stallTimeout":250,
             "hosts":["a.example","*.b.example"],"pathPrefixes":["/v1"]} "#,
    )
    .unwrap();
    assert_eq!(role, Role::Single);
    assert_eq!(config.header, "x-digest");
    assert_eq!(config.max_body_bytes, 32_768);
    assert_eq!(config.stall_timeout, Duration::from_millis(250));
    assert_eq!((config.hosts.len(), config.path_prefixes.len()), (2, 1));
}

#[test]
fn the_limits_of_the_numbers_belong_to_them() {
    for json in [
        r#"{"role":"gate","maxBodyBytes":1,"stallTimeout":1}"#,
        r#"{"role":"gate","maxBodyBytes":4294967295,"stallTimeout":3600000}"#,
    ] {
        assert!(parse(json).is_ok(), "{json}");
    }
}

/// A configuration, and the field that the error must name.
const REFUSED: &[(&str, &str)] = &[
    ("", "role"),
    (" \n", "role"),
    ("{}", "role"),
    (r#"{"role":null}"#, "role"),
    (r#"{"role":"Tap"}"#, "role"),
    (r#"{"role":"both"}"#, "role"),
    (r#"{"role":["tap"]}"#, "role"),
    (r#"{"role":1}"#, "role"),
    (r#"{"role":"tap","role":"gate"}"#, "role"),
    (r#"{"header":"x-h"}"#, "role"),
    (r#"{"role":"tap","maxBodybytes":1}"#, "maxBodybytes"),
    (r#"{"role":"tap","max_body_bytes":1}"#, "max_body_bytes"),
    (r#"{"role":"tap","":1}"#, ": unknown field"),
    (r#"{"role":"tap","header":""}"#, "header"),
    (r#"{"role":"tap","header":7}"#, "header"),
    (r#"{"role":"tap","header":null}"#, "header"),
    (r#"{"role":"tap","header":"x body"}"#, "header"),
    (r#"{"role":"tap","header":"x-body:"}"#, "header"),
    (r#"{"role":"tap","header":":path"}"#, "header"),
    (r#"{"role":"tap","header":"x-kürzel"}"#, "header"),
    (r#"{"role":"tap","header":"x\u0000"}"#, "header"),
    (r#"{"role":"tap","header":"x\r\ny"}"#, "header"),
    (r#"{"role":"tap","header":"Host"}"#, "header"),
    (r#"{"role":"tap","header":"content-length"}"#, "header"),
    (r#"{"role":"tap","header":"Transfer-Encoding"}"#, "header"),
    (r#"{"role":"tap","header":"te"}"#, "header"),
    (r#"{"role":"tap","header":"authorization"}"#, "header"),
    (r#"{"role":"tap","header":"x-forwarded-for"}"#, "header"),
    (r#"{"role":"tap","header":"x-envoy-retry-on"}"#, "header"),
    (r#"{"role":"tap","maxBodyBytes":0}"#, "maxBodyBytes"),
    (r#"{"role":"tap","maxBodyBytes":-1}"#, "maxBodyBytes"),
    (r#"{"role":"tap","maxBodyBytes":1.0}"#, "maxBodyBytes"),
    (r#"{"role":"tap","maxBodyBytes":1e3}"#, "maxBodyBytes"),
    (r#"{"role":"tap","maxBodyBytes":"1048576"}"#, "maxBodyBytes"),
    (
        r#"{"role":"tap","maxBodyBytes":4294967296}"#,
        "maxBodyBytes",
    ),
    (
        r#"{"role":"tap","maxBodyBytes":18446744073709551616}"#,
        "maxBodyBytes",
    ),
    (
        r#"{"role":"tap","maxBodyBytes":1,"maxBodyBytes":1}"#,
        "maxBodyBytes",
    ),
    (r#"{"role":"tap","stallTimeout":0}"#, "stallTimeout"),
    (r#"{"role":"tap","stallTimeout":"1s"}"#, "stallTimeout"),
    (r#"{"role":"tap","stallTimeout":3600001}"#, "stallTimeout"),
    (r#"{"role":"tap","stallTimeout":true}"#, "stallTimeout"),
    (r#"{"role":"tap","hosts":"a.example"}"#, "hosts"),
    (r#"{"role":"tap","hosts":[1]}"#, "hosts"),
    (r#"{"role":"tap","hosts":[""]}"#, "hosts"),
    (r#"{"role":"tap","hosts":["*"]}"#, "hosts"),
    (r#"{"role":"tap","hosts":["*example.com"]}"#, "hosts"),
    (r#"{"role":"tap","hosts":["a.example:8080"]}"#, "hosts"),
    (r#"{"role":"tap","hosts":["https://a.example"]}"#, "hosts"),
    (r#"{"role":"tap","hosts":{"0":"a.example"}}"#, "hosts"),
    (r#"{"role":"tap","pathPrefixes":["v1"]}"#, "pathPrefixes"),
    (
        r#"{"role":"tap","pathPrefixes":["/v1?x=1"]}"#,
        "pathPrefixes",
    ),
    (r#"{"role":"tap","pathPrefixes":["/a b"]}"#, "pathPrefixes"),
    (r#"{"role":"tap","pathPrefixes":null}"#, "pathPrefixes"),
    ("role: tap", "not JSON"),
    (r#"{"role":"tap"} {}"#, "not JSON"),
    (r#"{"role":"tap","#, "not JSON"),
    (r#"["tap"]"#, "not a JSON object"),
    (r#""tap""#, "not a JSON object"),
    ("null", "not a JSON object"),
];

#[test]
fn everything_else_is_refused_in_one_line_that_names_the_field() {
    for (json, name) in REFUSED {
        let line = parse(json).expect_err(json);
        assert!(line.contains(name), "{json}: {line}");
        assert!(!line.contains('\n'), "{json}: {line}");
    }
    assert!(Instance::parse(b"{\"role\":\"tap\",\"header\":\"\xff\"}").is_err());
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let line = parse(r#"{"role":"x","header":"","stallTimeout":0,"nope":1}"#).unwrap_err();
    for name in ["role", "header", "stallTimeout", "nope"] {
        assert!(line.contains(name), "{line}");
    }
}

#[test]
fn an_unknown_name_cannot_forge_a_second_log_line() {
    let line = parse("{\"role\":\"tap\",\"a\\nb\":1}").unwrap_err();
    assert!(!line.contains('\n') && line.contains("a\\nb"), "{line}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _either = Instance::parse(&bytes);
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow(depth in 1..100_000_usize) {
        prop_assert!(parse(&"[".repeat(depth)).is_err());
    }
}
