//! Reads the rate limits of an upstream's answer: OpenAI's `x-ratelimit-*`, and when to try again.

use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, RETRY_AFTER};

use crate::http::error::UpstreamRefusal;

/// No limit is waited for as long as this: a larger number is a time of day, or a mistake.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Headers that say in milliseconds when to try again.
const RETRY_AFTER_MS: [HeaderName; 2] = [
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ms-retry-after-ms"),
];

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A code of OpenAI's: nothing is gained by waiting.
const NO_QUOTA: &[u8] = b"insufficient_quota";

/// The headers that tell one limit.
#[derive(Debug)]
pub(super) struct LimitHeaders {
    limit: HeaderName,
    remaining: HeaderName,
    reset: HeaderName,
}

/// Those of the limit of requests.
pub(super) static REQUESTS: LimitHeaders = LimitHeaders {
    limit: HeaderName::from_static("x-ratelimit-limit-requests"),
    remaining: HeaderName::from_static("x-ratelimit-remaining-requests"),
    reset: HeaderName::from_static("x-ratelimit-reset-requests"),
};

/// Those of the limit of tokens.
pub(super) static TOKENS: LimitHeaders = LimitHeaders {
    limit: HeaderName::from_static("x-ratelimit-limit-tokens"),
    remaining: HeaderName::from_static("x-ratelimit-remaining-tokens"),
    reset: HeaderName::from_static("x-ratelimit-reset-tokens"),
};

/// One limit, as of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Allowance {
    pub(super) limit: f64,
    pub(super) remaining: f64,
    /// Until all of the limit is there again.
    pub(super) reset: Duration,
}

/// The limit that these headers tell, if the answer tells all of it.
pub(super) fn allowance(headers: &HeaderMap, of: &LimitHeaders) -> Option<Allowance> {
    let header = |name: &HeaderName| headers.get(name)?.to_str().ok();
    let number = |name| header(name)?.trim().parse().ok();
    let limit = number(&of.limit).filter(|limit: &f64| limit.is_finite() && *limit >= 1.0)?;
    let remaining = number(&of.remaining).filter(|left: &f64| (0.0..=limit).contains(left))?;
    let reset = duration(header(&of.reset)?).filter(|reset| *reset <= LONGEST)?;
    Some(Allowance {
        limit,
        remaining,
        reset,
    })
}

/// When to try again after a refusal; `None` if waiting is of no use.
pub(super) fn retry_after(refusal: &UpstreamRefusal) -> Option<Duration> {
    let headers = &refusal.headers;
    let never = headers
        .get(SHOULD_RETRY)
        .is_some_and(|says| says == "false");
    let has_no_quota = refusal
        .body
        .windows(NO_QUOTA.len())
        .any(|part| part == NO_QUOTA);
    if never || has_no_quota {
        return None;
    }
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let in_ms = RETRY_AFTER_MS
        .iter()
        .filter_map(text)
        .find_map(|ms| Some(seconds(ms)? / 1000));
    let in_words = || text(&RETRY_AFTER).and_then(|after| seconds(after).or_else(|| until(after)));
    let told = in_ms.or_else(in_words);
    told.filter(|after| *after <= LONGEST)
}

/// `12ms`, `1s`, `6m0s`, `1h2m3.5s`, or a number of seconds.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(seconds) = seconds(text) {
        return Some(seconds);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = rest.split_at(digits);
        let letters = unit
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(unit.len());
        let (unit, next) = unit.split_at(letters);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total += Duration::try_from_secs_f64(number * seconds).ok()?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

fn seconds(text: &str) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number).ok()
}

/// Until a date, as `Retry-After` may have it (RFC 9110, 10.2.3).
fn until(date: &str) -> Option<Duration> {
    let at = httpdate::parse_http_date(date).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().filter_map(|&(name, value)| {
            Some((HeaderName::from_static(name), value.parse().ok()?))
        });
        pairs.collect()
    }

    fn after(pairs: &[(&'static str, &'static str)], body: &'static str) -> Option<Duration> {
        retry_after(&UpstreamRefusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: headers(pairs),
            body: body.into(),
            inputs: 1,
        })
    }

    #[test]
    fn openais_allowances_are_read() {
        let told = headers(&[
            ("x-ratelimit-limit-tokens", "1000000"),
            ("x-ratelimit-remaining-tokens", "23837"),
            ("x-ratelimit-reset-tokens", "1m2.5s"),
            ("x-ratelimit-limit-requests", "100"),
            ("x-ratelimit-remaining-requests", "99"),
        ]);
        let expected = Allowance {
            limit: 1_000_000.0,
            remaining: 23_837.0,
            reset: Duration::from_millis(62_500),
        };
        assert_eq!(allowance(&told, &TOKENS), Some(expected));
        // What is told in part only is no limit to reckon with.
        assert_eq!(allowance(&told, &REQUESTS), None);
        for reset in ["", "soon", "-1s", "1764115200", "1x"] {
            let told = headers(&[
                ("x-ratelimit-limit-tokens", "1000000"),
                ("x-ratelimit-remaining-tokens", "23837"),
                ("x-ratelimit-reset-tokens", reset),
            ]);
            assert_eq!(allowance(&told, &TOKENS), None, "{reset}");
        }
    }

    #[test]
    fn durations_come_in_many_spellings() {
        for (text, ms) in [
            ("12ms", 12),
            ("1s", 1000),
            ("6m0s", 360_000),
            ("1h", 3_600_000),
            ("2.5", 2500),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_when_to_try_again() {
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(
            after(&[("retry-after", "3"), ("retry-after-ms", "2812")], ""),
            ms(2812)
        );
        assert_eq!(after(&[("x-ms-retry-after-ms", "18")], ""), ms(18));
        assert_eq!(after(&[("retry-after", "7")], ""), ms(7000));
        assert_eq!(
            after(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], ""),
            ms(0)
        );
        assert_eq!(
            after(&[("retry-after", "7"), ("x-should-retry", "false")], ""),
            None
        );
        assert_eq!(
            after(
                &[("retry-after", "7")],
                r#"{"error":{"code":"insufficient_quota"}}"#
            ),
            None
        );
        assert_eq!(after(&[("retry-after", "often")], ""), None);
        assert_eq!(after(&[], ""), None);
    }
}
