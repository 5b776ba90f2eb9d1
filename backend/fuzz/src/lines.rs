//! Headers out of bytes: `name: value`, one to a line.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The values that a header may have, of lines that hold nothing but a value.
pub(crate) fn values(data: &[u8]) -> Vec<HeaderValue> {
    let lines = data.split(|&byte| byte == b'\n');
    lines
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect()
}

/// The headers that there are; what is none is left out.
pub(crate) fn headers(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    headers
}
