//! The headers that the real API sends with every answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::answer::Answer;
use crate::keys::{digest, organisation};

/// Requests a minute of the account that the stand-in plays.
const REQUEST_LIMIT: u64 = 10_000;
/// Tokens a minute of that account.
const TOKEN_LIMIT: usize = 10_000_000;
/// Hexadecimal digits in a request id, as the real ones.
const REQUEST_ID_DIGITS: usize = 32;

/// Requests answered so far: no two answers have the same id, cookie or allowance.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// All headers of an answer to the holder of `key` that took so long.
pub(crate) fn of(answer: &Answer, key: Option<&str>, took: Duration) -> HeaderMap {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    };
    for (name, value) in constant(answer) {
        set(name, value);
    }
    for (name, value) in allowance(serial, answer.tokens) {
        set(name, &value);
    }
    let id = request_id(serial);
    set("x-request-id", &format!("req_{id}"));
    set("openai-processing-ms", &took.as_millis().to_string());
    // Two lines of one header: what a proxy must neither fold nor share.
    set(
        "set-cookie",
        &format!("__cf_bm={id}; path=/; HttpOnly; Secure; SameSite=None"),
    );
    set(
        "set-cookie",
        &format!("_cfuvid={serial}; path=/; HttpOnly; Secure; SameSite=None"),
    );
    if let Some(key) = key {
        set("openai-organization", &organisation(key));
    }
    if let Some(model) = &answer.model {
        set("openai-model", model);
    }
    if let Some(wait) = answer.retry_after {
        set("retry-after", &wait.as_secs_f64().ceil().to_string());
        // Rounded up: what comes in time is not refused again.
        set("retry-after-ms", &(wait.as_millis() + 1).to_string());
    }
    if let Some(length) = answer.length() {
        set("content-length", &length.to_string());
    }
    headers
}

fn constant(answer: &Answer) -> [(&'static str, &'static str); 6] {
    [
        ("content-type", answer.media_type),
        ("openai-version", "2020-10-01"),
        ("openai-project", "proj_standin"),
        ("access-control-expose-headers", "X-Request-ID"),
        ("x-content-type-options", "nosniff"),
        ("cf-cache-status", "DYNAMIC"),
    ]
}

fn allowance(serial: u64, tokens: usize) -> [(&'static str, String); 6] {
    [
        ("x-ratelimit-limit-requests", REQUEST_LIMIT.to_string()),
        ("x-ratelimit-limit-tokens", TOKEN_LIMIT.to_string()),
        (
            "x-ratelimit-remaining-requests",
            (REQUEST_LIMIT - 1 - serial % REQUEST_LIMIT).to_string(),
        ),
        (
            "x-ratelimit-remaining-tokens",
            TOKEN_LIMIT.saturating_sub(tokens).to_string(),
        ),
        ("x-ratelimit-reset-requests", "6ms".to_owned()),
        ("x-ratelimit-reset-tokens", "0s".to_owned()),
    ]
}

fn request_id(serial: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut id = digest(format!("{serial} {now:?}").as_bytes());
    id.truncate(REQUEST_ID_DIGITS);
    id
}
