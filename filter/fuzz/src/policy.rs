//! The headers of a request decide once whether it is hashed, whatever bytes they hold.

use body_hash_filter::config::Config;
use body_hash_filter::policy::{RequestHead, reason_to_skip};
use body_hash_filter::stats::Reason;

/// `name: value`, one to a line.
struct Lines<'a>(Vec<(&'a [u8], &'a [u8])>);

impl RequestHead for Lines<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(own, _)| *own == name.as_bytes());
        found.map(|(_, value)| *value)
    }
}

/// Reads the first line of `data` as a configuration and the others as headers.
pub fn check(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let config = Config::parse(lines.next().unwrap_or_default());
    let config = config.or_else(|_| Config::parse(b"")).unwrap();
    let head = Lines(lines.filter_map(header).collect());
    for ends_here in [false, true] {
        let reason = reason_to_skip(&config, &head, ends_here);
        if reason.is_none() {
            is_safe_to_hold(&config, &head, ends_here);
        }
        let everywhere = Config {
            hosts: Vec::new(),
            path_prefixes: Vec::new(),
            ..config.clone()
        };
        let narrowed = reason == Some(Reason::NotSelected);
        assert!(narrowed || reason == reason_to_skip(&everywhere, &head, ends_here));
    }
}

fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    // A name of HTTP/2's begins with a colon.
    let colon = 1 + line.get(1..)?.iter().position(|&byte| byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

/// What may be held has an end, and no other meaning than a body.
fn is_safe_to_hold(config: &Config, head: &Lines<'_>, ends_here: bool) {
    assert!(!ends_here && head.get("upgrade").is_none() && head.get(":protocol").is_none());
    assert_ne!(head.get(":method"), Some(&b"CONNECT"[..]));
    let length = head.get("content-length").map(String::from_utf8_lossy);
    let length = length.and_then(|text| text.trim_ascii().parse::<u128>().ok());
    assert!(length.is_none_or(|length| (1..=config.max_body_bytes.into()).contains(&length)));
}
