//! A configuration is taken only if every field of it has the meaning that `serde_json` reads, and
//! a refusal is one line that can be logged.

use body_hash_filter::config::Config;
use body_hash_filter::vm::instance::Instance;
use serde_json::{Map, Value};

const FIELDS: [&str; 6] = [
    "role",
    "header",
    "maxBodyBytes",
    "stallTimeout",
    "hosts",
    "pathPrefixes",
];

/// Reads `data` as the configuration of a filter in a VM, and of one without.
pub fn check(data: &[u8]) {
    match Instance::parse(data) {
        Ok(instance) => {
            let said = object(data);
            assert!(said["role"].is_string());
            means_what_it_says(&instance.config, &said);
        }
        Err(refused) => is_one_line(&refused.to_string()),
    }
    match Config::parse(data) {
        Ok(config) => {
            let said = object(data);
            assert!(!said.contains_key("role"));
            means_what_it_says(&config, &said);
        }
        Err(refused) => is_one_line(&refused.to_string()),
    }
}

fn object(data: &[u8]) -> Map<String, Value> {
    match data.trim_ascii() {
        [] => Map::new(),
        json => serde_json::from_slice(json).expect("what is no object is taken"),
    }
}

fn means_what_it_says(config: &Config, said: &Map<String, Value>) {
    assert!(said.keys().all(|name| FIELDS.contains(&&**name)));
    let number = |name: &str, default: u64| said.get(name).map_or(Some(default), Value::as_u64);
    assert_eq!(Some(config.max_body_bytes), number("maxBodyBytes", 1 << 20));
    let stall = u64::try_from(config.stall_timeout.as_millis()).ok();
    assert_eq!(stall, number("stallTimeout", 1000));
    assert!(stall > Some(0) && config.max_body_bytes > 0);
    let header = said
        .get("header")
        .map_or(Some("x-body-hash"), Value::as_str);
    assert_eq!(
        header.map(str::to_ascii_lowercase).as_ref(),
        Some(&config.header)
    );
    let entries = |name: &str| {
        said.get(name)
            .map_or(Some(0), |list| Some(list.as_array()?.len()))
    };
    assert_eq!(entries("hosts"), Some(config.hosts.len()));
    assert_eq!(entries("pathPrefixes"), Some(config.path_prefixes.len()));
}

fn is_one_line(text: &str) {
    assert!(
        !text.is_empty() && !text.chars().any(char::is_control),
        "{text:?}"
    );
}
